//! What a parent sends on a link.

use std::fmt;

use super::{BadLinkTopic, number, parameter, take_identity};
use crate::domain::bag::Bag;
use crate::domain::identity::Identity;
use crate::domain::row::Stamp;

/// A topic from parent to edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkDown {
    /// The answer to a request: status, `rid`, and the version if there is one. Those of twin
    /// requests have `twin/` in their topic.
    Answer {
        /// Of the request.
        identity: Identity,
        /// `twin/res/…`
        is_twin: bool,
        /// HTTP-like.
        status: u16,
        /// Of the request.
        rid: u64,
        /// `$version`
        version: Option<u64>,
    },
    /// The scope has changed.
    ScopePatch(Identity, u64),
    /// A message is not taken: status, which one; `{"message"}` is the payload.
    Refused(Identity, u16, Stamp),
    /// A patch of desired properties, and the version after it.
    Desired(Identity, u64),
    /// A call: name, `rid`.
    Method(Identity, String, u64),
    /// A cloud-to-device message: lock, properties without it.
    CloudToDevice(Identity, String, Bag),
}

impl LinkDown {
    /// Parses a topic of a PUBLISH of the parent.
    pub fn parse(topic: &str) -> Result<Self, BadLinkTopic> {
        let (i, rest) = take_identity(topic)?;
        if let Some(bag) = rest.strip_prefix("messages/devicebound/") {
            let bag = Bag::parse(bag).map_err(|_| BadLinkTopic)?;
            let lock = bag.value("$.lock").ok_or(BadLinkTopic)?.into_owned();
            return Ok(LinkDown::CloudToDevice(i, lock, bag.without(&["$.lock"])));
        }
        let at = rest.rfind("/?").ok_or(BadLinkTopic)?;
        let (path, query) = (&rest[..at], &rest[at + 1..]);
        let rid = || number(query, "$rid");
        let status = |text: &str| text.parse().map_err(|_| BadLinkTopic);
        let version = || parameter(query, "$version").and_then(|version| version.parse().ok());
        if let Some(name) = path.strip_prefix("methods/POST/") {
            return Ok(LinkDown::Method(i, name.to_owned(), rid()?));
        }
        Ok(match path.split('/').collect::<Vec<_>>().as_slice() {
            ["res", text] => LinkDown::Answer {
                identity: i,
                is_twin: false,
                status: status(text)?,
                rid: rid()?,
                version: version(),
            },
            ["twin", "res", text] => LinkDown::Answer {
                identity: i,
                is_twin: true,
                status: status(text)?,
                rid: rid()?,
                version: version(),
            },
            ["scope", "PATCH"] => LinkDown::ScopePatch(i, number(query, "$version")?),
            ["messages", "refused", text] => {
                let stamp = Stamp { run: number(query, "$run")?, seq: number(query, "$seq")? };
                LinkDown::Refused(i, status(text)?, stamp)
            }
            ["twin", "PATCH", "properties", "desired"] => {
                LinkDown::Desired(i, number(query, "$version")?)
            }
            _ => return Err(BadLinkTopic),
        })
    }
}

impl fmt::Display for LinkDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let i = |identity: &Identity| format!("$iothub/{}", identity.resource());
        match self {
            LinkDown::Answer { identity, is_twin, status, rid, version } => {
                let twin = if *is_twin { "twin/" } else { "" };
                write!(f, "{}/{twin}res/{status}/?$rid={rid}", i(identity))?;
                version.map_or(Ok(()), |version| write!(f, "&$version={version}"))
            }
            LinkDown::ScopePatch(who, version) => {
                write!(f, "{}/scope/PATCH/?$version={version}", i(who))
            }
            LinkDown::Refused(who, status, Stamp { run, seq }) => {
                write!(f, "{}/messages/refused/{status}/?$seq={seq}&$run={run}", i(who))
            }
            LinkDown::Desired(who, version) => {
                write!(f, "{}/twin/PATCH/properties/desired/?$version={version}", i(who))
            }
            LinkDown::Method(who, name, rid) => {
                write!(f, "{}/methods/POST/{name}/?$rid={rid}", i(who))
            }
            LinkDown::CloudToDevice(who, lock, bag) => {
                let bag = bag.with(&[("$.lock", lock)]);
                write!(f, "{}/messages/devicebound/{}", i(who), bag.as_str())
            }
        }
    }
}
