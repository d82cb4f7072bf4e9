//! Signs images as cosign does: a manifest with the tag `sha256-….sig` beside the image.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use edge_runtime::domain::agent::image_rules::PublicKey;
use edge_runtime::domain::hex::hex;
use edge_runtime::protocol::http_client::{ClientAnswer, ClientRequest, Place, ask};
use edge_runtime::protocol::registry::signature::read_key;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::registry::{PASSWORD, Registry, USER};

pub(crate) struct Signer {
    pub(crate) key: PublicKey,
    pair: EcdsaKeyPair,
}

impl Signer {
    pub(crate) fn new() -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let key = read_key(pair.public_key_pem().as_bytes(), "the plant's key").unwrap();
        let (random, pkcs8) = (SystemRandom::new(), pair.serialize_der());
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8, &random);
        Signer { key, pair: pair.unwrap() }
    }

    /// As `cosign sign --key`: what was signed before is replaced.
    pub(crate) async fn sign(&self, registry: &Registry, repository: &str, digest: &str) {
        let payload = json!({"critical": {
            "identity": {"docker-reference": registry.image(repository)},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        }, "optional": null})
        .to_string();
        let signature = self.pair.sign(&SystemRandom::new(), payload.as_bytes()).unwrap();
        let config = put_blob(registry, repository, b"{}").await;
        let mut layer = put_blob(registry, repository, payload.as_bytes()).await;
        layer["mediaType"] = "application/vnd.dev.cosign.simplesigning.v1+json".into();
        let signature = STANDARD.encode(signature);
        layer["annotations"] = json!({"dev.cosignproject.cosign/signature": signature});
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer],
        });
        let tag = format!("{}.sig", digest.replace(':', "-"));
        let mut request = ClientRequest::new("PUT", format!("/v2/{repository}/manifests/{tag}"));
        request = request.with_header("Content-Type", kind);
        request.body = manifest.to_string().into();
        send(registry, request).await;
    }
}

async fn put_blob(registry: &Registry, repository: &str, bytes: &[u8]) -> Value {
    let begin = ClientRequest::new("POST", format!("/v2/{repository}/blobs/uploads/"));
    let begun = send(registry, begin).await;
    let at = begun.header("location").unwrap();
    let at = &at[at.find("/v2/").unwrap()..];
    let digest = format!("sha256:{}", hex(&Sha256::digest(bytes)));
    let mut request = ClientRequest::new("PUT", format!("{at}&digest={digest}"));
    request = request.with_header("Content-Type", "application/octet-stream");
    request.body = bytes.to_vec().into();
    send(registry, request).await;
    json!({
        "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest,
        "size": bytes.len(),
    })
}

async fn send(registry: &Registry, request: ClientRequest) -> ClientAnswer {
    let (host, port) = registry.address.rsplit_once(':').unwrap();
    let place = Place::Tcp(host.into(), port.parse().unwrap());
    let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let what = format!("{} {}", request.method, request.target);
    let request = request.with_header("Authorization", basic);
    let answer = ask(&place, request, Duration::from_secs(10)).await.unwrap();
    assert!(answer.is_success(), "{what}: {} {:?}", answer.status, answer.body);
    answer
}
