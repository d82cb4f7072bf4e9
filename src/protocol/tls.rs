//! TLS 1.2 and 1.3 for both sides, by rustls and ring.
//!
//! As a server we ask for a client certificate and never insist (`tls/proof.rs`): whose it is is
//! decided at the log-in, by its thumbprint or by who signed it (`tls/authorities.rs`).

mod authorities;
mod proof;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, Error, RootCertStore, ServerConfig};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub use self::authorities::{AuthorityError, ClientAuthorities};
use self::proof::AskAndAcceptAny;
use super::certs::ServerCertificate;
use crate::domain::certificate::ClientCertificate;
use crate::domain::hex::hex;

/// A connection that was accepted.
pub type ServerStream<S> = tokio_rustls::server::TlsStream<S>;
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
pub struct TlsServer {
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
    authorities: ClientAuthorities,
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsServer")
    }
}

/// The certificate for who comes now.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn certified(certificate: &ServerCertificate) -> Result<Arc<CertifiedKey>, Error> {
    let provider = ring::default_provider();
    CertifiedKey::from_der(certificate.chain(), certificate.key(), &provider).map(Arc::new)
}

impl TlsServer {
    /// Serves with this certificate; who comes with one of these authorities is known.
    pub fn new(
        certificate: &ServerCertificate,
        authorities: ClientAuthorities,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let shown = Arc::new(Shown(RwLock::new(certified(certificate)?)));
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Arc::new(AskAndAcceptAny(provider)))
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        Ok(TlsServer { config: Arc::new(config), shown, authorities })
    }

    /// Shows this one to who comes from now on; who is there stays.
    pub fn show(&self, certificate: &ServerCertificate) -> Result<(), TlsError> {
        let new = certified(certificate)?;
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Shakes hands. The caller sets the deadline.
    pub async fn accept<S>(&self, stream: S) -> io::Result<ServerStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        TlsAcceptor::from(Arc::clone(&self.config)).accept(stream).await
    }

    /// The certificate that the client showed, and what it is worth at `now` (Unix time).
    pub fn peer<S>(&self, stream: &ServerStream<S>, now: Duration) -> Option<ClientCertificate> {
        let sent = stream.get_ref().1.peer_certificates()?;
        self.authorities.look_at(sent, now)
    }

    /// For crates that take the configuration itself.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// SHA-1 and SHA-256 of a certificate in DER, lower-case hex.
pub fn thumbprints(der: &[u8]) -> Vec<String> {
    vec![hex(&Sha1::digest(der)), hex(&Sha256::digest(der))]
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

    /// Trusts these authorities and the machine's own: for servers of anybody.
    pub fn of_anybody(trust: &Trust) -> Result<Self, TlsError> {
        let mut roots = trust.roots()?;
        if let (Trust::Pem(..), Ok(system)) = (trust, Trust::System.roots()) {
            roots.extend(system.roots);
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
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

    /// With a configuration of its own.
    pub(super) fn of(config: Arc<ClientConfig>) -> Self {
        TlsClient(config)
    }

    /// For crates that take the configuration itself.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}
