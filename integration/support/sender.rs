//! A client that sends numbered messages for as long as it is told to, over every interruption.
//!
//! It does as the SDKs do: what was not acknowledged goes again on the next connection, in the
//! same order, with DUP, the same packet id and the same bytes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use rumqttc::mqttbytes::v4::Packet;

use super::mqtt::{LogIn, Mqtt};
use super::rest::HOUR;

/// Un-acknowledged messages of one sender at a time.
const WINDOW: usize = 40;
/// An acknowledgement that takes longer is a fault of the other side.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a sender says.
#[derive(Clone, Copy)]
pub struct Speech {
    /// Messages at once.
    pub burst: usize,
    /// The pause after them.
    pub pause: Duration,
    /// Bytes of a body, at least.
    pub size: usize,
    /// How long its tokens are good.
    pub token: Duration,
}

impl Speech {
    pub const USUAL: Speech =
        Speech { burst: 6, pause: Duration::from_millis(6), size: 0, token: HOUR };
}

/// What a sender knows of its messages.
#[derive(Default)]
pub struct Sent {
    /// By number, whether it was acknowledged.
    pub acked: Vec<bool>,
    /// Numbers, oldest first.
    unacked: VecDeque<u64>,
    /// When the last acknowledgement came.
    pub last_ack: Option<Instant>,
    /// Connections that were accepted.
    pub connections: u64,
    /// Acknowledgements out of order.
    pub wrong: Vec<String>,
}

impl Sent {
    pub fn in_flight(&self) -> usize {
        self.unacked.len()
    }

    pub fn acked_count(&self) -> usize {
        self.acked.iter().filter(|is| **is).count()
    }
}

struct Shared {
    log_in: LogIn,
    topic: String,
    speech: Speech,
    sent: Mutex<Sent>,
    is_stopping: AtomicBool,
    is_paused: AtomicBool,
}

/// See the module documentation. Runs on a thread of its own.
pub struct Sender {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    /// A module sends to `output`.
    pub fn start(log_in: LogIn, output: &str) -> Self {
        Self::speaking(log_in, output, Speech::USUAL)
    }

    /// Sends as fast as it is acknowledged: something is always in flight.
    pub fn start_busy(log_in: LogIn, output: &str) -> Self {
        Self::with_pause(log_in, output, Duration::ZERO)
    }

    /// A few messages after each such pause.
    pub fn with_pause(log_in: LogIn, output: &str, pause: Duration) -> Self {
        Self::speaking(log_in, output, Speech { pause, ..Speech::USUAL })
    }

    pub fn speaking(log_in: LogIn, output: &str, speech: Speech) -> Self {
        let topic = log_in.telemetry_topic(output);
        let shared = Arc::new(Shared {
            log_in,
            topic,
            speech,
            sent: Mutex::default(),
            is_stopping: AtomicBool::new(false),
            is_paused: AtomicBool::new(false),
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            while let Err(_why) = own.talk() {
                sleep(Duration::from_millis(20)); // the other side is away: again
            }
        });
        Sender { shared, thread: Some(thread) }
    }

    /// `device` or `device/module`.
    pub fn id(&self) -> &str {
        &self.shared.log_in.id
    }

    pub fn sent(&self) -> MutexGuard<'_, Sent> {
        self.shared.sent.lock().unwrap()
    }

    /// Nothing new is sent until it is resumed.
    pub fn pause(&self, is_paused: bool) {
        self.shared.is_paused.store(is_paused, Ordering::SeqCst);
    }

    /// Sends nothing new, and waits until all is acknowledged.
    #[track_caller]
    pub fn finish(&mut self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        let what = format!("the acknowledgement of the last messages of {}", self.id());
        super::wait_for(&what, PATIENCE, || {
            self.thread.as_ref().is_none_or(JoinHandle::is_finished).then_some(())
        });
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(!matches!(ended, Some(Err(_))), "the sender {} failed", self.id());
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
    }
}

fn packet_id(n: u64) -> u16 {
    u16::try_from(n % 60_000 + 1).unwrap()
}

impl Shared {
    /// One connection; `Ok` once there is nothing left to do.
    fn talk(&self) -> Result<(), String> {
        if self.is_stopping.load(Ordering::SeqCst) && self.sent.lock().unwrap().in_flight() == 0 {
            return Ok(());
        }
        let mut mqtt = self.log_in.connect_for(self.speech.token)?;
        let again: Vec<u64> = {
            let mut sent = self.sent.lock().unwrap();
            sent.connections += 1;
            sent.unacked.iter().copied().collect()
        };
        for n in again {
            self.transmit(&mut mqtt, n, true)?;
        }
        let mut next = Instant::now();
        loop {
            let is_stopping = self.is_stopping.load(Ordering::SeqCst);
            let is_idle = is_stopping || self.is_paused.load(Ordering::SeqCst);
            if !is_idle && Instant::now() >= next {
                self.send_new(&mut mqtt)?;
                next = Instant::now() + self.speech.pause;
            }
            while let Some(packet) = mqtt.read(Duration::from_millis(2))? {
                if let Packet::PubAck(ack) = packet {
                    self.on_ack(ack.pkid);
                }
                if !is_idle && Instant::now() >= next {
                    break;
                }
            }
            if is_stopping && self.sent.lock().unwrap().in_flight() == 0 {
                return Ok(());
            }
        }
    }

    fn send_new(&self, mqtt: &mut Mqtt) -> Result<(), String> {
        for _ in 0..self.speech.burst {
            let n = {
                let mut sent = self.sent.lock().unwrap();
                if sent.in_flight() >= WINDOW {
                    return Ok(());
                }
                let n = sent.acked.len() as u64;
                sent.acked.push(false);
                sent.unacked.push_back(n);
                n
            };
            self.transmit(mqtt, n, false)?;
        }
        Ok(())
    }

    fn transmit(&self, mqtt: &mut Mqtt, n: u64, dup: bool) -> Result<(), String> {
        let mut body = n.to_string().into_bytes();
        body.resize(body.len().max(self.speech.size), b' ');
        mqtt.publish(&self.topic, packet_id(n), dup, &body)
    }

    fn on_ack(&self, id: u16) {
        let mut sent = self.sent.lock().unwrap();
        match sent.unacked.front().copied() {
            Some(n) if packet_id(n) == id => {
                sent.unacked.pop_front();
                sent.acked[usize::try_from(n).unwrap()] = true;
                sent.last_ack = Some(Instant::now());
            }
            oldest => {
                let why = format!("PUBACK {id} while the oldest is {oldest:?}");
                sent.wrong.push(why);
                sent.unacked.retain(|n| packet_id(*n) != id);
            }
        }
    }
}
