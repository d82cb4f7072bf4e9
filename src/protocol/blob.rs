//! Writes a blob of any size to where a SAS URL leads: in one piece if it is small, else block by
//! block (Put Blob, Put Block, Put Block List), so that no more than a block of it is held.

use std::time::Duration;

use super::http_client::{AskError, ClientRequest, Place, ask};
use super::tls::{TlsClient, TlsError, Trust};
use crate::domain::agent::methods::sas_url::SasUrl;

/// A block.
const BLOCK: usize = 4 << 20;
/// Of one request: a block over a slow link.
const DEADLINE: Duration = Duration::from_secs(300);
/// Before each new try.
const TRIES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(8)];
const VERSION: &str = "2019-12-12";

/// Where blobs may be written, and whom to trust.
#[derive(Clone, Debug)]
pub struct Uploads {
    /// For https, beside the machine's own authorities: a storage may be anybody's.
    pub trust: Trust,
    /// Stands for `$upstream`.
    pub parent: String,
}

/// It was not written.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It cannot be asked.
    #[error("{0}")]
    Ask(#[from] AskError),
    /// There is nobody to trust.
    #[error("https cannot be used: {0}")]
    Tls(#[from] TlsError),
    /// It said no.
    #[error("{place} refused the blob {name}: status {status} {why}")]
    Refused {
        /// Where.
        place: String,
        /// Which.
        name: String,
        /// HTTP.
        status: u16,
        /// Its own word for it.
        why: String,
    },
}

/// A blob under way.
pub struct Blob {
    place: Place,
    url: SasUrl,
    name: String,
    content_type: &'static str,
    open: Vec<u8>,
    blocks: Vec<String>,
}

impl Uploads {
    /// Begins a blob of this name.
    pub fn blob(
        &self,
        url: &SasUrl,
        name: String,
        content_type: &'static str,
    ) -> Result<Blob, BlobError> {
        let host = match url.host.eq_ignore_ascii_case("$upstream") {
            true => self.parent.clone(),
            false => url.host.clone(),
        };
        let place = match url.is_tls {
            true => Place::Tls(host, url.port, TlsClient::of_anybody(&self.trust)?),
            false => Place::Tcp(host, url.port),
        };
        let (open, blocks) = (Vec::new(), Vec::new());
        Ok(Blob { place, url: url.clone(), name, content_type, open, blocks })
    }
}

impl Blob {
    /// More of it.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.open.extend_from_slice(bytes);
        while self.open.len() >= BLOCK {
            let rest = self.open.split_off(BLOCK);
            let block = std::mem::replace(&mut self.open, rest);
            self.block(block).await?;
        }
        Ok(())
    }

    async fn block(&mut self, block: Vec<u8>) -> Result<(), BlobError> {
        // Of one length, and base64 of which no character needs an escape.
        let id = format!("{:08}", self.blocks.len());
        self.put(&format!("comp=block&blockid={id}"), &[], block).await?;
        self.blocks.push(id);
        Ok(())
    }

    /// Its end. Nobody sees any of it before that.
    pub async fn finish(mut self) -> Result<(), BlobError> {
        let rest = std::mem::take(&mut self.open);
        let kind = self.content_type;
        if self.blocks.is_empty() {
            let headers = [("x-ms-blob-type", "BlockBlob"), ("Content-Type", kind)];
            return self.put("", &headers, rest).await;
        }
        if !rest.is_empty() {
            self.block(rest).await?;
        }
        let list = self.blocks.iter().map(|id| format!("<Latest>{id}</Latest>"));
        let list = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>{}</BlockList>",
            list.collect::<String>()
        );
        self.put("comp=blocklist", &[("x-ms-blob-content-type", kind)], list.into()).await
    }

    async fn put(
        &self,
        query: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<(), BlobError> {
        let mut request = ClientRequest::new("PUT", self.url.target(&self.name, query));
        request = request.with_header("x-ms-version", VERSION);
        for (name, value) in headers {
            request = request.with_header(name, *value);
        }
        request.body = body.into();
        let mut tries = TRIES.into_iter();
        loop {
            let refused = match ask(&self.place, request.clone(), DEADLINE).await {
                Ok(answer) if answer.is_success() => return Ok(()),
                Ok(answer) => {
                    let code = answer.header("x-ms-error-code").unwrap_or_default();
                    let (place, name) = (self.place.to_string(), self.name.clone());
                    let why = code.chars().take(100).collect();
                    BlobError::Refused { place, name, status: answer.status, why }
                }
                Err(error) => error.into(),
            };
            let delay = tries.next().filter(|_| refused.may_pass());
            let Some(delay) = delay else { return Err(refused) };
            tracing::debug!(%refused, "a blob is tried again");
            tokio::time::sleep(delay).await;
        }
    }
}

impl BlobError {
    fn may_pass(&self) -> bool {
        match self {
            BlobError::Ask(AskError::Request(_)) | BlobError::Tls(_) => false,
            BlobError::Ask(_) => true,
            BlobError::Refused { status, .. } => *status >= 500 || [408, 429].contains(status),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tokio::net::TcpListener;
    use tokio::task::LocalSet;

    use super::*;
    use crate::protocol::certs::{Authority, names_of};
    use crate::protocol::http::serve_connection;
    use crate::protocol::http::{HttpRequest, HttpResponse, Limits, Server, handler};
    use crate::protocol::tls::{ClientAuthorities, TlsServer};

    type Seen = Rc<RefCell<Vec<HttpRequest>>>;

    /// Answers with these, then with 201.
    async fn storage(answers: &[u16]) -> (Server, Uploads, SasUrl, Seen) {
        let seen = Seen::default();
        let (requests, answers) = (Rc::clone(&seen), RefCell::new(answers.to_vec()));
        let answer = handler(move |request: HttpRequest| {
            requests.borrow_mut().push(request);
            let mut answers = answers.borrow_mut();
            let status = if answers.is_empty() { 201 } else { answers.remove(0) };
            let answer = HttpResponse::empty(status).with_header("x-ms-error-code", "Busy");
            std::future::ready(answer)
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let limits = Limits { body: 8 << 20, ..Limits::default() };
        let server = Server::tcp(listener, answer, limits);
        let url = SasUrl::parse(&format!("http://$upstream:{port}/c?sig=a%2Bb")).unwrap();
        (server, Uploads { trust: Trust::System, parent: "127.0.0.1".into() }, url, seen)
    }

    #[tokio::test]
    async fn a_small_blob_goes_as_one_and_a_large_one_block_by_block() {
        let test = async {
            let (_server, uploads, url, seen) = storage(&[]).await;
            let mut small = uploads.blob(&url, "h/small.log".into(), "text/plain").unwrap();
            small.write(b"all").await.unwrap();
            small.finish().await.unwrap();
            let one = seen.borrow_mut().remove(0);
            assert_eq!((one.method.as_str(), one.path.as_str()), ("PUT", "/c/h/small.log"));
            assert_eq!(one.query["sig"], "a+b");
            assert_eq!(one.header("x-ms-blob-type").as_deref(), Some("BlockBlob"));
            assert_eq!(one.body, "all");

            let mut large = uploads.blob(&url, "large".into(), "text/plain").unwrap();
            let bytes: Vec<u8> = (0..2 * BLOCK + 5).map(|n| (n % 251) as u8).collect();
            for part in bytes.chunks(1 << 20) {
                large.write(part).await.unwrap();
            }
            large.finish().await.unwrap();
            let seen = seen.borrow();
            let bodies: Vec<_> = seen[..3].iter().flat_map(|it| it.body.to_vec()).collect();
            assert!(bodies == bytes, "in order, and nothing twice");
            let ids: Vec<_> = seen[..3].iter().map(|it| it.query["blockid"].clone()).collect();
            let list = String::from_utf8(seen[3].body.to_vec()).unwrap();
            let named: Vec<_> = list.split("<Latest>").skip(1).map(|it| &it[..8]).collect();
            assert_eq!((named, seen.len()), (ids.iter().map(String::as_str).collect(), 4));
            assert_eq!(seen[3].query["comp"], "blocklist");
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_and_a_refusal_is_told_without_the_signature() {
        let test = async {
            let (_server, uploads, url, seen) = storage(&[503, 500]).await;
            let blob = || uploads.blob(&url, "b".into(), "text/plain").unwrap();
            blob().finish().await.unwrap();
            assert_eq!(seen.borrow().len(), 3);
            let (_server, uploads, url, seen) = storage(&[403]).await;
            let error = uploads.blob(&url, "b".into(), "text/plain").unwrap();
            let error = error.finish().await.unwrap_err();
            let error = error.to_string();
            assert!(error.ends_with("refused the blob b: status 403 Busy"), "{error}");
            assert!(!error.contains("sig") && seen.borrow().len() == 1);
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn a_storage_is_trusted_by_the_devices_own_authorities_and_not_without() {
        let test = async {
            let dir = tempfile::tempdir().unwrap();
            let authority = Authority::load_or_make(&dir.path().join("ca.pem"), "storage").unwrap();
            let names = names_of(&["127.0.0.1"], &[]);
            let certificate = authority.certify(&names, Duration::ZERO).unwrap();
            let server = TlsServer::new(&certificate, ClientAuthorities::default()).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("https://{}/c?sig=s", listener.local_addr().unwrap());
            let url = SasUrl::parse(&url).unwrap();
            tokio::task::spawn_local(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let Ok(stream) = server.accept(stream).await else { continue };
                    let answer = handler(async |_| HttpResponse::empty(201));
                    let _ = serve_connection(stream, answer, Limits::default()).await;
                }
            });
            let put = async |trust: Trust| {
                let blob = Uploads { trust, parent: String::new() }.blob(&url, "b".into(), "x/y");
                blob.unwrap().put("", &[], Vec::new()).await
            };
            let ours = Trust::Pem(authority.pem().as_bytes().to_vec(), "ca.pem".into());
            put(ours).await.unwrap();
            let other = Authority::load_or_make(&dir.path().join("other.pem"), "other").unwrap();
            let other = Trust::Pem(other.pem().as_bytes().to_vec(), "other.pem".into());
            tokio::time::pause(); // it is tried again
            assert!(matches!(put(other).await, Err(BlobError::Ask(AskError::Connect { .. }))));
        };
        LocalSet::new().run_until(test).await;
    }
}
