//! Speaks REST to a hub, with a service SAS token.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::StreamExt;
use serde_json::Value;

use super::error::CtlError;
use crate::actors::clock::unix_time;
use crate::domain::connection_string::ConnectionString;
use crate::domain::sas;
use crate::protocol::files::read_text;
use crate::protocol::http_client::{
    AnswerStream, AskError, ClientAnswer, ClientRequest, Place, ask, follow,
};
use crate::protocol::tls::{TlsClient, Trust};

const VERSION: &str = "api-version=2021-04-12";
const SOON: Duration = Duration::from_secs(20);

/// A hub.
#[derive(Clone, Debug)]
pub(super) struct Hub {
    /// `HostName` of its connection string.
    pub(super) host: String,
    place: Place,
    service: ConnectionString,
}

impl Hub {
    /// With a connection string, or a file that holds one, and the authorities to trust.
    pub(super) fn new(given: Option<&str>, ca: Option<&Path>) -> Result<Self, CtlError> {
        let hint = "give --hub CONNECTION_STRING (or EDGECTL_HUB); localhub writes its own to \
                    iothubowner.connection-string in its state directory";
        let given = given.map(str::trim).filter(|given| !given.is_empty());
        let ca = ca.filter(|path| !path.as_os_str().is_empty());
        let given = given.ok_or_else(|| CtlError::usage("which hub?").hint(hint))?;
        let text = match given.contains("HostName=") {
            true => given.to_owned(),
            false => read_text(Path::new(given.trim_start_matches('@')))
                .map_err(|e| CtlError::usage("the hub is not known").because(e).hint(hint))?,
        };
        let service = ConnectionString::parse(&text)
            .map_err(|e| CtlError::usage("the hub is not known").because(e).hint(hint))?;
        if service.policy.is_none() {
            let what = "this is the connection string of a device, but that of a service is needed";
            return Err(CtlError::usage(what).hint(hint));
        }
        let no_ca = |e: &dyn std::fmt::Display| {
            let error = CtlError::new("cannot tell whom to trust").because(e);
            error
                .hint("give --ca FILE (or EDGECTL_CA); localhub's is ca.pem in its state directory")
        };
        let trust = Trust::from_file(ca).map_err(|e| no_ca(&e))?;
        let tls = TlsClient::new(&trust).map_err(|e| no_ca(&e))?;
        let (name, port) = service.host_and_port(443);
        Ok(Hub { host: service.host.clone(), place: Place::Tls(name, port, tls), service })
    }

    fn sign(&self, request: ClientRequest) -> Result<ClientRequest, CtlError> {
        Ok(request.with_header("Authorization", self.token(Duration::from_secs(3600))?))
    }

    /// A token of the service, good for so long.
    pub(super) fn token(&self, life: Duration) -> Result<String, CtlError> {
        let expiry = unix_time().saturating_add(life).as_secs();
        let key = self.service.key.reveal();
        let token = sas::make(&self.host, key, expiry, self.service.policy.as_deref());
        token.map_err(|e| CtlError::new("cannot sign for the hub").because(e))
    }

    /// Asks, with all that a hub wants. Anything but 2xx is an error.
    pub(super) async fn call(
        &self,
        request: ClientRequest,
        deadline: Duration,
    ) -> Result<Value, CtlError> {
        let request = self.sign(versioned(request))?;
        let answer = ask(&self.place, request, deadline).await.map_err(|e| self.explain(&e))?;
        let body = checked(&answer)?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(body)
            .map_err(|e| CtlError::new("the hub's answer is not JSON").because(e))
    }

    /// Reads something.
    pub(super) async fn get(&self, target: &str) -> Result<Value, CtlError> {
        self.call(ClientRequest::new("GET", target), SOON).await
    }

    /// Reads something that may not be there.
    pub(super) async fn find(&self, target: &str) -> Result<Option<Value>, CtlError> {
        match self.get(target).await {
            Err(e) if e.status() == Some(404) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Sends JSON.
    pub(super) async fn send(
        &self,
        method: &str,
        target: &str,
        body: &Value,
    ) -> Result<Value, CtlError> {
        self.call(ClientRequest::new(method, target).with_json(body), SOON).await
    }

    /// Deletes, whatever its etag.
    pub(super) async fn delete(&self, target: &str) -> Result<(), CtlError> {
        let request = ClientRequest::new("DELETE", target).with_header("If-Match", "\"*\"");
        self.call(request, SOON).await.map(|_| ())
    }

    /// A body that goes on.
    pub(super) async fn follow(&self, target: &str) -> Result<AnswerStream, CtlError> {
        let request = self.sign(versioned(ClientRequest::new("GET", target)))?;
        let followed = follow(&self.place, request, SOON).await.map_err(|e| self.explain(&e))?;
        let (mut answer, mut chunks) = followed;
        if !answer.is_success() {
            let mut why = Vec::new();
            while let Some(Ok(chunk)) = chunks.next().await {
                why.extend(chunk);
            }
            answer.body = why.into();
        }
        checked(&answer)?;
        Ok(chunks)
    }

    fn explain(&self, error: &AskError) -> CtlError {
        let AskError::Connect { why, .. } = error else {
            return CtlError::new(format!("the hub {} did not answer", self.host)).because(error);
        };
        let failed = CtlError::new(format!("cannot reach the hub {}", self.host)).because(why);
        if why.to_string().contains("certificate") {
            let hint = "give its certificate authority with --ca FILE (or EDGECTL_CA)";
            return failed.hint(hint);
        }
        failed.hint("is it running, and is HostName in --hub right?")
    }
}

fn versioned(mut request: ClientRequest) -> ClientRequest {
    let mark = if request.target.contains('?') { '&' } else { '?' };
    request.target = format!("{}{mark}{VERSION}", request.target);
    request
}

/// `{"Message":"ErrorCode:DeviceNotFound;text"}`, and methods' JSON within it.
fn checked(answer: &ClientAnswer) -> Result<&Bytes, CtlError> {
    if answer.is_success() {
        return Ok(&answer.body);
    }
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let message = body["Message"].as_str().or(body["message"].as_str()).unwrap_or_default();
    // Of a file: as Azure Storage says it.
    let xml = String::from_utf8_lossy(&answer.body);
    let xml = xml.split_once("<Message>").and_then(|(_, rest)| rest.split_once("</Message>"));
    let message = xml.map_or(message, |(message, _)| message);
    let inner = serde_json::from_str::<Value>(message).unwrap_or_default();
    let message = inner["message"].as_str().unwrap_or(message);
    let message = match message.strip_prefix("ErrorCode:").and_then(|m| m.split_once(';')) {
        Some((code, "")) => code,
        Some((_, text)) => text,
        None => message,
    };
    let status = answer.status;
    let what = match status {
        401 | 403 => "the hub refuses this connection string",
        404 => "the hub does not have it",
        409 => "it exists already",
        412 => "somebody else changed it at the same time",
        _ => "the hub refuses",
    };
    let failed = CtlError::new(format!("{what} ({status})")).with_status(status);
    Err(if message.is_empty() { failed } else { failed.because(message) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> String {
        let answer = ClientAnswer { status, body: body.to_owned().into(), ..Default::default() };
        checked(&answer).unwrap_err().to_string()
    }

    #[test]
    fn what_the_hub_says_is_told_in_its_own_words() {
        let text =
            r#"{"Message":"ErrorCode:DeviceNotFound;there is no device d","ExceptionMessage":""}"#;
        assert_eq!(
            refusal(404, text),
            "error: the hub does not have it (404): there is no device d"
        );
        let nested = r#"{"Message":"{\"errorCode\":404103,\"message\":\"not connected\"}"}"#;
        assert_eq!(refusal(404, nested), "error: the hub does not have it (404): not connected");
        let xml = "<Error><Code>BlobNotFound</Code><Message>there is no x</Message></Error>";
        assert_eq!(refusal(404, xml), "error: the hub does not have it (404): there is no x");
        assert_eq!(refusal(500, "oops"), "error: the hub refuses (500)");
    }

    #[test]
    fn the_connection_string_of_a_service_is_needed() {
        let error = |given| Hub::new(given, None).unwrap_err().to_string();
        assert!(error(None).starts_with("error: which hub?\n  give --hub"));
        let device = "HostName=h;DeviceId=d;SharedAccessKey=AAAA";
        assert!(error(Some(device)).contains("connection string of a device"));
        assert!(error(Some("/nowhere")).contains("cannot read /nowhere"));
    }
}
