//! Whether an image may run: pinned digests, and the rules of this device. Looked at after the
//! image was pulled, so that what runs is not stopped for one that may not, and again before a
//! container is made or started, by whomever. What runs when the rules change runs on, and is named.
//!
//! Signatures that were good once are kept in `state/`: a device without a link can look at them
//! again. A tag that moves between the look and the container changes nothing: the container is
//! made of the digest that was looked at.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use crate::actors::agent::{AgentPorts, TABLE};
use crate::actors::port::Port;
use crate::domain::agent::image::{Location, without_tag};
use crate::domain::agent::image_rules::{ImageRule, ImageRules, PublicKey, Require};
use crate::domain::agent::manifest::Credential;
use crate::domain::agent::observed::Observed;
use crate::messages::engine::EngineError;
use crate::messages::state::{Change, Fetch, Save};
use crate::protocol::docker::{Docker, Image};
use crate::protocol::registry::Registry;
use crate::protocol::registry::signature::{Signature, verify};

const STORE: Duration = Duration::from_secs(10);
/// Digests whose signatures are held in memory: years of updates are more.
const MOST_KNOWN: usize = 100;

/// See the module documentation.
#[derive(Clone)]
pub(super) struct Gate {
    rules: Rc<ImageRules>,
    /// By digest: what was good.
    known: Rc<RefCell<BTreeMap<String, Vec<Signature>>>>,
    fetch: Port<Fetch>,
    save: Port<Save>,
}

impl Gate {
    pub(super) fn new(rules: &ImageRules, ports: &AgentPorts) -> Self {
        let (rules, known) = (Rc::new(rules.clone()), Rc::default());
        Gate { rules, known, fetch: ports.fetch.clone(), save: ports.save.clone() }
    }

    /// Whether there are rules at all.
    pub(super) fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Whether it may be asked for at all.
    pub(super) fn allows(&self, image: &str) -> Result<(), EngineError> {
        self.rule(image).map(drop)
    }

    fn rule(&self, image: &str) -> Result<Option<&ImageRule>, EngineError> {
        self.rules.rule_for(image).map_err(|why| refused(image, &why))
    }

    /// By what name a container of it is to be made; or why none may be.
    pub(super) async fn admit(
        &self,
        docker: &Docker,
        image: &str,
        credential: Option<&Credential>,
    ) -> Result<String, EngineError> {
        let rule = self.rule(image)?;
        let location = Location::of(image);
        let signed = rule.filter(|rule| rule.require == Require::Signature);
        if signed.is_none() && location.digest.is_none() {
            return Ok(image.to_owned());
        }
        let found = find(docker, image).await?;
        let (name, found) =
            found.ok_or_else(|| EngineError::NotFound(format!("no such image: {image}")))?;
        let admitted = self.admit_found(docker, image, &found, rule, credential).await?;
        Ok(admitted.unwrap_or(name))
    }

    /// Whether the rules let a container run that is there: what it is of is judged, wherever its
    /// tag leads now.
    pub(super) async fn judge(
        &self,
        docker: &Docker,
        container: &Observed,
        credential: Option<&Credential>,
    ) -> Result<(), EngineError> {
        let has_digest = Location::of(&container.made_of).digest.is_some();
        let image = if has_digest { &container.made_of } else { &container.image };
        let rule = self.rule(image)?;
        if rule.is_none_or(|rule| rule.require == Require::Nothing) {
            return Ok(()); // a digest in its name was looked at when it was made
        }
        let gone = || refused(image, "what its container is of is not on this device any more");
        let found = docker.image(&container.image_id).await?.ok_or_else(gone)?;
        self.admit_found(docker, image, &found, rule, credential).await.map(drop)
    }

    /// Its digest, and its signature where that is required: by that name a container is made.
    async fn admit_found(
        &self,
        docker: &Docker,
        image: &str,
        found: &Image,
        rule: Option<&ImageRule>,
        credential: Option<&Credential>,
    ) -> Result<Option<String>, EngineError> {
        let location = Location::of(image);
        if let Some(digest) = &location.digest
            && !is_this(found, digest)
        {
            let is = if found.digests.is_empty() { &found.id } else { &found.digests.join(", ") };
            return Err(refused(image, &format!("what this device has of it is {is}")));
        }
        let signed = rule.filter(|rule| rule.require == Require::Signature);
        let Some(rule) = signed else { return Ok(None) };
        let mut why = "it came from no registry, so there is no digest that could be signed".into();
        for digest in digests(&location, found) {
            match self.look(docker, &location, &digest, &rule.keys, credential).await {
                Ok(()) => return Ok(Some(format!("{}@{digest}", without_tag(image)))),
                Err(error) => why = error,
            }
        }
        Err(refused(image, &why))
    }

    /// Whether one of these keys signed this digest: by what is known, or by what the registry has.
    async fn look(
        &self,
        docker: &Docker,
        location: &Location,
        digest: &str,
        keys: &[PublicKey],
        credential: Option<&Credential>,
    ) -> Result<(), String> {
        let known = self.known.borrow().get(digest).cloned();
        let known = match known {
            Some(known) => known,
            None => self.fetch(digest).await,
        };
        if verify(&known, keys, digest).is_ok() {
            return Ok(());
        }
        let host = location.registry.as_str();
        let is_plain = docker.is_insecure(host) || is_loopback(host);
        let registry = Registry::at(host, is_plain, credential).map_err(|it| it.to_string())?;
        let signatures = registry.signatures(location, digest).await;
        let signatures = signatures.map_err(|error| format!("its signature: {error}"))?;
        let key = verify(&signatures, keys, digest)?;
        tracing::info!(image = %location, digest, key, "signature is good");
        self.keep(digest, signatures).await;
        Ok(())
    }

    async fn fetch(&self, digest: &str) -> Vec<Signature> {
        let kept = self.fetch.ask(Fetch(TABLE, key(digest)), STORE).await;
        let Ok(Ok(Some(kept))) = kept else { return Vec::new() };
        serde_json::from_slice(&kept).unwrap_or_default() // damaged: the registry has it
    }

    async fn keep(&self, digest: &str, signatures: Vec<Signature>) {
        let text = serde_json::to_vec(&signatures).unwrap_or_default();
        {
            let mut known = self.known.borrow_mut();
            if known.len() >= MOST_KNOWN {
                known.pop_first(); // it is in `state/`
            }
            known.insert(digest.to_owned(), signatures);
        }
        let change = Change::put(TABLE, key(digest), text);
        if let Err(error) = self.save.ask(Save(vec![change]), STORE).await {
            tracing::debug!(%error, digest, "signature is not kept");
        }
    }
}

/// Under which good signatures of this digest are kept in `state/`.
pub(super) fn key(digest: &str) -> Vec<u8> {
    format!("signatures/{digest}").into_bytes()
}

/// The image of this name, and by what name a container of it is made: one that was loaded, and came
/// from no registry, can be pinned by its id.
pub(super) async fn find(
    docker: &Docker,
    image: &str,
) -> Result<Option<(String, Image)>, EngineError> {
    if let Some(found) = docker.image(image).await? {
        return Ok(Some((image.to_owned(), found)));
    }
    let Some(digest) = Location::of(image).digest else { return Ok(None) };
    let found = docker.image(&digest).await?.filter(|found| found.id == digest);
    Ok(found.map(|found| (digest, found)))
}

fn refused(image: &str, why: &str) -> EngineError {
    EngineError::Refused(format!("image {image} is refused: {why}"))
}

fn is_this(found: &Image, digest: &str) -> bool {
    let mut digests = found.digests.iter().filter_map(|it| Some(it.split_once('@')?.1));
    found.id == digest || digests.any(|known| known == digest)
}

/// By which digests the registry knows it: the one that is wanted, or those that it was given with.
fn digests(location: &Location, found: &Image) -> Vec<String> {
    if let Some(digest) = &location.digest {
        return vec![digest.clone()];
    }
    let all = found.digests.iter().map(|it| Location::of(it));
    let same = all.filter(|it| it.to_string() == location.to_string());
    same.filter_map(|it| it.digest).collect()
}

/// Docker speaks to those without TLS.
fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_known_by_its_id_or_by_the_digests_that_registries_gave_it() {
        let found = Image {
            id: "sha256:1".into(),
            tags: Vec::new(),
            digests: vec!["r.io/a@sha256:2".into(), "r.io/b@sha256:3".into()],
        };
        let is = |digest| is_this(&found, digest);
        assert!(is("sha256:1") && is("sha256:2") && is("sha256:3") && !is("sha256:4"));
        assert_eq!(digests(&Location::of("r.io/a:1"), &found), ["sha256:2"], "of this repository");
        assert_eq!(digests(&Location::of("r.io/a@sha256:9"), &found), ["sha256:9"]);
        assert!(digests(&Location::of("r.io/c:1"), &found).is_empty());
    }

    #[test]
    fn only_registries_of_this_machine_need_no_tls() {
        for host in ["localhost", "localhost:5000", "127.1.2.3:5000", "[::1]:5000", "127.0.0.1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["r.io", "localhost.evil.com", "10.0.0.1:5000", "127.evil.com"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
