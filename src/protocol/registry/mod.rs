//! Registries of images, as far as signatures need them: what cosign put beside an image.
//!
//! Used by `actors/agent/engine/gate.rs`. The images themselves are the engine's to fetch.

mod auth;
pub mod signature;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures_util::StreamExt;
use hyper::Uri;
use serde_json::Value;
use sha2::{Digest, Sha256};

use self::signature::Signature;
use super::files::FileError;
use super::http_client::{AskError, ClientAnswer, ClientRequest, Place, follow};
use super::tls::{TlsClient, TlsError, Trust};
use crate::domain::agent::image::Location;
use crate::domain::agent::manifest::Credential;
use crate::domain::hex::hex;

const DEADLINE: Duration = Duration::from_secs(30);
/// Redirections: registries send for blobs to their storage.
const HOPS: usize = 5;
/// Neither a list of signatures nor one of them is larger.
const MOST_BYTES: usize = 1 << 20;
const MOST_SIGNATURES: usize = 64;
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.v2+json";
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";

/// Why signatures cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Nobody there.
    #[error("{0}")]
    Ask(#[from] AskError),
    /// Whom to trust cannot be read.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// … out of its file.
    #[error("{0}")]
    File(#[from] FileError),
    /// It said no.
    #[error("{place} answers {status} for {target}{why}")]
    Refused {
        /// Which registry.
        place: String,
        /// Of HTTP.
        status: u16,
        /// Path.
        target: String,
        /// Its own words.
        why: String,
    },
    /// It said something else than registries do.
    #[error("{place}: {what}")]
    Odd {
        /// Which registry.
        place: String,
        /// What.
        what: String,
    },
}

/// One registry.
#[derive(Clone, Debug)]
pub struct Registry {
    place: Place,
    credential: Option<Credential>,
}

impl Registry {
    /// The one at this host; `is_plain`: without TLS. Trusted are the machine's authorities, or
    /// those that Docker has for this host (`/etc/docker/certs.d`).
    pub fn at(
        host: &str,
        is_plain: bool,
        credential: Option<&Credential>,
    ) -> Result<Self, RegistryError> {
        let host = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let (name, port) = match host.rsplit_once(':').map(|(name, port)| (name, port.parse())) {
            Some((name, Ok(port))) => (name, Some(port)),
            _ => (host, None),
        };
        let place = if is_plain {
            Place::Tcp(name.into(), port.unwrap_or(80))
        } else {
            let of_docker = std::path::PathBuf::from(format!("/etc/docker/certs.d/{host}/ca.crt"));
            let trust =
                Trust::from_file(Some(&of_docker).filter(|it| it.is_file()).map(|it| &**it))?;
            Place::Tls(name.into(), port.unwrap_or(443), TlsClient::new(&trust)?)
        };
        Ok(Registry { place, credential: credential.cloned() })
    }

    /// The signatures of the image with this digest, whoever made them: none are no error.
    pub async fn signatures(
        &self,
        image: &Location,
        digest: &str,
    ) -> Result<Vec<Signature>, RegistryError> {
        let repository = &image.repository;
        let tag = format!("{}.sig", digest.replace(':', "-"));
        let target = format!("/v2/{repository}/manifests/{tag}");
        let answer = self.get(&target, repository).await?;
        if answer.status == 404 {
            return Ok(Vec::new());
        }
        let manifest: Value = serde_json::from_slice(&self.good(answer, &target)?.body)
            .map_err(|_| self.odd(format!("{target} is not JSON")))?;
        let mut signatures = Vec::new();
        let layers = manifest["layers"].as_array().into_iter().flatten();
        for layer in layers.take(MOST_SIGNATURES) {
            let signature = layer["annotations"][ANNOTATION].as_str();
            let (Some(signature), Some(blob)) = (signature, layer["digest"].as_str()) else {
                continue; // something else
            };
            let target = format!("/v2/{repository}/blobs/{blob}");
            let payload = self.good(self.get(&target, repository).await?, &target)?.body;
            if format!("sha256:{}", hex(&Sha256::digest(&payload))) != blob {
                return Err(self.odd(format!("{target} is not what its digest says")));
            }
            let Ok(payload) = String::from_utf8(payload.into()) else { continue };
            signatures.push(Signature { payload, signature: signature.into() });
        }
        Ok(signatures)
    }

    fn odd(&self, what: String) -> RegistryError {
        RegistryError::Odd { place: self.place.to_string(), what }
    }

    fn good(&self, answer: ClientAnswer, target: &str) -> Result<ClientAnswer, RegistryError> {
        if answer.is_success() {
            return Ok(answer);
        }
        let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let why = json["errors"][0]["message"].as_str().unwrap_or_default();
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        let (place, target) = (self.place.to_string(), target.to_owned());
        Err(RegistryError::Refused { place, status: answer.status, target, why })
    }

    /// Logs in if it must, and goes where it is sent.
    async fn get(&self, target: &str, repository: &str) -> Result<ClientAnswer, RegistryError> {
        let ask = |header: Option<String>| {
            let request = ClientRequest::new("GET", target).with_header("Accept", MANIFESTS);
            match header {
                Some(header) => request.with_header("Authorization", header),
                None => request,
            }
        };
        let mut answer = limited(&self.place, ask(None)).await?;
        if answer.status == 401 {
            let header = self.log_in(&answer, repository).await?;
            answer = limited(&self.place, ask(Some(header))).await?;
        }
        let mut place = self.place.clone();
        for _ in 0..HOPS {
            let Some(to) = answer.header("location").filter(|_| is_redirection(answer.status))
            else {
                return Ok(answer);
            };
            let (there, target) = self.resolve(&place, to)?;
            place = there;
            answer = limited(&place, ClientRequest::new("GET", target)).await?; // no log-in: it is another's
        }
        Err(self.odd(format!("{target} leads in a circle")))
    }

    /// Where a location leads: never from TLS to none.
    fn resolve(&self, from: &Place, location: &str) -> Result<(Place, String), RegistryError> {
        let odd = || self.odd(format!("`{location}` leads nowhere"));
        let uri: Uri = location.parse().map_err(|_| odd())?;
        let target = uri.path_and_query().map_or("/", |it| it.as_str()).to_owned();
        let Some(host) = uri.host() else { return Ok((from.clone(), target)) };
        let is_plain = matches!(self.place, Place::Tcp(..));
        let place = match uri.scheme_str() {
            Some("https") => {
                let tls = match &self.place {
                    Place::Tls(_, _, tls) => tls.clone(),
                    _ => TlsClient::new(&Trust::System)?,
                };
                Place::Tls(host.into(), uri.port_u16().unwrap_or(443), tls)
            }
            Some("http") if is_plain => Place::Tcp(host.into(), uri.port_u16().unwrap_or(80)),
            _ => return Err(odd()),
        };
        Ok((place, target))
    }
}

fn is_redirection(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// An answer that is not larger than anything here may be.
async fn limited(place: &Place, request: ClientRequest) -> Result<ClientAnswer, RegistryError> {
    let whole = async {
        let (answer, mut chunks) = follow(place, request, DEADLINE).await?;
        let mut body = Vec::new();
        while let Some(chunk) = chunks.next().await {
            body.extend_from_slice(&chunk?);
            if body.len() > MOST_BYTES {
                let what = format!("more than {MOST_BYTES} bytes where a signature should be");
                return Err(RegistryError::Odd { place: place.to_string(), what });
            }
        }
        Ok(ClientAnswer { body: body.into(), ..answer })
    };
    let whole = tokio::time::timeout(DEADLINE, whole).await;
    whole.map_err(|_| AskError::TimedOut(place.to_string()))?
}
