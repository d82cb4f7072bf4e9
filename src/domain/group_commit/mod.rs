//! When a transaction begins: what comes alone is written at once; where much comes, what comes in
//! the next moment is written with it (group commit).
//!
//! Transactions begin `pause` apart. If several appends wait then, the beginning is put off to
//! `longest`, as long as that pays: whoever waits for a PUBACK before it sends more sends nothing
//! meanwhile, so after a delay in which little came none is tried for a while. Ends of rows go with
//! the next appends, if appends came lately: nobody waits for them, and a transaction of their own
//! costs as much as one of messages. What is to be written now (`vital`) keeps nothing waiting.
//!
//! next: `store/writer/inbox.rs`

use std::time::{Duration, Instant};

/// So many appends at least wait, before the beginning is put off.
const SEVERAL: usize = 3;
/// After a delay in which little came, none is tried for so long.
const REST: Duration = Duration::from_millis(50);

/// The times and weights that count.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Transactions begin at least this far apart; the first after a pause begins at once.
    pub pause: Duration,
    /// … or this far, where appends come steadily.
    pub longest: Duration,
    /// Unless so much weight waits, that of ends left out: then at once.
    pub weight: usize,
    /// Ends wait so long for appends to go with, …
    pub hold: Duration,
    /// … if the last ones are not longer ago than this, …
    pub lately: Duration,
    /// … and unless there are so many.
    pub ends: usize,
    /// One transaction takes no more than this.
    pub most: usize,
}

impl Default for Window {
    fn default() -> Self {
        Window {
            pause: Duration::from_micros(500),
            longest: Duration::from_micros(1_000),
            weight: 32,
            hold: Duration::from_millis(2),
            lately: Duration::from_millis(10),
            ends: 512,
            most: 8_192,
        }
    }
}

/// The weight of what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// What is to be written soon.
    pub vital: usize,
    /// Ends of rows, …
    pub ends: usize,
    /// … and since when.
    pub ends_since: Option<Instant>,
    /// What is new.
    pub appends: usize,
}

/// When the next transaction begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Now.
    Now,
    /// Then, unless more comes.
    At(Instant),
    /// When something comes.
    Never,
}

/// See the module documentation.
#[derive(Clone, Debug)]
pub struct GroupCommit {
    window: Window,
    /// When the last transaction began, …
    begun: Option<Instant>,
    /// … and the last one with appends.
    appended: Option<Instant>,
    /// The beginning is put off, and so much of appends waited before.
    put_off: Option<usize>,
    /// It is not put off before.
    rests: Option<Instant>,
}

impl GroupCommit {
    /// Nothing was written yet.
    pub fn new(window: Window) -> Self {
        GroupCommit { window, begun: None, appended: None, put_off: None, rests: None }
    }

    /// The times and weights that count.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// When the first pause after the last transaction is over, if that is to come.
    pub fn pause(&self, now: Instant) -> Option<Instant> {
        self.begun.map(|begun| begun + self.window.pause).filter(|over| now < *over)
    }

    /// When to begin, as things stand.
    pub fn begin(&self, waiting: &Waiting, now: Instant) -> Begin {
        let Waiting { vital, ends, ends_since, appends } = *waiting;
        if vital + ends + appends == 0 {
            return Begin::Never;
        }
        if vital + appends >= self.window.weight || ends >= self.window.ends {
            return Begin::Now;
        }
        let pause = self.pause(now).unwrap_or(now);
        let at = if vital > 0 {
            pause
        } else if appends > 0 {
            let longest = self.begun.map(|begun| begun + self.window.longest);
            longest.filter(|_| pause <= now && self.may_put_off(appends, now)).unwrap_or(pause)
        } else {
            let is_steady =
                self.appended.is_some_and(|at| now.duration_since(at) < self.window.lately);
            let held = ends_since.filter(|_| is_steady).map(|since| since + self.window.hold);
            held.unwrap_or(now).max(pause)
        };
        if at <= now { Begin::Now } else { Begin::At(at) }
    }

    fn may_put_off(&self, appends: usize, now: Instant) -> bool {
        self.put_off.is_some()
            || (appends >= SEVERAL && self.rests.is_none_or(|until| until <= now))
    }

    /// The same, by the one who writes and waits until then.
    pub fn on_wait(&mut self, waiting: &Waiting, now: Instant) -> Begin {
        let begin = self.begin(waiting, now);
        let is_put_off = matches!(begin, Begin::At(_)) && self.pause(now).is_none();
        if is_put_off && waiting.appends > 0 {
            self.put_off.get_or_insert(waiting.appends);
        }
        begin
    }

    /// A transaction begins, with so much weight of appends.
    pub fn on_begun(&mut self, appends: usize, now: Instant) {
        if let Some(before) = self.put_off.take()
            && appends.saturating_sub(before) < before.div_ceil(2)
        {
            self.rests = Some(now + REST);
        }
        if appends > 0 {
            self.appended = Some(now);
        }
        self.begun = Some(now);
    }

    /// The next one begins at once: it is written elsewhere.
    pub fn on_exchanged(&mut self) {
        self.begun = None;
    }
}

#[cfg(test)]
mod tests;
