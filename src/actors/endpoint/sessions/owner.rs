//! The connections of the clients: started here, never restarted, known for as long as they live.

use std::collections::BTreeSet;

use actix::prelude::*;
use futures_util::future::join_all;

use super::Sessions;
use crate::actors::endpoint::connection::Connection;
use crate::actors::endpoint::greeting::{Greeted, greet};
use crate::actors::endpoint::link_server::LinkServer;
use crate::actors::endpoint::stream::Arrived;
use crate::actors::supervision::{Obituary, panic_below, snapshot_of};
use crate::domain::directory::Seat;
use crate::domain::identity::Identity;
use crate::domain::restart::Exit;
use crate::messages::supervision::{ChildExited, PanicAt, Snapshot, TakeSnapshot};

/// The listener has a client for us.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Accept(pub Arrived);

impl Handler<Accept> for Sessions {
    type Result = ();

    fn handle(&mut self, Accept(arrived): Accept, ctx: &mut Self::Context) {
        let greeted = greet(arrived, self.backend.clone()).into_actor(self);
        greeted
            .map(|greeted, this, ctx| {
                if let Some(greeted) = greeted {
                    this.start_connection(greeted, ctx);
                }
            })
            .spawn(ctx);
    }
}

impl Sessions {
    /// A connection that panicked, or ended before its session was open, has not said so.
    fn clear_up(&mut self, identity: &Identity, exit: Exit) {
        let is_dead = |seat: &Seat<_>| !Recipient::connected(&seat.handle);
        if exit == Exit::Panicked {
            let links = self.directory.online().filter(|(_, seat)| seat.is_behind_edge);
            let dead: BTreeSet<_> =
                links.filter(|(_, seat)| is_dead(seat)).map(|(_, seat)| seat.epoch).collect();
            let gone = dead.into_iter().flat_map(|epoch| self.directory.detach(None, epoch));
            gone.collect::<Vec<_>>().into_iter().for_each(|gone| self.farewell(gone));
        }
        let seat = self.directory.seat(identity).filter(|seat| is_dead(seat));
        if let Some(epoch) = seat.map(|seat| seat.epoch)
            && self.directory.closed(identity, epoch, Vec::new())
        {
            self.farewell(identity.clone());
        }
    }

    fn start_connection(&mut self, greeted: Greeted, ctx: &mut Context<Self>) {
        let number = self.next_epoch();
        let identity = greeted.identity.clone();
        let name = format!("connection {number}");
        let obituary = Obituary::new(&name, number, ctx.address().recipient());
        let (backend, settings) = (self.backend.clone(), self.settings.clone());
        let running = match greeted.link {
            Some(_) => LinkServer::accept(greeted, backend, &settings, obituary),
            None => Connection::accept(greeted, backend, settings, obituary),
        };
        self.connections.insert(number, (identity, running));
    }
}

impl Handler<ChildExited> for Sessions {
    type Result = ();

    fn handle(&mut self, exited: ChildExited, _: &mut Self::Context) {
        if let Some((identity, _)) = self.connections.remove(&exited.birth) {
            let (exit, why) = (exited.exit, exited.why);
            self.clear_up(&identity, exit);
            tracing::debug!(%identity, ?exit, %why, "connection ended");
        }
    }
}

impl Handler<TakeSnapshot> for Sessions {
    type Result = ResponseFuture<Vec<Snapshot>>;

    fn handle(&mut self, _: TakeSnapshot, _: &mut Self::Context) -> Self::Result {
        let each = self.connections.values().map(|(identity, running)| {
            let name = format!("connection {}", identity.as_str().replace('/', "%2F"));
            snapshot_of(name, Some(running.clone()), 0, None)
        });
        let all = join_all(each.collect::<Vec<_>>());
        Box::pin(async move { all.await.concat() })
    }
}

impl Handler<PanicAt> for Sessions {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, PanicAt(mut path): PanicAt, _: &mut Self::Context) -> Self::Result {
        let first = if path.is_empty() { String::new() } else { path.remove(0) };
        let wanted = first.trim_start_matches("connection ").replace("%2F", "/");
        let mut all = self.connections.values();
        let found = all.find(|(identity, _)| identity.as_str() == wanted);
        panic_below(found.map(|(_, running)| running.clone()), path)
    }
}
