//! The reserve: disk blocks behind the last page that are ours already, so that ends of rows,
//! twins and the agent's state can be written on a full disk. Appends stop before it.
//!
//! LMDB takes pages from its free list before it grows the file, so a reserve kept in the free
//! list would be the first thing that appends use up. Blocks that are allocated behind the end of
//! what is used are touched last (ADR: store reserve).

use std::fs::File;

use heed::{Env, WithoutTls};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::table::Table;
use crate::domain::budget::Free;

/// Room on disk, as far as one environment is concerned. Lives on the writer thread.
#[derive(Debug)]
pub(super) struct Space {
    reserve: u64,
    page_size: u64,
    /// Up to here blocks are ours.
    allocated: u64,
    file: Option<File>,
}

impl Space {
    pub(super) fn new(env: &Env<WithoutTls>, reserve: u64) -> Self {
        let page_size = u64::from(env.unnamed_database_stat().page_size);
        let file = if reserve == 0 { None } else { env.try_clone_inner_file().ok() };
        Space { reserve, page_size, allocated: 0, file }
    }

    /// Bytes up to the last page in use.
    fn end(&self, env: &Env<WithoutTls>) -> u64 {
        (env.info().last_page_number as u64 + 1) * self.page_size
    }

    /// Sees to it that the reserve is there. `false`: the disk is full.
    pub(super) fn refill(&mut self, env: &Env<WithoutTls>) -> bool {
        let Some(file) = &self.file else { return true };
        let end = self.end(env);
        if self.allocated >= end + self.reserve {
            return true;
        }
        for wanted in [end + 2 * self.reserve, end + self.reserve] {
            match fallocate(file, FallocateFlags::empty(), end, wanted - end) {
                Ok(()) => {
                    self.allocated = wanted;
                    return true;
                }
                Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO) => {}
                Err(_) => {
                    self.file = None; // the file system cannot do it: there is no reserve
                    return true;
                }
            }
        }
        false
    }

    /// What may still be written, if `used` bytes of pages hold something. On a full disk there are
    /// blocks that are ours behind the end, and pages that are free before it; so much of them as the
    /// reserve is for what is vital, and the half of that for relays.
    pub(super) fn free(&mut self, env: &Env<WithoutTls>, used: u64) -> Free {
        if self.refill(env) {
            return Free::ALL;
        }
        let left = self.allocated.max(self.end(env)).saturating_sub(used);
        let beside = |kept: u64| left.saturating_sub(kept);
        Free { newcomers: beside(self.reserve), relays: beside(self.reserve / 2) }
    }
}

/// Pages that hold something, the free list (estimated) left out.
pub(super) fn used_pages(
    env: &Env<WithoutTls>,
    txn: &heed::RoTxn<'_>,
    tables: &[Table<'static>],
) -> u64 {
    let stats = tables.iter().filter_map(|table| table.raw.stat(txn).ok());
    let pages = stats.chain([env.unnamed_database_stat()]);
    pages.map(|stat| (stat.branch_pages + stat.leaf_pages + stat.overflow_pages) as u64).sum()
}
