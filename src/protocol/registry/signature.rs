//! Signatures of images as `cosign sign --key` makes them: a small JSON that names the image's
//! digest, and a signature of its bytes.

use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_SIG_ED25519};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::domain::agent::image_rules::{Algorithm, PublicKey};

/// What cosign writes into `critical.type`.
const KIND: &str = "cosign container image signature";

/// One signature of one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// What was signed, to the byte.
    pub payload: String,
    /// In base64.
    pub signature: String,
}

/// Why a file is no public key for this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Not PEM, or of something else.
    #[error(
        "holds no public key: a PEM file with `-----BEGIN PUBLIC KEY-----` is needed (cosign generate-key-pair)"
    )]
    NotAKey,
    /// RSA, another curve.
    #[error(
        "holds a key of a kind that is not served: ECDSA on P-256 (cosign's own) or Ed25519 is needed"
    )]
    Kind,
}

/// Reads a public key; `name` is for people.
pub fn read_key(pem: &[u8], name: &str) -> Result<PublicKey, BadKey> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| BadKey::NotAKey)?;
    let (_, key) = SubjectPublicKeyInfo::from_der(&der).map_err(|_| BadKey::NotAKey)?;
    let curve = key.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
    let algorithm = match &key.algorithm.algorithm {
        kind if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == Some(OID_EC_P256) => {
            Algorithm::EcdsaP256
        }
        kind if *kind == OID_SIG_ED25519 => Algorithm::Ed25519,
        _ => return Err(BadKey::Kind),
    };
    let bytes = key.subject_public_key.data.to_vec();
    Ok(PublicKey { name: name.into(), algorithm, bytes })
}

/// Whether one of the signatures is by one of the keys and of the image with this digest; answers
/// with the key's name, or says what is wrong with them all.
pub fn verify<'a>(
    signatures: &[Signature],
    keys: &'a [PublicKey],
    digest: &str,
) -> Result<&'a str, String> {
    if signatures.is_empty() {
        return Err(format!("there is no signature of {digest}"));
    }
    let mut why = String::new();
    for signature in signatures {
        let Some(key) = keys.iter().find(|key| is_by(signature, key)) else {
            why = format!("its signature is by none of {}", names(keys));
            continue;
        };
        match is_of(&signature.payload, digest) {
            Ok(()) => return Ok(&key.name),
            Err(what) => why = format!("what {} signed {what}", key.name),
        }
    }
    Err(why)
}

fn names(keys: &[PublicKey]) -> String {
    keys.iter().map(|key| key.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn is_by(signature: &Signature, key: &PublicKey) -> bool {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let algorithm: &'static dyn VerificationAlgorithm = match key.algorithm {
        Algorithm::EcdsaP256 => &ECDSA_P256_SHA256_ASN1,
        Algorithm::Ed25519 => &ED25519,
    };
    let mut text = signature.signature.clone();
    text.retain(|c| !c.is_ascii_whitespace()); // some tools break it into lines
    let Ok(bytes) = STANDARD.decode(text) else { return false };
    let key = UnparsedPublicKey::new(algorithm, &key.bytes);
    key.verify(signature.payload.as_bytes(), &bytes).is_ok()
}

/// Only read once the signature is right.
fn is_of(payload: &str, digest: &str) -> Result<(), String> {
    let payload: Value = serde_json::from_str(payload).map_err(|_| "is not JSON".to_owned())?;
    let critical = &payload["critical"];
    if critical["type"] != KIND {
        return Err("is no signature of an image".into());
    }
    match critical["image"]["docker-manifest-digest"].as_str() {
        Some(signed) if signed == digest => Ok(()),
        signed => Err(format!("is {}, not {digest}", signed.unwrap_or("nothing"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use ring::rand::SystemRandom;
    use ring::signature::{Ed25519KeyPair, KeyPair};
    use serde_json::json;
    use std::slice::from_ref;

    fn payload(digest: &str, kind: &str) -> String {
        json!({"critical": {
            "identity": {"docker-reference": "r.io/a"},
            "image": {"docker-manifest-digest": digest}, "type": kind,
        }, "optional": null})
        .to_string()
    }

    fn pair(name: &str) -> (Ed25519KeyPair, PublicKey) {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let bytes = pair.public_key().as_ref().to_vec();
        (pair, PublicKey { name: name.into(), algorithm: Algorithm::Ed25519, bytes })
    }

    fn sign(pair: &Ed25519KeyPair, payload: String) -> Signature {
        let signature = STANDARD.encode(pair.sign(payload.as_bytes()));
        Signature { payload, signature }
    }

    #[test]
    fn a_signature_counts_for_its_key_its_digest_and_its_bytes_only() {
        let ((pair, key), (_, other)) = (pair("ours"), pair("other"));
        let good = sign(&pair, payload("sha256:1", KIND));
        let check = |signatures: &[Signature], keys: &[PublicKey], digest: &str| {
            verify(signatures, keys, digest).map(str::to_owned)
        };
        let (both, digest) = ([other.clone(), key.clone()], "sha256:1");
        assert_eq!(check(from_ref(&good), &both, digest), Ok("ours".into()));
        let why = |signatures: &[Signature], keys: &[PublicKey], digest: &str| {
            check(signatures, keys, digest).unwrap_err()
        };
        assert!(why(from_ref(&good), &[other], digest).contains("by none of other"));
        assert!(why(from_ref(&good), &both, "sha256:2").contains("is sha256:1, not sha256:2"));
        assert!(why(&[], &both, digest).contains("no signature"));
        let moved = Signature { payload: payload("sha256:2", KIND), ..good.clone() };
        assert!(why(from_ref(&moved), &both, "sha256:2").contains("by none of"));
        assert_eq!(
            check(&[moved, good.clone()], &both, digest),
            Ok("ours".into()),
            "one is enough"
        );
        let other_kind = sign(&pair, payload("sha256:1", "something else"));
        assert!(why(&[other_kind], &both, digest).contains("no signature of an image"));
        let (start, end) = good.signature.split_at(40);
        let lines = Signature { signature: format!("{start}\n{end}\n"), ..good.clone() };
        assert_eq!(check(&[lines], &both, digest), Ok("ours".into()), "in lines");
        let junk = Signature { signature: "no base64!".into(), ..good };
        assert!(why(&[junk], &both, digest).contains("by none of"));
    }

    #[test]
    fn keys_of_other_kinds_are_refused_by_name() {
        assert_eq!(read_key(b"nothing", "k"), Err(BadKey::NotAKey));
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        assert_eq!(read_key(p384.public_key_pem().as_bytes(), "k"), Err(BadKey::Kind));
        for (kind, algorithm) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Algorithm::EcdsaP256),
            (&rcgen::PKCS_ED25519, Algorithm::Ed25519),
        ] {
            let pair = rcgen::KeyPair::generate_for(kind).unwrap();
            let key = read_key(pair.public_key_pem().as_bytes(), "k").unwrap();
            assert_eq!((key.algorithm, key.bytes.as_slice()), (algorithm, pair.public_key_raw()));
        }
    }
}
