//! What became of a damaged store.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a salvage copied, and what it could not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// `queue`, `state`, `hub`.
    pub store: String,
    /// When, in seconds since 1970.
    pub at: u64,
    /// Why the store was taken for damaged, if that is known.
    pub why: String,
    /// The file name, beside the store, of what was damaged.
    pub kept: String,
    /// Records copied.
    pub records: u64,
    /// Nothing could be: the store begins anew.
    pub is_empty: bool,
    /// Values whose checksum does not hold.
    pub damaged: u64,
    /// By table.
    pub tables: BTreeMap<String, TableReport>,
    /// Pages that were looked through although no tree led there.
    pub loose_pages: u64,
    /// `false`: a header, or the head of a page, was damaged, so that messages that had ended may
    /// be there again: a parent knows those that it has, a module may get them twice.
    pub is_last_certain: bool,
    /// The first things that are wrong with the file.
    pub wrong: Vec<String>,
    /// Messages lost, by route: they are counted as quarantined.
    pub lost: Vec<Loss>,
    /// Rows lost of which no route can be told.
    pub lost_without_account: u64,
    /// Bodies that belonged to rows that are lost.
    pub messages_without_row: u64,
    /// The counters of the whole queue are estimated.
    pub is_head_lost: bool,
}

/// Of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableReport {
    /// Records copied,
    pub copied: u64,
    /// … of those, from an earlier time, as there was nothing else,
    pub older: u64,
    /// and values whose checksum does not hold.
    pub damaged: u64,
}

/// Messages of a route that are gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Its name.
    pub route: String,
    /// Where they were to go.
    pub endpoint: String,
    /// How many.
    pub messages: u64,
}

impl Report {
    /// Messages that are lost, as far as that can be told.
    pub fn lost_messages(&self) -> u64 {
        self.lost.iter().map(|loss| loss.messages).sum::<u64>() + self.lost_without_account
    }

    /// In one line, for logs and people.
    pub fn summary(&self) -> String {
        let Report { store, records, damaged, kept, .. } = self;
        let mut text =
            format!("store `{store}` was damaged and salvaged: {records} records copied");
        if self.is_empty {
            text = format!(
                "store `{store}` was damaged, and nothing in it could be read: it is empty"
            );
        }
        if *damaged > 0 {
            text += &format!(", {damaged} with a wrong checksum left out");
        }
        match self.lost_messages() {
            0 => {}
            lost => text += &format!(", {lost} messages lost"),
        }
        if !self.is_last_certain {
            text += ", what had ended may be there again";
        }
        if kept.is_empty() { text } else { format!("{text}; the damaged file is kept as {kept}") }
    }
}
