//! A storage of blobs: takes what is put to it, in one piece or block by block.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

type Blobs = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// See the module documentation. Its thread ends with the test's process.
pub struct Storage {
    pub address: SocketAddr,
    blobs: Blobs,
}

impl Storage {
    pub fn start(listener: TcpListener) -> Self {
        let (address, blobs) = (listener.local_addr().unwrap(), Blobs::default());
        let all = Arc::clone(&blobs);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = serve(&mut stream.unwrap(), &all); // the next one may do better
            }
        });
        Storage { address, blobs }
    }

    /// By path. What was put block by block is there once its list was put.
    pub fn blobs(&self) -> BTreeMap<String, Vec<u8>> {
        let blobs = self.blobs.lock().unwrap();
        blobs
            .iter()
            .filter(|(name, _)| !name.contains('?'))
            .map(|(a, b)| (a.clone(), b.clone()))
            .collect()
    }
}

/// One request; the client opens a connection for each.
fn serve(stream: &mut TcpStream, blobs: &Blobs) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let (name, value) = line.trim_end().split_once(": ").unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().unwrap();
        }
        if line.trim_end().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let target = first.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let part = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name));
    let mut blobs = blobs.lock().unwrap();
    match part("comp=") {
        None => _ = blobs.insert(path.to_owned(), body),
        Some("block") => {
            _ = blobs.insert(format!("{path}?{}", part("blockid=").unwrap()), body);
        }
        Some(_) => {
            let list = String::from_utf8(body).unwrap();
            let ids = list.split("<Latest>").skip(1).map(|it| it.split('<').next().unwrap());
            let whole = ids.flat_map(|id| blobs.remove(&format!("{path}?{id}")).unwrap()).collect();
            blobs.insert(path.to_owned(), whole);
        }
    }
    stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}
