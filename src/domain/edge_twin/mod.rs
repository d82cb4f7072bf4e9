//! The twin of one identity as an edge keeps it: a copy of the parent's, with the reported
//! patches that the parent has not got yet, and what the client was last told.
//!
//! Promises: each reported patch reaches the parent or is refused by it, in order; a client hears
//! of each difference of its desired properties once. next: `actors/hub/twins/mod.rs`.

mod patch;
mod pending;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::patch::{can_compose, compose};
pub use self::pending::{Fate, Outbox, Sending};
use super::twin::{diff_object, merge_object};

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
    /// It was read from the parent at least once.
    is_known: bool,
}

/// The desired properties that the client has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Told {
    /// It never asked for any.
    #[default]
    Never,
    /// Those that are in the twin now.
    Current,
    /// Earlier ones.
    Earlier(Map<String, Value>),
}

/// What a client is to be told: a patch without `$version`, and the version.
#[derive(Clone, Debug, PartialEq)]
pub struct Telling {
    /// After the patch.
    pub version: u64,
    /// What differs.
    pub patch: Map<String, Value>,
    before: Told,
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
            return Patched::Applied(self.tell(before, patch));
        }
        Patched::Outdated
    }

    /// The client has all up to now, or will have it with this telling.
    fn tell(&mut self, before: Map<String, Value>, patch: Map<String, Value>) -> Telling {
        let told = std::mem::replace(&mut self.told, Told::Current);
        let (before, patch) = match told {
            Told::Never => (Told::Never, patch),
            Told::Current => (Told::Earlier(before), patch),
            Told::Earlier(earlier) => {
                let patch = diff_object(&earlier, &self.desired.properties);
                (Told::Earlier(earlier), patch)
            }
        };
        Telling { version: self.desired.version, patch, before }
    }

    /// The parent's whole twin came: it wins, but for what it has not got yet. Answers what the
    /// client is to be told, and whether the desired properties are others than before.
    pub fn on_full(&mut self, full: Full, outbox: &Outbox) -> (Option<Telling>, bool) {
        let old = std::mem::replace(&mut self.desired, full.desired);
        self.reported = full.reported;
        outbox.overlay(&mut self.reported.properties);
        let is_other = !std::mem::replace(&mut self.is_known, true) || old != self.desired;
        if self.told == Told::Current && old.properties == self.desired.properties {
            return (None, is_other);
        }
        if self.told == Told::Never {
            return (None, is_other); // it has not asked yet
        }
        let telling = self.tell(old.properties, Map::new());
        let Told::Earlier(earlier) = &telling.before else { return (None, is_other) };
        let patch = diff_object(earlier, &self.desired.properties);
        (Some(Telling { patch, ..telling }).filter(|telling| !telling.patch.is_empty()), is_other)
    }

    /// A telling did not reach the client.
    pub fn on_not_told(&mut self, telling: Telling) {
        if self.told == Told::Current {
            self.told = telling.before;
        }
    }

    /// The client has asked for patches: what it does not have already, it gets as one. With the
    /// parent's twin read in time it has that; else what is kept of it; else nothing yet. Answers
    /// what it has missed since it was last told, if that is known, and whether anything changed.
    pub fn on_watched(&mut self) -> (Option<Telling>, bool) {
        match self.told {
            Told::Current => (None, false),
            Told::Never if self.is_known => {
                self.told = Told::Current;
                (None, true)
            }
            Told::Never => {
                self.told = Told::Earlier(Map::new());
                (None, true)
            }
            Told::Earlier(_) if self.is_known => {
                let telling = self.tell(Map::new(), Map::new());
                (Some(telling).filter(|telling| !telling.patch.is_empty()), true)
            }
            Told::Earlier(_) => (None, false),
        }
    }

    /// The client read the twin as it is now.
    pub fn on_read(&mut self) {
        self.told = Told::Current;
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
