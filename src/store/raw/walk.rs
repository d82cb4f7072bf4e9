//! Goes through a tree from its root, page by page, and never over a page twice.

use super::page::{Header, branch_nodes};
use super::{Data, RawFile, Tree, leaf_nodes};

/// Things that are wrong, noted at most.
pub(in crate::store) const NOTES: usize = 10;

/// A set of page numbers.
pub(in crate::store) struct Bits(Vec<u64>);

impl Bits {
    pub(in crate::store) fn new(pages: u64) -> Self {
        Bits(vec![0; usize::try_from(pages / 64 + 1).unwrap_or_default()])
    }

    /// Whether it was not in it before. A number that is too large is taken for one that was.
    pub(in crate::store) fn insert(&mut self, page: u64) -> bool {
        let at = usize::try_from(page / 64).unwrap_or(usize::MAX);
        let Some(word) = self.0.get_mut(at) else { return false };
        let bit = 1 << (page % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    pub(in crate::store) fn has(&self, page: u64) -> bool {
        let at = usize::try_from(page / 64).unwrap_or(usize::MAX);
        self.0.get(at).is_some_and(|word| word & (1 << (page % 64)) != 0)
    }
}

/// How keys are ordered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Order {
    Bytes,
    /// Of the tree of free pages.
    Numbers,
}

impl Order {
    fn is_before(self, one: &[u8], other: &[u8]) -> bool {
        match self {
            Order::Bytes => one < other,
            Order::Numbers => super::word(one, 0) < super::word(other, 0),
        }
    }
}

/// Pages of a tree that were met, by kind, and its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Met {
    pub(in crate::store) branches: u64,
    pub(in crate::store) leaves: u64,
    pub(in crate::store) overflows: u64,
    pub(in crate::store) entries: u64,
}

/// A page that is to be visited: its height above the leaves, and the keys it may have.
struct Stop {
    page: u64,
    height: u16,
    from: Option<Vec<u8>>,
    to: Option<Vec<u8>>,
}

/// See the module documentation.
pub(in crate::store) struct Walk<'f> {
    pub(in crate::store) file: &'f RawFile,
    /// Pages that belong to some tree.
    pub(in crate::store) reached: Bits,
    /// No page above this may be used.
    pub(in crate::store) last_page: u64,
    /// Whether leaves are read too.
    pub(in crate::store) is_deep: bool,
    /// The first things that are wrong.
    pub(in crate::store) wrong: Vec<String>,
    /// There may be pages of a tree to which nothing leads any more.
    pub(in crate::store) has_lost: bool,
}

impl<'f> Walk<'f> {
    pub(in crate::store) fn new(file: &'f RawFile, last_page: u64, is_deep: bool) -> Self {
        let pages = file.pages.min(last_page.saturating_add(1));
        Walk {
            file,
            reached: Bits::new(pages),
            last_page,
            is_deep,
            wrong: Vec::new(),
            has_lost: false,
        }
    }

    pub(in crate::store) fn note(&mut self, what: String) {
        if self.wrong.len() < NOTES {
            self.wrong.push(what);
        }
    }

    /// Takes a page as one of a tree. `false`: it cannot be, or it is one already.
    pub(in crate::store) fn claim(&mut self, page: u64) -> bool {
        let is_inside = (2..=self.last_page).contains(&page) && page < self.file.pages;
        if !is_inside || !self.reached.insert(page) {
            self.note(format!("page {page} is outside, or in two places"));
            self.has_lost = true;
            return false;
        }
        true
    }

    /// Visits the pages of a tree in order of keys and gives each leaf, with the pages of its long
    /// values claimed, to `on_leaf`. What cannot be read, or makes no sense, is noted and passed.
    pub(in crate::store) fn tree(
        &mut self,
        tree: &Tree,
        order: Order,
        on_leaf: &mut dyn FnMut(&mut Self, &[u8]),
    ) -> Met {
        let (mut met, mut page) = (Met::default(), Vec::new());
        let Some(root) = tree.root else { return met };
        let mut stops = Vec::new();
        if self.claim(root) {
            stops.push(Stop { page: root, height: tree.depth - 1, from: None, to: None });
        }
        while let Some(stop) = stops.pop() {
            if stop.height == 0 {
                met.leaves += 1;
                if self.is_deep || stop.page == root {
                    self.leaf(&stop, order, &mut page, &mut met, on_leaf);
                }
                continue;
            }
            met.branches += 1;
            let before = self.wrong.len();
            if !self.read(&stop, &mut page, Header::is_branch) {
                self.has_lost = true;
                continue;
            }
            let (nodes, is_whole) = branch_nodes(&page);
            if !is_whole || nodes.is_empty() {
                self.note(format!("branch page {} is damaged", stop.page));
            }
            self.has_lost |= self.wrong.len() > before || !is_whole || before >= NOTES;
            let children = nodes.len();
            for (n, (key, child)) in nodes.iter().enumerate().rev() {
                // The first key of a branch stands for all that is below the second.
                let from = if n == 0 { stop.from.clone() } else { Some(key.to_vec()) };
                let next = nodes.get(n + 1).map(|(key, _)| key.to_vec());
                let to = if n + 1 == children { stop.to.clone() } else { next };
                let is_ordered = match (&from, &to) {
                    (Some(from), Some(to)) => order.is_before(from, to),
                    _ => true,
                };
                if !is_ordered {
                    self.note(format!("branch page {} is out of order", stop.page));
                }
                if self.claim(*child) {
                    stops.push(Stop { page: *child, height: stop.height - 1, from, to });
                }
            }
        }
        met
    }

    fn leaf(
        &mut self,
        stop: &Stop,
        order: Order,
        page: &mut Vec<u8>,
        met: &mut Met,
        on_leaf: &mut dyn FnMut(&mut Self, &[u8]),
    ) {
        if !self.read(stop, page, Header::is_leaf) {
            return;
        }
        let (nodes, mut is_whole) = leaf_nodes(page);
        met.entries += nodes.len() as u64;
        let mut last = stop.from.as_deref();
        for (n, (key, data)) in nodes.iter().enumerate() {
            let is_first = n == 0;
            let is_after = last.is_none_or(|last| match is_first {
                true => !order.is_before(key, last),
                false => order.is_before(last, key),
            });
            is_whole &= is_after && !key.is_empty();
            last = Some(key);
            if let Data::Elsewhere(first, length) = data {
                match self.file.overflow_pages(*first, *length) {
                    Some(pages) => {
                        met.overflows += pages;
                        let claimed = (*first..first + pages).filter(|page| self.claim(*page));
                        is_whole &= claimed.count() as u64 == pages;
                    }
                    None => is_whole = false,
                }
            }
        }
        let is_below = match (last, stop.to.as_deref()) {
            (Some(last), Some(to)) => order.is_before(last, to),
            _ => true,
        };
        if !is_whole || !is_below {
            self.note(format!("leaf page {} is damaged", stop.page));
        }
        on_leaf(self, page);
    }

    /// Reads a page of the kind that it must be of. One that says otherwise is noted, and used as
    /// far as it makes sense.
    fn read(&mut self, stop: &Stop, page: &mut Vec<u8>, is_kind: fn(Header) -> bool) -> bool {
        if !self.file.read(stop.page, page) {
            self.note(format!("page {} cannot be read", stop.page));
            return false;
        }
        let header = Header::of(page);
        if header.number != stop.page || !is_kind(header) {
            self.note(format!("page {} says that it is another", stop.page));
        }
        true
    }
}
