//! How much may be in flight: rows, bytes, and no more than was acknowledged lately.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{LiveShare, Share};

/// What bounds the rows in flight. One row may be in flight in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Most rows.
    pub window: usize,
    /// Most bytes of bodies and properties.
    pub max_bytes: usize,
    /// No more bytes than were acknowledged lately.
    pub pace: Option<Pace>,
    /// What each priority has in any case.
    pub share: Share,
    /// What live messages have while there is a backlog.
    pub live: LiveShare,
}

/// A slow endpoint is not flooded: what is in flight when it goes away is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How long "lately" is.
    pub over: Duration,
    /// So many bytes in any case.
    pub at_least: usize,
}

impl Config {
    /// For the link (architecture 6).
    pub const UPSTREAM: Config = Config {
        window: 1_024,
        max_bytes: 4 << 20,
        pace: Some(Pace { over: Duration::from_secs(5), at_least: 64 << 10 }),
        share: Share::NONE,
        live: LiveShare::NONE,
    };
    /// For a client (architecture 4).
    pub const CLIENT: Config = Config {
        window: 32,
        max_bytes: 4 << 20,
        pace: None,
        share: Share::NONE,
        live: LiveShare::NONE,
    };
}

/// The bytes that may be in flight now.
#[derive(Debug)]
pub(super) struct Budget {
    config: Config,
    /// When how much was acknowledged, in parts of 1/50 of the time.
    acked: VecDeque<(Instant, usize)>,
    sum: usize,
}

impl Budget {
    pub(super) fn new(config: Config) -> Self {
        Budget { config, acked: VecDeque::new(), sum: 0 }
    }

    pub(super) fn on_acked(&mut self, bytes: usize, now: Instant) {
        let Some(pace) = self.config.pace else { return };
        self.sum += bytes;
        match self.acked.back_mut() {
            Some((since, sum)) if now.saturating_duration_since(*since) < pace.over / 50 => {
                *sum += bytes;
            }
            _ => self.acked.push_back((now, bytes)),
        }
    }

    /// Bytes in flight and ending together.
    pub(super) fn bytes(&mut self, now: Instant) -> usize {
        let Some(pace) = self.config.pace else { return self.config.max_bytes };
        while let Some((since, bytes)) = self.acked.front() {
            if now.saturating_duration_since(*since) < pace.over {
                break;
            }
            self.sum -= bytes;
            self.acked.pop_front();
        }
        self.sum.max(pace.at_least).min(self.config.max_bytes)
    }
}
