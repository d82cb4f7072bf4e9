//! The container engine behind a socket that comes and goes.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::image;

/// The engine's socket under another path, there as long as this lives.
pub struct Door {
    path: PathBuf,
    through: Arc<Mutex<Vec<UnixStream>>>,
}

impl Door {
    pub fn open(path: &Path) -> Self {
        let address = image::address();
        let to = address.strip_prefix("unix://").expect("the engine has a unix socket").to_owned();
        let listener = UnixListener::bind(path).unwrap();
        let through: Arc<Mutex<Vec<UnixStream>>> = Arc::default();
        let own = Arc::clone(&through);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = UnixStream::connect(&to) else { continue };
                own.lock()
                    .unwrap()
                    .extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                pump(client.try_clone().unwrap(), server.try_clone().unwrap());
                pump(server, client);
            }
        });
        Door { path: path.into(), through }
    }
}

impl Drop for Door {
    /// As when the engine is stopped: its socket is gone, and so is everybody's connection.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        for end in self.through.lock().unwrap().drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

fn pump(mut from: UnixStream, mut to: UnixStream) {
    std::thread::spawn(move || {
        let mut chunk = [0; 16_384];
        while let Ok(read) = from.read(&mut chunk) {
            if read == 0 || to.write_all(&chunk[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write); // the other way may go on
    });
}
