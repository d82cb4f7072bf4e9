//! Tries a TCP connection as a container would make it: from within its network namespace.
//!
//! A thread of its own enters the namespace, tries, and ends. Needs no program in the container,
//! and no image; needs the right to enter (root), and the engine on this machine.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::sync::oneshot;

/// Why it is not known to be reachable.
#[derive(Debug, thiserror::Error)]
pub enum NotReached {
    /// It could not be tried: nothing is known.
    #[error("cannot try from within the container: {0}")]
    NotTried(io::Error),
    /// It was tried.
    #[error("{0}")]
    Failed(io::Error),
}

impl NotReached {
    /// Whether it looks as if something on the way drops or rejects what is sent.
    pub fn is_blocked(&self) -> bool {
        use io::ErrorKind::{HostUnreachable, NetworkUnreachable, PermissionDenied, TimedOut};
        let NotReached::Failed(error) = self else { return false };
        matches!(error.kind(), TimedOut | HostUnreachable | NetworkUnreachable | PermissionDenied)
    }
}

/// Connects to `address` from the network namespace of process `pid`.
pub async fn reach(pid: i64, address: SocketAddr, patience: Duration) -> Result<(), NotReached> {
    let (tell, told) = oneshot::channel();
    let tried = thread::Builder::new().name("netns".into()).spawn(move || {
        let _ = tell.send(try_from(pid, address, patience)); // nobody waits any more: as good
    });
    tried.map_err(NotReached::NotTried)?;
    told.await.unwrap_or_else(|_| Err(NotReached::NotTried(io::ErrorKind::Other.into())))
}

fn try_from(pid: i64, address: SocketAddr, patience: Duration) -> Result<(), NotReached> {
    let namespace = File::open(format!("/proc/{pid}/ns/net")).map_err(NotReached::NotTried)?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| NotReached::NotTried(error.into()))?;
    TcpStream::connect_timeout(&address, patience).map(drop).map_err(NotReached::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_cannot_be_tried_is_not_called_blocked() {
        let address = "127.0.0.1:9".parse().unwrap();
        let gone = reach(i64::MAX, address, Duration::from_secs(1)).await.unwrap_err();
        assert!(matches!(gone, NotReached::NotTried(_)) && !gone.is_blocked(), "{gone}");
        let refused = NotReached::Failed(io::ErrorKind::ConnectionRefused.into());
        assert!(!refused.is_blocked());
        assert!(NotReached::Failed(io::ErrorKind::TimedOut.into()).is_blocked());
    }
}
