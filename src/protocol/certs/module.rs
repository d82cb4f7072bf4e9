//! Certificates that modules ask for (spec edgeagent.md 7.2): to serve with, or to show who they
//! are. Each has a key of its own, which is not kept here.

use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd,
};
use time::OffsetDateTime;

use super::{Authority, CertError, refused, ten_years_from, time_of};
use crate::domain::identity::Identity;

/// Modules ask again at each start; this is how long one may run.
const LIFE: time::Duration = time::Duration::days(90);
/// The longest common name.
const LONGEST: usize = 64;

/// A certificate, and its key.
pub struct ModuleCertificate {
    /// Its own, and that of the authority, PEM.
    pub chain: String,
    /// PKCS#8, PEM.
    pub key: String,
    /// Unix time of its end.
    pub expires: Duration,
}

impl std::fmt::Debug for ModuleCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ModuleCertificate until {:?}", self.expires)
    }
}

impl Authority {
    /// A server certificate for these names, DNS names or addresses; the first is its subject.
    pub fn certify_server(
        &self,
        names: &[&str],
        unix_time: Duration,
    ) -> Result<ModuleCertificate, CertError> {
        let list = names.join(", ");
        let san = |name: &&str| match name.parse::<IpAddr>() {
            Ok(address) => Ok(SanType::IpAddress(address)),
            Err(_) => (*name).try_into().map(SanType::DnsName).map_err(|e| refused(&list, &e)),
        };
        let sans = names.iter().map(san).collect::<Result<Vec<_>, _>>()?;
        let subject = names.first().copied().unwrap_or_default();
        self.issue(subject, sans, ExtendedKeyUsagePurpose::ServerAuth, unix_time)
    }

    /// A client certificate that says which module it is.
    pub fn certify_identity(
        &self,
        hub: &str,
        identity: &Identity,
        unix_time: Duration,
    ) -> Result<ModuleCertificate, CertError> {
        let uri = format!("azureiot://{hub}/{}", identity.resource());
        let san = uri.as_str().try_into().map_err(|e| refused(&uri, &e))?;
        let subject = identity.module_id().unwrap_or_default();
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        self.issue(subject, vec![SanType::URI(san)], usage, unix_time)
    }

    fn issue(
        &self,
        subject: &str,
        sans: Vec<SanType>,
        usage: ExtendedKeyUsagePurpose,
        unix_time: Duration,
    ) -> Result<ModuleCertificate, CertError> {
        let refused = |e: rcgen::Error| refused(subject, &e);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(refused)?;
        let mut params = CertificateParams::new(Vec::new()).map_err(refused)?;
        params.subject_alt_names = sans;
        let short: String = subject.chars().take(LONGEST).collect();
        params.distinguished_name.push(DnType::CommonName, short);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = end(unix_time).min(time_of(self.ends()));
        let expires = params.not_after.unix_timestamp();
        let certificate = params.signed_by(&key, &self.issuer).map_err(refused)?;
        let (cross, _) = self.cross(unix_time).unzip();
        Ok(ModuleCertificate {
            chain: format!("{}{}{}", certificate.pem(), cross.unwrap_or_default(), self.pem),
            key: key.serialize_pem(),
            expires: Duration::from_secs(u64::try_from(expires).unwrap_or_default()),
        })
    }
}

/// A clock that is behind will be set: what is issued then must not end by that.
fn end(unix_time: Duration) -> OffsetDateTime {
    let now = i64::try_from(unix_time.as_secs()).ok();
    let now = now.and_then(|now| OffsetDateTime::from_unix_timestamp(now).ok());
    match now {
        Some(now) if now >= date_time_ymd(2026, 1, 1) && now < date_time_ymd(2089, 1, 1) => {
            now + LIFE
        }
        _ => ten_years_from(unix_time),
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::pem::parse_x509_pem;
    use x509_parser::prelude::GeneralName;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn authority() -> (tempfile::TempDir, Authority) {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::load_or_make(&dir.path().join("ca.pem"), "gw device CA");
        (dir, authority.unwrap())
    }

    #[test]
    fn a_server_certificate_is_signed_by_the_device_and_names_what_was_asked_for() {
        let (_dir, authority) = authority();
        let made = authority.certify_server(&["gw.local", "sensor", "10.0.0.1"], NOW).unwrap();
        assert_eq!(made.chain.matches("BEGIN CERTIFICATE").count(), 2);
        assert!(made.key.contains("PRIVATE KEY") && !format!("{made:?}").contains("PRIVATE"));
        let (_, pem) = parse_x509_pem(made.chain.as_bytes()).unwrap();
        let leaf = pem.parse_x509().unwrap();
        let (_, ca) = parse_x509_pem(authority.pem().as_bytes()).unwrap();
        leaf.verify_signature(Some(ca.parse_x509().unwrap().public_key())).unwrap();
        assert!(leaf.subject().to_string().contains("CN=gw.local"));
        let names = leaf.subject_alternative_name().unwrap().unwrap();
        let names: Vec<_> = names.value.general_names.iter().collect();
        assert!(matches!(
            names[..],
            [
                GeneralName::DNSName("gw.local"),
                GeneralName::DNSName("sensor"),
                GeneralName::IPAddress([10, 0, 0, 1]),
            ]
        ));
        let usage = leaf.extended_key_usage().unwrap().unwrap();
        assert!(usage.value.server_auth && !usage.value.client_auth && !leaf.is_ca());
        assert_eq!(leaf.validity().not_after.timestamp(), made.expires.as_secs() as i64);
        assert_eq!(made.expires - NOW, Duration::from_secs(90 * 86_400));
        assert!(authority.certify_server(&["gé"], NOW).is_err());
    }

    #[test]
    fn an_identity_certificate_says_which_module_it_is() {
        let (_dir, authority) = authority();
        let module = Identity::module("gw", "m").unwrap();
        let made = authority.certify_identity("hub", &module, NOW).unwrap();
        let (_, pem) = parse_x509_pem(made.chain.as_bytes()).unwrap();
        let leaf = pem.parse_x509().unwrap();
        let names = leaf.subject_alternative_name().unwrap().unwrap();
        let uri = "azureiot://hub/devices/gw/modules/m";
        assert_eq!(names.value.general_names, [GeneralName::URI(uri)]);
        let usage = leaf.extended_key_usage().unwrap().unwrap();
        assert!(usage.value.client_auth && !usage.value.server_auth);
    }

    #[test]
    fn what_is_issued_by_a_clock_that_is_behind_lasts_until_it_is_set() {
        assert_eq!(end(Duration::from_secs(7)).year(), 2035);
        assert_eq!(end(NOW).unix_timestamp() as u64, NOW.as_secs() + 90 * 86_400);
    }
}
