//! What a store tells of itself: the reports of its salvages, and whether it is to be salvaged.

use std::path::Path;

use crate::messages::salvage::Report;
use crate::store::env::{Environment, GENERATION, ID, META_KIND, StoreId};
use crate::store::watch::{Starts, Watch};

const SALVAGED: &[u8] = b"salvaged";
/// Reports kept.
const REPORTS: usize = 16;

/// The store that was in `directory` is given up: another one may be made there.
pub fn forget(directory: &Path) {
    Watch::new(directory).forget();
}

impl Environment {
    /// What became of it when it was salvaged, the last time last.
    pub fn reports(&self) -> Vec<Report> {
        let Ok(txn) = self.env.read_txn() else { return Vec::new() };
        let found = self.meta.get(&txn, META_KIND, SALVAGED).ok().flatten().and_then(Result::ok);
        found.and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default()
    }

    pub(super) fn add_report(&self, report: &Report) -> Result<(), String> {
        let mut reports = self.reports();
        reports.push(report.clone());
        let first = reports.len().saturating_sub(REPORTS);
        let json = serde_json::to_vec(&reports[first..]).map_err(|error| error.to_string())?;
        self.put_meta(SALVAGED, &json)
    }

    pub(super) fn put_id(&self, id: StoreId) -> Result<(), String> {
        self.put_meta(ID, &id.0.to_be_bytes())
    }

    pub(super) fn put_generation(&self, generation: u64) -> Result<(), String> {
        self.put_meta(GENERATION, &u128::from(generation).to_be_bytes())
    }

    fn put_meta(&self, key: &[u8], payload: &[u8]) -> Result<(), String> {
        let put = || {
            let mut txn = self.env.write_txn()?;
            self.meta.put(&mut txn, META_KIND, key, &[payload])?;
            txn.commit()
        };
        put().map_err(|error: heed::Error| error.to_string())
    }

    /// The process is ready: what killed others before they were is not in here.
    pub fn note_ready(&self) {
        let watch = Watch::new(self.directory());
        watch.set_starts(Starts { unready: 0, ..watch.starts() });
    }

    /// The process has been well for a while.
    pub fn note_well(&self) {
        Watch::new(self.directory()).set_starts(Starts::default());
    }

    /// A reader met what no reader should meet: the next start salvages.
    pub fn condemn(&self, why: &str) {
        let directory = self.directory();
        tracing::error!(?directory, why, "the store is damaged: it is salvaged at the next start");
        Watch::new(directory).set_damage(why);
    }
}
