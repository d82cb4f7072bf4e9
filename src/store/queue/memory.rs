//! What is remembered of messages that were handed out, or have ended: the last of each, in memory
//! only. A note takes no new memory but for longer texts than its place held before.

use std::time::Duration;

use super::records::RowKey;

/// How many ends are remembered, unless a setting says otherwise.
pub const TRACED: usize = 1_000;
/// Rows that were handed out are noted beside those that ended: a window of them.
const WINDOW: usize = 2_048;

/// A row that has ended; or a message that no route took.
#[derive(Clone, Debug, Default)]
pub(super) struct Ended {
    pub(super) message: u64,
    /// `None`: it was unrouted.
    pub(super) row: Option<RowKey>,
    pub(super) sender: String,
    /// `$.mid`, if it was known.
    pub(super) mid: String,
    pub(super) stored_at: Duration,
    pub(super) at: Duration,
    pub(super) bytes: u64,
    pub(super) end: usize,
}

/// A row that was given to who sends it.
#[derive(Clone, Debug, Default)]
pub(super) struct Handed {
    pub(super) row: Option<RowKey>,
    pub(super) mid: String,
    pub(super) at: Duration,
}

/// The last few of something.
#[derive(Debug)]
struct Ring<T> {
    slots: Vec<T>,
    next: usize,
    max: usize,
}

impl<T: Default> Ring<T> {
    fn new(max: usize) -> Self {
        Ring { slots: Vec::new(), next: 0, max }
    }

    /// The place of the oldest, to be written over.
    fn place(&mut self) -> Option<&mut T> {
        if self.slots.len() < self.max {
            self.slots.push(T::default());
            return self.slots.last_mut();
        }
        let at = self.next;
        self.next = (at + 1) % self.max.max(1);
        self.slots.get_mut(at)
    }

    /// The newest first.
    fn iter(&self) -> impl Iterator<Item = &T> {
        let (newer, older) = self.slots.split_at(self.next.min(self.slots.len()));
        newer.iter().rev().chain(older.iter().rev())
    }
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Memory {
    ended: Ring<Ended>,
    handed: Ring<Handed>,
}

impl Default for Memory {
    fn default() -> Self {
        Memory::new(TRACED)
    }
}

impl Memory {
    pub(super) fn new(ended: usize) -> Self {
        let handed = if ended == 0 { 0 } else { ended + WINDOW };
        Memory { ended: Ring::new(ended), handed: Ring::new(handed) }
    }

    /// A row, or a message without rows, has ended.
    pub(super) fn on_ended(&mut self, note: &Ended, sender: &str, mid: &str) {
        let Some(place) = self.ended.place() else { return };
        let (mut own_sender, mut own_mid) =
            (std::mem::take(&mut place.sender), std::mem::take(&mut place.mid));
        own_sender.clear();
        own_sender.push_str(sender);
        own_mid.clear();
        own_mid.push_str(mid);
        *place = Ended { sender: own_sender, mid: own_mid, ..*note };
    }

    /// A row was read to be sent.
    pub(super) fn on_handed(&mut self, row: RowKey, mid: &str, at: Duration) {
        let Some(place) = self.handed.place() else { return };
        (place.row, place.at) = (Some(row), at);
        place.mid.clear();
        place.mid.push_str(mid);
    }

    /// How often a row was handed out, and when last.
    pub(super) fn handed(&self, row: RowKey) -> (u32, Option<Duration>) {
        let mut own = self.handed.iter().filter(|handed| handed.row == Some(row));
        let last = own.next().map(|handed| handed.at);
        (u32::from(last.is_some()) + own.count() as u32, last)
    }

    /// Ends that are remembered, the newest first.
    pub(super) fn ends(&self) -> impl Iterator<Item = &Ended> {
        self.ended.iter()
    }

    /// The newest message that its client named so.
    pub(super) fn message(&self, mid: &str) -> Option<u64> {
        let handed = self.handed.iter().find(|it| it.mid == mid).and_then(|it| it.row);
        let ended = self.ended.iter().find(|it| it.mid == mid).map(|it| it.message);
        handed.map(|row| row.message).into_iter().chain(ended).max()
    }
}
