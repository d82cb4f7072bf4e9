//! `encrypt`, `decrypt`, `certificate/…`: what a module gets of keys that are not its own.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

use super::answers::{Answers, decoded, unprocessable};
use super::keys::{Bound, KeyError};
use crate::actors::clock;
use crate::domain::identity::Identity;
use crate::domain::iso8601;
use crate::protocol::certs::{CertError, ModuleCertificate};
use crate::protocol::http::{HttpRequest, HttpResponse};
use crate::protocol::logging::cut;

type Answer = Result<HttpResponse, HttpResponse>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EncryptBody {
    plaintext: String,
    initialization_vector: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DecryptBody {
    ciphertext: String,
    initialization_vector: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServerBody {
    common_name: String,
}

impl Answers {
    pub(super) async fn encrypt(
        &self,
        module: &str,
        generation: &str,
        request: &HttpRequest,
    ) -> Answer {
        let body = request.json::<EncryptBody>().map_err(unprocessable)?;
        let text = decoded("plaintext", &body.plaintext)?;
        let vector = decoded("initializationVector", &body.initialization_vector)?;
        let of = Bound { module, generation, vector: &vector };
        let sealed = self.keys().encrypt(&of, &text).await.map_err(|why| refusal(&why))?;
        Ok(HttpResponse::json(200, &json!({ "ciphertext": STANDARD.encode(sealed) })))
    }

    pub(super) async fn decrypt(
        &self,
        module: &str,
        generation: &str,
        request: &HttpRequest,
    ) -> Answer {
        let body = request.json::<DecryptBody>().map_err(unprocessable)?;
        let sealed = decoded("ciphertext", &body.ciphertext)?;
        let vector = decoded("initializationVector", &body.initialization_vector)?;
        let of = Bound { module, generation, vector: &vector };
        let text = self.keys().decrypt(&of, &sealed).await.map_err(|why| refusal(&why))?;
        Ok(HttpResponse::json(200, &json!({ "plaintext": STANDARD.encode(text) })))
    }

    /// For the module's own name, or the gateway's: who trusts this device's authority is to find
    /// no module under the name of another.
    pub(super) fn certify_server(&self, identity: &Identity, request: &HttpRequest) -> Answer {
        let body = request.json::<ServerBody>().map_err(unprocessable)?;
        let asked = body.common_name.trim();
        let module = identity.module_id().unwrap_or_default();
        let own = module.trim_start_matches('$');
        let gateway = &self.config().gateway_hostname;
        if ![own, module, gateway.as_str()].iter().any(|name| name.eq_ignore_ascii_case(asked)) {
            if self.refusals().is_said(module) {
                let asked = cut(asked);
                tracing::warn!(target: "audit", %identity, asked, "server certificate refused");
            }
            let why = format!("module {module} gets certificates for {own} and {gateway} only");
            return Err(HttpResponse::error(403, why));
        }
        let mut names = vec![asked];
        if !asked.eq_ignore_ascii_case(own) {
            names.push(own);
        }
        let made = self.config().authority.now().certify_server(&names, clock::unix_time());
        shown(made)
    }

    pub(super) fn certify_identity(&self, identity: &Identity) -> Answer {
        let (authority, hub) = (self.config().authority.now(), &self.config().hub);
        shown(authority.certify_identity(hub, identity, clock::unix_time()))
    }
}

fn shown(made: Result<ModuleCertificate, CertError>) -> Answer {
    let made = made.map_err(|why| HttpResponse::error(400, why))?;
    let expires = Duration::from_secs(made.expires.as_secs());
    Ok(HttpResponse::json(
        201,
        &json!({
            "privateKey": { "type": "key", "bytes": made.key },
            "certificate": made.chain,
            "expiration": iso8601::text(expires),
        }),
    ))
}

fn refusal(why: &KeyError) -> HttpResponse {
    let status = match why {
        KeyError::Away(..) => 503,
        KeyError::Damaged(..) => 500,
        KeyError::None(_) | KeyError::NotOurs => 400,
    };
    HttpResponse::error(status, why)
}
