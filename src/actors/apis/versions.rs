//! `api-version` of the reference's daemon: its calls carry one, and must (spec edgeagent.md 7).

use crate::domain::agent::daemon_api::check_version;
use crate::protocol::http::{HttpRequest, HttpResponse};

/// Whether the request names a version that has the call, which came with `since`.
pub(super) fn check(request: &HttpRequest, since: &str) -> Result<(), HttpResponse> {
    let version = request.query.get("api-version").map(String::as_str);
    check_version(version, since, &request.path).map_err(|why| HttpResponse::error(400, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_must_be_there_be_known_and_have_the_call() {
        let status = |target: &str| {
            let request = HttpRequest::new("GET", target);
            check(&request, "2019-10-22").map_err(|refused| refused.status)
        };
        assert_eq!(status("/x?api-version=2019-10-22"), Ok(()));
        assert_eq!(status("/x?api-version=2022-08-03"), Ok(()));
        for target in
            ["/x", "/x?api-version=", "/x?api-version=2018-06-28", "/x?api-version=2030-01-01"]
        {
            assert_eq!(status(target), Err(400), "{target}");
        }
    }
}
