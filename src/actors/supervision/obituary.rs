//! Tells a supervisor that a child is gone, whichever way it went.
//!
//! `actix::Supervisor` neither restarts an actor that panicked nor tells anyone why it stopped.
//! An actor that owns an [`Obituary`] needs neither: Rust drops it on stop and on unwind alike.

use std::cell::RefCell;
use std::fmt::Display;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::Recipient;

use crate::domain::restart::Exit;
use crate::messages::supervision::ChildExited;

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Panics in this process so far; none should ever be.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps what a panic said, for the obituary of the actor that dies of it. Once per process.
pub fn remember_panics() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        LAST_PANIC.with(|last| *last.borrow_mut() = info.to_string().replace('\n', " "));
        hook(info);
    }));
}

/// Held by a supervised actor for as long as it lives.
#[derive(Debug)]
pub struct Obituary {
    above: Rc<str>,
    child: Box<str>,
    birth: u64,
    /// How it ends, if not as it should.
    end: Option<Box<(Exit, String)>>,
    supervisor: Option<Rc<Recipient<ChildExited>>>,
}

impl Obituary {
    /// Prepares the notice for the `birth`-th start of `child`, which is below the actor at the
    /// path `above` (empty: it is the root). Who has many children shares both.
    pub fn new(
        above: impl Into<Rc<str>>,
        child: &str,
        birth: u64,
        supervisor: impl Into<Rc<Recipient<ChildExited>>>,
    ) -> Self {
        let (above, supervisor) = (above.into(), Some(supervisor.into()));
        Obituary { above, child: child.into(), birth, end: None, supervisor }
    }

    /// Where in the tree its actor is, from the root on.
    pub fn path(&self) -> String {
        below(&self.above, &self.child)
    }

    /// For an actor that nobody restarts (tests, tools).
    pub fn unsupervised() -> Self {
        Obituary { above: "".into(), child: "".into(), birth: 0, end: None, supervisor: None }
    }

    /// Notes that the actor is about to stop because of an error.
    pub fn failed(&mut self, why: impl Display) {
        self.ended(Exit::Failed, why);
    }

    /// Notes how the actor is about to stop.
    pub fn ended(&mut self, exit: Exit, why: impl Display) {
        self.end = Some(Box::new((exit, why.to_string())));
    }
}

/// The path of a child.
pub(super) fn below(above: &str, child: &str) -> String {
    if above.is_empty() { child.to_owned() } else { format!("{above}/{child}") }
}

impl Obituary {
    /// Keeps a panic that is under way: the notice may be sent later.
    pub(super) fn note_panic(&mut self) {
        if std::thread::panicking() {
            self.ended(Exit::Panicked, LAST_PANIC.with(RefCell::take));
        }
    }
}

impl Drop for Obituary {
    fn drop(&mut self) {
        let Some(supervisor) = self.supervisor.take() else { return };
        self.note_panic();
        let (exit, why) = self.end.take().map_or((Exit::Normal, String::new()), |end| *end);
        let child = std::mem::take(&mut self.child).into_string();
        supervisor.do_send(ChildExited { child, birth: self.birth, exit, why }); // once per life
    }
}
