//! A socket to the broker, plain or through TLS: blocking while it logs in, then not.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// Reads of a socket in one go through TLS, until there is something behind it.
const TLS_READS: usize = 8;

/// What is trusted of brokers: the authorities of a PEM file.
pub(crate) fn trust(file: &Path) -> std::result::Result<Arc<ClientConfig>, String> {
    let text = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| text(&e))? {
        let certificate = certificate.map_err(|e| text(&e))?;
        roots.add(certificate).map_err(|e| text(&e))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| text(&e))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// See the module documentation.
pub(crate) struct Transport {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// What is to be written, from `written` on.
    out: Vec<u8>,
    written: usize,
}

impl Transport {
    pub(crate) fn open(
        address: SocketAddr,
        name: IpAddr,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<Self> {
        let socket = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        let name = ServerName::from(name);
        let other = |error: rustls::Error| std::io::Error::other(error);
        let tls = match tls {
            Some(config) => {
                let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(other)?;
                tls.set_buffer_limit(None);
                Some(Box::new(tls))
            }
            None => None,
        };
        Ok(Transport { socket, tls, out: Vec::new(), written: 0 })
    }

    /// From now on nothing waits.
    pub(crate) fn set_nonblocking(&self) -> Result<()> {
        self.socket.set_nonblocking(true)
    }

    /// Says DISCONNECT and waits until the broker has taken everything and closed.
    pub(crate) fn leave(mut self) {
        self.out.extend_from_slice(&[0xe0, 0]);
        let _ = self.socket.set_nonblocking(false);
        let _ = self.socket.set_read_timeout(Some(Duration::from_secs(2)));
        let _ = self.flush();
        let mut rest = Vec::new();
        while self.read(&mut rest, 0).is_ok_and(|count| count > 0) {}
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Where to put what is to be written.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Writes what the socket takes; whether that was all.
    pub(crate) fn flush(&mut self) -> Result<bool> {
        let Some(tls) = &mut self.tls else {
            while self.written < self.out.len() {
                match self.socket.write(&self.out[self.written..]) {
                    Ok(count) => self.written += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
            self.out.clear();
            self.written = 0;
            return Ok(true);
        };
        tls.writer().write_all(&self.out)?;
        self.out.clear();
        flush_tls(tls, &mut self.socket)
    }

    /// Reads what there is behind `have` bytes of `into`; how many there are now. Grows `into` if a
    /// packet needs it. Without anything there, waits if the socket still does.
    pub(crate) fn read(&mut self, into: &mut Vec<u8>, mut have: usize) -> Result<usize> {
        if into.len() - have < 1 << 16 {
            into.resize(have + (1 << 17), 0);
        }
        let Some(tls) = &mut self.tls else {
            return match self.socket.read(&mut into[have..]) {
                Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => Ok(have + count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(have),
                Err(error) => Err(error),
            };
        };
        for _ in 0..TLS_READS {
            match tls.read_tls(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            let state = tls.process_new_packets().map_err(std::io::Error::other)?;
            let ready = state.plaintext_bytes_to_read();
            if into.len() < have + ready {
                into.resize(have + ready + (1 << 16), 0);
            }
            tls.reader().read_exact(&mut into[have..have + ready])?;
            have += ready;
            if tls.wants_write() {
                flush_tls(tls, &mut self.socket)?;
            }
            if have > 0 && !tls.is_handshaking() {
                break;
            }
        }
        Ok(have)
    }
}

fn flush_tls(tls: &mut ClientConnection, socket: &mut TcpStream) -> Result<bool> {
    while tls.wants_write() {
        match tls.write_tls(socket) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
