//! `api-version` of the reference's daemon: its calls carry one, and must (spec edgeagent.md 7).

use crate::protocol::http::{HttpRequest, HttpResponse};

/// Oldest first.
const KNOWN: [&str; 7] = [
    "2018-06-28",
    "2019-01-30",
    "2019-10-22",
    "2019-11-05",
    "2020-07-07",
    "2021-12-07",
    "2022-08-03",
];

/// Whether the request names a version that has the call, which came with `since`.
pub(super) fn check(request: &HttpRequest, since: &str) -> Result<(), HttpResponse> {
    let list = || KNOWN.join(", ");
    let Some(version) = request.query.get("api-version") else {
        let why = format!("api-version is missing in the query; one of: {}", list());
        return Err(HttpResponse::error(400, why));
    };
    if !KNOWN.contains(&version.as_str()) {
        let why = format!("api-version {version} is not known here; one of: {}", list());
        return Err(HttpResponse::error(400, why));
    }
    if version.as_str() < since {
        let why = format!("{} came with api-version {since}, not {version}", request.path);
        return Err(HttpResponse::error(400, why));
    }
    Ok(())
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
