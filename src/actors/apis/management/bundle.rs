//! `GET /systeminfo/supportbundle`: `edgectl support-bundle`.

use super::answers::Answers;
use crate::actors::apis::bundle::Bundler;
use crate::actors::clock;
use crate::domain::agent::methods::BundleAsked;
use crate::domain::agent::methods::since::since;
use crate::protocol::http::{HttpRequest, HttpResponse};

impl Answers {
    pub(super) fn support_bundle(
        &self,
        request: &HttpRequest,
    ) -> Result<HttpResponse, HttpResponse> {
        let time = |name: &str| match request.query.get(name) {
            None => Ok(None),
            Some(text) => since(text, clock::unix_time())
                .map(Some)
                .map_err(|why| HttpResponse::error(400, format!("{name}: {why}"))),
        };
        let is = |name: &str| request.query.get(name).is_some_and(|flag| flag != "false");
        let asked = BundleAsked {
            since: time("since")?,
            until: time("until")?,
            runtime_only: is("edge_runtime_only"),
        };
        let (about, ports) = (self.about.clone(), self.ports.clone());
        let pieces = Bundler::new(about, ports, self.logs.clone()).stream(asked);
        Ok(HttpResponse::stream(200, "application/zip", pieces))
    }
}
