//! `GET /systeminfo/supportbundle`: `edgectl support-bundle`.

use super::answers::{Answers, time};
use crate::actors::apis::bundle::Bundler;
use crate::domain::agent::methods::BundleAsked;
use crate::protocol::http::{HttpRequest, HttpResponse};

impl Answers {
    pub(super) fn support_bundle(
        &self,
        request: &HttpRequest,
    ) -> Result<HttpResponse, HttpResponse> {
        let is = |name: &str| request.query.get(name).is_some_and(|flag| flag != "false");
        let asked = BundleAsked {
            since: time(request, "since")?,
            until: time(request, "until")?,
            runtime_only: is("edge_runtime_only"),
        };
        let (about, ports) = (self.about.clone(), self.ports.clone());
        let pieces = Bundler::new(about, ports, self.logs.clone()).stream(asked);
        Ok(HttpResponse::stream(200, "application/zip", pieces))
    }
}
