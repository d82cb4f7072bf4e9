//! Whether what a client shows proves who it says it is: the same at a hub and at a gateway.
//!
//! A password is a token, and nothing but the token counts then; without one the certificate of
//! its TLS counts. A module may come in with a token of its device (spec edgehub 1.2). Whoever has
//! nothing registered to prove it with is not let in.

use super::certificate::{ClientCertificate, NotGood};
use super::identity::Identity;
use super::sas::{SasError, SasToken};

/// What a client shows.
#[derive(Clone, Copy, Default)]
pub struct Shown<'a> {
    /// SAS token.
    pub token: Option<&'a str>,
    /// Of its TLS.
    pub certificate: Option<&'a ClientCertificate>,
}

/// What is registered for an identity.
#[derive(Clone, Copy, Default)]
pub struct Registered<'a> {
    /// Symmetric keys, base64.
    pub keys: &'a [String],
    /// Of self-signed certificates.
    pub thumbprints: &'a [String],
    /// It shows a certificate of an authority.
    pub by_authority: bool,
}

/// Where and when it is shown.
#[derive(Clone, Copy)]
pub struct Door<'a> {
    /// Names that a token may be for.
    pub hosts: &'a [&'a str],
    /// Unix time.
    pub now: u64,
    /// Seconds of grace for tokens.
    pub skew: u64,
}

/// It is who it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proven {
    /// Unix time; not a second longer.
    pub until: u64,
    /// By a key of its device.
    pub by_device: bool,
}

/// It has not shown that. For logs, not for clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProven {
    /// Of the token.
    #[error(transparent)]
    Token(#[from] SasError),
    /// A token of who has no key.
    #[error("it sent a token, and no symmetric key is registered for it")]
    NoKey,
    /// Of the certificate.
    #[error(transparent)]
    Certificate(#[from] NotGood),
    /// A certificate of who has a key, or nothing.
    #[error("it showed a certificate and no token, and no certificate is registered for it")]
    NoCertificate,
    /// Nothing at all.
    #[error("it sent neither a token nor a certificate")]
    Nothing,
}

/// Whether `id` comes in. `device_keys` are those of the device of a module.
pub fn prove(
    id: &Identity,
    shown: Shown<'_>,
    registered: Registered<'_>,
    device_keys: &[String],
    door: Door<'_>,
) -> Result<Proven, NotProven> {
    let Some(token) = shown.token else {
        let certificate = shown.certificate.ok_or(NotProven::Nothing)?;
        let until = match (registered.by_authority, registered.thumbprints) {
            (true, _) => certificate.is_certified(id, door.now)?,
            (false, []) => return Err(NotProven::NoCertificate),
            (false, known) => certificate.is_registered(known, door.now)?,
        };
        return Ok(Proven { until, by_device: false });
    };
    let token = SasToken::parse(token)?;
    token.is_at(door.hosts)?;
    let by_device = is_of_device(&token, id);
    if !by_device {
        token.is_for(id)?;
    }
    let keys = if by_device { device_keys } else { registered.keys };
    if keys.is_empty() {
        return Err(NotProven::NoKey);
    }
    let until = token.check(keys, door.now, door.skew)?;
    Ok(Proven { until: until.saturating_add(door.skew), by_device })
}

/// Whether it is a module's, and for the device of the module.
pub fn is_of_device(token: &SasToken, id: &Identity) -> bool {
    id.module_id().is_some() && token.is_for(&id.of_device()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::certificate::Period;
    use crate::domain::sas;

    const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";
    const SECOND: &str = "ZmVkY2JhOTg3NjU0MzIxMA==";
    const DEVICE: &str = "ZGV2aWNlLWtleS1vZi1ndy0xMjM=";

    fn id(text: &str) -> Identity {
        Identity::parse(text).unwrap()
    }

    fn keys(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|&key| key.to_owned()).collect()
    }

    /// At the hub `hub.net` and the gateway `gw`, at 1000, with 30 seconds of grace.
    fn with_token(who: &str, token: &str) -> Result<Proven, NotProven> {
        let own = keys(&[KEY, SECOND]);
        let registered = Registered { keys: &own, ..Registered::default() };
        let door = Door { hosts: &["hub.net", "gw"], now: 1_000, skew: 30 };
        let shown = Shown { token: Some(token), certificate: None };
        prove(&id(who), shown, registered, &keys(&[DEVICE]), door)
    }

    fn token(resource: &str, key: &str, expiry: u64) -> String {
        sas::make(resource, key, expiry, None).unwrap()
    }

    #[test]
    fn either_key_counts_at_the_hub_and_at_the_gateway_in_any_case_and_nowhere_else() {
        let own = Ok(Proven { until: 1_090, by_device: false });
        for host in ["hub.net", "HUB.net", "gw", "Gw", "hub.net:8883"] {
            for key in [KEY, SECOND] {
                let token = token(&format!("{host}/devices/d"), key, 1_060);
                assert_eq!(with_token("d", &token), own, "{host} {key}");
            }
        }
        for host in ["", "hub.net.evil", "evil.hub.net", "hub", "hub.net@evil", "hub.net:x"] {
            let token = token(&format!("{host}/devices/d"), KEY, 1_060);
            let why = with_token("d", &token).unwrap_err();
            assert!(matches!(why, NotProven::Token(SasError::OtherHost(_))), "{host}: {why}");
        }
    }

    #[test]
    fn a_clock_may_be_thirty_seconds_behind_and_no_more() {
        let at = |expiry| with_token("d", &token("hub.net/devices/d", KEY, expiry));
        assert_eq!(at(970), Ok(Proven { until: 1_000, by_device: false }));
        assert_eq!(at(969), Err(SasError::Expired(969).into()));
        assert_eq!(at(u64::MAX).map(|proven| proven.until), Ok(u64::MAX));
    }

    #[test]
    fn a_module_comes_in_with_its_devices_token_and_a_device_with_no_modules() {
        let of_device = token("hub.net/devices/gw", DEVICE, 1_060);
        let by_device = Ok(Proven { until: 1_090, by_device: true });
        assert_eq!(with_token("gw/m", &of_device), by_device);
        let of_module = token("hub.net/devices/gw/modules/m", KEY, 1_060);
        assert_eq!(with_token("gw/m", &of_module).map(|it| it.by_device), Ok(false));
        let other = |who: &str, resource: &str, key: &str| {
            let why = with_token(who, &token(resource, key, 1_060)).unwrap_err();
            let is_other = matches!(why, NotProven::Token(SasError::OtherResource(_)));
            assert!(is_other, "{who} with a token of {resource}: {why}");
        };
        other("gw", "hub.net/devices/gw/modules/m", KEY);
        other("gw/n", "hub.net/devices/gw/modules/m", KEY);
        other("leaf/m", "hub.net/devices/gw", DEVICE);
        other("gw", "hub.net", KEY);
        other("gw", "hub.net/devices", KEY);
        other("gw", "hub.net/devices/gw/", KEY);
        other("gw", "hub.net/devices/gw%2Fmodules%2Fm", KEY);
        // a key of the one for a token of the other
        let wrong = Err(SasError::WrongKey.into());
        assert_eq!(with_token("gw/m", &token("hub.net/devices/gw", KEY, 1_060)), wrong);
        let own = token("hub.net/devices/gw/modules/m", DEVICE, 1_060);
        assert_eq!(with_token("gw/m", &own), wrong);
    }

    #[test]
    fn a_resource_counts_as_it_was_written_and_is_decoded_once() {
        let signed = |sr: &str, signed: &str| {
            let signature = sas::sign(KEY, format!("{signed}\n1060").as_bytes()).unwrap();
            use base64::Engine;
            let signature = base64::engine::general_purpose::STANDARD.encode(signature);
            let signature = signature.replace('+', "%2B").replace('=', "%3D");
            with_token("d", &format!("SharedAccessSignature sr={sr}&sig={signature}&se=1060"))
        };
        for sr in ["hub.net%2Fdevices%2Fd", "hub.net%2fdevices%2fd", "hub.net/devices/d"] {
            assert!(signed(sr, sr).is_ok(), "{sr}");
        }
        let sr = "hub.net%2Fdevices%2Fd";
        assert_eq!(signed("hub.net/devices/d", sr), Err(SasError::WrongKey.into()));
        assert!(signed("hub.net%252Fdevices%252Fd", "hub.net%252Fdevices%252Fd").is_err());
        // the first of two counts, for the signature as well
        assert!(signed(&format!("hub.net%2Fdevices%2Fe&sr={sr}"), sr).is_err());
    }

    fn certificate(name: &str) -> ClientCertificate {
        let valid = Period { from: 0, until: 2_000 };
        ClientCertificate {
            thumbprints: vec!["ab".repeat(20)],
            common_names: vec![name.into()],
            valid,
            chain: Ok(valid),
        }
    }

    #[test]
    fn a_token_decides_where_there_is_one_and_nothing_registered_lets_nobody_in() {
        let certificate = certificate("d");
        let good = token("hub.net/devices/d", KEY, 1_060);
        let (own, print) = (keys(&[KEY]), keys(&[&"ab".repeat(20)]));
        let nothing = Registered::default();
        let sas = Registered { keys: &own, ..nothing };
        let self_signed = Registered { thumbprints: &print, ..nothing };
        let by_authority = Registered { by_authority: true, ..nothing };
        let door = Door { hosts: &["hub.net"], now: 1_000, skew: 0 };
        let check = |token: Option<&str>, certificate, registered| {
            prove(&id("d"), Shown { token, certificate }, registered, &[], door)
        };
        let shown = Some(&certificate);
        let until = |until| Ok(Proven { until, by_device: false });
        for (token, certificate, registered, expected) in [
            (Some(&*good), None, sas, until(1_060)),
            (Some(&*good), shown, sas, until(1_060)),
            (Some(&*good), shown, self_signed, Err(NotProven::NoKey)),
            (Some(&*good), shown, by_authority, Err(NotProven::NoKey)),
            (Some(&*good), shown, nothing, Err(NotProven::NoKey)),
            (None, shown, self_signed, until(2_000)),
            (None, shown, by_authority, until(2_000)),
            (None, shown, sas, Err(NotProven::NoCertificate)),
            (None, shown, nothing, Err(NotProven::NoCertificate)),
            (None, None, sas, Err(NotProven::Nothing)),
            (None, None, self_signed, Err(NotProven::Nothing)),
            (None, None, by_authority, Err(NotProven::Nothing)),
        ] {
            assert_eq!(check(token, certificate, registered), expected);
        }
        // one for another device, registered by its authority or by nobody
        let other = self::certificate("e");
        assert!(check(None, Some(&other), by_authority).is_err());
    }
}
