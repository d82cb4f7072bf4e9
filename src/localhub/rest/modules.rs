//! Modules of a device.

use super::{Answer, Rest, ask, devices, identity};
use crate::messages::registry::{ListIdentities, ListPresence};
use crate::protocol::http::{HttpRequest, HttpResponse};

impl Rest {
    pub(super) async fn list_modules(&self, device: &str) -> Answer {
        let list = ListIdentities::ModulesOf(identity(device, None)?);
        let entries = ask(&self.ports.list, list).await?;
        let ids = entries.iter().map(|entry| entry.id.clone()).collect();
        let about = self.about(ListPresence::Of(ids)).await?;
        Ok(HttpResponse::json(200, &devices::list(entries.iter(), &about)))
    }

    pub(super) async fn get_module(&self, device: &str, module: &str) -> Answer {
        let entry = self.find(&identity(device, Some(module))?).await?;
        let answer = HttpResponse::json(200, &self.show(&entry).await?);
        Ok(answer.with_header("ETag", &devices::quoted(&entry.etag())))
    }

    pub(super) async fn put_module(
        &self,
        request: &HttpRequest,
        device: &str,
        module: &str,
    ) -> Answer {
        self.put(request, identity(device, Some(module))?).await
    }
}
