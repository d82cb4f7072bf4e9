//! That an identity is about to be made: on disk before the parent is asked, so that one whose
//! making nobody lived to record is known for ours, and one that others made meanwhile is not.
//!
//! The mark is its key. The parent is asked to make the identity with keys that only this device
//! can calculate: out of its own key and a number drawn for this intent. Whoever else makes an
//! identity of that name, before or after, gives it another key. An intent ends when it is known
//! whether the parent did it.

use std::hash::{BuildHasher, RandomState};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{SHORT, text};
use crate::actors::agent::{AgentPorts, TABLE};
use crate::actors::clock;
use crate::domain::connection_string::Secret;
use crate::domain::sas;
use crate::messages::state::{Change, Fetch, Save};
use crate::protocol::parent_rest::{Known, ParentRest};

/// Keys of them: this and the module; the value is the number, and the time.
pub(super) const PREFIX: &str = "intended/";
/// So long a request that nobody waits for may still be on its way to the parent, in seconds.
const ON_ITS_WAY: u64 = 120;

/// See the module documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Intent {
    number: String,
    /// Unix time.
    since: u64,
}

pub(super) fn key(module: &str) -> Vec<u8> {
    format!("{PREFIX}{module}").into_bytes()
}

impl Intent {
    fn new() -> Self {
        let random = |n: u64| RandomState::new().hash_one(n);
        let number = format!("{:016x}{:016x}", random(0), random(1));
        Intent { number, since: clock::unix_time().as_secs() }
    }

    /// As it is kept.
    pub(super) fn parse(value: &[u8]) -> Self {
        let value = text(value);
        let (number, since) = value.split_once(' ').unwrap_or((&value, ""));
        Intent { number: number.to_owned(), since: since.parse().unwrap_or_default() }
    }

    /// That of the module; a new one is on disk when this answers.
    pub(super) async fn of(ports: &AgentPorts, module: &str) -> Result<Self, String> {
        let known = ports.fetch.ask_in_words(Fetch(TABLE, key(module)), SHORT).await?;
        if let Some(known) = known {
            return Ok(Intent::parse(&known));
        }
        let intent = Intent::new();
        let value = format!("{} {}", intent.number, intent.since);
        let save = Save(vec![Change::put(TABLE, key(module), value)]);
        let saved = ports.save.ask(save, SHORT).await.map_err(|it| it.to_string())?;
        saved.map_err(|why| format!("it cannot be kept that it is to be made: {why}"))?;
        Ok(intent)
    }

    /// What the identity is made with. No text that a token is signed for has a NUL in it.
    pub(super) fn keys(&self, rest: &ParentRest, module: &str) -> Result<[Secret; 2], String> {
        let key = |which: &str| {
            let text = format!("identity\0{module}\0{}\0{which}", self.number);
            let key = sas::sign(rest.key.reveal(), text.as_bytes()).map_err(|e| e.to_string())?;
            Ok::<_, String>(Secret::new(STANDARD.encode(key)))
        };
        Ok([key("primary")?, key("secondary")?])
    }

    /// Whether it is what this intent made.
    pub(super) fn is_of(&self, found: &Known, rest: &ParentRest, module: &str) -> bool {
        self.keys(rest, module).is_ok_and(|[primary, _]| primary == found.key)
    }

    /// Whether the parent may still do it.
    pub(super) fn may_come(&self) -> bool {
        clock::unix_time().as_secs().abs_diff(self.since) < ON_ITS_WAY
    }
}
