//! The user name of a CONNECT (spec edgehub 1.2): who it is, on which hub, and by which client.
//!
//! `{host}/{device}[/{module}]/?{properties}`, or the older form with the properties (among them
//! `api-version=`) as the last segment. On a link `link=1` is one of them (link.md).

use super::bag::Bag;
use super::identity::Identity;
use super::sas::plain;

/// See the module documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName {
    /// Name of the hub; not compared with anything.
    pub host: String,
    /// Who.
    pub identity: Identity,
    /// `DeviceClientType`.
    pub product: Option<String>,
    /// `model-id` (Plug and Play).
    pub model_id: Option<String>,
    /// Version of the multiplexed link that is wanted.
    pub link: Option<u32>,
}

/// Why a text is not a user name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUserName {
    /// Too few or too many segments.
    #[error("user name is not of the form host/device[/module]/?api-version=…")]
    Form,
    /// The property is not there.
    #[error("user name has no api-version")]
    NoApiVersion,
    /// Device or module.
    #[error(transparent)]
    Id(#[from] super::identity::BadIdentity),
    /// `link` is not a number.
    #[error("user name asks for a link of version `{}`, which is not a number", plain(.0))]
    Link(String),
}

impl UserName {
    /// Parses it.
    pub fn parse(text: &str) -> Result<Self, BadUserName> {
        let segments: Vec<&str> = text.split('/').collect();
        let (host, ids, properties) = match segments.as_slice() {
            // One product writes its properties as two segments.
            [host, device, module, version, product, release]
                if version.starts_with("api-version=")
                    && product.starts_with("DeviceClientType=") =>
            {
                let properties = format!("{version}&{product}%2F{release}");
                (host, format!("{device}/{module}"), properties)
            }
            [host, device, properties] => (host, (*device).to_owned(), (*properties).to_owned()),
            [host, device, module, properties] => {
                (host, format!("{device}/{module}"), (*properties).to_owned())
            }
            _ => return Err(BadUserName::Form),
        };
        let properties = properties.strip_prefix('?').unwrap_or(&properties);
        let value = |name: &str| {
            // The first of two counts here; in a bag it is the last.
            let mut pairs = properties.split('&').filter_map(|pair| pair.split_once('='));
            let (_, value) = pairs.find(|(other, _)| *other == name)?;
            let bag = Bag::parse(&format!("v={}", value.replace('=', "%3D"))).ok()?;
            bag.value("v").map(|value| value.into_owned())
        };
        if value("api-version").is_none_or(|version| version.is_empty() || version.contains('?')) {
            return Err(BadUserName::NoApiVersion);
        }
        let link = value("link").map(|link| link.parse().map_err(|_| BadUserName::Link(link)));
        Ok(UserName {
            host: (*host).to_owned(),
            identity: Identity::parse(&ids)?,
            product: value("DeviceClientType"),
            model_id: value("model-id"),
            link: link.transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_of_sdks_and_of_links_are_parsed() {
        let name = "hub/d/m/?api-version=2021-04-12&DeviceClientType=a%2Fb&model-id=dtmi%3Ax";
        let name = UserName::parse(name).unwrap();
        assert_eq!(name.identity.as_str(), "d/m");
        assert_eq!(name.product.as_deref(), Some("a/b"));
        assert_eq!(name.model_id.as_deref(), Some("dtmi:x"));
        assert_eq!((name.host.as_str(), name.link), ("hub", None));
        let link = UserName::parse("hub/gw/$edgeHub/?api-version=2021-04-12&link=1").unwrap();
        assert_eq!((link.identity.as_str(), link.link), ("gw/$edgeHub", Some(1)));
        let old = UserName::parse("hub/d/api-version=2016-11-14&DeviceClientType=x").unwrap();
        assert_eq!((old.identity.as_str(), old.product.as_deref()), ("d", Some("x")));
    }

    #[test]
    fn what_is_not_a_user_name_is_named() {
        let table = [
            ("hub", BadUserName::Form),
            ("hub/d", BadUserName::Form),
            ("hub/d/m", BadUserName::NoApiVersion),
            ("hub/d/m/x/y", BadUserName::Form),
            ("hub/d/?api-version=1&link=x", BadUserName::Link("x".into())),
        ];
        for (text, error) in table {
            assert_eq!(UserName::parse(text), Err(error), "{text}");
        }
        assert!(matches!(UserName::parse("hub//?api-version=1"), Err(BadUserName::Id(_))));
    }
}
