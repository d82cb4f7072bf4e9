//! What the writer asks of whoever knows what is stored, when room is short.

use heed::{RoTxn, RwTxn};

use crate::domain::budget::{Budget, FullPolicy};
use crate::store::fault::Fault;

/// See the module documentation. Lives on the writer thread.
pub(in crate::store) trait Keeper: Send {
    /// In force now.
    fn budget(&self) -> Budget;

    /// Whether the party has messages to take: then what it sends may be made of these.
    fn is_owed(&self, txn: &RoTxn<'_>, party: &str) -> Result<bool, Fault>;

    /// Ends some of what is stored and has expired; answers how many.
    fn expire(&mut self, txn: &mut RwTxn<'_>) -> Result<u64, Fault>;

    /// Evicts by the policy until it is enough, or a good part of it; answers how many. It is asked
    /// with `true` before something of a higher priority than the first would have to go.
    fn evict(
        &mut self,
        txn: &mut RwTxn<'_>,
        policy: FullPolicy,
        is_enough: &dyn Fn(&RoTxn<'_>, bool) -> bool,
    ) -> Result<u64, Fault>;
}
