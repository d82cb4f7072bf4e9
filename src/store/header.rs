//! Looks at an LMDB file before it is mapped: a file that was cut short is a SIGBUS at the first
//! read of what is missing, and LMDB itself does not look (measured: 20 of 20).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const MAGIC: u32 = 0xBEEF_C0DE;
const WORD: usize = size_of::<usize>();
const PAGE_HEADER: usize = WORD + 8;
/// Offsets within the meta record, as in `MDB_meta`: magic, version, address, map size, two
/// `MDB_db`, last page, transaction.
const DATABASES: usize = 8 + 2 * WORD;
const LAST_PAGE: usize = DATABASES + 2 * (8 + 5 * WORD);
const TRANSACTION: usize = LAST_PAGE + WORD;
const META: usize = TRANSACTION + WORD;

/// Pages at the end of the file that may be missing: LMDB does not write pages that were both
/// taken and freed within one transaction. They are in its free list, so nobody reads them.
const UNWRITTEN: u64 = 64;

/// What the newer of the two meta pages says.
struct Meta {
    page_size: u64,
    last_page: u64,
    transaction: u64,
}

/// Why a file must not be mapped.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadFile {
    /// Neither meta page is one.
    #[error("it has no valid LMDB header")]
    NoHeader,
    /// Pages are missing.
    #[error("it has {found} of {wanted} bytes")]
    Short { found: u64, wanted: u64 },
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Checks the length of the file against its last page. If only pages are missing that may never
/// have been written, the file is made longer, so that it can be mapped without fear.
pub(super) fn check(file: &File) -> Result<(), BadFile> {
    let found = file.metadata()?.len();
    if found == 0 {
        return Ok(()); // LMDB makes a new one of it
    }
    let first = meta(file, 0).ok_or(BadFile::NoHeader)?;
    let second = meta(file, first.page_size);
    let newest = match second {
        Some(second) if second.transaction > first.transaction => second,
        _ => first,
    };
    let wanted = (newest.last_page.saturating_add(1)).saturating_mul(newest.page_size);
    if found.saturating_add(UNWRITTEN * newest.page_size) < wanted {
        return Err(BadFile::Short { found, wanted });
    }
    if found < wanted {
        file.set_len(wanted)?;
    }
    Ok(())
}

/// Bytes up to the last page in use.
pub(super) fn used(file: &File) -> io::Result<u64> {
    let first = meta(file, 0).ok_or_else(|| io::Error::other(BadFile::NoHeader))?;
    let second = meta(file, first.page_size);
    let last = second.filter(|second| second.transaction > first.transaction).unwrap_or(first);
    Ok((last.last_page + 1) * last.page_size)
}

fn meta(file: &File, at: u64) -> Option<Meta> {
    let mut bytes = [0; META];
    file.read_exact_at(&mut bytes, at + PAGE_HEADER as u64).ok()?;
    let word = |at: usize| {
        let bytes = bytes[at..at + WORD].try_into().expect("a word is as long as a word");
        usize::from_ne_bytes(bytes) as u64
    };
    let half = |at: usize| {
        u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes are four bytes"))
    };
    let page_size = u64::from(half(DATABASES));
    let is_meta = half(0) == MAGIC && page_size.is_power_of_two() && page_size <= 65_536;
    is_meta.then(|| Meta { page_size, last_page: word(LAST_PAGE), transaction: word(TRANSACTION) })
}
