//! Whether a file may be mapped: a file that was cut short is a SIGBUS at the first read of what is
//! missing, LMDB follows whatever a page says, and it looks at none of it (measured).

use std::fs::File;
use std::io;

use super::walk::{Met, Order};
use super::{Bits, Data, Header, Meta, RawFile, Tree, WORD, Walk, leaf_nodes, word};

/// Pages at the end of the file that may be missing: LMDB does not write pages that were both
/// taken and freed within one transaction. They are in its free list, so nobody reads them.
const UNWRITTEN: u64 = 64;

/// A file up to this size is read whole at every look.
const SMALL: u64 = 64 << 20;

/// Why a file must not be mapped.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum BadFile {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// Neither meta page is one.
    #[error("it has no valid LMDB header")]
    NoHeader,
    /// One of them is none, or they are not of two transactions in a row.
    #[error("one of its two headers is damaged")]
    OneHeader,
    /// Pages are missing.
    #[error("it has {found} of {wanted} bytes")]
    Short { found: u64, wanted: u64 },
    /// Its pages do not make sense.
    #[error("{0}")]
    Pages(String),
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Depth {
    /// Length, headers, all branches, the free list: a hundredth of the file, if it is large.
    Quick,
    /// Every page.
    Deep,
}

/// If only pages are missing that may never have been written, the file is made longer, so that it
/// can be mapped without fear.
pub(in crate::store) fn check(file: File, depth: Depth) -> Result<(), BadFile> {
    let found = file.metadata()?.len();
    if found == 0 {
        return Err(BadFile::Empty);
    }
    let to_grow = file.try_clone()?;
    let mut raw = RawFile::open(file)?;
    let (newest, is_certain) = raw.newest();
    let newest = newest.ok_or(BadFile::NoHeader)?;
    let wanted = (newest.last_page.saturating_add(1)).saturating_mul(newest.page_size as u64);
    if found.saturating_add(UNWRITTEN * newest.page_size as u64) < wanted {
        return Err(BadFile::Short { found, wanted });
    }
    if !is_certain {
        return Err(BadFile::OneHeader);
    }
    if found < wanted {
        to_grow.set_len(wanted)?;
    }
    raw.pages = raw.pages.max(newest.last_page + 1);
    let depth = if wanted <= SMALL { Depth::Deep } else { depth };
    match pages(&raw, &newest, depth).into_iter().next() {
        Some(wrong) => Err(BadFile::Pages(wrong)),
        None => Ok(()),
    }
}

fn pages(raw: &RawFile, meta: &Meta, depth: Depth) -> Vec<String> {
    let is_deep = depth == Depth::Deep;
    let mut walk = Walk::new(raw, meta.last_page, true);
    let mut free = Vec::new();
    let met = walk.tree(&meta.free, Order::Numbers, &mut |walk, page| {
        free.extend(free_pages(walk, page));
    });
    compare(&mut walk, "free list", &meta.free, met);
    let mut tables = Vec::new();
    let met = walk.tree(&meta.main, Order::Bytes, &mut |walk, page| {
        for (name, data) in leaf_nodes(page).0 {
            let name = name.escape_ascii().to_string();
            match data {
                Data::Table(record) => match Tree::of(record) {
                    Some(tree) => tables.push((name, tree)),
                    None => walk.note(format!("table `{name}` makes no sense")),
                },
                _ => walk.note(format!("`{name}` is no table")),
            }
        }
    });
    compare(&mut walk, "tables", &meta.main, met);
    walk.is_deep = is_deep;
    for (name, tree) in tables {
        let met = walk.tree(&tree, Order::Bytes, &mut |_, _| {});
        if is_deep {
            compare(&mut walk, &name, &tree, met);
        }
    }
    let mut seen = Bits::new(meta.last_page + 1);
    for page in free {
        let is_inside = (2..=meta.last_page).contains(&page);
        if !is_inside || walk.reached.has(page) || !seen.insert(page) {
            walk.note(format!("page {page} is free, but outside, or in use"));
        }
    }
    walk.wrong
}

/// The free pages that a leaf of the free list names.
pub(in crate::store) fn free_pages(walk: &mut Walk<'_>, page: &[u8]) -> Vec<u64> {
    let mut free = Vec::new();
    for (_, data) in leaf_nodes(page).0 {
        let long;
        let list = match data {
            Data::Here(list) => list,
            Data::Elsewhere(first, length) => {
                long = walk.file.overflow(first, length).unwrap_or_default().0;
                &long[..]
            }
            Data::Table(_) => &[],
        };
        let count = word(list, 0);
        if count > (list.len() / WORD).saturating_sub(1) as u64 {
            walk.note("the free list makes no sense".into());
            continue;
        }
        let numbers =
            (1..=usize::try_from(count).unwrap_or_default()).map(|n| word(list, n * WORD));
        free.extend(numbers);
    }
    free
}

fn compare(walk: &mut Walk<'_>, name: &str, tree: &Tree, met: Met) {
    let counted = Met {
        branches: tree.branches,
        leaves: tree.leaves,
        overflows: tree.overflows,
        entries: tree.entries,
    };
    if counted != met {
        walk.note(format!("`{name}` is counted as {counted:?}, and is {met:?}"));
    }
}

/// Whether a page, wherever it was found, may be a leaf.
pub(in crate::store) fn is_leaf(page: &[u8], number: u64) -> bool {
    let header = Header::of(page);
    header.number == number && header.is_leaf()
}
