//! Passes connections on and counts the bytes of each direction (of TCP's payload: TLS is in it, the
//! headers of TCP and IP are not).

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::options::Proxy;

#[derive(Default)]
struct Counts {
    up: AtomicU64,
    down: AtomicU64,
    connections: AtomicU64,
}

/// Until it is killed.
pub(crate) fn run(options: &Proxy) -> Result<(), String> {
    let counts = Arc::new(Counts::default());
    let text = |error: std::io::Error| format!("{}: {error}", options.listen);
    let listener = TcpListener::bind(options.listen).map_err(text)?;
    let (to, shared) = (options.to, Arc::clone(&counts));
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect_timeout(&to, Duration::from_secs(2)) else {
                continue;
            };
            shared.connections.fetch_add(1, Ordering::Relaxed);
            // Without a clone there is no connection: closed in its face.
            let _ = join(client, server, &shared);
        }
    });
    loop {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let (up, down) = (count(&counts.up), count(&counts.down));
        let line = format!("up={up} down={down} connections={}\n", count(&counts.connections));
        let file = options.counts.with_extension("new");
        let write =
            std::fs::write(&file, line).and_then(|()| std::fs::rename(&file, &options.counts));
        write.map_err(|error| format!("{}: {error}", options.counts.display()))?;
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn join(client: TcpStream, server: TcpStream, counts: &Arc<Counts>) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (up, down) = (Arc::clone(counts), Arc::clone(counts));
    let (from_client, to_server) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || pump(from_client, to_server, &up.up));
    std::thread::spawn(move || pump(server, client, &down.down));
    Ok(())
}

/// Copies until one side closes, then closes the other.
fn pump(mut from: TcpStream, mut to: TcpStream, count: &AtomicU64) {
    let mut chunk = [0; 65_536];
    while let Ok(read) = from.read(&mut chunk) {
        count.fetch_add(read as u64, Ordering::Relaxed);
        if read == 0 || to.write_all(&chunk[..read]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
