//! Memory for PUBLISH packets that are read and not acknowledged yet (architecture 4, **INV**).
//!
//! A connection parks at most 100 of them or 1 MiB, all together at most 16 MiB. Room is reserved
//! when the fixed header is decoded, before the body is read.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::Notify;

/// What one connection, and all together, may park.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// PUBLISH packets of one connection.
    pub packets: usize,
    /// Bytes of one connection.
    pub bytes: usize,
}

/// A budget that many connections share.
#[derive(Debug)]
pub struct Shared {
    free: Cell<usize>,
    changed: Notify,
}

impl Shared {
    /// `bytes` for all together.
    pub fn new(bytes: usize) -> Rc<Self> {
        Rc::new(Shared { free: Cell::new(bytes), changed: Notify::new() })
    }
}

/// The budget of one connection.
#[derive(Debug)]
pub struct Budget {
    shared: Rc<Shared>,
    limits: Limits,
    packets: Cell<usize>,
    bytes: Cell<usize>,
    changed: Notify,
}

impl Budget {
    /// Nothing is parked.
    pub fn new(shared: Rc<Shared>, limits: Limits) -> Rc<Self> {
        let (packets, bytes, changed) = (Cell::new(0), Cell::new(0), Notify::new());
        Rc::new(Budget { shared, limits, packets, bytes, changed })
    }

    /// Waits for room for a packet of `bytes`. The first packet always fits its connection.
    pub async fn reserve(&self, bytes: usize) {
        while !self.try_reserve(bytes) {
            tokio::select! {
                () = self.changed.notified() => {}
                () = self.shared.changed.notified() => {}
            }
        }
    }

    /// Takes room for a packet of `bytes` if there is some now.
    pub fn try_reserve(&self, bytes: usize) -> bool {
        let (packets, parked) = (self.packets.get(), self.bytes.get());
        let fits_here =
            packets == 0 || (packets < self.limits.packets && parked + bytes <= self.limits.bytes);
        let free = self.shared.free.get();
        if !fits_here || free < bytes {
            return false;
        }
        self.shared.free.set(free - bytes);
        self.packets.set(packets + 1);
        self.bytes.set(parked + bytes);
        true
    }

    /// A packet of `bytes` is done with.
    pub fn release(&self, bytes: usize) {
        self.packets.set(self.packets.get().saturating_sub(1));
        self.give_back(bytes.min(self.bytes.get()));
        self.changed.notify_waiters();
    }

    fn give_back(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() - bytes);
        self.shared.free.set(self.shared.free.get() + bytes);
        self.shared.changed.notify_waiters();
    }
}

/// Keeps the room taken until `work` is done, also when its connection is gone by then: messages
/// that wait for a stalled disk must not make room for their own second copies. The work goes on
/// when nobody waits for it.
pub fn hold<T: 'static>(
    budget: Rc<Budget>,
    work: impl Future<Output = T> + 'static,
) -> impl Future<Output = Option<T>> {
    let (done, answer) = tokio::sync::oneshot::channel();
    actix::spawn(async move {
        let answer = work.await;
        drop(budget);
        let _ = done.send(answer); // nobody may wait any more
    });
    async { answer.await.ok() }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.give_back(self.bytes.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn room_is_kept_for_what_is_in_line_after_its_connection_is_gone() {
        let shared = Shared::new(1000);
        let budget = Budget::new(Rc::clone(&shared), Limits { packets: 2, bytes: 600 });
        assert!(budget.try_reserve(400));
        let (stored, disk) = tokio::sync::oneshot::channel::<()>();
        drop(hold(budget, disk)); // the connection is gone
        tokio::task::yield_now().await;
        assert_eq!(shared.free.get(), 600);
        stored.send(()).unwrap();
        tokio::task::yield_now().await;
        assert_eq!(shared.free.get(), 1000);
    }

    #[actix::test]
    async fn a_connection_waits_for_its_own_room_and_for_that_of_all() {
        let shared = Shared::new(1000);
        let limits = Limits { packets: 2, bytes: 600 };
        let (one, other) =
            (Budget::new(Rc::clone(&shared), limits), Budget::new(Rc::clone(&shared), limits));
        assert!(one.try_reserve(900), "the first packet always fits its connection");
        assert!(!one.try_reserve(1), "above its bytes");
        assert!(!other.try_reserve(200), "above the bytes of all");
        let wait = other.reserve(200);
        one.release(900);
        wait.await;
        assert!(other.try_reserve(1) && !other.try_reserve(1), "two packets at most");
        drop(other);
        assert_eq!(shared.free.get(), 1000, "a connection that ends gives all back");
    }
}
