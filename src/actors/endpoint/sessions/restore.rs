//! Sessions read from the store when the actor starts; damaged ones are left out and named.

use actix::prelude::*;

use super::{STORE, Sessions, TABLE};
use crate::actors::hub::state::settled;
use crate::actors::supervision::Supervised;
use crate::domain::directory::Stored;
use crate::domain::identity::Identity;
use crate::messages::state::{Pairs, Scan, StoreError};

impl Actor for Sessions {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.backend.readiness.waits("sessions", "not read from the store yet");
        self.backend.open.plug(&ctx.address());
        self.backend.closed.plug(&ctx.address());
        self.backend.subscribe.plug(&ctx.address());
        self.backend.method_answered.plug(&ctx.address());
        self.backend.attach.plug(&ctx.address());
        self.backend.detach.plug(&ctx.address());
        self.report_clients_ever(ctx);
        let all = Scan { table: TABLE, prefix: vec![], from: vec![], max: usize::MAX };
        let (settled, scan) = (settled(&self.save), self.scan.clone());
        let read = async move {
            settled.await?;
            scan.ask(all, STORE).await.unwrap_or(Err(StoreError::Unavailable))
        };
        let read = read.into_actor(self);
        read.map(|answer, this, ctx| {
            match answer {
                Ok(pairs) => this.restore(&pairs),
                Err(error) => this.fail(&error, ctx),
            };
        })
        .spawn(ctx);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.backend.readiness.waits("sessions", "not running");
    }
}

impl Sessions {
    fn restore(&mut self, pairs: &Pairs) {
        for (key, value) in pairs.iter() {
            let identity = std::str::from_utf8(key).ok().and_then(|id| Identity::parse(id).ok());
            match (identity, serde_json::from_slice::<Stored>(value)) {
                (Some(identity), Ok(stored)) => self.directory.restore(identity, stored),
                (identity, stored) => {
                    let error = stored.err().map(|error| error.to_string());
                    tracing::error!(?identity, ?error, "stored session cannot be read: left out");
                }
            }
        }
        self.is_restored = true;
        self.backend.readiness.is_ready("sessions");
        tracing::info!(sessions = pairs.len(), "sessions restored");
    }
}
