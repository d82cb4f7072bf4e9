//! A client proves in the handshake that it has the key of the certificate that it shows, whoever
//! signed that. Who it is is decided at its log-in.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::crypto::{
    verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::sync::Arc;
use webpki::RawPublicKeyEntity;
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

/// Accepts every certificate whose key the peer has.
#[derive(Debug)]
pub(super) struct AskAndAcceptAny(pub(super) Arc<CryptoProvider>);

impl AskAndAcceptAny {
    fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.0.signature_verification_algorithms
    }
}

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
        let read = X509Certificate::from_der(end_entity);
        read.map_err(|_| CertificateError::BadEncoding)?; // it has no key then
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match old_key(cert) {
            Some(key) => verify_tls12_with_key(message, &key, dss, self.algorithms()),
            None => verify_tls12_signature(message, cert, dss, self.algorithms()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match old_key(cert) {
            Some(key) => verify_tls13_signature_with_raw_key(message, &key, dss, self.algorithms()),
            None => verify_tls13_signature(message, cert, dss, self.algorithms()),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms().supported_schemes()
    }
}

/// The key of a certificate of X.509 version 1, which `openssl x509 -req` makes: webpki reads
/// version 3 only.
fn old_key(cert: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'static>> {
    let (_, read) = X509Certificate::from_der(cert).ok()?;
    let is_old = read.version() != X509Version::V3;
    is_old.then(|| SubjectPublicKeyInfoDer::from(read.public_key().raw.to_vec()))
}

/// What rustls does for a certificate, and for TLS 1.3 also for a key.
fn verify_tls12_with_key(
    message: &[u8],
    key: &SubjectPublicKeyInfoDer<'_>,
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let bad = |why| Error::InvalidCertificate(why);
    let key = RawPublicKeyEntity::try_from(key).map_err(|_| bad(CertificateError::BadEncoding))?;
    let mut known = algorithms.mapping.iter().filter(|(scheme, _)| *scheme == dss.scheme);
    let is_signed = known.any(|(_, algorithms)| {
        let with = |algorithm| key.verify_signature(algorithm, message, dss.signature());
        algorithms.iter().any(|algorithm| with(*algorithm).is_ok())
    });
    match is_signed {
        true => Ok(HandshakeSignatureValid::assertion()),
        false => Err(bad(CertificateError::BadSignature)),
    }
}
