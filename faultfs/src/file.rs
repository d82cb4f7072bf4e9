//! The bytes of a file: its pages as they are, and, of those that were not synced, as they were.

use std::collections::BTreeMap;

use crate::random::Random;

pub(crate) const PAGE: u64 = 4096;
const BYTES: usize = PAGE as usize;

/// One that has room on the disk; without bytes it is zero.
type Page = Option<Box<[u8; BYTES]>>;

#[derive(Debug, Default)]
pub(crate) struct Contents {
    pages: BTreeMap<u64, Page>,
    length: u64,
    /// What is on disk of the pages that changed; `None`: no such page.
    before: BTreeMap<u64, Option<Page>>,
    /// The same of pages that a sync failed to write: the next one passes over them, as Linux's does.
    given_up: BTreeMap<u64, Option<Page>>,
    synced_length: u64,
}

impl Contents {
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn pages(&self) -> u64 {
        self.pages.len() as u64
    }

    pub(crate) fn unsynced(&self) -> usize {
        self.before.len() + self.given_up.len() + usize::from(self.length != self.synced_length)
    }

    pub(crate) fn read(&self, offset: u64, size: u64) -> Vec<u8> {
        let end = (offset + size).min(self.length);
        let mut bytes = Vec::new();
        let mut at = offset;
        while at < end {
            let (page, from) = (at / PAGE, (at % PAGE) as usize);
            let to = BYTES.min(from + (end - at) as usize);
            match self.pages.get(&page) {
                Some(Some(page)) => bytes.extend_from_slice(&page[from..to]),
                _ => bytes.resize(bytes.len() + to - from, 0),
            }
            at += (to - from) as u64;
        }
        bytes
    }

    /// Writes as much as fits into `free` further pages; answers how much that is.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8], mut free: u64) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            let at = offset + written as u64;
            let (number, from) = (at / PAGE, (at % PAGE) as usize);
            if !self.pages.contains_key(&number) {
                if free == 0 {
                    break;
                }
                free -= 1;
            }
            let part = &bytes[written..bytes.len().min(written + BYTES - from)];
            self.keep(number);
            let page = self.pages.entry(number).or_default();
            let page = page.get_or_insert_with(|| Box::new([0; BYTES]));
            page[from..from + part.len()].copy_from_slice(part);
            written += part.len();
        }
        if written > 0 {
            self.length = self.length.max(offset + written as u64);
        }
        written
    }

    /// Further pages that `offset .. end` needs.
    pub(crate) fn missing(&self, offset: u64, end: u64) -> u64 {
        let (first, last) = (offset / PAGE, end.div_ceil(PAGE));
        last.saturating_sub(first) - self.pages.range(first..last.max(first)).count() as u64
    }

    /// Gives room to `offset .. end`.
    pub(crate) fn allocate(&mut self, offset: u64, end: u64, grows: bool) {
        for number in offset / PAGE..end.div_ceil(PAGE) {
            if !self.pages.contains_key(&number) {
                self.keep(number);
                self.pages.insert(number, None);
            }
        }
        if grows {
            self.length = self.length.max(end);
        }
    }

    pub(crate) fn set_length(&mut self, length: u64) {
        let gone: Vec<u64> = self.pages.range(length.div_ceil(PAGE)..).map(|(n, _)| *n).collect();
        for number in gone {
            self.keep(number);
            self.pages.remove(&number);
        }
        if !length.is_multiple_of(PAGE) && self.pages.contains_key(&(length / PAGE)) {
            self.keep(length / PAGE);
            if let Some(Some(page)) = self.pages.get_mut(&(length / PAGE)) {
                page[(length % PAGE) as usize..].fill(0);
            }
        }
        self.length = length;
    }

    pub(crate) fn sync(&mut self) {
        self.before.clear();
        self.synced_length = self.length;
    }

    /// A sync that fails: what was to be written is clean by the kernel's word, and not on disk.
    pub(crate) fn fail_sync(&mut self) {
        self.given_up.append(&mut self.before);
    }

    /// The power is gone: nothing, or a random half, of what was not synced stays.
    pub(crate) fn cut(&mut self, mut torn: Option<&mut Random>) {
        self.before.append(&mut self.given_up);
        for (number, before) in std::mem::take(&mut self.before) {
            if torn.as_mut().is_some_and(|random| random.coin()) {
                continue;
            }
            match before {
                Some(page) => self.pages.insert(number, page),
                None => self.pages.remove(&number),
            };
        }
        if !torn.is_some_and(|random| random.coin()) {
            self.length = self.synced_length;
        }
        self.pages.split_off(&self.length.div_ceil(PAGE));
        self.synced_length = self.length;
    }

    /// Remembers what is on disk of a page that is about to change.
    fn keep(&mut self, number: u64) {
        if !self.before.contains_key(&number) {
            let given_up = self.given_up.remove(&number);
            let before = given_up.unwrap_or_else(|| self.pages.get(&number).cloned());
            self.before.insert(number, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_stays_and_what_was_not_is_gone() {
        let mut file = Contents::default();
        file.write(4_000, &[1; 2_000], 9);
        file.sync();
        let whole = file.read(0, 9_999);
        file.write(0, &[7; 5_000], 9);
        file.write(20_000, &[8; 10], 9);
        file.set_length(30_000);
        assert_eq!((file.length(), file.read(4_999, 2)), (30_000, vec![7, whole[5_000]]));
        file.set_length(3);
        assert_eq!((file.pages(), file.read(0, 99)), (1, vec![7; 3]));
        file.cut(None);
        assert_eq!((file.read(0, 9_999), file.unsynced()), (whole, 0));
    }

    #[test]
    fn what_a_sync_failed_to_write_is_lost_unless_it_is_written_again() {
        let mut file = Contents::default();
        file.write(0, &[1; 2 * BYTES], 2);
        file.sync();
        file.write(0, &[2; 2 * BYTES], 0);
        file.fail_sync();
        file.write(4_096, &[3; 10], 0);
        file.sync();
        file.cut(None);
        assert_eq!((file.read(0, 1), file.read(4_096, 1)), (vec![1], vec![3]));
    }

    #[test]
    fn a_torn_file_has_some_pages_of_either_kind() {
        let mut file = Contents::default();
        file.write(0, &[1; 64 * BYTES], 64);
        file.sync();
        file.write(0, &[2; 64 * BYTES], 0);
        file.cut(Some(&mut Random::new(1)));
        let pages: Vec<u8> = (0..64).map(|n| file.read(n * PAGE, 1)[0]).collect();
        let new = pages.iter().filter(|it| **it == 2).count();
        assert!((16..48).contains(&new) && pages.iter().all(|it| matches!(it, 1 | 2)), "{pages:?}");
    }

    #[test]
    fn a_write_takes_no_more_pages_than_are_free() {
        let mut file = Contents::default();
        file.allocate(0, PAGE, false);
        assert_eq!(file.write(0, &[1; 3 * BYTES], 1), 2 * BYTES);
        assert_eq!((file.length(), file.missing(0, 3 * PAGE)), (2 * PAGE, 1));
    }
}
