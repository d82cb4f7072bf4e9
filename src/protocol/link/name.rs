//! TLS towards a parent that is dialled by another name than its own (`upstream.address`).

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use crate::protocol::tls::{TlsClient, TlsError, Trust};

/// Checks the certificate against the hub's name, whatever address was dialled.
#[derive(Debug)]
struct Named {
    name: ServerName<'static>,
    inner: Arc<WebPkiServerVerifier>,
}

/// Trusts these authorities, and a parent that they call `host`.
pub(super) fn client(trust: &Trust, host: &str) -> Result<TlsClient, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let roots = Arc::new(trust.roots()?);
    let inner = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
    let inner = inner.build().map_err(|error| Error::General(error.to_string()))?;
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|error| Error::General(format!("host name `{host}`: {error}")))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous() // it is called so; `Named` checks all that the usual verifier does
        .with_custom_certificate_verifier(Arc::new(Named { name, inner }))
        .with_no_client_auth();
    Ok(TlsClient::of(Arc::new(config)))
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = &self.name;
        self.inner.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
