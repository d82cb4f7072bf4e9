//! Faults on request, in test builds only.

use super::telemetry::number;
use super::{Answer, DEADLINE, Rest};
use crate::domain::identity::Identity;
use crate::domain::service_error::ServiceError;
use crate::messages::supervision::PanicAt;
use crate::messages::telemetry::RefuseTelemetry;
use crate::protocol::http::{HttpRequest, HttpResponse};

impl Rest {
    /// `POST /faults/refuse?id=d[/m]&status=429`; without a status it is taken.
    pub(super) async fn refuse_telemetry(&self, request: &HttpRequest) -> Answer {
        let id = request.query.get("id").map(String::as_str).unwrap_or_default();
        let sender = Identity::parse(id).map_err(|bad| ServiceError::bad(bad.to_string()))?;
        let status = number(request, "status")?.and_then(|status| u16::try_from(status).ok());
        let refuse = RefuseTelemetry { sender, status };
        let told = self.ports.refuse_telemetry.ask(refuse, DEADLINE).await;
        told.map_err(|_| ServiceError::new(503, "ServiceUnavailable", "the log is starting"))?;
        Ok(HttpResponse::empty(204))
    }

    /// `POST /faults/panic?path=localhub/hub/state`: that actor panics.
    pub(super) async fn panic(&self, request: &HttpRequest) -> Answer {
        let path = request.query.get("path").cloned().unwrap_or_default();
        let below = path.strip_prefix("localhub/").unwrap_or(&path).split('/');
        let told = self.ports.panic.ask(PanicAt(below.map(str::to_owned).collect()), DEADLINE);
        match told.await {
            Ok(true) => Ok(HttpResponse::empty(204)),
            Ok(false) => {
                let why = format!("there is no actor {path}");
                Err(ServiceError::new(404, "ResourceNotFound", why))
            }
            Err(_) => Err(ServiceError::new(503, "ServiceUnavailable", "no tree to be asked")),
        }
    }
}
