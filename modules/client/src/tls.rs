//! What the client trusts: the certificates it was given, nothing else.

use std::sync::Arc;

use rumqttc::{TlsConfiguration, Transport};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::error::AttemptError;

/// TLS 1.2 and 1.3 by ring, trusting the certificates of this PEM text.
pub(crate) fn transport(ca: &str) -> Result<Transport, AttemptError> {
    let mut roots = RootCertStore::empty();
    // One odd certificate of a bundle must not take the others with it.
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()).flatten() {
        roots.add_parsable_certificates([certificate]);
    }
    if roots.is_empty() {
        return Err(AttemptError::Certificates("none were given to trust".into()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| AttemptError::Certificates(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(config))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_certificate_to_trust_is_an_error_not_a_silent_failure_later() {
        let error = transport("").err().expect("nothing is trusted");
        assert_eq!(error.to_string(), "certificates: none were given to trust");
    }
}
