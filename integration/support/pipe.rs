//! One direction of a connection through a `Proxy`: bytes in order, each when the network has it there.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use super::random::Random;

/// Bytes that share their fate.
const SEGMENT: usize = 1_460;
/// A retransmission time-out is a round trip and this.
const RTO_MIN: Duration = Duration::from_millis(200);

/// How a network treats what goes over it. All zero: as fast as it goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Profile {
    /// One way.
    pub delay: Duration,
    /// So much more or less, one way.
    pub jitter: Duration,
    /// Bytes a second in each direction.
    pub rate: u64,
    /// Of a thousand segments so many stall all that is behind them for a retransmission time-out.
    pub lost_of_1000: u64,
}

impl Profile {
    pub fn round_trip(&self) -> Duration {
        2 * self.delay
    }

    fn is_plain(&self) -> bool {
        self.delay.is_zero() && self.rate == 0 && self.lost_of_1000 == 0
    }

    /// Segments that the network holds.
    fn depth(&self) -> usize {
        if self.rate > 0 { 32 } else { 4_096 }
    }
}

/// When what is sent now is there.
pub(super) struct Line {
    profile: Profile,
    random: Random,
    is_dead: Arc<AtomicBool>,
    /// The wire is free again.
    free: Instant,
    /// Nothing is there before this.
    last: Instant,
}

impl Line {
    /// Of a connection that begins to open `now`.
    pub(super) fn new(profile: Profile, seed: u64, now: Instant, is_dead: Arc<AtomicBool>) -> Self {
        let opened = now + 2 * profile.delay;
        let random = Random::new(seed);
        Line { profile, random, is_dead, free: opened, last: opened }
    }

    fn arrival(&mut self, length: usize, now: Instant) -> Instant {
        let Profile { delay, jitter, rate, lost_of_1000 } = self.profile;
        self.free = self.free.max(now);
        if rate > 0 {
            self.free += Duration::from_secs_f64(length as f64 / rate as f64);
        }
        let jitter = jitter.as_micros() as u64;
        let early = Duration::from_micros(jitter);
        let late = Duration::from_micros(self.random.below(2 * jitter + 1));
        let mut at = self.free + (delay + late).saturating_sub(early);
        let mut stall = 2 * delay + RTO_MIN;
        while self.random.below(1_000) < lost_of_1000 {
            at += stall;
            stall *= 2; // what was sent again is lost, too
        }
        self.last = self.last.max(at);
        self.last
    }
}

/// Copies until one side closes, then closes the other; in threads of its own.
pub(super) fn pump(from: TcpStream, to: TcpStream, line: Line) {
    if line.profile.is_plain() {
        spawn(move || copy(from, to, &line.is_dead));
        return;
    }
    let (sender, receiver) = sync_channel(line.profile.depth());
    let is_dead = Arc::clone(&line.is_dead);
    let end = from.try_clone().unwrap();
    spawn(move || read(from, &sender, line));
    spawn(move || write(to, &receiver, &end, &is_dead));
}

fn copy(mut from: TcpStream, mut to: TcpStream, is_dead: &AtomicBool) {
    let mut chunk = [0; 16_384];
    while let Ok(read) = from.read(&mut chunk) {
        if read == 0 {
            break;
        }
        if !is_dead.load(Ordering::SeqCst) && to.write_all(&chunk[..read]).is_err() {
            break;
        }
    }
    if !is_dead.load(Ordering::SeqCst) {
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

type Segment = (Instant, Vec<u8>);

fn read(mut from: TcpStream, sender: &SyncSender<Segment>, mut line: Line) {
    let mut chunk = [0; SEGMENT];
    while let Ok(read) = from.read(&mut chunk) {
        let now = Instant::now();
        // An empty segment is the end.
        if sender.send((line.arrival(read, now), chunk[..read].to_vec())).is_err() || read == 0 {
            return;
        }
    }
}

fn write(mut to: TcpStream, receiver: &Receiver<Segment>, from: &TcpStream, is_dead: &AtomicBool) {
    for (at, bytes) in receiver {
        sleep(at.saturating_duration_since(Instant::now()));
        if is_dead.load(Ordering::SeqCst) {
            continue; // swallowed
        }
        if bytes.is_empty() || to.write_all(&bytes).is_err() {
            break;
        }
    }
    if !is_dead.load(Ordering::SeqCst) {
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
