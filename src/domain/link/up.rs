//! What an edge sends on its link.

use std::fmt;

use super::{BadLinkTopic, number, parameter, resource, take_identity};
use crate::domain::bag::Bag;
use crate::domain::identity::Identity;

/// A topic from edge to parent. `rid` is the link's own number of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkUp {
    /// The whole feature set of an identity is the payload.
    Attach(Identity, u64),
    /// The identity left.
    Detach(Identity, u64),
    /// A new token is the payload.
    Token(Identity, u64),
    /// A page of the scope from this version on (`I` = `$edgeHub`), or one identity.
    Scope(Identity, u64, Option<u64>),
    /// A message; the bag holds what the link added.
    Telemetry(Identity, Bag),
    /// Reads a twin.
    TwinGet(Identity, u64),
    /// Reported properties are the payload.
    TwinPatch(Identity, u64),
    /// The target's own status; its JSON is the payload.
    MethodAnswer(Identity, i32, u64),
    /// The gateway's own trouble: 404 or 504.
    MethodError(Identity, u16, u64),
    /// The client has acknowledged the message with this lock.
    Settle(Identity, String),
}

impl LinkUp {
    /// Parses a topic of a PUBLISH of the edge.
    pub fn parse(topic: &str) -> Result<Self, BadLinkTopic> {
        if let Some(rest) = topic.strip_prefix("devices/") {
            let (identity, rest) = resource(rest)?;
            let bag = match rest.strip_prefix("messages/events").ok_or(BadLinkTopic)? {
                "" => "",
                bag => bag.strip_prefix('/').ok_or(BadLinkTopic)?,
            };
            let bag = Bag::parse(bag).map_err(|_| BadLinkTopic)?;
            return Ok(LinkUp::Telemetry(identity, bag));
        }
        let (i, rest) = take_identity(topic)?;
        let (path, query) = rest.split_once('?').ok_or(BadLinkTopic)?;
        let query = &rest[rest.len() - query.len() - 1..];
        let rid = || number(query, "$rid");
        Ok(match path.split('/').collect::<Vec<_>>().as_slice() {
            ["attach", "PUT", ""] => LinkUp::Attach(i, rid()?),
            ["attach", "DELETE", ""] => LinkUp::Detach(i, rid()?),
            ["auth", "PUT", ""] => LinkUp::Token(i, rid()?),
            ["scope", "GET", ""] => {
                let since = parameter(query, "since").map(|since| since.parse());
                LinkUp::Scope(i, rid()?, since.transpose().map_err(|_| BadLinkTopic)?)
            }
            ["twin", "GET", ""] => LinkUp::TwinGet(i, rid()?),
            ["twin", "PATCH", "properties", "reported", ""] => LinkUp::TwinPatch(i, rid()?),
            ["methods", "res", status, ""] => {
                LinkUp::MethodAnswer(i, status.parse().map_err(|_| BadLinkTopic)?, rid()?)
            }
            ["methods", "err", status, ""] => {
                LinkUp::MethodError(i, status.parse().map_err(|_| BadLinkTopic)?, rid()?)
            }
            ["devicebound", "settle", "completed", ""] => {
                LinkUp::Settle(i, parameter(query, "$lock").ok_or(BadLinkTopic)?.to_owned())
            }
            _ => return Err(BadLinkTopic),
        })
    }
}

impl fmt::Display for LinkUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let i = |identity: &Identity| format!("$iothub/{}", identity.resource());
        match self {
            LinkUp::Attach(who, rid) => write!(f, "{}/attach/PUT/?$rid={rid}", i(who)),
            LinkUp::Detach(who, rid) => write!(f, "{}/attach/DELETE/?$rid={rid}", i(who)),
            LinkUp::Token(who, rid) => write!(f, "{}/auth/PUT/?$rid={rid}", i(who)),
            LinkUp::Scope(who, rid, since) => {
                write!(f, "{}/scope/GET/?$rid={rid}", i(who))?;
                since.map_or(Ok(()), |since| write!(f, "&since={since}"))
            }
            LinkUp::Telemetry(who, bag) => {
                write!(f, "{}/messages/events/{}", who.resource(), bag.as_str())
            }
            LinkUp::TwinGet(who, rid) => write!(f, "{}/twin/GET/?$rid={rid}", i(who)),
            LinkUp::TwinPatch(who, rid) => {
                write!(f, "{}/twin/PATCH/properties/reported/?$rid={rid}", i(who))
            }
            LinkUp::MethodAnswer(who, status, rid) => {
                write!(f, "{}/methods/res/{status}/?$rid={rid}", i(who))
            }
            LinkUp::MethodError(who, status, rid) => {
                write!(f, "{}/methods/err/{status}/?$rid={rid}", i(who))
            }
            LinkUp::Settle(who, lock) => {
                write!(f, "{}/devicebound/settle/completed/?$lock={lock}", i(who))
            }
        }
    }
}
