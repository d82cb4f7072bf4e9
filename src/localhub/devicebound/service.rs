//! What REST asks of the messages that wait.

use std::collections::BTreeMap;

use actix::prelude::*;
use serde_json::Value;

use super::Devicebound;
use super::store::{self, Stored};
use crate::actors::supervision::Supervised;
use crate::domain::devicebound::{DEPTH, Mailbox};
use crate::domain::identity::Identity;
use crate::domain::row::{End, Offset};
use crate::domain::service_error::ServiceError;
use crate::localhub::tables::{self, DEVICEBOUND, FEEDBACK};
use crate::messages::devicebound::{CountDevicebound, Enqueue, Purge, TakeFeedback};
use crate::messages::registry::Forget;
use crate::messages::state::{Change, Scan, StoreError};

/// Feedback given in one answer.
const FEEDBACK_PAGE: usize = 64;

impl Handler<Enqueue> for Devicebound {
    type Result = ResponseActFuture<Self, Result<(), ServiceError>>;

    fn handle(&mut self, enqueue: Enqueue, _: &mut Self::Context) -> Self::Result {
        let Enqueue { device, bag, body, expires, ack } = enqueue;
        if !self.is_loaded {
            return Box::pin(fut::err(StoreError::Unavailable.into()));
        }
        if self.boxes.get(&device).map_or(0, Mailbox::len) >= DEPTH {
            let why = format!("{DEPTH} messages wait for {device} already");
            let code = "DeviceMaximumQueueDepthExceeded";
            return Box::pin(fut::err(ServiceError::new(403, code, why)));
        }
        self.last += 1;
        let offset = Offset(self.last);
        let stored = Stored { bag, body, expires, tries: 0, ack };
        let change = Change::put(DEVICEBOUND, store::key(&device, offset), stored.encode());
        let number = self.arriving.wait((device, offset, expires));
        let saved = tables::save(&self.ports.save, vec![change]).into_actor(self);
        Box::pin(saved.map(move |saved, actor, ctx| match saved {
            Ok(()) => {
                for (device, offset, expires) in actor.arriving.committed(number) {
                    actor.mailbox(&device).add(offset, expires, 0);
                    actor.notify(&device);
                }
                Ok(())
            }
            Err(error) => {
                actor.fail(&error, ctx);
                Err(error.into())
            }
        }))
    }
}

impl Handler<Purge> for Devicebound {
    type Result = ResponseActFuture<Self, Result<u64, StoreError>>;

    fn handle(&mut self, Purge { device }: Purge, _: &mut Self::Context) -> Self::Result {
        if !self.is_loaded {
            return Box::pin(fut::err(StoreError::Unavailable));
        }
        let purged = self.mailbox(&device).purge();
        let count = purged.len() as u64;
        let ends = purged.into_iter().map(|offset| (offset, End::Discarded)).collect();
        Box::pin(self.end(&device, ends).map(move |ended, _, _| ended.map(|_| count)))
    }
}

impl Handler<Forget> for Devicebound {
    type Result = ();

    fn handle(&mut self, Forget(identities): Forget, ctx: &mut Self::Context) {
        for device in identities.into_iter().filter(|id| id.module_id().is_none()) {
            let purged = Handler::handle(self, Purge { device }, ctx);
            ctx.spawn(purged.map(|_, _, _| ()));
        }
    }
}

impl Handler<CountDevicebound> for Devicebound {
    type Result = Result<BTreeMap<Identity, u64>, StoreError>;

    fn handle(&mut self, _: CountDevicebound, _: &mut Self::Context) -> Self::Result {
        if !self.is_loaded {
            return Err(StoreError::Unavailable);
        }
        let boxes = self.boxes.iter().filter(|(_, mailbox)| !mailbox.is_empty());
        Ok(boxes.map(|(device, mailbox)| (device.clone(), mailbox.len() as u64)).collect())
    }
}

impl Handler<TakeFeedback> for Devicebound {
    type Result = ResponseFuture<Result<Vec<Value>, StoreError>>;

    fn handle(&mut self, _: TakeFeedback, _: &mut Self::Context) -> Self::Result {
        let (prefix, from) = (Vec::new(), Vec::new());
        let scan = Scan { table: FEEDBACK, prefix, from, max: FEEDBACK_PAGE };
        let (read, save) = (tables::scan(&self.ports.scan, scan), self.ports.save.clone());
        Box::pin(async move {
            let page = read.await?;
            let taken = page.iter().map(|(key, _)| Change::delete(FEEDBACK, key.clone()));
            tables::save(&save, taken.collect()).await?;
            Ok(page.iter().filter_map(|(_, value)| serde_json::from_slice(value).ok()).collect())
        })
    }
}
