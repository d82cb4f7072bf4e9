//! What a link adds to the properties of a message: `$.run`, `$.seq`, `$.low`, `$.try`.

use crate::domain::bag::Bag;
use crate::domain::row::Stamp;

/// The added properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamps {
    /// Run and number of the record.
    pub stamp: Stamp,
    /// Lowest number still owed, over all runs.
    pub low: u64,
    /// Number of this sender's tries.
    pub attempt: u64,
}

const NAMES: [&str; 4] = ["$.run", "$.seq", "$.low", "$.try"];

/// Adds them.
pub fn add(bag: &Bag, stamps: Stamps) -> Bag {
    let Stamps { stamp: Stamp { run, seq }, low, attempt } = stamps;
    let (run, seq, low) = (run.to_string(), seq.to_string(), low.to_string());
    let bag = bag.with(&[("$.run", &run), ("$.seq", &seq), ("$.low", &low)]);
    if attempt == 0 {
        bag.without(&["$.try"])
    } else {
        bag.with(&[("$.try", &attempt.to_string())])
    }
}

/// Takes them off again; `None` if they are not there, or not numbers.
pub fn take(bag: &Bag) -> (Bag, Option<Stamps>) {
    let number = |name| bag.value(name).and_then(|value| value.parse::<u64>().ok());
    let stamps = || {
        let stamp = Stamp { run: number("$.run")?, seq: number("$.seq")? };
        let attempt = if bag.get("$.try").is_some() { number("$.try")? } else { 0 };
        Some(Stamps { stamp, low: number("$.low")?, attempt })
    };
    (bag.without(&NAMES), stamps())
}
