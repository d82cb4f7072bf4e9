//! A container engine that is played by a test: it says what the test has it say.

use std::path::PathBuf;
use std::rc::Rc;

use edge_runtime::protocol::http::{HttpRequest, HttpResponse, Limits, Server, handler};
use tokio::net::UnixListener;

/// Is there until it is dropped.
pub(crate) struct PlayedEngine {
    socket: PathBuf,
    _server: Server,
    _folder: tempfile::TempDir,
}

impl PlayedEngine {
    pub(crate) fn start<P: 'static>(
        played: &Rc<P>,
        answer: fn(&Rc<P>, &HttpRequest) -> HttpResponse,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("d.sock");
        let known = played.clone();
        let answer = handler(move |request: HttpRequest| {
            let known = known.clone();
            async move { answer(&known, &request) }
        });
        let listener = UnixListener::bind(&socket).unwrap();
        let server = Server::unix(listener, answer, Limits::default());
        PlayedEngine { socket, _server: server, _folder: folder }
    }

    /// As in the settings.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}
