//! What is on a page: its header, and the nodes of a branch or a leaf.

use super::{LONGEST_VALUE, WORD, u16_at, u32_at, word};

/// As in `MDB_page`: number, padding, flags, lower, upper.
pub(in crate::store) const PAGE_HEADER: usize = WORD + 8;
/// As in `MDB_node`: size (or, with its flags, a page), flags, length of the key.
const NODE_HEADER: usize = 8;

const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const OVERFLOW: u16 = 4;
const META: u16 = 8;
const BIG: u16 = 1;
const TABLE: u16 = 2;

/// The head of a page.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Header {
    pub(in crate::store) number: u64,
    flags: u16,
    lower: u16,
    upper: u16,
    run: u32,
}

impl Header {
    pub(in crate::store) fn of(page: &[u8]) -> Self {
        Header {
            number: word(page, 0),
            flags: u16_at(page, WORD + 2),
            lower: u16_at(page, WORD + 4),
            upper: u16_at(page, WORD + 6),
            run: u32_at(page, WORD + 4),
        }
    }

    pub(in crate::store) fn is_branch(self) -> bool {
        self.flags == BRANCH
    }

    pub(in crate::store) fn is_leaf(self) -> bool {
        self.flags == LEAF
    }

    pub(in crate::store) fn is_overflow(self) -> bool {
        self.flags == OVERFLOW
    }

    pub(in crate::store) fn is_meta(self) -> bool {
        self.flags & META != 0
    }

    /// Pages in a row, of an overflow page.
    pub(in crate::store) fn run(self) -> u64 {
        u64::from(self.run)
    }

    /// Whether its bounds are such as a page of this size has.
    pub(super) fn is_sound(self, size: usize) -> bool {
        let (lower, upper) = (usize::from(self.lower), usize::from(self.upper));
        lower >= PAGE_HEADER && lower <= upper && upper <= size && lower % 2 == 0
    }
}

/// The value of a node.
pub(in crate::store) enum Data<'p> {
    /// Here it is.
    Here(&'p [u8]),
    /// On pages of its own: the first, and its length.
    Elsewhere(u64, usize),
    /// The record of a table.
    Table(&'p [u8]),
}

/// Where the nodes of a page begin, for as long as that makes sense; and whether all of it did. The
/// header is not needed for it: nodes lie behind the list of their places.
fn places(page: &[u8]) -> (Vec<usize>, bool) {
    let header = Header::of(page);
    let is_sound = header.is_sound(page.len());
    let end = if is_sound { usize::from(header.lower) } else { page.len() };
    let (mut places, mut is_whole, mut first) = (Vec::new(), is_sound, page.len());
    let mut at = PAGE_HEADER;
    while at + 2 <= end.min(first) {
        let place = usize::from(u16_at(page, at));
        let floor = if is_sound { usize::from(header.upper) } else { at + 2 };
        if place >= floor && place + NODE_HEADER <= page.len() && place % 2 == 0 {
            first = first.min(place);
            places.push(place);
        } else {
            is_whole = false;
        }
        at += 2;
    }
    (places, is_whole && at == end)
}

/// Keys and values of a leaf, in order; and whether all of it makes sense.
pub(in crate::store) fn leaf_nodes(page: &[u8]) -> (Vec<(&[u8], Data<'_>)>, bool) {
    let (places, mut is_whole) = places(page);
    let mut nodes = Vec::with_capacity(places.len());
    for at in places {
        match leaf_node(page, at) {
            Some(node) => nodes.push(node),
            None => is_whole = false,
        }
    }
    (nodes, is_whole)
}

fn leaf_node(page: &[u8], at: usize) -> Option<(&[u8], Data<'_>)> {
    let node = page.get(at..)?;
    let (length, flags) = (u32_at(node, 0) as usize, u16_at(node, 4));
    let (key, rest) = key(node)?;
    let data = match flags {
        BIG if length <= LONGEST_VALUE => Data::Elsewhere(word(rest.get(..WORD)?, 0), length),
        TABLE => Data::Table(rest.get(..length)?),
        0 => Data::Here(rest.get(..length)?),
        _ => return None,
    };
    Some((key, data))
}

/// Keys and pages of a branch, in order; and whether all of it makes sense.
pub(super) fn branch_nodes(page: &[u8]) -> (Vec<(&[u8], u64)>, bool) {
    let (places, mut is_whole) = places(page);
    let mut nodes = Vec::with_capacity(places.len());
    for at in places {
        let node = page.get(at..).and_then(|node| Some((node, key(node)?.0)));
        let Some((node, key)) = node else {
            is_whole = false;
            continue;
        };
        let high = if WORD == 8 { u64::from(u16_at(node, 4)) << 32 } else { 0 };
        nodes.push((key, u64::from(u32_at(node, 0)) | high));
    }
    (nodes, is_whole)
}

/// The key of a node, and what follows it.
fn key(node: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(u16_at(node, 6));
    node.get(NODE_HEADER..)?.split_at_checked(length)
}
