//! The connections of the clients: started here, never restarted, known for as long as they live.

use std::collections::BTreeSet;
use std::rc::Rc;

use actix::prelude::*;
use futures_util::future::join_all;

use super::Sessions;
use crate::actors::endpoint::connection::Connection;
use crate::actors::endpoint::greeting::{Greeted, greet, turn_away};
use crate::actors::endpoint::link_server::LinkServer;
use crate::actors::endpoint::stream::Arrived;
use crate::actors::supervision::{Obituary, Running, panic_below, report_end, snapshot_of};
use crate::domain::directory::Seat;
use crate::domain::identity::Identity;
use crate::domain::restart::{Exit, Verdict};
use crate::messages::supervision::{ChildExited, PanicAt, Shutdown, Snapshot, TakeSnapshot};

/// The listener has a client for us.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Accept(pub Arrived);

impl Handler<Accept> for Sessions {
    type Result = ();

    fn handle(&mut self, Accept(arrived): Accept, ctx: &mut Self::Context) {
        if self.is_leaving {
            actix::spawn(turn_away(arrived));
            return;
        }
        let greeted = greet(arrived, Rc::clone(&self.backend)).into_actor(self);
        greeted
            .map(|greeted, this, ctx| match greeted {
                Some(greeted) if this.is_leaving => drop(actix::spawn(greeted.turn_away())),
                Some(greeted) => this.start_connection(greeted, ctx),
                None => {}
            })
            .spawn(ctx);
    }
}

/// How the actor of a connection is reached.
pub(super) enum Line {
    /// Of one client.
    Client(Addr<Connection>),
    /// Of an edge.
    Edge(Addr<LinkServer>),
}

impl Line {
    /// Only when it is needed: there are many.
    fn running(&self) -> Running {
        match self {
            Line::Client(connection) => Running::worker(connection),
            Line::Edge(link) => Running::worker(link),
        }
    }

    /// Ordered stop; idempotent.
    pub(super) fn shut_down(&self) {
        match self {
            Line::Client(connection) => connection.do_send(Shutdown),
            Line::Edge(link) => link.do_send(Shutdown),
        }
    }
}

/// Its name in the tree.
fn name_of(identity: &Identity) -> String {
    format!("connection {}", identity.as_str().replace('/', "%2F"))
}

impl Sessions {
    /// A connection that panicked, or ended before its session was open, has not said so.
    fn clear_up(&mut self, identity: &Identity, exit: Exit, ctx: &mut Context<Self>) {
        let is_dead = |seat: &Seat<_>| !Recipient::connected(&seat.handle);
        if exit == Exit::Panicked {
            let links = self.directory.online().filter(|(_, seat)| seat.is_behind_edge);
            let dead: BTreeSet<_> =
                links.filter(|(_, seat)| is_dead(seat)).map(|(_, seat)| seat.epoch).collect();
            let gone = dead.into_iter().flat_map(|epoch| self.directory.detach(None, epoch));
            for gone in gone.collect::<Vec<_>>() {
                self.unlinked(&gone, ctx);
                self.farewell(gone);
            }
        }
        let seat = self.directory.seat(identity).filter(|seat| is_dead(seat));
        if let Some(epoch) = seat.map(|seat| seat.epoch)
            && self.directory.closed(identity, epoch, Vec::new())
        {
            self.left(identity, ctx);
            self.farewell(identity.clone());
        }
    }

    fn start_connection(&mut self, greeted: Greeted, ctx: &mut Context<Self>) {
        let number = self.next_epoch();
        let identity = greeted.log_in.identity.clone();
        let (above, own) = self.shared.get_or_insert_with(|| {
            (self.obituary.path().into(), Rc::new(ctx.address().recipient()))
        });
        let (above, own) = (Rc::clone(above), Rc::clone(own));
        let obituary = Obituary::new(above, &name_of(&identity), number, own);
        let (backend, settings) = (Rc::clone(&self.backend), Rc::clone(&self.settings));
        let line = match greeted.log_in.link {
            Some(_) => Line::Edge(LinkServer::accept(greeted, backend, &settings, obituary)),
            None => Line::Client(Connection::accept(greeted, backend, settings, obituary)),
        };
        self.connections.insert(number, (identity, line));
    }
}

impl Handler<ChildExited> for Sessions {
    type Result = ();

    fn handle(&mut self, exited: ChildExited, ctx: &mut Self::Context) {
        if let Some((identity, _)) = self.connections.remove(&exited.birth) {
            self.clear_up(&identity, exited.exit, ctx);
            report_end(&self.obituary.path(), &exited, Verdict::Leave); // the client comes again
            if self.is_leaving && self.connections.is_empty() {
                ctx.stop();
            }
        }
    }
}

impl Handler<TakeSnapshot> for Sessions {
    type Result = ResponseFuture<Vec<Snapshot>>;

    fn handle(&mut self, _: TakeSnapshot, _: &mut Self::Context) -> Self::Result {
        let each = self
            .connections
            .values()
            .map(|(identity, line)| snapshot_of(name_of(identity), Some(line.running()), 0, None));
        let all = join_all(each.collect::<Vec<_>>());
        Box::pin(async move { all.await.concat() })
    }
}

impl Handler<PanicAt> for Sessions {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, PanicAt(mut path): PanicAt, _: &mut Self::Context) -> Self::Result {
        let first = if path.is_empty() { String::new() } else { path.remove(0) };
        let mut all = self.connections.values();
        let found = all.find(|(identity, _)| name_of(identity) == first);
        panic_below(found.map(|(_, line)| line.running()), path)
    }
}
