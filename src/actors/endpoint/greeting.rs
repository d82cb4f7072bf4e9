//! The first packet of a client: CONNECT, who it is, and whether it may come in.
//!
//! CONNACK 3 tells a client to try again, 5 makes some give up for good (spec sdk.md, trap 2): so
//! 5 is for a certain refusal only, and everything else is 3; 1 and 2 are for a CONNECT that is not
//! of MQTT 3.1.1 or has no client id.
//!
//! next: `connection/`

use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncWriteExt, WriteHalf};
use tokio::time::timeout;

use super::backend::{Backend, LOG_IN};
use super::doorkeeper::Visit;
use super::reader::{ReadEnd, Reader};
use super::stream::{Arrived, ByteStream};
use crate::domain::certificate::ClientCertificate;
use crate::domain::identity::Identity;
use crate::domain::packet::{ClientPacket, Connect, ConnectCode, ServerPacket};
use crate::domain::user_name::UserName;
use crate::messages::identities::{Granted, LogIn, Refusal};
use crate::protocol::codec::{self, BadPacket};
use crate::protocol::logging::cut;

/// The first packet must be whole by then.
const CONNECT: Duration = Duration::from_secs(20);

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
        answer(&mut self.half, ConnectCode::ServerUnavailable).await;
    }
}

/// Reads CONNECT and checks who it is. Whoever may not come in is answered, logged and closed.
pub async fn greet(arrived: Arrived, backend: Rc<Backend>) -> Option<Greeted> {
    let Arrived { stream, peer, certificate, visit } = arrived;
    let (read, mut half) = tokio::io::split(stream);
    let mut reader = Reader::new(read);
    let connect = match listen(&mut reader, &visit).await {
        Ok(connect) => connect,
        Err(Unheard::Gone(why)) => {
            tracing::debug!(peer, why, "gone before CONNECT");
            return None;
        }
        Err(Unheard::Bad(why, code)) => {
            let (hold, is_said) = visit.refused(None);
            match code {
                Some(_) if is_said => {
                    tracing::warn!(target: "audit", peer, why, "log-in refused");
                }
                None if is_said => tracing::warn!(peer, why, "first packet is not CONNECT: closed"),
                _ => {}
            }
            if let Some(code) = code {
                refuse(&mut half, code, hold, &visit).await;
            }
            return None;
        }
    };
    match admit(&connect, certificate, &visit, &backend).await {
        Ok((log_in, granted)) => {
            Some(Greeted { reader, half, connect, log_in: Box::new(log_in), granted, peer })
        }
        Err(refusal) => {
            let identity = Identity::parse(&connect.client_id).ok();
            let (hold, is_said) = visit.refused(identity.as_ref());
            if is_said {
                let client = cut(&connect.client_id);
                tracing::warn!(target: "audit", peer, client, %refusal, "log-in refused");
            }
            let code = match refusal {
                Refusal::NotReady(_) => ConnectCode::ServerUnavailable,
                Refusal::Denied(_) => ConnectCode::NotAuthorized,
            };
            refuse(&mut half, code, hold, &visit).await;
            None
        }
    }
}

/// There is no CONNECT.
enum Unheard {
    /// It has left.
    Gone(String),
    /// Or none that could be answered otherwise than with this.
    Bad(String, Option<ConnectCode>),
}

async fn listen(reader: &mut Reader, visit: &Visit) -> Result<Connect, Unheard> {
    let heard = tokio::select! {
        heard = timeout(CONNECT, reader.first(visit)) => heard,
        () = visit.evicted() => {
            let why = "no CONNECT yet, and others need the room".to_owned();
            return Err(Unheard::Bad(why, None));
        }
    };
    let (why, code) = match heard {
        Ok(Ok(ClientPacket::Connect(connect))) if connect.client_id.is_empty() => {
            let user = cut(connect.user_name.as_deref().unwrap_or_default());
            (format!("there is no client id; the user is `{user}`"), Some(ConnectCode::BadClientId))
        }
        Ok(Ok(ClientPacket::Connect(connect))) => return Ok(*connect),
        Ok(Ok(_)) => ("another packet".to_owned(), None),
        Ok(Err(ReadEnd::Bad(bad @ BadPacket::OtherVersion(_)))) => {
            (bad.to_string(), Some(ConnectCode::OtherVersion))
        }
        Ok(Err(end @ (ReadEnd::Closed | ReadEnd::Socket(_)))) => {
            return Err(Unheard::Gone(end.to_string()));
        }
        Ok(Err(end)) => (end.to_string(), None),
        Err(_) => (format!("none came in {} s", CONNECT.as_secs()), None),
    };
    Err(Unheard::Bad(why, code))
}

/// Nobody is there to take a client: it is told to come again.
pub async fn turn_away(arrived: Arrived) {
    let (read, mut half) = tokio::io::split(arrived.stream);
    let mut reader = Reader::new(read);
    if listen(&mut reader, &arrived.visit).await.is_ok() {
        let code = ConnectCode::ServerUnavailable;
        refuse(&mut half, code, Duration::ZERO, &arrived.visit).await;
    }
}

async fn admit(
    connect: &Connect,
    certificate: Option<ClientCertificate>,
    visit: &Visit,
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
        place: Some(visit.place()),
    };
    let answer = backend.log_in.ask(log_in.clone(), LOG_IN).await;
    let granted = answer.unwrap_or_else(|error| Err(Refusal::NotReady(error.to_string())))?;
    Ok((log_in, granted))
}

/// Answers, after a while, and closes.
async fn refuse(
    half: &mut WriteHalf<Box<dyn ByteStream>>,
    code: ConnectCode,
    hold: Duration,
    visit: &Visit,
) {
    tokio::select! {
        () = tokio::time::sleep(hold) => answer(half, code).await,
        () = visit.evicted() => {}
    }
}

async fn answer(half: &mut WriteHalf<Box<dyn ByteStream>>, code: ConnectCode) {
    let mut bytes = BytesMut::new();
    codec::encode(&ServerPacket::ConnAck(false, code), &mut bytes).expect("CONNACK has a form");
    let answer = async {
        half.write_all(&bytes).await?;
        half.flush().await?;
        half.shutdown().await
    };
    let _ = timeout(Duration::from_secs(5), answer).await; // it is going anyway
}
