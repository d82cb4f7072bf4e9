//! One timer for all clients: who has said nothing for too long, whose token has expired. A timer
//! and a turn for each of them would be much of what an idle client costs.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::writer::{Remote, Writer};
use crate::actors::clock;

/// Between two looks, whatever is due.
const LEAST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(1);

/// For how long a client may go on.
#[derive(Debug)]
pub struct Pulse {
    heard: Cell<Instant>,
    patience: Duration,
    until: Cell<u64>,
}

impl Pulse {
    /// Heard of now; it may be silent for so long, and stay until that Unix time.
    pub fn new(patience: Duration, until: u64) -> Rc<Self> {
        let heard = Cell::new(clock::now());
        Rc::new(Pulse { heard, patience, until: Cell::new(until) })
    }

    /// Something came: a large packet on a slow network is a while on its way.
    pub fn beat(&self) {
        self.heard.set(clock::now());
    }

    /// It may stay until then.
    pub fn renew(&self, until: u64) {
        self.until.set(until);
    }

    /// How long it may be silent from now on, or why it may not stay.
    fn left(&self, now: Instant, unix_time: Duration) -> Result<Duration, String> {
        let silent = now.saturating_duration_since(self.heard.get());
        if silent > self.patience {
            Err(format!("nothing heard for {} s", self.patience.as_secs_f32()))
        } else if unix_time.as_secs() > self.until.get() {
            Err("its token, or certificate, has expired".into())
        } else {
            Ok(self.patience - silent)
        }
    }
}

/// See the module documentation. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Watch(Rc<RefCell<Watched>>);

#[derive(Debug, Default)]
struct Watched {
    clients: Vec<(Rc<Pulse>, Remote)>,
    is_looking: bool,
}

impl Watch {
    /// From now on, for as long as there is a writer: that ends when the pulse does.
    pub fn add(&self, pulse: &Rc<Pulse>, writer: &Writer) {
        let mut watched = self.0.borrow_mut();
        watched.clients.push((Rc::clone(pulse), writer.remote()));
        if !std::mem::replace(&mut watched.is_looking, true) {
            actix::spawn(self.clone().look_ever());
        }
    }

    async fn look_ever(self) {
        loop {
            let Some(next) = self.0.borrow_mut().look() else { return };
            tokio::time::sleep(next).await;
        }
    }
}

impl Watched {
    /// When to look again; `None`: there is nobody.
    fn look(&mut self) -> Option<Duration> {
        let (now, unix_time) = (clock::now(), clock::unix_time());
        let mut next = MOST;
        self.clients.retain(|(pulse, writer)| match pulse.left(now, unix_time) {
            Ok(left) => {
                next = next.min(left);
                writer.is_there()
            }
            Err(why) => {
                writer.fail(why);
                false
            }
        });
        self.clients.shrink_to(2 * self.clients.len());
        self.is_looking = !self.clients.is_empty();
        self.is_looking.then(|| next.max(LEAST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::endpoint::stream::ByteStream;
    use crate::actors::endpoint::writer::Unwritten;

    fn client(watch: &Watch, seconds: u64) -> (Rc<Pulse>, Writer) {
        let (_, half) = tokio::io::split(Box::new(tokio::io::duplex(8).0) as Box<dyn ByteStream>);
        let pulse = Pulse::new(Duration::from_secs(seconds), u64::MAX);
        let writer = Writer::new(half, Unwritten::default());
        watch.add(&pulse, &writer);
        (pulse, writer)
    }

    #[actix::test]
    async fn the_silent_one_goes_in_its_time_and_who_left_is_forgotten() {
        tokio::time::pause();
        let (watch, begin) = (Watch::default(), clock::now());
        let (_one, silent) = client(&watch, 3);
        let (heard, other) = client(&watch, 3);
        drop(client(&watch, 3));
        tokio::time::sleep(Duration::from_secs(2)).await;
        heard.beat();
        assert_eq!(watch.0.borrow().clients.len(), 2);
        assert!(silent.ended().await.unwrap_err().contains("nothing heard for 3 s"));
        let after = clock::now() - begin;
        assert!((3.0..3.2).contains(&after.as_secs_f32()), "after {after:?}");
        assert!(other.ended().await.is_err());
        assert!((clock::now() - begin).as_secs() == 5 && !watch.0.borrow().is_looking);
    }
}
