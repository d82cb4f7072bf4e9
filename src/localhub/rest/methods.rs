//! Direct methods.

use super::{Answer, Rest, json};
use crate::domain::identity::Identity;
use crate::domain::method::{Call, answer};
use crate::messages::sessions::Invoke;
use crate::protocol::http::{HttpRequest, HttpResponse};

impl Rest {
    pub(super) async fn method(&self, request: &HttpRequest, target: Identity) -> Answer {
        let call = Call::from_json(&json(request)?)?;
        self.find(&target).await?;
        let deadline = call.deadline();
        let invoke = Invoke { target: target.clone(), call };
        let outcome = self.ports.invoke.ask(invoke, deadline).await;
        Ok(HttpResponse::json(200, &answer(&target, outcome.ok())?))
    }
}
