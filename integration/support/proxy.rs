//! A TCP proxy that cuts what goes through it: the link between an edge and its parent, as a
//! mobile network would treat it.
//!
//! next: `../link.rs`
#![allow(missing_docs, unreachable_pub, dead_code, clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;

struct Shared {
    to: SocketAddr,
    is_open: AtomicBool,
    is_ended: AtomicBool,
    accepted: AtomicU64,
    /// Both ends of each connection that is through.
    pairs: Mutex<Vec<(TcpStream, TcpStream)>>,
}

/// See the module documentation.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens on a port of its own at `at`, and connects each that comes to `to`.
    pub fn start(at: std::net::Ipv4Addr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind((at, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            to,
            is_open: AtomicBool::new(true),
            is_ended: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            pairs: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if own.is_ended.load(Ordering::SeqCst) {
                    return;
                }
                own.let_through(client);
            }
        });
        Proxy { address, shared }
    }

    /// Cuts all that is through and lets nobody in for a while. `hard`: resets, so that what was
    /// on its way is lost in both directions; else both sides read to the end of what came.
    pub fn cut(&self, is_hard: bool, away: Duration) {
        self.shared.is_open.store(false, Ordering::SeqCst);
        for (client, server) in self.shared.pairs.lock().unwrap().drain(..) {
            for end in [client, server] {
                if is_hard {
                    let _ = SockRef::from(&end).set_linger(Some(Duration::ZERO));
                }
                let _ = end.shutdown(Shutdown::Both);
            }
        }
        std::thread::sleep(away);
        self.shared.is_open.store(true, Ordering::SeqCst);
    }

    /// Connections that it let through, since its start.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_ended.store(true, Ordering::SeqCst);
        self.cut(true, Duration::ZERO);
        let _ = TcpStream::connect(self.address); // wakes it
    }
}

impl Shared {
    fn let_through(&self, client: TcpStream) {
        if !self.is_open.load(Ordering::SeqCst) {
            return;
        }
        let Ok(server) = TcpStream::connect_timeout(&self.to, Duration::from_secs(2)) else {
            return; // closed in its face
        };
        let mut pairs = self.pairs.lock().unwrap();
        if !self.is_open.load(Ordering::SeqCst) {
            return; // cut in between
        }
        self.accepted.fetch_add(1, Ordering::SeqCst);
        for end in [&client, &server] {
            end.set_nodelay(true).unwrap();
        }
        let clones = (client.try_clone().unwrap(), server.try_clone().unwrap());
        pump(client.try_clone().unwrap(), server.try_clone().unwrap());
        pump(server, client);
        pairs.push(clones);
    }
}

/// Copies until one side closes, then closes the other.
fn pump(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let mut chunk = [0; 16_384];
        while let Ok(read) = from.read(&mut chunk) {
            if read == 0 || to.write_all(&chunk[..read]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    });
}
