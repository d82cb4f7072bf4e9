//! The twin of one identity as an edge keeps it: a copy of the parent's, with the reported
//! patches that the parent has not got yet, and what the client was last told.
//!
//! Promises: each reported patch reaches the parent or is refused by it, in order; a client hears
//! of each difference of its desired properties, once unless its connection, or this process, is
//! lost before it took it. next: `told.rs`; `actors/hub/twins/mod.rs`.

mod patch;
mod pending;
#[cfg(test)]
mod tests;
mod told;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::patch::{can_compose, compose};
pub use self::pending::{Fate, Outbox, Sending};
use self::told::Told;
use super::twin::merge_object;

/// Properties with a version. `$version` and `$metadata` are not in them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// `$version`.
    pub version: u64,
    /// The whole object.
    pub properties: Map<String, Value>,
}

/// See the module documentation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EdgeTwin {
    /// As the parent last gave them.
    pub desired: Section,
    /// With the client's own patches merged in.
    pub reported: Section,
    told: Told,
    /// The last telling, until the client has taken it: its number and version.
    #[serde(skip)]
    under_way: Option<(u64, u64)>,
    /// How many there were.
    #[serde(skip)]
    tellings: u64,
    /// Those up to this one are void: what they would tell is told otherwise.
    #[serde(skip)]
    void: u64,
    /// It was read from the parent at least once.
    is_known: bool,
}

/// What a client is to be told: a patch without `$version`, and the version.
#[derive(Clone, Debug, PartialEq)]
pub struct Telling {
    /// After the patch.
    pub version: u64,
    /// What differs.
    pub patch: Map<String, Value>,
    number: u64,
    before: Told,
    /// Another one was under way before it.
    was_near: bool,
}

/// What the parent's whole twin has brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct News {
    /// What the client is to be told.
    pub telling: Option<Telling>,
    /// The desired properties are others than before.
    pub desired: bool,
    /// The reported ones are not those that were reported here: some were refused, or lost there.
    pub reported: bool,
}

/// What becomes of a patch of desired properties.
#[derive(Clone, Debug, PartialEq)]
pub enum Patched {
    /// It was applied: tell the client.
    Applied(Telling),
    /// Another version: the whole twin has to be read.
    Outdated,
}

impl EdgeTwin {
    /// Whether the parent's twin was ever read.
    pub fn is_known(&self) -> bool {
        self.is_known
    }

    /// A patch of desired properties came.
    pub fn on_desired(&mut self, version: u64, patch: &Map<String, Value>) -> Patched {
        let patch = without_system(patch);
        if self.is_known && version == self.desired.version + 1 {
            let before = self.desired.properties.clone();
            merge_object(&mut self.desired.properties, &patch);
            self.desired.version = version;
            return Patched::Applied(self.tell(&before, patch));
        }
        Patched::Outdated
    }

    /// The parent's whole twin came: it wins, but for what it has not got yet.
    pub fn on_full(&mut self, full: Full, outbox: &Outbox) -> News {
        let old = std::mem::replace(&mut self.desired, full.desired);
        let ours = std::mem::replace(&mut self.reported, full.reported);
        outbox.overlay(&mut self.reported.properties);
        // Nothing is known of what one that was never read was told to have.
        let reported = !self.is_known || ours.properties != self.reported.properties;
        let desired = !std::mem::replace(&mut self.is_known, true) || old != self.desired;
        let is_same = old.properties == self.desired.properties;
        let telling = match &self.told {
            Told::Never => None, // it has not asked yet
            Told::Current if is_same => None,
            Told::Earlier(_) if is_same && self.under_way.is_some() => None,
            Told::Current => {
                self.told = Told::Earlier(old.properties);
                self.tell_all()
            }
            Told::Earlier(_) => self.tell_all(),
        };
        News { telling, desired, reported }
    }

    /// The client reports.
    pub fn on_reported(&mut self, patch: &Map<String, Value>) {
        merge_object(&mut self.reported.properties, patch);
    }

    /// What a client gets for a GET.
    pub fn document(&self) -> Value {
        serde_json::json!({
            "desired": self.desired.document(),
            "reported": self.reported.document(),
        })
    }
}

impl Section {
    /// With `$version` in it.
    pub fn document(&self) -> Value {
        with_version(self.properties.clone(), self.version)
    }
}

/// A patch or a section as it stands on the wire.
pub fn with_version(mut properties: Map<String, Value>, version: u64) -> Value {
    properties.insert("$version".into(), version.into());
    Value::Object(properties)
}

fn without_system(properties: &Map<String, Value>) -> Map<String, Value> {
    let ours = properties.iter().filter(|(name, _)| *name != "$version" && *name != "$metadata");
    ours.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The parent's answer to a GET.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Full {
    desired: Section,
    reported: Section,
}

impl Full {
    /// Reads `{"desired":{…,"$version":n},"reported":{…,"$version":n}}`.
    pub fn parse(json: &[u8]) -> Option<Full> {
        let document: Value = serde_json::from_slice(json).ok()?;
        let section = |name: &str| {
            let properties = document.get(name)?.as_object()?;
            let version = properties.get("$version").and_then(Value::as_u64).unwrap_or_default();
            Some(Section { version, properties: without_system(properties) })
        };
        Some(Full { desired: section("desired")?, reported: section("reported")? })
    }
}
