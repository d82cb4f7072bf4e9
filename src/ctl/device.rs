//! Speaks to the edge-runtime on this machine, over its management socket.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::error::CtlError;
use crate::protocol::http_client::{
    AnswerStream, AskError, ClientAnswer, ClientRequest, Place, ask, follow,
};

/// The service on this machine.
#[derive(Clone, Debug)]
pub(super) struct Runtime {
    socket: PathBuf,
}

const SOON: Duration = Duration::from_secs(15);
/// Restarting and stopping containers takes a while.
const LONG: Duration = Duration::from_secs(130);

impl Runtime {
    pub(super) fn new(socket: PathBuf) -> Self {
        Runtime { socket }
    }

    fn place(&self) -> Place {
        Place::Unix(self.socket.clone())
    }

    fn explain(&self, error: &AskError) -> CtlError {
        let socket = self.socket.display();
        let AskError::Connect { why, .. } = error else {
            return CtlError::new("edge-runtime did not answer").because(error);
        };
        let failed = CtlError::new(format!("cannot reach edge-runtime at {socket}")).because(why);
        failed.hint(match why.kind() {
            std::io::ErrorKind::PermissionDenied => {
                "run edgectl as root, or as a member of the group that owns the socket".into()
            }
            _ => format!(
                "is it running? `edgectl start`; with another state directory give --socket or \
                 EDGECTL_SOCKET instead of {socket}"
            ),
        })
    }

    /// JSON.
    pub(super) async fn get(&self, target: &str) -> Result<Value, CtlError> {
        let request = ClientRequest::new("GET", target);
        let answer = ask(&self.place(), request, SOON).await.map_err(|e| self.explain(&e))?;
        read(&checked(answer)?)
    }

    /// Does something that answers with nothing.
    pub(super) async fn post(&self, target: &str) -> Result<(), CtlError> {
        let request = ClientRequest::new("POST", target);
        let answer = ask(&self.place(), request, LONG).await.map_err(|e| self.explain(&e))?;
        checked(answer).map(|_| ())
    }

    /// Does something that answers with JSON.
    pub(super) async fn act(&self, target: &str) -> Result<Value, CtlError> {
        let request = ClientRequest::new("POST", target);
        let answer = ask(&self.place(), request, LONG).await.map_err(|e| self.explain(&e))?;
        read(&checked(answer)?)
    }

    /// Does something with JSON that answers with JSON.
    pub(super) async fn act_with(&self, target: &str, body: &Value) -> Result<Value, CtlError> {
        let request = ClientRequest::new("POST", target).with_json(body);
        let answer = ask(&self.place(), request, LONG).await.map_err(|e| self.explain(&e))?;
        read(&checked(answer)?)
    }

    /// Text as it is written.
    pub(super) async fn follow(&self, target: &str) -> Result<AnswerStream, CtlError> {
        let request = ClientRequest::new("GET", target);
        let followed = follow(&self.place(), request.clone(), SOON).await;
        let (head, body) = followed.map_err(|e| self.explain(&e))?;
        if head.is_success() {
            return Ok(body);
        }
        drop(body);
        // Refused: the reason is short, so ask again for the whole of it.
        let answer = ask(&self.place(), request, SOON).await.map_err(|e| self.explain(&e))?;
        Err(checked(answer).err().unwrap_or_else(|| CtlError::new("the answer changed: try again")))
    }
}

fn read(answer: &ClientAnswer) -> Result<Value, CtlError> {
    serde_json::from_slice(&answer.body)
        .map_err(|e| CtlError::new("edge-runtime's answer is not JSON").because(e))
}

fn checked(answer: ClientAnswer) -> Result<ClientAnswer, CtlError> {
    if answer.is_success() {
        return Ok(answer);
    }
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    Err(match body["message"].as_str() {
        Some(message) => CtlError::new(message),
        None => CtlError::new(format!("edge-runtime answered {}", answer.status)),
    })
}

/// A name as a segment of a path.
pub(super) fn segment(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// `since` and `until` as they follow in a query.
pub(super) fn times(since: Option<&str>, until: Option<&str>) -> String {
    let part = |name: &str, time: Option<&str>| {
        time.map(|time| format!("&{name}={}", segment(time))).unwrap_or_default()
    };
    part("since", since) + &part("until", until)
}
