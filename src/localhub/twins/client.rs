//! What devices and modules do with their twins.

use actix::prelude::*;
use bytes::Bytes;

use super::Twins;
use crate::localhub::tables;
use crate::messages::state::StoreError;
use crate::messages::twins::{GetTwin, PatchReported, TwinAnswer};

/// An answer instead of an answer.
struct Refused(TwinAnswer);

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Refused(TwinAnswer::error(503, &error.to_string()))
    }
}

impl Handler<GetTwin> for Twins {
    type Result = ResponseFuture<TwinAnswer>;

    /// Nothing is shown that may still be lost.
    fn handle(&mut self, GetTwin(identity): GetTwin, _: &mut Self::Context) -> Self::Result {
        let Some(twins) = &self.twins else {
            let error = TwinAnswer::error(503, "twins are still being read");
            return Box::pin(std::future::ready(error));
        };
        let body = twins.get(&identity).cloned().unwrap_or_default().client_json();
        let waits = (!self.patches.is_empty()).then(|| tables::save(&self.ports.save, Vec::new()));
        Box::pin(async move {
            if let Some(waits) = waits
                && waits.await.is_err()
            {
                return TwinAnswer::error(503, "the twin is not on disk yet");
            }
            TwinAnswer { status: 200, body: body.into(), version: None }
        })
    }
}

impl Handler<PatchReported> for Twins {
    type Result = ResponseActFuture<Self, TwinAnswer>;

    fn handle(&mut self, patch: PatchReported, _: &mut Self::Context) -> Self::Result {
        let PatchReported { identity, patch } = patch;
        let changed = self.change(&identity, |twin, now| {
            let reported = twin.report(&patch, now);
            let version =
                reported.map_err(|why| Refused(TwinAnswer::error(400, &why.to_string())))?;
            let version = Some(version);
            Ok((None, TwinAnswer { status: 204, body: Bytes::new(), version }))
        });
        Box::pin(changed.map(|answer, _, _| answer.unwrap_or_else(|Refused(answer)| answer)))
    }
}
