//! TLS 1.2 and 1.3 for both sides, by rustls and ring.
//!
//! As a server we ask for a client certificate and never insist: who a self-signed one belongs
//! to is decided later, by its thumbprint. The peer has proven by then that it has the key.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    ServerConfig, SignatureScheme,
};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::certs::ServerCertificate;

/// A connection that was accepted.
pub type ServerStream = tokio_rustls::server::TlsStream<TcpStream>;
/// A connection that we made.
pub type ClientStream = tokio_rustls::client::TlsStream<TcpStream>;

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Of a file of authorities.
    #[error("{0} has no usable certificate: give a PEM file with `-----BEGIN CERTIFICATE-----`")]
    NoCertificate(String),
    /// Of the machine's own.
    #[error("this machine trusts no certificate authority: install ca-certificates, or name a CA")]
    NoSystemRoots,
    /// As rustls puts it.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] Error),
}

/// What we serve with. Cheap to clone.
#[derive(Clone)]
pub struct TlsServer(Arc<ServerConfig>);

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsServer")
    }
}

impl TlsServer {
    /// Serves with this certificate.
    pub fn new(certificate: &ServerCertificate) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Arc::new(AskAndAcceptAny(provider)))
            .with_single_cert(certificate.chain(), certificate.key())?;
        Ok(TlsServer(Arc::new(config)))
    }

    /// Shakes hands. The caller sets the deadline.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<ServerStream> {
        TlsAcceptor::from(Arc::clone(&self.0)).accept(stream).await
    }

    /// For crates that take the configuration itself.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0)
    }
}

/// SHA-1 and SHA-256 of the certificate that the client showed, lower-case hex; empty if none.
pub fn peer_thumbprints(stream: &ServerStream) -> Vec<String> {
    let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    leaf.map(|leaf| thumbprints(leaf)).unwrap_or_default()
}

/// SHA-1 and SHA-256 of a certificate in DER, lower-case hex.
pub fn thumbprints(der: &[u8]) -> Vec<String> {
    vec![hex(&Sha1::digest(der)), hex(&Sha256::digest(der))]
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for nibble in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(nibble), 16));
        }
        text
    })
}

/// Whom a client trusts.
#[derive(Clone, PartialEq, Eq)]
pub enum Trust {
    /// The machine's own authorities.
    System,
    /// These, in PEM, and no other; with where they come from.
    Pem(Vec<u8>, String),
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trust::System => f.write_str("system roots"),
            Trust::Pem(_, origin) => f.write_str(origin),
        }
    }
}

impl Trust {
    /// The authorities in a file, or the machine's own if none is named.
    pub fn from_file(path: Option<&Path>) -> Result<Self, super::files::FileError> {
        let Some(path) = path else { return Ok(Trust::System) };
        let pem = super::files::read_text(path)?;
        Ok(Trust::Pem(pem.into_bytes(), path.display().to_string()))
    }

    pub(super) fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        match self {
            Trust::System => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if roots.is_empty() { Err(TlsError::NoSystemRoots) } else { Ok(roots) }
            }
            Trust::Pem(pem, origin) => {
                let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
                roots.add_parsable_certificates(certificates);
                let none = || TlsError::NoCertificate(origin.clone());
                if roots.is_empty() { Err(none()) } else { Ok(roots) }
            }
        }
    }
}

/// What we connect with. Cheap to clone.
#[derive(Clone)]
pub struct TlsClient(Arc<ClientConfig>);

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsClient")
    }
}

impl TlsClient {
    /// Trusts these authorities.
    pub fn new(trust: &Trust) -> Result<Self, TlsError> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(trust.roots()?)
            .with_no_client_auth();
        Ok(TlsClient(Arc::new(config)))
    }

    /// Trusts these authorities, and shows a certificate of its own: chain and key in PEM.
    pub fn with_identity(trust: &Trust, chain: &str, key: &str) -> Result<Self, TlsError> {
        let unusable = |what: &str| TlsError::NoCertificate(what.into());
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(chain.as_bytes()).filter_map(Result::ok).collect();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
        let key = key.map_err(|_| unusable("the client's key file"))?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(trust.roots()?)
            .with_client_auth_cert(chain, key)?;
        Ok(TlsClient(Arc::new(config)))
    }

    /// Shakes hands with `host`: a DNS name or an IP address, as in its certificate.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<ClientStream> {
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await
    }

    /// For crates that take the configuration itself.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}

/// Accepts every certificate whose key the peer has.
#[derive(Debug)]
struct AskAndAcceptAny(Arc<CryptoProvider>);

impl ClientCertVerifier for AskAndAcceptAny {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if end_entity.is_empty() {
            return Err(CertificateError::BadEncoding.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
