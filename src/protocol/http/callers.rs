//! Whose connections a unix socket has: a user who opens many takes no room from the others.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Users, and how many connections each has.
#[derive(Clone, Debug)]
pub(super) struct Callers {
    each: usize,
    all: usize,
    here: Rc<RefCell<BTreeMap<u32, usize>>>,
}

/// A connection of a user; ends when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    user: u32,
    here: Rc<RefCell<BTreeMap<u32, usize>>>,
}

impl Callers {
    /// So many of each, and of all of them.
    pub(super) fn new(each: usize, all: usize) -> Self {
        Callers { each, all, here: Rc::default() }
    }

    /// One more. Who has none yet is always let in: users are few.
    pub(super) fn enter(&self, user: u32) -> Option<Seat> {
        let mut here = self.here.borrow_mut();
        let all: usize = here.values().sum();
        let own = here.get(&user).copied().unwrap_or_default();
        if own >= self.each || (own > 0 && all >= self.all) {
            return None;
        }
        here.insert(user, own + 1);
        Some(Seat { user, here: Rc::clone(&self.here) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut here = self.here.borrow_mut();
        match here.get_mut(&self.user) {
            Some(own) if *own > 1 => *own -= 1,
            _ => _ = here.remove(&self.user),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_who_opens_many_takes_no_room_from_the_others() {
        let callers = Callers::new(3, 5);
        let mut greedy: Vec<_> = (0..10).filter_map(|_| callers.enter(1)).collect();
        assert_eq!(greedy.len(), 3);
        let second: Vec<_> = (0..10).filter_map(|_| callers.enter(2)).collect();
        assert_eq!(second.len(), 2, "five of all");
        let root = callers.enter(0);
        assert!(root.is_some() && callers.enter(0).is_none(), "who has none gets one");
        drop((second, root));
        greedy.pop();
        assert!(callers.enter(1).is_some());
        drop(greedy);
        assert!(callers.here.borrow().is_empty(), "nothing is kept");
    }
}
