//! What the TLS certificate of a client says, and whether that proves who it is (spec edgehub 3.9).
//!
//! Either its thumbprint was registered, or an authority that is trusted here signed it, directly
//! or by way of others, for the id of the device. Of modules, thumbprints count, and no authority. Whether there is a
//! chain to an authority was found out where the TLS is (`protocol/tls/authorities.rs`).

use super::identity::Identity;
use super::sas::plain;

/// See the module documentation. The client has proven that it has the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// SHA-1 and SHA-256, lower-case hex.
    pub thumbprints: Vec<String>,
    /// Common names of its subject.
    pub common_names: Vec<String>,
    /// When it is good.
    pub valid: Period,
    /// When the whole chain to an authority is good, or why there is none.
    pub chain: Result<Period, String>,
}

/// First and last second, in Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// First.
    pub from: u64,
    /// Last.
    pub until: u64,
}

/// Why a certificate proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotGood {
    /// Only devices have certificates.
    #[error(
        "a module cannot come in with a certificate of an authority; register its thumbprint, or use a SAS token"
    )]
    Module,
    /// By its dates.
    #[error("its certificate is good from {} to {} (Unix time), and it is {now}", .period.from, .period.until)]
    OutOfDate {
        /// Of the certificate, or of its chain.
        period: Period,
        /// Our clock.
        now: u64,
    },
    /// Another certificate.
    #[error("its certificate has none of the thumbprints that were registered")]
    Thumbprint,
    /// Not one name, or another one.
    #[error("the common name of its certificate is not its id but `{0}`")]
    CommonName(String),
    /// Not signed by whom we trust.
    #[error("its certificate is not trusted: {0}")]
    Chain(String),
}

impl Period {
    /// What two have in common.
    pub fn and(self, other: Period) -> Period {
        Period { from: self.from.max(other.from), until: self.until.min(other.until) }
    }

    /// The last second, if `now` is not after it, nor before the first.
    fn holds(self, now: u64) -> Result<u64, NotGood> {
        match (self.from..=self.until).contains(&now) {
            true => Ok(self.until),
            false => Err(NotGood::OutOfDate { period: self, now }),
        }
    }
}

impl ClientCertificate {
    /// Whether it is one of those registered for who shows it, a device or a module, and until when.
    pub fn is_registered(&self, known: &[String], now: u64) -> Result<u64, NotGood> {
        let is_known = |shown: &&String| known.iter().any(|one| one.eq_ignore_ascii_case(shown));
        self.thumbprints.iter().find(is_known).ok_or(NotGood::Thumbprint)?;
        self.valid.holds(now)
    }

    /// Whether an authority has signed it for `id`, and until when.
    pub fn is_certified(&self, id: &Identity, now: u64) -> Result<u64, NotGood> {
        is_device(id)?;
        let chain = self.chain.clone().map_err(NotGood::Chain)?;
        match self.common_names.as_slice() {
            [name] if name == id.as_str() => chain.and(self.valid).holds(now),
            names => Err(NotGood::CommonName(plain(&names.join(", ")))),
        }
    }
}

fn is_device(id: &Identity) -> Result<(), NotGood> {
    if id.module_id().is_none() { Ok(()) } else { Err(NotGood::Module) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(names: &[&str], chain: Result<Period, String>) -> ClientCertificate {
        ClientCertificate {
            thumbprints: vec!["ab".repeat(20), "cd".repeat(32)],
            common_names: names.iter().map(|&name| name.to_owned()).collect(),
            valid: Period { from: 100, until: 200 },
            chain,
        }
    }

    fn id(text: &str) -> Identity {
        Identity::parse(text).unwrap()
    }

    #[test]
    fn either_thumbprint_in_any_case_counts_while_the_certificate_is_good() {
        let shown = shown(&["whatever"], Err("self-signed".into()));
        let check = |known: &str, now| shown.is_registered(&[known.to_owned()], now);
        assert_eq!(check(&"AB".repeat(20), 100), Ok(200));
        assert_eq!(check(&"cD".repeat(32), 200), Ok(200));
        for other in [String::new(), "ab".repeat(19), "ab".repeat(32), "ef".repeat(20)] {
            assert_eq!(check(&other, 150), Err(NotGood::Thumbprint), "{other}");
        }
        for now in [99, 201] {
            let why = check(&"ab".repeat(20), now).unwrap_err();
            assert!(matches!(why, NotGood::OutOfDate { .. }), "{now}: {why}");
        }
        assert_eq!(shown.is_registered(&[], 150), Err(NotGood::Thumbprint));
    }

    #[test]
    fn a_certificate_of_an_authority_is_for_the_id_that_is_its_one_common_name() {
        let chain = Ok(Period { from: 0, until: 180 });
        let check =
            |names: &[&str], who: &str| shown(names, chain.clone()).is_certified(&id(who), 150);
        assert_eq!(check(&["d"], "d"), Ok(180), "until the first of the chain ends");
        for names in [&["D"][..], &["d "], &["d\0"], &["d", "d"], &["other", "d"], &[""], &[]] {
            let why = check(names, "d").unwrap_err();
            assert!(matches!(why, NotGood::CommonName(_)), "{names:?}: {why}");
        }
        assert_eq!(check(&["d/m"], "d/m"), Err(NotGood::Module));
    }

    #[test]
    fn without_a_chain_that_is_good_now_the_name_proves_nothing() {
        let why = shown(&["d"], Err("nobody".into())).is_certified(&id("d"), 150);
        assert_eq!(why, Err(NotGood::Chain("nobody".into())));
        let chain = Period { from: 120, until: 1_000 };
        let check = |now| shown(&["d"], Ok(chain)).is_certified(&id("d"), now);
        let in_date = check(150);
        assert_eq!(in_date, Ok(200), "its own end counts as well");
        for now in [110, 201] {
            let why = check(now).unwrap_err();
            assert!(matches!(why, NotGood::OutOfDate { .. }), "{now}: {why}");
        }
    }
}
