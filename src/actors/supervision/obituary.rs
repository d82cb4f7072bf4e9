//! Tells a supervisor that a child is gone, whichever way it went.
//!
//! `actix::Supervisor` neither restarts an actor that panicked nor tells anyone why it stopped.
//! An actor that owns an [`Obituary`] needs neither: Rust drops it on stop and on unwind alike.

use std::cell::RefCell;
use std::fmt::Display;

use actix::Recipient;

use crate::domain::restart::Exit;
use crate::messages::supervision::ChildExited;

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps what a panic said, for the obituary of the actor that dies of it. Once per process.
pub fn remember_panics() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        LAST_PANIC.with(|last| *last.borrow_mut() = info.to_string().replace('\n', " "));
        hook(info);
    }));
}

/// Held by a supervised actor for as long as it lives.
#[derive(Debug)]
pub struct Obituary {
    child: String,
    birth: u64,
    exit: Exit,
    why: String,
    supervisor: Option<Recipient<ChildExited>>,
}

impl Obituary {
    /// Prepares the notice for the `birth`-th start of `child`.
    pub fn new(child: &str, birth: u64, supervisor: Recipient<ChildExited>) -> Self {
        let supervisor = Some(supervisor);
        Obituary { child: child.into(), birth, exit: Exit::Normal, why: String::new(), supervisor }
    }

    /// For an actor that nobody restarts (tests, tools).
    pub fn unsupervised() -> Self {
        let (child, why) = (String::new(), String::new());
        Obituary { child, birth: 0, exit: Exit::Normal, why, supervisor: None }
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

impl Drop for Obituary {
    fn drop(&mut self) {
        let Some(supervisor) = self.supervisor.take() else { return };
        let (exit, why) = if std::thread::panicking() {
            (Exit::Panicked, LAST_PANIC.with(RefCell::take))
        } else {
            (self.exit, std::mem::take(&mut self.why))
        };
        let child = std::mem::take(&mut self.child);
        supervisor.do_send(ChildExited { child, birth: self.birth, exit, why }); // once per life
    }
}
