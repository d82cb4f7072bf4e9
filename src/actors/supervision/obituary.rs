//! Tells a supervisor that a child is gone, whichever way it went.
//!
//! `actix::Supervisor` neither restarts an actor that panicked nor tells anyone why it stopped.
//! An actor that owns an [`Obituary`] needs neither: Rust drops it on stop and on unwind alike.

use std::cell::RefCell;
use std::fmt::Display;
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
    path: String,
    child: String,
    birth: u64,
    exit: Exit,
    why: String,
    supervisor: Option<Recipient<ChildExited>>,
}

impl Obituary {
    /// Prepares the notice for the `birth`-th start of `child`, which is below the actor at the
    /// path `above` (empty: it is the root).
    pub fn new(above: &str, child: &str, birth: u64, supervisor: Recipient<ChildExited>) -> Self {
        let (path, child) = (below(above, child), child.to_owned());
        let (exit, why, supervisor) = (Exit::Normal, String::new(), Some(supervisor));
        Obituary { path, child, birth, exit, why, supervisor }
    }

    /// Where in the tree its actor is, from the root on.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// For an actor that nobody restarts (tests, tools).
    pub fn unsupervised() -> Self {
        let (path, child, why) = (String::new(), String::new(), String::new());
        Obituary { path, child, birth: 0, exit: Exit::Normal, why, supervisor: None }
    }

    /// Notes that the actor is about to stop because of an error.
    pub fn failed(&mut self, why: impl Display) {
        self.ended(Exit::Failed, why);
    }

    /// Notes how the actor is about to stop.
    pub fn ended(&mut self, exit: Exit, why: impl Display) {
        self.exit = exit;
        self.why = why.to_string();
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
            (self.exit, self.why) = (Exit::Panicked, LAST_PANIC.with(RefCell::take));
        }
    }
}

impl Drop for Obituary {
    fn drop(&mut self) {
        let Some(supervisor) = self.supervisor.take() else { return };
        self.note_panic();
        let (exit, why) = (self.exit, std::mem::take(&mut self.why));
        let child = std::mem::take(&mut self.child);
        supervisor.do_send(ChildExited { child, birth: self.birth, exit, why }); // once per life
    }
}
