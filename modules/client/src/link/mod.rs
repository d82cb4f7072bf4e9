//! The task that keeps a client connected: one attempt after the other, for ever.
//!
//! Each attempt has a fresh token, fresh certificates and a fresh rumqttc event loop (a used one
//! drops what is in flight when the hub lost the session); what is owed lives in `session.rs`.
//! next: `connection.rs`, then `session.rs`.

mod connection;
mod inbound;
mod session;
mod words;

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use self::connection::Connection;
use self::session::Session;
pub(crate) use self::words::{Command, Outbound, TwinKind};
pub use self::words::{Input, LinkState, MethodCall};
use crate::credentials::Settings;
use crate::error::AttemptError;
use crate::{backoff, clock};

/// A connection that lasted this long was a good one: the next delay starts small again.
const GOOD: Duration = Duration::from_secs(30);
/// How long a closing or renewing connection waits for acknowledgements under way.
const DRAIN: Duration = Duration::from_secs(2);
/// A twin request that is not answered for so long means that the connection is no good.
const TWIN_DEADLINE: Duration = Duration::from_secs(60);

/// What comes from the application.
pub(crate) struct Inlets {
    pub(crate) sends: mpsc::Receiver<Outbound>,
    pub(crate) asked: mpsc::Receiver<Command>,
    pub(crate) closed: watch::Receiver<bool>,
}

/// What goes to the application.
pub(crate) struct Outlets {
    pub(crate) state: watch::Sender<LinkState>,
    pub(crate) desired: watch::Sender<serde_json::Value>,
    pub(crate) inputs: mpsc::Sender<Input>,
    pub(crate) methods: mpsc::Sender<MethodCall>,
    pub(crate) commands: mpsc::WeakSender<Command>,
}

/// How a connection ended.
enum End {
    Closed,
    Failed(AttemptError),
}

/// Runs until the client is closed.
pub(crate) async fn run(settings: Settings, mut inlets: Inlets, out: Outlets) {
    let mut session = Session::new(settings.topics(), out);
    let mut closed = inlets.closed.clone();
    let mut attempt = 0;
    loop {
        session.out.state.send_replace(LinkState::Connecting);
        let connected = tokio::select! {
            connected = Connection::open(&settings) => connected,
            _ = closed.wait_for(|closed| *closed) => break,
        };
        let started = tokio::time::Instant::now();
        let end = match connected {
            Ok(connection) => serve(&mut session, connection, &mut inlets).await,
            Err(error) => End::Failed(error),
        };
        session.disconnected();
        let error = match end {
            End::Closed => break,
            End::Failed(AttemptError::TokenRenewal) => continue,
            End::Failed(error) => error,
        };
        if started.elapsed() >= GOOD {
            attempt = 0;
        }
        let delay = backoff::delay(attempt, clock::noise());
        attempt += 1;
        let waiting = LinkState::Waiting { why: error.to_string(), retry_in: delay };
        session.out.state.send_replace(waiting);
        tokio::select! {
            () = tokio::time::sleep(delay) => (),
            _ = closed.wait_for(|closed| *closed) => break,
        }
    }
    session.out.state.send_replace(LinkState::Closed);
}

/// Serves one connection until it ends.
async fn serve(session: &mut Session, mut connection: Connection, inlets: &mut Inlets) -> End {
    session.out.state.send_replace(LinkState::Connected);
    if let Err(error) = session.connected(&mut connection) {
        return End::Failed(error);
    }
    let renewal = tokio::time::sleep(connection.renew_in);
    tokio::pin!(renewal);
    // While closing or renewing nothing new is sent; what is under way has until then.
    let mut draining: Option<(End, tokio::time::Instant)> = None;
    loop {
        if let Some((end, until)) = draining.take() {
            if session.idle() || tokio::time::Instant::now() >= until {
                connection.goodbye().await;
                return end;
            }
            draining = Some((end, until));
        }
        let open = draining.is_none();
        let tick = tokio::time::sleep(Duration::from_millis(if open { 5_000 } else { 50 }));
        let done = tokio::select! {
            event = connection.event() => match event {
                Ok(event) => session.on_event(&mut connection, event),
                Err(error) => Err(error),
            },
            Some(command) = inlets.asked.recv() => session.on_command(&mut connection, command),
            send = inlets.sends.recv(), if open && session.has_room() => match send {
                Some(outbound) => session.send(&connection, outbound),
                // Every handle is gone: nobody is left who could use the connection.
                None => return End::Closed,
            },
            _ = inlets.closed.wait_for(|closed| *closed), if open => {
                draining = Some((End::Closed, tokio::time::Instant::now() + DRAIN));
                Ok(())
            }
            () = &mut renewal, if open => {
                let end = End::Failed(AttemptError::TokenRenewal);
                draining = Some((end, tokio::time::Instant::now() + DRAIN));
                Ok(())
            }
            () = tick => session.check_deadlines(&mut connection),
        };
        if let Err(error) = done {
            return End::Failed(error);
        }
    }
}
