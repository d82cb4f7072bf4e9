//! A TCP proxy in place of the link between an edge and its parent: as a mobile or a satellite network
//! would treat it. It delays, holds back, cuts, and swallows without a word.
//!
//! A user-space proxy cannot lose a segment of TCP: a loss is what it comes to, a stall of the
//! retransmission time-out for all that is behind. Opening a connection takes a round trip, and while
//! a network swallows, the steps of a SYN that is sent again (Linux: 1, 2, 3, 4, 5, 7, 11, 19 s).
//!
//! next: `pipe.rs`
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::pipe::{Line, Profile, pump};

/// What a socket holds of a slow network.
const SMALL_BUFFER: usize = 16 << 10;
/// When a SYN that is not answered is sent again, in seconds after the first.
const SYNS: [u64; 8] = [1, 2, 3, 4, 5, 7, 11, 19];

/// How the network goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Resets: what was on its way is lost in both directions. Who connects is refused.
    Reset,
    /// Both sides read to the end of what came. Who connects is refused.
    Close,
    /// Resets, and who connects hears nothing.
    BlackHole,
    /// Without a word: what was connected is swallowed from now on and for ever, both ways.
    Silent,
}

struct Shared {
    to: SocketAddr,
    profile: Profile,
    seed: u64,
    /// Why nobody gets through.
    down: Mutex<Option<Cut>>,
    is_ended: AtomicBool,
    accepted: AtomicU64,
    pairs: Mutex<Vec<Pair>>,
}

/// Both ends of a connection that is through.
struct Pair {
    client: TcpStream,
    server: TcpStream,
    is_dead: Arc<AtomicBool>,
}

/// See the module documentation.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens on a port of its own at `at`, and connects each that comes to `to`, at once.
    pub fn start(at: std::net::Ipv4Addr, to: SocketAddr) -> Self {
        Self::start_as(at, to, Profile::default(), 1)
    }

    /// With a network in between.
    pub fn start_as(at: std::net::Ipv4Addr, to: SocketAddr, profile: Profile, seed: u64) -> Self {
        let listener = TcpListener::bind((at, 0)).unwrap();
        if profile.rate > 0 {
            SockRef::from(&listener).set_recv_buffer_size(SMALL_BUFFER).unwrap();
        }
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            to,
            profile,
            seed,
            down: Mutex::default(),
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
                let own = Arc::clone(&own);
                std::thread::spawn(move || own.let_through(client));
            }
        });
        Proxy { address, shared }
    }

    /// Cuts all that is through and lets nobody in for a while. `hard`: resets, so that what was
    /// on its way is lost in both directions; else both sides read to the end of what came.
    pub fn cut(&self, is_hard: bool, away: Duration) {
        self.down(if is_hard { Cut::Reset } else { Cut::Close });
        std::thread::sleep(away);
        self.up();
    }

    /// Ends what is through; nobody gets through until `up`.
    pub fn down(&self, how: Cut) {
        *self.shared.down.lock().unwrap() = Some(how);
        for pair in self.shared.pairs.lock().unwrap().drain(..) {
            pair.is_dead.store(true, Ordering::SeqCst);
            if how == Cut::Silent {
                continue;
            }
            for end in [pair.client, pair.server] {
                if how != Cut::Close {
                    let _ = SockRef::from(&end).set_linger(Some(Duration::ZERO));
                }
                let _ = end.shutdown(Shutdown::Both);
            }
        }
    }

    /// Whoever connects gets through again.
    pub fn up(&self) {
        *self.shared.down.lock().unwrap() = None;
    }

    /// Connections that it let through, since its start.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_ended.store(true, Ordering::SeqCst);
        self.down(Cut::Reset);
        let _ = TcpStream::connect(self.address); // wakes it
    }
}

impl Shared {
    fn let_through(&self, client: TcpStream) {
        let came = Instant::now();
        let mut syns = SYNS.into_iter();
        loop {
            let down = *self.down.lock().unwrap();
            match down {
                None => break,
                Some(Cut::Reset | Cut::Close) => return, // closed in its face
                Some(Cut::BlackHole | Cut::Silent) => {
                    let Some(next) = syns.next() else { return };
                    let next = came + Duration::from_secs(next);
                    std::thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            }
        }
        let Ok(server) = TcpStream::connect_timeout(&self.to, Duration::from_secs(2)) else {
            return;
        };
        if self.profile.rate > 0 {
            SockRef::from(&server).set_recv_buffer_size(SMALL_BUFFER).unwrap();
        }
        let down = self.down.lock().unwrap();
        if down.is_some() {
            return; // cut in between
        }
        let number = self.accepted.fetch_add(1, Ordering::SeqCst);
        let is_dead = Arc::new(AtomicBool::new(false));
        for end in [&client, &server] {
            end.set_nodelay(true).unwrap();
        }
        let line = |direction| {
            let seed = self.seed + 2 * number + direction;
            Line::new(self.profile, seed, Instant::now(), Arc::clone(&is_dead))
        };
        pump(client.try_clone().unwrap(), server.try_clone().unwrap(), line(0));
        pump(server.try_clone().unwrap(), client.try_clone().unwrap(), line(1));
        self.pairs.lock().unwrap().push(Pair { client, server, is_dead });
    }
}
