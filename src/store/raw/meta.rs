//! The two meta pages: they take turns, and the one with the higher transaction is in force.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::page::{Header, PAGE_HEADER};
use super::{WORD, u16_at, u32_at, word};

const MAGIC: u32 = 0xBEEF_C0DE;
const VERSION: u32 = 1;
/// As in `MDB_meta`: magic, version, address, map size, two `MDB_db`, last page, transaction.
const TREES: usize = 8 + 2 * WORD;
/// As in `MDB_db`: page size, flags, depth, branch, leaf and overflow pages, entries, root.
pub(super) const TREE: usize = 8 + 5 * WORD;
const LAST_PAGE: usize = TREES + 2 * TREE;
const TRANSACTION: usize = LAST_PAGE + WORD;
const META: usize = TRANSACTION + WORD;
/// The root of a tree with nothing in it.
const NOTHING: u64 = usize::MAX as u64;
/// LMDB goes no deeper.
const DEEPEST: u16 = 32;

/// What a meta page says.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Meta {
    pub(in crate::store) page_size: usize,
    pub(in crate::store) last_page: u64,
    pub(in crate::store) transaction: u64,
    /// Transactions and the pages that they freed.
    pub(in crate::store) free: Tree,
    /// Names of tables and their trees.
    pub(in crate::store) main: Tree,
}

/// A tree, as its record says.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Tree {
    pub(in crate::store) depth: u16,
    pub(in crate::store) branches: u64,
    pub(in crate::store) leaves: u64,
    pub(in crate::store) overflows: u64,
    pub(in crate::store) entries: u64,
    /// `None`: there is nothing in it.
    pub(in crate::store) root: Option<u64>,
}

impl Tree {
    /// `None`: it makes no sense.
    pub(in crate::store) fn of(record: &[u8]) -> Option<Self> {
        if record.len() != TREE {
            return None;
        }
        let root = Some(word(record, 8 + 4 * WORD)).filter(|root| *root != NOTHING);
        let depth = u16_at(record, 6);
        let tree = Tree {
            depth,
            branches: word(record, 8),
            leaves: word(record, 8 + WORD),
            overflows: word(record, 8 + 2 * WORD),
            entries: word(record, 8 + 3 * WORD),
            root,
        };
        (depth <= DEEPEST && root.is_none_or(|root| root >= 2 && depth > 0)).then_some(tree)
    }
}

/// Both, as far as they are ones.
pub(super) fn both(file: &File) -> [Option<Meta>; 2] {
    let first = meta(file, 0, 0);
    let sizes = (9..=16).map(|bits| 1_usize << bits);
    let second = match first {
        Some(first) => meta(file, 1, first.page_size),
        None => sizes
            .into_iter()
            .find_map(|size| meta(file, 1, size).filter(|meta| meta.page_size == size)),
    };
    [first, second.filter(|it| first.is_none_or(|first| first.page_size == it.page_size))]
}

fn meta(file: &File, number: u64, at: usize) -> Option<Meta> {
    let mut bytes = [0; PAGE_HEADER + META];
    file.read_exact_at(&mut bytes, at as u64).ok()?;
    let header = Header::of(&bytes);
    let bytes = &bytes[PAGE_HEADER..];
    let page_size = u32_at(bytes, TREES) as usize;
    let transaction = word(bytes, TRANSACTION);
    let is_meta = header.number == number
        && header.is_meta()
        && u32_at(bytes, 0) == MAGIC
        && u32_at(bytes, 4) == VERSION
        && page_size.is_power_of_two()
        && (512..=65_536).contains(&page_size)
        && (transaction == 0 || transaction % 2 == number);
    let free = Tree::of(&bytes[TREES..TREES + TREE])?;
    let main = Tree::of(&bytes[TREES + TREE..LAST_PAGE])?;
    let last_page = word(bytes, LAST_PAGE);
    is_meta.then_some(Meta { page_size, last_page, transaction, free, main })
}
