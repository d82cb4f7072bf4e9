//! Chance out of a seed, and wires: in order, after a while, until they are cut.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;

/// The same for the same seed.
#[derive(Clone)]
pub(super) struct Chance(Rc<Cell<u64>>);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Chance(Rc::new(Cell::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)))
    }

    pub(super) fn below(&self, end: u64) -> u64 {
        let mut number = self.0.get();
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        self.0.set(number);
        (number >> 8) % end
    }
}

/// What two ends share: a number for each time that it is up.
#[derive(Clone, Default)]
pub(super) struct Line {
    is_up: Rc<Cell<bool>>,
    epoch: Rc<Cell<u64>>,
}

impl Line {
    pub(super) fn is_up(&self) -> bool {
        self.is_up.get()
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    pub(super) fn join(&self) -> u64 {
        self.is_up.set(true);
        self.epoch.set(self.epoch.get() + 1);
        self.epoch.get()
    }

    pub(super) fn cut(&self) {
        self.is_up.set(false);
    }

    pub(super) fn is(&self, epoch: u64) -> bool {
        self.is_up.get() && self.epoch.get() == epoch
    }
}

/// One direction of a line.
pub(super) struct Wire<T> {
    line: Line,
    into: mpsc::UnboundedSender<(u64, T)>,
}

impl<T> Clone for Wire<T> {
    fn clone(&self) -> Self {
        Wire { line: self.line.clone(), into: self.into.clone() }
    }
}

impl<T: 'static> Wire<T> {
    #[expect(clippy::disallowed_methods, reason = "a wire of a model, not a mailbox")]
    pub(super) fn new(line: &Line, chance: &Chance, mut deliver: impl FnMut(T) + 'static) -> Self {
        let (into, mut out) = mpsc::unbounded_channel::<(u64, T)>();
        let (own, chance) = (line.clone(), chance.clone());
        actix::spawn(async move {
            while let Some((epoch, thing)) = out.recv().await {
                tokio::time::sleep(Duration::from_millis(1 + chance.below(12))).await;
                if own.is(epoch) {
                    deliver(thing);
                }
            }
        });
        Wire { line: line.clone(), into }
    }

    /// Puts something on it, as of the line that was joined then.
    pub(super) fn put(&self, epoch: u64, thing: T) {
        if self.line.is(epoch) {
            let _ = self.into.send((epoch, thing));
        }
    }

    pub(super) fn put_now(&self, thing: T) {
        self.put(self.line.epoch(), thing);
    }
}

/// What went wrong on the way.
#[derive(Clone, Default)]
pub(super) struct Faults(Rc<RefCell<Vec<String>>>);

impl Faults {
    pub(super) fn note(&self, what: String) {
        self.0.borrow_mut().push(what);
    }

    pub(super) fn take(&self) -> Vec<String> {
        self.0.take()
    }
}
