//! Reads an LMDB file as bytes, without mapping it: nothing that is in it can kill the reader.
//!
//! Whatever a page says is checked before it is used, and no page is visited twice, so a damaged
//! file costs time in proportion to its length at most. `check.rs` says whether a file may be
//! mapped; `store/salvage/` gets out of it what is whole.
//!
//! next: `meta.rs`, `page.rs`, `walk.rs`

mod check;
mod meta;
mod page;
mod walk;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

pub(super) use self::check::{BadFile, Depth, check, free_pages, is_leaf};
pub(super) use self::meta::{Meta, Tree};
pub(super) use self::page::{Data, Header, PAGE_HEADER, leaf_nodes};
pub(super) use self::walk::{Bits, NOTES, Order, Walk};

/// Bytes of a number in the file.
const WORD: usize = size_of::<usize>();
/// A value of this length is believed to be one.
const LONGEST_VALUE: usize = 64 << 20;
const USUAL_PAGE: usize = 4_096;

/// See the module documentation.
pub(super) struct RawFile {
    file: File,
    pub(super) page_size: usize,
    /// Whole pages that the file has.
    pub(super) pages: u64,
    /// Both meta pages, as far as they are ones.
    pub(super) metas: [Option<Meta>; 2],
}

impl RawFile {
    /// Reads the meta pages; with neither of them the usual size of a page is assumed.
    pub(super) fn open(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let metas = meta::both(&file);
        let known = metas.iter().flatten().next().map(|meta| meta.page_size);
        let page_size = known.unwrap_or(USUAL_PAGE);
        Ok(RawFile { file, page_size, pages: length / page_size as u64, metas })
    }

    /// The meta page of the last transaction; and whether that is certain: with one damaged, the
    /// last transaction may be the one that it told of.
    pub(super) fn newest(&self) -> (Option<Meta>, bool) {
        match self.metas {
            [Some(even), Some(odd)] => {
                let newest = if odd.transaction > even.transaction { odd } else { even };
                let apart = even.transaction.abs_diff(odd.transaction);
                let is_new = even.transaction == 0 && odd.transaction == 0;
                (Some(newest), apart == 1 || is_new)
            }
            [one, other] => (one.or(other), false),
        }
    }

    /// One page. `false`: it is not there, or the device does not give it.
    pub(super) fn read(&self, page: u64, into: &mut Vec<u8>) -> bool {
        into.resize(self.page_size, 0);
        let at = page.checked_mul(self.page_size as u64);
        at.is_some_and(|at| self.file.read_exact_at(into, at).is_ok())
    }

    /// A value that lies on pages of its own, if its first page says so too; and how many it has.
    pub(super) fn overflow(&self, page: u64, length: usize) -> Option<(Vec<u8>, u64)> {
        let pages = self.overflow_pages(page, length)?;
        let mut value = vec![0; length];
        let at = page * self.page_size as u64 + PAGE_HEADER as u64;
        self.file.read_exact_at(&mut value, at).ok()?;
        Some((value, pages))
    }

    /// The pages that a value of this length has, if the first of them is there and says the same.
    pub(super) fn overflow_pages(&self, page: u64, length: usize) -> Option<u64> {
        let pages = ((length.checked_add(PAGE_HEADER)?).div_ceil(self.page_size)) as u64;
        let is_inside = page >= 2 && page.checked_add(pages)? <= self.pages;
        if length > LONGEST_VALUE || !is_inside {
            return None;
        }
        let mut head = [0; PAGE_HEADER];
        self.file.read_exact_at(&mut head, page * self.page_size as u64).ok()?;
        let header = Header::of(&head);
        let is_one = header.number == page && header.is_overflow() && header.run() == pages;
        is_one.then_some(pages)
    }
}

/// Bytes up to the last page in use.
pub(super) fn used(file: &File) -> io::Result<u64> {
    let raw = RawFile::open(file.try_clone()?)?;
    let newest = raw.newest().0.ok_or_else(|| io::Error::other(BadFile::NoHeader))?;
    Ok((newest.last_page + 1) * newest.page_size as u64)
}

/// A number of the machine's width at `at`, or 0 behind the end.
fn word(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes.get(at..at + WORD).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, |bytes| usize::from_ne_bytes(bytes) as u64)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u32::from_ne_bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let bytes = bytes.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u16::from_ne_bytes)
}
