//! The certificates of an edge device, as its clients need them (interfaces 3).

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::{Authority, CertError, ServerCertificate, names_of, write_trust_bundle};
use crate::protocol::files::make_dir;

/// What an edge device serves with, and gives its clients.
#[derive(Debug)]
pub struct DeviceCertificates {
    /// Made anew at each start.
    pub server: ServerCertificate,
    /// PEM: the device's authority, and what it trusts upstream.
    pub trust_bundle: String,
    /// Signs certificates of modules.
    pub authority: Rc<Authority>,
}

impl DeviceCertificates {
    /// Makes what is missing below `certs/` in the state directory, and a server certificate for
    /// the gateway's name and all that is listened on.
    pub fn prepare(
        state: &Path,
        device: &str,
        gateway_hostname: &str,
        listen: &[SocketAddr],
        trusted_ca: Option<&Path>,
        unix_time: Duration,
    ) -> Result<Self, CertError> {
        let certs = state.join("certs");
        make_dir(&certs, 0o755)?;
        let name = format!("{device} device CA");
        let name: String = name.chars().take(64).collect(); // the longest common name
        let authority = Authority::load_or_make(&certs.join("device-ca.pem"), &name)?;
        let server = authority.certify(&names_of(&[gateway_hostname], listen), unix_time)?;
        let bundle = certs.join("trust-bundle.pem");
        let trust_bundle = write_trust_bundle(&bundle, &authority, trusted_ca)?;
        Ok(DeviceCertificates { server, trust_bundle, authority: Rc::new(authority) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::files::read_text;

    #[test]
    fn a_second_start_keeps_the_authority_and_makes_a_new_server_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let listen = ["127.0.0.1:8883".parse().unwrap()];
        let device = "d".repeat(128);
        let start = || {
            let made = DeviceCertificates::prepare(
                dir.path(),
                &device,
                "gw.local",
                &listen,
                None,
                Duration::ZERO,
            );
            made.unwrap()
        };
        let (first, second) = (start(), start());
        assert_eq!(first.trust_bundle, second.trust_bundle);
        assert_ne!(first.server.chain_pem(), second.server.chain_pem());
        let bundle = read_text(&dir.path().join("certs/trust-bundle.pem")).unwrap();
        assert_eq!(bundle, first.trust_bundle);
    }
}
