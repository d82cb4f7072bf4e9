//! Shared access signatures (spec sdk.md 1.1, edgehub 1.2): read, checked, made.
//!
//! `SharedAccessSignature sr=…&sig=…&se=…[&skn=…]`; the signature is HMAC-SHA256 with the decoded
//! key of `sr` exactly as it was written, a newline, and `se`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use percent_encoding::percent_decode_str;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::bag::escape;
use super::identity::Identity;

/// A token as it was sent. `Debug` shows no signature.
#[derive(Clone, PartialEq, Eq)]
pub struct SasToken {
    /// As written.
    sr: String,
    signature: Vec<u8>,
    se: String,
    expiry: u64,
    /// Policy name, for services.
    pub key_name: Option<String>,
}

/// Why a token is of no use. Says nothing that helps to guess one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SasError {
    /// Not a token.
    #[error("token is not of the form SharedAccessSignature sr=…&sig=…&se=…: {0}")]
    Malformed(&'static str),
    /// Too old.
    #[error("token expired at {0} (Unix time)")]
    Expired(u64),
    /// Signed with another key.
    #[error("token is signed with another key")]
    WrongKey,
    /// For something else.
    #[error("token is for `{}`", plain(.0))]
    OtherResource(String),
    /// For another hub.
    #[error("token is for the host `{}`", plain(.0))]
    OtherHost(String),
    /// A key that is no key.
    #[error("key is not base64")]
    BadKey,
}

impl SasToken {
    /// Reads a token; fields in any order.
    pub fn parse(text: &str) -> Result<Self, SasError> {
        let fields = text.trim().strip_prefix("SharedAccessSignature ");
        let fields = fields.ok_or(SasError::Malformed("the first word is another"))?.trim();
        if fields.contains(char::is_whitespace) {
            return Err(SasError::Malformed("white space"));
        }
        let field = |name: &str| {
            let mut pairs = fields.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(other, _)| *other == name).map(|(_, value)| value)
        };
        let sr = field("sr").ok_or(SasError::Malformed("no sr"))?;
        let sig = decoded(field("sig").ok_or(SasError::Malformed("no sig"))?)?;
        let se = decoded(field("se").ok_or(SasError::Malformed("no se"))?)?;
        Ok(SasToken {
            sr: sr.to_owned(),
            signature: STANDARD.decode(sig).map_err(|_| SasError::Malformed("sig"))?,
            expiry: se.parse().map_err(|_| SasError::Malformed("se is not a number"))?,
            se,
            key_name: field("skn").map(decoded).transpose()?.filter(|name| !name.is_empty()),
        })
    }

    /// Checks it against the keys, in constant time, with `skew` seconds of grace; answers when
    /// it expires.
    pub fn check(&self, keys: &[String], now: u64, skew: u64) -> Result<u64, SasError> {
        let text = format!("{}\n{}", self.sr, self.se);
        let mut is_right = subtle::Choice::from(0);
        // Anybody could sign with an empty key; one that cannot be read leaves the other in force.
        for key in keys.iter().filter(|key| !key.trim().is_empty()) {
            if let Ok(signature) = sign(key, text.as_bytes()) {
                is_right |= signature.as_slice().ct_eq(&self.signature);
            }
        }
        if !bool::from(is_right) {
            return Err(SasError::WrongKey);
        }
        if self.expiry.saturating_add(skew) < now {
            return Err(SasError::Expired(self.expiry));
        }
        Ok(self.expiry)
    }

    /// What it is for, decoded: a host, or a host and a path.
    pub fn resource(&self) -> Result<String, SasError> {
        decoded(&self.sr)
    }

    /// Whether it is for one of these hosts; a port in it does not matter.
    pub fn is_at(&self, hosts: &[&str]) -> Result<(), SasError> {
        let resource = self.resource()?;
        let host = resource.split('/').next().unwrap_or_default();
        let is_same = |known: &&&str| without_port(known).eq_ignore_ascii_case(without_port(host));
        match hosts.iter().find(is_same) {
            Some(_) => Ok(()),
            None => Err(SasError::OtherHost(host.to_owned())),
        }
    }

    /// Whether it is for this identity, on any host.
    pub fn is_for(&self, identity: &Identity) -> Result<(), SasError> {
        let resource = self.resource()?;
        match resource.split_once('/') {
            Some((_, path)) if path.eq_ignore_ascii_case(&identity.resource()) => Ok(()),
            _ => Err(SasError::OtherResource(resource)),
        }
    }

    /// The identity it is for, if it is for one.
    pub fn identity(&self) -> Option<Identity> {
        let resource = self.resource().ok()?;
        let (_, path) = resource.split_once('/')?;
        match path.split('/').collect::<Vec<_>>()[..] {
            ["devices", device] => Identity::device(device).ok(),
            ["devices", device, "modules", module] => Identity::module(device, module).ok(),
            _ => None,
        }
    }
}

impl fmt::Debug for SasToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SasToken for {} until {}", self.sr, self.expiry)
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    }
}

/// What a client wrote, for a line of a log: short, and on one line.
pub fn plain(text: &str) -> String {
    text.chars().take(300).flat_map(char::escape_debug).collect()
}

fn decoded(text: &str) -> Result<String, SasError> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(|text| text.into_owned()).map_err(|_| SasError::Malformed("not UTF-8"))
}

/// HMAC-SHA256 with a key in base64.
pub fn sign(key: &str, data: &[u8]) -> Result<Vec<u8>, SasError> {
    let key = STANDARD.decode(key.trim()).map_err(|_| SasError::BadKey)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
    mac.update(data);
    Ok(mac.finalize().into_bytes().to_vec())
}

/// What is to be signed for a token: the encoded resource and the expiry.
pub fn text_to_sign(resource: &str, expiry: u64) -> String {
    format!("{}\n{expiry}", escape(resource))
}

/// A token out of its parts and the signature of [`text_to_sign`].
pub fn assemble(resource: &str, signature: &[u8], expiry: u64, key_name: Option<&str>) -> String {
    let signature = STANDARD.encode(signature);
    let (resource, signature) = (escape(resource), escape(&signature));
    let key_name = key_name.map(|name| format!("&skn={}", escape(name))).unwrap_or_default();
    format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}{key_name}")
}

/// Makes a token for `resource` (decoded, as `host/devices/d`) with a key in base64.
pub fn make(
    resource: &str,
    key: &str,
    expiry: u64,
    key_name: Option<&str>,
) -> Result<String, SasError> {
    let signature = sign(key, text_to_sign(resource, expiry).as_bytes())?;
    Ok(assemble(resource, &signature, expiry, key_name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "c2VjcmV0IGtleQ==";
    const OTHER: &str = "b3RoZXI=";

    fn keys() -> Vec<String> {
        vec![OTHER.to_owned(), KEY.to_owned()]
    }

    #[test]
    fn a_token_that_was_made_is_accepted_with_either_key_until_it_expires() {
        let text = make("hub.net/devices/d/modules/m", KEY, 1000, None).unwrap();
        let token = SasToken::parse(&text).unwrap();
        assert_eq!(token.check(&keys(), 900, 300), Ok(1000));
        assert_eq!(token.check(&keys(), 1301, 300), Err(SasError::Expired(1000)));
        assert_eq!(token.check(&[OTHER.to_owned()], 900, 300), Err(SasError::WrongKey));
        assert_eq!(token.check(&[], 900, 300), Err(SasError::WrongKey));
        assert_eq!(token.is_for(&Identity::parse("D/M").unwrap()), Ok(()));
        assert_eq!(token.identity(), Some(Identity::parse("d/m").unwrap()));
        assert!(token.is_for(&Identity::parse("d").unwrap()).is_err());
        assert!(!format!("{token:?}").contains("sig"));
    }

    #[test]
    fn an_empty_key_opens_nothing_and_a_bad_one_does_not_shut_out_the_other() {
        let forged = SasToken::parse(&make("h/devices/d", "", 1000, None).unwrap()).unwrap();
        assert_eq!(forged.check(&["".to_owned(), " ".to_owned()], 1, 0), Err(SasError::WrongKey));
        let token = SasToken::parse(&make("h/devices/d", KEY, 1000, None).unwrap()).unwrap();
        assert_eq!(token.check(&["?".to_owned(), KEY.to_owned()], 1, 0), Ok(1000));
        let identity = |text: &str| SasToken::parse(text).unwrap().identity();
        for sr in ["h", "h/devices/a/b", "h/devices/a/modules/b/c", "h/devices/"] {
            let text = format!("SharedAccessSignature sr={sr}&sig=AAAA&se=1");
            assert_eq!(identity(&text), None, "{sr}");
        }
    }

    #[test]
    fn tokens_in_the_forms_of_other_clients_are_read() {
        let text = make("h/devices/d", KEY, 1000, None).unwrap();
        let lower = text.replace("%2F", "%2f");
        let resigned = sign(KEY, b"h%2fdevices%2fd\n1000").unwrap();
        let resigned = STANDARD.encode(resigned);
        let unescaped = format!("SharedAccessSignature se=1000&sig={resigned}&sr=h%2fdevices%2fd");
        assert_eq!(SasToken::parse(&unescaped).unwrap().check(&keys(), 1, 0), Ok(1000));
        // `sr` is signed as it was written.
        assert_eq!(SasToken::parse(&lower).unwrap().check(&keys(), 1, 0), Err(SasError::WrongKey));
        let plain = sign(KEY, b"h/devices/d\n1000").unwrap();
        let plain = escape(&STANDARD.encode(plain)).to_string();
        let plain = format!("SharedAccessSignature sr=h/devices/d&sig={plain}&se=1000&skn=");
        assert_eq!(SasToken::parse(&plain).unwrap().check(&keys(), 1, 0), Ok(1000));
    }

    #[test]
    fn what_is_not_a_token_is_named() {
        for text in
            ["", "Bearer x", "SharedAccessSignature sr=a&sig=b", "SharedAccessSignature a b"]
        {
            assert!(matches!(SasToken::parse(text), Err(SasError::Malformed(_))), "{text}");
        }
    }
}
