//! Images: is one here, and pull it. An error may come in the middle of a stream that began well.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use futures_util::StreamExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{Docker, away, refused};
use crate::domain::agent::manifest::Credential;
use crate::messages::engine::EngineError;
use crate::protocol::http_client::{ClientRequest, follow};

/// A download of which nothing comes for so long has died.
const STALLED: Duration = Duration::from_secs(180);
const LOOK_DEADLINE: Duration = Duration::from_secs(30);

impl Docker {
    /// Whether the image is on this machine.
    pub async fn has_image(&self, image: &str) -> Result<bool, EngineError> {
        match self.json("GET", &format!("/images/{image}/json"), None, LOOK_DEADLINE).await {
            Ok(_) => Ok(true),
            Err(EngineError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asks the registry for the image, and downloads what is missing of it. `progress` is called
    /// with every step of it, in words.
    pub async fn pull(
        &self,
        image: &str,
        credential: Option<&Credential>,
        mut progress: impl FnMut(String),
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
                    progress(layers.on_line(&line)?);
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

/// How far each layer of an image is: bytes here, bytes in all.
#[derive(Debug, Default)]
struct Layers(BTreeMap<String, (u64, u64)>);

impl Layers {
    fn on_line(&mut self, line: &[u8]) -> Result<String, EngineError> {
        let Ok(line) = serde_json::from_slice::<Value>(line) else { return Ok(String::new()) };
        let error = line["errorDetail"]["message"].as_str().or_else(|| line["error"].as_str());
        if let Some(error) = error {
            return Err(EngineError::Refused(error.to_owned()));
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
        let (here, all) =
            self.0.values().fold((0, 0), |sum, layer| (sum.0 + layer.0, sum.1 + layer.1));
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        Ok(match all {
            0 => "asking the registry".into(),
            all if here == all => format!("unpacking {:.1} MB", megabytes(all)),
            all => format!("downloaded {:.1} of {:.1} MB", megabytes(here), megabytes(all)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_adds_up_over_layers_and_errors_in_the_stream_are_errors() {
        let mut layers = Layers::default();
        let mut on = |line: Value| layers.on_line(line.to_string().as_bytes());
        assert_eq!(
            on(json!({"status": "Pulling from x", "id": "1"})).unwrap(),
            "asking the registry"
        );
        let at = |id: &str, current: u64| {
            json!({"status": "Downloading", "id": id,
                   "progressDetail": {"current": current, "total": 10_000_000}})
        };
        on(at("a", 1_000_000)).unwrap();
        assert_eq!(on(at("b", 2_500_000)).unwrap(), "downloaded 3.5 of 20.0 MB");
        let extracting = json!({"status": "Extracting", "id": "a",
                                "progressDetail": {"current": 1, "total": 9}});
        assert_eq!(on(extracting).unwrap(), "downloaded 3.5 of 20.0 MB");
        on(json!({"status": "Download complete", "id": "a"})).unwrap();
        assert_eq!(
            on(json!({"status": "Download complete", "id": "b"})).unwrap(),
            "unpacking 20.0 MB"
        );
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
