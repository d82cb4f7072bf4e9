//! A socket before that of the container engine, which can be cut off.

use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// See the module documentation.
pub(crate) struct Relay {
    open: Arc<Open>,
    folder: tempfile::TempDir,
}

#[derive(Default)]
struct Open {
    is_cut: AtomicBool,
    streams: Mutex<Vec<UnixStream>>,
}

impl Relay {
    /// Before the engine at this address (`unix://…`).
    pub(crate) fn before(engine: &str) -> Self {
        let engine = engine.strip_prefix("unix://").expect("a socket").to_owned();
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("relay.sock")).unwrap();
        let open = Arc::new(Open::default());
        let shared = Arc::clone(&open);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if !shared.is_cut.load(Ordering::SeqCst)
                    && let Ok(far) = UnixStream::connect(&engine)
                {
                    shared.join(&near, &far);
                } // else it is closed at once
            }
        });
        Relay { open, folder }
    }

    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.folder.path().join("relay.sock").display())
    }

    /// All that is open ends, and nobody comes in.
    pub(crate) fn cut(&self) {
        self.open.is_cut.store(true, Ordering::SeqCst);
        for stream in self.open.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn mend(&self) {
        self.open.is_cut.store(false, Ordering::SeqCst);
    }
}

impl Open {
    fn join(&self, near: &UnixStream, far: &UnixStream) {
        let both = [(near, far), (far, near)];
        for (from, to) in
            both.map(|(from, to)| (from.try_clone().unwrap(), to.try_clone().unwrap()))
        {
            self.streams.lock().unwrap().push(from.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut &from, &mut &to);
                let _ = to.shutdown(Shutdown::Write);
            });
        }
    }
}
