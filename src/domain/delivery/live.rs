//! Live messages beside a backlog: what is given to senders that owe nothing, while those that are
//! behind are sent what they owe.
//!
//! When a read shows that much more is owed, a *mark* is set at the last offset that there is. From
//! then on rows are sent from two places: the backlog, in order, from where it was read to; and what
//! was stored after the mark, but only of senders that owe nothing up to it (in a priority). These
//! have no row that could be overtaken, so the order of each sender holds. Whoever is behind is
//! read with the backlog, also after the mark; when there is nothing left of that, the mark is gone.
//!
//! Of 100 rows the share goes to live ones while there are any. So between two live rows go at most
//! 100 - share of the backlog, and between two of the backlog at most share live ones. A live row
//! overtakes none of a higher priority than its own that was read, or is about to be.

use super::Position;
use super::position::LAST;
use crate::domain::row::{Offset, Priority};

/// The most that live messages can have: per cent.
pub const MOST_LIVE: u8 = 90;
/// Rows of a turn of both.
const CYCLE: usize = 100;

/// What live messages have of what is sent while there is a backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveShare {
    /// Per cent; 0: all is sent in order of arrival.
    pub percent: u8,
    /// So many more rows that are owed are a backlog.
    pub backlog: u64,
    /// Rows after the mark that may be passed over: a parent that remembers numbers (link.md)
    /// keeps an interval for each. Above it live rows wait.
    pub gaps: usize,
}

impl LiveShare {
    /// Order of arrival.
    pub const NONE: LiveShare = LiveShare::of_percent(0);

    /// Of a setting.
    pub const fn of_percent(percent: u8) -> Self {
        LiveShare { percent, backlog: 200, gaps: 5_000 }
    }

    fn block(self, is_live: bool) -> usize {
        let live = usize::from(self.percent.min(MOST_LIVE));
        if is_live { live } else { CYCLE - live }
    }
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Live {
    share: LiveShare,
    marked: Option<Marked>,
    /// Whose turn it is, and for how many rows.
    is_turn: bool,
    left: usize,
    /// The last read of live rows found none: the backlog is read before the next one, or a store
    /// that takes in more all the time would have live rows looked for all the time.
    yields: bool,
}

#[derive(Debug)]
struct Marked {
    mark: Offset,
    position: Position,
    /// There may be rows that were not read.
    has_news: bool,
    /// Rows that were passed over.
    gaps: usize,
    /// The priority that the backlog is read in.
    reach: Priority,
}

impl Marked {
    fn begin(&mut self) {
        self.position = Position::default();
        self.position.exhaust(self.mark);
        (self.has_news, self.gaps) = (true, 0);
    }
}

impl Live {
    pub(super) fn new(share: LiveShare) -> Self {
        Live { share, marked: None, is_turn: true, left: share.block(true), yields: false }
    }

    /// Whether there may be live rows.
    pub(super) fn has_news(&self) -> bool {
        let marked = self.marked.as_ref();
        marked.is_some_and(|marked| marked.has_news && marked.gaps < self.share.gaps)
    }

    /// Rows of the turn that it is; of others none are sent before.
    pub(super) fn left(&self) -> usize {
        if self.yields { self.share.block(false) } else { self.left }
    }

    /// Whether it is the turn of live rows.
    pub(super) fn is_turn(&self) -> bool {
        self.is_turn && !self.yields
    }

    /// The backlog is read.
    pub(super) fn on_backlog_asked(&mut self) {
        self.yields = false;
    }

    /// From where to read live rows, and up to where their senders must owe nothing.
    pub(super) fn next(&mut self) -> Option<(Position, Offset)> {
        let marked = self.marked.as_mut()?;
        marked.has_news = false;
        let mut from = marked.position.clone();
        for below in marked.reach.0 + 1..=LAST.0 {
            from.raise(Priority(below), Offset(u64::MAX - 1));
        }
        Some((from, marked.mark))
    }

    /// There are rows that were not there before.
    pub(super) fn on_stored(&mut self) {
        if let Some(marked) = &mut self.marked {
            marked.has_news = true;
        }
    }

    /// What was sent may be owed again.
    pub(super) fn rewind(&mut self) {
        if let Some(marked) = &mut self.marked {
            marked.begin();
        }
    }

    /// Live rows were read, or none: then there is nothing up to `read_to`.
    pub(super) fn on_read(&mut self, left_out: usize, is_nothing: bool, read_to: Offset) {
        let Some(marked) = &mut self.marked else { return };
        marked.gaps += left_out;
        self.yields = is_nothing;
        if is_nothing {
            marked.position.exhaust_above(Priority(marked.reach.0 + 1), read_to);
        } else {
            marked.has_news = true;
        }
    }

    /// Where live rows are read.
    pub(super) fn position(&mut self) -> Option<&mut Position> {
        self.marked.as_mut().map(|marked| &mut marked.position)
    }

    /// Rows of the backlog were read: the last one, and the last offset that there was.
    pub(super) fn on_backlog(&mut self, last: Priority, highest: Offset, read_to: Offset) {
        match &mut self.marked {
            Some(marked) if marked.reach != last => {
                marked.reach = last;
                marked.has_news = true;
            }
            Some(_) => {}
            None if self.share.percent == 0 || read_to.0 - highest.0 < self.share.backlog => {}
            None => {
                let position = Position::default();
                let (mark, reach) = (read_to, last);
                let mut marked = Marked { mark, position, has_news: true, gaps: 0, reach };
                marked.begin();
                self.marked = Some(marked);
                (self.is_turn, self.left) = (true, self.share.block(true));
            }
        }
    }

    /// There is nothing left of the backlog, nor after it.
    pub(super) fn on_nothing(&mut self) {
        self.marked = None;
    }

    /// A row was sent. What is sent while it is not its turn, as there is nothing else, is not counted.
    pub(super) fn on_sent(&mut self, is_live: bool) {
        if is_live != self.is_turn {
            return;
        }
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            self.is_turn = !self.is_turn;
            self.left = self.share.block(self.is_turn);
        }
    }
}
