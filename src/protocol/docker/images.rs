//! Images: what is here of one, pull it, remove it. An error may come in the middle of a stream
//! that began well.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use futures_util::StreamExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{Docker, away, refused};
use crate::domain::agent::manifest::Credential;
use crate::domain::agent::redact;
use crate::messages::engine::EngineError;
use crate::protocol::http_client::{ClientRequest, follow};

/// A download of which nothing comes for so long has died.
const STALLED: Duration = Duration::from_secs(180);
const LOOK_DEADLINE: Duration = Duration::from_secs(30);
const REMOVE_DEADLINE: Duration = Duration::from_secs(120);

/// How far a download is, in bytes; what is not known yet is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Here.
    pub here: u64,
    /// Of all layers that were begun.
    pub all: u64,
}

/// An image on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The engine's id.
    pub id: String,
    /// Its names.
    pub tags: Vec<String>,
    /// `name@sha256:…`, as registries gave it.
    pub digests: Vec<String>,
}

impl Docker {
    /// The bytes of the image of this name, if it is on this machine.
    pub async fn image_size(&self, image: &str) -> Result<Option<u64>, EngineError> {
        match self.json("GET", &format!("/images/{image}/json"), None, LOOK_DEADLINE).await {
            Ok(found) => Ok(found["Size"].as_u64()),
            Err(EngineError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The image of this name or id, if it is on this machine.
    pub async fn image(&self, image: &str) -> Result<Option<Image>, EngineError> {
        match self.json("GET", &format!("/images/{image}/json"), None, LOOK_DEADLINE).await {
            Ok(found) => Ok(Some(Image {
                id: found["Id"].as_str().unwrap_or_default().to_owned(),
                tags: texts(&found["RepoTags"]),
                digests: texts(&found["RepoDigests"]),
            })),
            Err(EngineError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ids of the images that containers are of, whosever they are, running or not.
    pub async fn images_in_use(&self) -> Result<Vec<String>, EngineError> {
        let listed = self.json("GET", "/containers/json?all=1", None, LOOK_DEADLINE).await?;
        let ids = listed.as_array().into_iter().flatten().filter_map(|it| it["ImageID"].as_str());
        Ok(ids.map(str::to_owned).collect())
    }

    /// Takes this name (or, of one without names, the image) away; the image goes with its last
    /// name. Never by force: the engine keeps what a container is of. Gone is as good.
    pub async fn remove_image(&self, image: &str) -> Result<(), EngineError> {
        match self.json("DELETE", &format!("/images/{image}"), None, REMOVE_DEADLINE).await {
            Ok(_) | Err(EngineError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks the registry for the image, and downloads what is missing of it. `progress` is called
    /// with every step of it; its error ends the download.
    pub async fn pull(
        &self,
        image: &str,
        credential: Option<&Credential>,
        mut progress: impl FnMut(Progress) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let target =
            format!("/images/create?fromImage={}", utf8_percent_encode(image, NON_ALPHANUMERIC));
        let mut request = ClientRequest::new("POST", target);
        if let Some(credential) = credential {
            request = request.with_header("X-Registry-Auth", header(credential));
        }
        let (answer, mut body) = follow(&self.place, request, STALLED).await.map_err(away)?;
        let mut rest = Vec::new();
        let mut layers = Layers::default();
        loop {
            let chunk = match tokio::time::timeout(STALLED, body.next()).await {
                Ok(Some(chunk)) => chunk.map_err(away)?,
                Ok(None) => break,
                Err(_) => {
                    let seconds = STALLED.as_secs();
                    let why = format!("the download stalled: nothing came for {seconds} s");
                    return Err(EngineError::Refused(why));
                }
            };
            rest.extend_from_slice(&chunk);
            if (200..300).contains(&answer.status) {
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    progress(layers.on_line(&line)?)?;
                }
            }
        }
        if !(200..300).contains(&answer.status) {
            return Err(refused(&super::ClientAnswer { body: rest.into(), ..answer }));
        }
        layers.on_line(&rest)?;
        Ok(())
    }
}

/// The log-in as the engine wants it. Secret.
fn header(credential: &Credential) -> String {
    let json = json!({
        "username": credential.username,
        "password": credential.password,
        "serveraddress": credential.address,
    });
    URL_SAFE.encode(json.to_string())
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// How far each layer of an image is: bytes here, bytes in all.
#[derive(Debug, Default)]
struct Layers(BTreeMap<String, (u64, u64)>);

impl Layers {
    fn on_line(&mut self, line: &[u8]) -> Result<Progress, EngineError> {
        let Ok(line) = serde_json::from_slice::<Value>(line) else { return Ok(self.sum()) };
        let error = line["errorDetail"]["message"].as_str().or_else(|| line["error"].as_str());
        if let Some(error) = error {
            return Err(EngineError::Refused(redact::text(error)));
        }
        let detail = &line["progressDetail"];
        if line["status"] == "Downloading"
            && let Some(id) = line["id"].as_str()
            && let (Some(here), Some(all)) = (detail["current"].as_u64(), detail["total"].as_u64())
        {
            self.0.insert(id.to_owned(), (here, all));
        }
        if line["status"] == "Download complete"
            && let Some((here, all)) = line["id"].as_str().and_then(|id| self.0.get_mut(id))
        {
            *here = *all;
        }
        Ok(self.sum())
    }

    fn sum(&self) -> Progress {
        let add = |sum: Progress, (here, all): &(u64, u64)| Progress {
            here: sum.here + here,
            all: sum.all + all,
        };
        self.0.values().fold(Progress::default(), add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_adds_up_over_layers_and_errors_in_the_stream_are_errors() {
        let mut layers = Layers::default();
        let mut on = |line: Value| layers.on_line(line.to_string().as_bytes());
        let is = |here, all| Ok(Progress { here, all });
        assert_eq!(on(json!({"status": "Pulling from x", "id": "1"})), is(0, 0));
        let at = |id: &str, current: u64| {
            json!({"status": "Downloading", "id": id,
                   "progressDetail": {"current": current, "total": 10_000_000}})
        };
        on(at("a", 1_000_000)).unwrap();
        assert_eq!(on(at("b", 2_500_000)), is(3_500_000, 20_000_000));
        let extracting = json!({"status": "Extracting", "id": "a",
                                "progressDetail": {"current": 1, "total": 9}});
        assert_eq!(on(extracting), is(3_500_000, 20_000_000));
        on(json!({"status": "Download complete", "id": "a"})).unwrap();
        let complete = on(json!({"status": "Download complete", "id": "b"}));
        assert_eq!(complete, is(20_000_000, 20_000_000));
        let error = json!({"errorDetail": {"message": "manifest unknown"}, "error": "x"});
        assert_eq!(on(error), Err(EngineError::Refused("manifest unknown".into())));
    }

    #[test]
    fn the_log_in_is_base64_that_a_header_and_the_engine_take() {
        let credential =
            Credential { address: "r.io".into(), username: "ü?>".into(), password: "p~~?".into() };
        let text = header(&credential);
        assert!(!text.contains(['+', '/']), "{text}");
        let json: Value = serde_json::from_slice(&URL_SAFE.decode(text).unwrap()).unwrap();
        assert_eq!((&json["password"], &json["serveraddress"]), (&json!("p~~?"), &json!("r.io")));
    }
}
