//! `GET /modules/{m}/environment`: what a program on this machine needs to be that module, in a
//! debugger for one.

use serde_json::json;

use super::answers::{Answers, SOON, away};
use crate::actors::apis::logs::is_ours;
use crate::domain::workload::{SOCKET, directory};
use crate::messages::identities::Lookup;
use crate::protocol::http::HttpResponse;

impl Answers {
    /// As its container has it, but for the socket's path.
    pub(super) async fn environment(&self, name: &str) -> Result<HttpResponse, HttpResponse> {
        if is_ours(name) {
            let message = format!("{name} is the service itself: nothing else can be it");
            return Err(HttpResponse::error(409, message));
        }
        let module = self.module(name).await?;
        let identity = self.about.device.sibling(&module.name);
        let identity = identity.map_err(|e| HttpResponse::error(400, e))?;
        let lookup = Lookup { identity: identity.clone(), ask_parent: true };
        let found = self.ports.lookup.ask(lookup, SOON).await;
        let found = found.map_err(|e| away("identities", e))?;
        let record = found.map_err(|why| HttpResponse::error(503, why))?.ok_or_else(|| {
            let message = format!("{identity} is not known here: is the link up? `edgectl status`");
            HttpResponse::error(404, message)
        })?;
        let socket = directory(&self.about.state, &module.name).join(SOCKET);
        let variables = json!({
            "IOTEDGE_WORKLOADURI": format!("unix://{}", socket.display()),
            "IOTEDGE_AUTHSCHEME": "sasToken",
            "IOTEDGE_APIVERSION": "2021-12-07",
            "IOTEDGE_IOTHUBHOSTNAME": self.about.hub,
            "IOTEDGE_DEVICEID": self.about.device.device_id(),
            "IOTEDGE_MODULEID": module.name,
            "IOTEDGE_MODULEGENERATIONID": record.generation,
            "IOTEDGE_GATEWAYHOSTNAME": self.about.gateway_hostname,
        });
        let answer = json!({ "environment": variables, "status": module.status });
        Ok(HttpResponse::json(200, &answer))
    }
}
