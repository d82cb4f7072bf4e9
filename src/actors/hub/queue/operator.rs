//! What an operator asks of the queue: dead letters, backlogs to discard, routes that rest.
//!
//! Work on many messages goes a part at a time, each in one transaction, so that traffic goes on
//! between them.

use std::sync::Arc;

use actix::prelude::*;

use super::Queue;
use crate::domain::bag::Bag;
use crate::domain::identity::Identity;
use crate::domain::route::{Inbound, Tally};
use crate::domain::row::Endpoint;
use crate::messages::dead_letters::{How, Letter, Pause, Progress, ReadDeadLetters, Settle};
use crate::messages::queue::{Rewound, TryRoutes};
use crate::messages::state::StoreError;
use crate::messages::trace::{Life, Peek, Peeked, Trace};
use crate::store::queue::Fate;

impl Handler<ReadDeadLetters> for Queue {
    type Result = Result<Vec<Letter>, StoreError>;

    fn handle(&mut self, ask: ReadDeadLetters, _: &mut Context<Self>) -> Self::Result {
        self.store.dead_letters(&ask.pick, ask.after, ask.max, ask.is_whole)
    }
}

impl Handler<Settle> for Queue {
    type Result = ResponseFuture<Result<Progress, StoreError>>;

    fn handle(&mut self, Settle { pick, how }: Settle, _: &mut Context<Self>) -> Self::Result {
        let (store, ports) = (Arc::clone(&self.store), self.ports.clone());
        Box::pin(async move {
            let (mut all, mut rest) = (Progress::default(), None);
            loop {
                let (done, left) = match how {
                    How::Replay => store.settle(pick.clone(), Fate::Replay, rest).await?,
                    How::Drop => store.settle(pick.clone(), Fate::Drop, rest).await?,
                    How::Discard => store.discard(pick.clone(), rest).await?,
                };
                all.messages += done.messages;
                all.bytes += done.bytes;
                if how == How::Replay && done.messages > 0 {
                    ports.tell_stored(pick.endpoint.clone());
                }
                if left.is_none() {
                    break;
                }
                rest = left;
            }
            let (endpoint, route) = (&pick.endpoint.0, pick.route.as_deref());
            tracing::info!(%endpoint, route, ?how, messages = all.messages, "done for the operator");
            Ok(all)
        })
    }
}

impl Handler<TryRoutes> for Queue {
    type Result = ResponseFuture<Result<Tally, StoreError>>;

    fn handle(&mut self, ask: TryRoutes, _: &mut Context<Self>) -> Self::Result {
        let (store, edge) = (Arc::clone(&self.store), self.identity.of_device());
        let TryRoutes { table, since, until } = ask;
        Box::pin(async move {
            let (mut survey, mut tally) = (store.survey(since, until), Tally::new(&table));
            let mut count = |sender: &Identity, bag: &Bag, body: &[u8]| {
                tally.count(&table, &Inbound::of(sender, edge.as_str(), bag, body));
            };
            while store.look(&mut survey, &mut count)? {
                tokio::task::yield_now().await; // traffic goes on between the parts
            }
            tally.damaged = survey.damaged;
            Ok(tally)
        })
    }
}

impl Handler<Pause> for Queue {
    type Result = ResponseFuture<Result<(), StoreError>>;

    fn handle(&mut self, pause: Pause, _: &mut Context<Self>) -> Self::Result {
        let Pause { route, is_paused } = pause;
        let (store, ports) = (Arc::clone(&self.store), self.ports.clone());
        let set = store.set_paused(&route, is_paused);
        Box::pin(async move {
            set.await?;
            tracing::info!(route, is_paused, "route paused, or resumed, by the operator");
            // What was passed may be sent now; what was read, and not sent, may not be.
            for endpoint in store.endpoints()? {
                let is_upstream = endpoint == Endpoint::upstream();
                let port = match is_upstream {
                    true => &ports.rewound_upstream,
                    false => &ports.rewound_client,
                };
                port.tell(Rewound(endpoint)); // who starts later reads from the beginning anyway
            }
            Ok(())
        })
    }
}

impl Handler<Trace> for Queue {
    type Result = ResponseFuture<Result<Option<Life>, StoreError>>;

    fn handle(&mut self, Trace(id): Trace, _: &mut Context<Self>) -> Self::Result {
        let store = Arc::clone(&self.store);
        Box::pin(async move {
            let mut from = None;
            loop {
                match store.find_message(&id, from)? {
                    Ok(number) => return number.map_or(Ok(None), |number| store.life(number)),
                    Err(next) => from = Some(next),
                }
                tokio::task::yield_now().await; // traffic goes on between the parts
            }
        })
    }
}

impl Handler<Peek> for Queue {
    type Result = Result<Peeked, StoreError>;

    fn handle(&mut self, ask: Peek, _: &mut Context<Self>) -> Self::Result {
        self.store.peek(&ask.route, ask.max, ask.body)
    }
}
