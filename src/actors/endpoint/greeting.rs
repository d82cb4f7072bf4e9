//! The first packet of a client: CONNECT, who it is, and whether it may come in.
//!
//! CONNACK 3 tells a client to try again, 5 makes some give up for good (spec sdk.md, trap 2): so
//! 5 is for a certain refusal only, and everything else is 3; 1 and 2 are for a CONNECT that is not
//! of MQTT 3.1.1 or has no client id.
//!
//! next: `connection/`

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::time::timeout;

use super::backend::{Backend, LOG_IN};
use super::reader::{ReadEnd, Reader};
use super::stream::{Arrived, ByteStream};
use crate::domain::certificate::ClientCertificate;
use crate::domain::packet::{ClientPacket, Connect, ConnectCode, ServerPacket};
use crate::domain::user_name::UserName;
use crate::messages::identities::{Granted, LogIn, Refusal};
use crate::protocol::codec::{self, BadPacket};

/// The first packet must be whole by then.
const CONNECT: Duration = Duration::from_secs(60);

/// A client that may come in; CONNACK is not sent yet.
pub struct Greeted {
    /// What follows CONNECT comes from here.
    pub reader: Reader,
    /// CONNACK and all else goes here.
    pub half: WriteHalf<Box<dyn ByteStream>>,
    /// Keep-alive, clean session.
    pub connect: Connect,
    /// Who, and what it showed.
    pub log_in: Box<LogIn>,
    /// For how long.
    pub granted: Granted,
    /// Address, for logs.
    pub peer: String,
}

impl Greeted {
    /// Those who would take it are about to stop.
    pub async fn turn_away(mut self) {
        refuse(&mut self.half, ConnectCode::ServerUnavailable).await;
    }
}

/// Reads CONNECT and checks who it is. Whoever may not come in is answered, logged and closed.
pub async fn greet(arrived: Arrived, backend: Backend) -> Option<Greeted> {
    let Arrived { stream, peer, certificate } = arrived;
    let (read, mut half) = tokio::io::split(stream);
    let mut reader = Reader::new(read);
    let connect = match timeout(CONNECT, reader.first()).await {
        Ok(Ok(ClientPacket::Connect(connect))) => *connect,
        Ok(Ok(_)) => {
            tracing::warn!(peer, "first packet is not CONNECT: closed");
            return None;
        }
        Ok(Err(ReadEnd::Bad(bad @ BadPacket::OtherVersion(_)))) => {
            tracing::warn!(peer, why = %bad, "log-in refused");
            refuse(&mut half, ConnectCode::OtherVersion).await;
            return None;
        }
        Ok(Err(ReadEnd::Bad(bad))) => {
            tracing::warn!(peer, why = %bad, "first packet is not CONNECT: closed");
            return None;
        }
        Ok(Err(end)) => {
            tracing::debug!(peer, %end, "gone before CONNECT");
            return None;
        }
        Err(_) => {
            tracing::info!(peer, "no CONNECT in a minute: closed");
            return None;
        }
    };
    if connect.client_id.is_empty() {
        tracing::warn!(peer, user = connect.user_name, "log-in refused: there is no client id");
        refuse(&mut half, ConnectCode::BadClientId).await;
        return None;
    }
    match admit(&connect, certificate, &backend).await {
        Ok((log_in, granted)) => {
            Some(Greeted { reader, half, connect, log_in: Box::new(log_in), granted, peer })
        }
        Err(refusal) => {
            tracing::warn!(peer, client = connect.client_id, %refusal, "log-in refused");
            let code = match refusal {
                Refusal::NotReady(_) => ConnectCode::ServerUnavailable,
                Refusal::Denied(_) => ConnectCode::NotAuthorized,
            };
            refuse(&mut half, code).await;
            None
        }
    }
}

/// Nobody is there to take a client: it is told to come again.
pub async fn turn_away(arrived: Arrived) {
    let (read, mut half) = tokio::io::split(arrived.stream);
    let mut reader = Reader::new(read);
    if let Ok(Ok(ClientPacket::Connect(_))) = timeout(CONNECT, reader.first()).await {
        refuse(&mut half, ConnectCode::ServerUnavailable).await;
    }
}

async fn admit(
    connect: &Connect,
    certificate: Option<ClientCertificate>,
    backend: &Backend,
) -> Result<(LogIn, Granted), Refusal> {
    let denied = |why: &dyn std::fmt::Display| Refusal::Denied(why.to_string());
    let user_name = connect.user_name.as_deref();
    let user_name = user_name.ok_or_else(|| denied(&"there is no user name"))?;
    let user = UserName::parse(user_name).map_err(|error| denied(&error))?;
    if user.identity.as_str() != connect.client_id {
        return Err(denied(&format!("client id differs from the user name's {}", user.identity)));
    }
    if let Some(missing) = backend.readiness.missing() {
        return Err(Refusal::NotReady(missing));
    }
    let log_in = LogIn {
        identity: user.identity,
        token: connect.password.clone(),
        certificate,
        link: user.link,
    };
    let answer = backend.log_in.ask(log_in.clone(), LOG_IN).await;
    let granted = answer.unwrap_or_else(|error| Err(Refusal::NotReady(error.to_string())))?;
    Ok((log_in, granted))
}

async fn refuse(half: &mut WriteHalf<Box<dyn ByteStream>>, code: ConnectCode) {
    let mut bytes = BytesMut::new();
    codec::encode(&ServerPacket::ConnAck(false, code), &mut bytes).expect("CONNACK has a form");
    let answer = async {
        half.write_all(&bytes).await?;
        half.flush().await?;
        half.shutdown().await
    };
    let _ = timeout(Duration::from_secs(5), answer).await; // it is going anyway
}
