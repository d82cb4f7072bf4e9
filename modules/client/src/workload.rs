//! The workload API: HTTP/1.1 over the unix socket that the edge mounts into a module's container.
//! Each request opens the socket anew, so a restarted runtime is found again.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::bag::escape;
use crate::error::{AttemptError, SettingsError};

/// A request that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(20);
/// No answer of the workload API is larger.
const MAX_ANSWER: usize = 1 << 20;

/// One module's access to the workload API.
#[derive(Clone)]
pub(crate) struct Workload {
    address: Address,
    sign_path: String,
    trust_path: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Address {
    Unix(String),
    Tcp(String),
}

impl Workload {
    pub(crate) fn new(
        uri: &str,
        module: &str,
        generation: &str,
        version: &str,
    ) -> Result<Self, SettingsError> {
        let address = if let Some(path) = uri.strip_prefix("unix://") {
            Address::Unix(path.into())
        } else if let Some(host) = uri.strip_prefix("http://") {
            Address::Tcp(host.trim_end_matches('/').into())
        } else {
            return Err(SettingsError::WorkloadUri(uri.into()));
        };
        Ok(Self {
            address,
            sign_path: format!(
                "/modules/{}/genid/{}/sign?api-version={version}",
                escape(module),
                escape(generation)
            ),
            trust_path: format!("/trust-bundle?api-version={version}"),
        })
    }

    /// The certificates to trust, PEM.
    pub(crate) async fn trust_bundle(&self) -> Result<String, AttemptError> {
        self.ask(Method::GET, &self.trust_path, None, "certificate").await
    }

    /// Signs a text with the module's key; base64.
    pub(crate) async fn sign(&self, text: &str) -> Result<String, AttemptError> {
        let data = STANDARD.encode(text);
        let body = json!({"keyId": "primary", "algo": "HMACSHA256", "data": data});
        self.ask(Method::POST, &self.sign_path, Some(body), "digest").await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        field: &str,
    ) -> Result<String, AttemptError> {
        let answer = match tokio::time::timeout(DEADLINE, self.exchange(method, path, body)).await {
            Ok(Ok((status, text))) if status.is_success() => text,
            Ok(Ok((status, text))) => return Err(self.failed(format!("{status}: {text}"))),
            Ok(Err(error)) => return Err(self.failed(error.to_string())),
            Err(_) => return Err(self.failed(format!("no answer in {} s", DEADLINE.as_secs()))),
        };
        let value: Value =
            serde_json::from_str(&answer).map_err(|error| self.failed(error.to_string()))?;
        let text = value[field].as_str();
        text.map(str::to_owned).ok_or_else(|| self.failed(format!("answer has no {field}")))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, String), Box<dyn std::error::Error + Send + Sync>> {
        match &self.address {
            Address::Unix(socket) => {
                exchange_on(UnixStream::connect(socket).await?, "localhost", method, path, body)
                    .await
            }
            Address::Tcp(host) => {
                exchange_on(TcpStream::connect(host).await?, host, method, path, body).await
            }
        }
    }

    fn failed(&self, why: String) -> AttemptError {
        let address = match &self.address {
            Address::Unix(path) => path.clone(),
            Address::Tcp(host) => host.clone(),
        };
        AttemptError::Workload { address, why }
    }
}

async fn exchange_on(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Result<(StatusCode, String), Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let body = body.map(|value| value.to_string()).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("Host", host)
        .header("Content-Type", "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let bytes = Limited::new(response.into_body(), MAX_ANSWER).collect().await?.to_bytes();
    driver.abort();
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    fn socket_path(name: &str) -> String {
        let dir = std::env::temp_dir().join(format!("emc-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("the temporary directory can be written");
        dir.join("s.sock").to_string_lossy().into_owned()
    }

    /// Serves one request with a canned answer and gives back what was asked.
    async fn serve_one(listener: &UnixListener, answer: &str) -> String {
        let (mut stream, _) = listener.accept().await.expect("a client comes");
        let mut request = vec![0; 4096];
        let n = stream.read(&mut request).await.expect("it asks");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
        stream.write_all(answer.as_bytes()).await.expect("it listens");
        String::from_utf8_lossy(&request[..n]).into_owned()
    }

    #[tokio::test]
    async fn signing_asks_the_socket_with_the_generation_and_the_base64_of_the_text() {
        let path = socket_path("sign");
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("the path is free");
        let workload = Workload::new(&format!("unix://{path}"), "my mod", "7", "2019-11-05")
            .expect("the address is well-formed");
        let (asked, signed) =
            tokio::join!(serve_one(&listener, r#"{"digest":"c2ln"}"#), workload.sign("a\n1"));
        assert_eq!(signed.expect("the answer is whole"), "c2ln");
        assert!(asked.starts_with("POST /modules/my%20mod/genid/7/sign?api-version=2019-11-05 "));
        assert!(asked.contains(r#""data":"YQox""#), "{asked}");
    }

    #[tokio::test]
    async fn a_socket_that_is_not_there_is_named() {
        let workload = Workload::new("unix:///nowhere/s.sock", "m", "1", "v").expect("well-formed");
        let error = workload.trust_bundle().await.expect_err("nobody listens");
        assert!(error.to_string().contains("/nowhere/s.sock"), "{error}");
    }

    #[test]
    fn other_kinds_of_addresses_are_refused() {
        assert!(Workload::new("npipe://x", "m", "1", "v").is_err());
    }
}
