//! Gets out of a damaged file every value whose checksum holds.
//!
//! First along the trees; then page by page, what no tree leads to any more. Of such a page it is
//! not known whether it was lost or given up: if the list of free pages names it, it was given up,
//! and what is on it is *older* than what is in force.

use crate::store::raw::{
    Bits, Data, Header, Meta, NOTES, Order, RawFile, Tree, Walk, free_pages, is_leaf, leaf_nodes,
};
use crate::store::value;

/// Where a value was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// In its tree.
    Live,
    /// On a page that no tree leads to, and that is not known to be free.
    Lost,
    /// On a page that is free: it may be of an earlier time.
    Older,
    /// As before, but it is not certain which transaction was the last: it may be of a later time.
    Uncertain,
}

/// What was met that is of no use.
#[derive(Clone, Debug, Default)]
pub(super) struct Unusable {
    /// Values with a wrong checksum, in a tree.
    pub(super) values: Vec<(&'static str, u64)>,
    /// What is wrong with the trees; the first few.
    pub(super) wrong: Vec<String>,
    /// Pages that were looked through without a tree leading there.
    pub(super) loose_pages: u64,
    /// Whether it is certain which transaction was the last.
    pub(super) is_last_certain: bool,
}

/// Takes a table, a key, and a value with its frame.
pub(super) type Take<'t, E> = dyn FnMut(Origin, &'static str, &[u8], &[u8]) -> Result<(), E> + 't;

/// See the module documentation. `tables`: all that there may be.
pub(super) fn extract<E>(
    raw: &RawFile,
    tables: &[&'static str],
    take: &mut Take<'_, E>,
) -> Result<Unusable, E> {
    let (newest, is_certain) = best(raw);
    let last_page = match newest {
        Some(meta) if is_certain => meta.last_page,
        _ => raw.pages, // what lies behind may be of the last transaction
    };
    let mut walk = Walk::new(raw, last_page, true);
    let mut unusable = Unusable::default();
    let mut free = Bits::new(raw.pages);
    let (mut result, mut of_free) = (Ok(()), 0);
    if let Some(meta) = newest {
        walk.tree(&meta.free, Order::Numbers, &mut |walk, page| {
            for page in free_pages(walk, page) {
                free.insert(page);
            }
        });
        (of_free, walk.has_lost) = (walk.wrong.len(), false); // so far it is the free list only
        for (name, tree) in trees(&mut walk, &meta) {
            let Some(name) = tables.iter().find(|table| table.as_bytes() == name) else { continue };
            let mut damaged = 0;
            walk.tree(&tree, Order::Bytes, &mut |walk, page| {
                if result.is_ok() {
                    let from = (Origin::Live, Some(*name));
                    result = sound(walk.file, page, from, tables, &mut damaged, take);
                }
            });
            unusable.values.push((name, damaged));
        }
    }
    result?;
    // If every branch is whole nothing was lost, and what no tree leads to was given up; else only
    // the free list tells, and it has no checksum.
    let has_lost = walk.has_lost || newest.is_none();
    // Within a page, too, what was given up is told from what is in force by its head only.
    let has_damaged_pages = walk.wrong.len() > of_free || of_free >= NOTES;
    unusable.is_last_certain = is_certain && !has_lost && !has_damaged_pages;
    let mut page = Vec::new();
    let mut skip_to = 2;
    for number in 2..raw.pages.min(last_page.saturating_add(1)) {
        if number < skip_to || walk.reached.has(number) || !raw.read(number, &mut page) {
            continue;
        }
        let header = Header::of(&page);
        if header.number == number && header.is_overflow() {
            // Bodies may have anything in them, also what looks like a page.
            skip_to = number.saturating_add(header.run());
        } else if is_leaf(&page, number) {
            let is_free = free.has(number) || !has_lost;
            let origin = match (is_free, is_certain) {
                (false, _) => Origin::Lost,
                (true, true) => Origin::Older,
                (true, false) => Origin::Uncertain,
            };
            unusable.loose_pages += 1;
            sound(raw, &page, (origin, None), tables, &mut 0, take)?;
        }
    }
    unusable.wrong = walk.wrong;
    Ok(unusable)
}

/// The meta page to go by: the newest whose trees begin with pages that are such.
fn best(raw: &RawFile) -> (Option<Meta>, bool) {
    let (newest, is_certain) = raw.newest();
    let mut page = Vec::new();
    let mut is_good = |meta: &Meta| {
        [meta.free, meta.main].iter().all(|tree| match tree.root {
            None => true,
            Some(root) => {
                let is_read = raw.read(root, &mut page);
                let header = Header::of(&page);
                let is_kind = if tree.depth > 1 { header.is_branch() } else { header.is_leaf() };
                is_read && header.number == root && is_kind
            }
        })
    };
    match newest {
        Some(meta) if is_certain && is_good(&meta) => (newest, true),
        _ => {
            let mut metas: Vec<Meta> = raw.metas.iter().flatten().copied().collect();
            metas.sort_by_key(|meta| std::cmp::Reverse(meta.transaction));
            let good = metas.iter().find(|meta| is_good(meta)).or(metas.first());
            (good.copied(), false)
        }
    }
}

fn trees(walk: &mut Walk<'_>, meta: &Meta) -> Vec<(Vec<u8>, Tree)> {
    let mut trees = Vec::new();
    let before = walk.wrong.len();
    walk.tree(&meta.main, Order::Bytes, &mut |_, page| {
        for (name, data) in leaf_nodes(page).0 {
            let tree = match data {
                Data::Table(record) => Tree::of(record),
                _ => None,
            };
            trees.extend(tree.map(|tree| (name.to_vec(), tree)));
        }
    });
    walk.has_lost |= walk.wrong.len() > before;
    trees
}

/// Gives what is sound on a leaf to `take`; of a page that no tree leads to, whichever table it is
/// of.
fn sound<E>(
    raw: &RawFile,
    page: &[u8],
    (origin, table): (Origin, Option<&'static str>),
    tables: &[&'static str],
    damaged: &mut u64,
    take: &mut Take<'_, E>,
) -> Result<(), E> {
    for (key, data) in leaf_nodes(page).0 {
        let long;
        let value = match data {
            Data::Here(value) => value,
            Data::Elsewhere(first, length) => {
                long = raw.overflow(first, length).unwrap_or_default().0;
                &long[..]
            }
            Data::Table(_) => continue,
        };
        let is_of = |table: &&&'static str| value::is_whole(table, key, value);
        let found = match table {
            Some(table) => Some(table).filter(|table| is_of(&table)),
            None => tables.iter().find(is_of).copied(),
        };
        match found {
            Some(table) => take(origin, table, key, value)?,
            None => *damaged += 1,
        }
    }
    Ok(())
}
