//! The calls of the reference's daemon that are served: since which `api-version`, and to whom.
//! next: `actors/apis/management/daemon.rs`, `actors/apis/workload/answers.rs`.

/// Versions that are known, oldest first.
pub const VERSIONS: [&str; 7] = [
    "2018-06-28",
    "2019-01-30",
    "2019-10-22",
    "2019-11-05",
    "2020-07-07",
    "2021-12-07",
    "2022-08-03",
];

/// Whom a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who<'a> {
    /// Whoever reaches the socket.
    Anyone,
    /// The reference's agent. Here that is this process, which calls nobody: it is refused to all.
    Agent,
    /// This module, on its own socket.
    Module(&'a str),
    /// A path that is known, by a method that it has not.
    Nobody,
}

/// A call: the version that it came with, and whom it is for.
pub type Call<'a> = (&'static str, Who<'a>);

const FIRST: &str = VERSIONS[0];

/// On the management socket. Calls that are ours, too, are the reference's when they carry a version.
pub fn management<'a>(method: &str, path: &[&'a str], is_versioned: bool) -> Option<Call<'a>> {
    Some(match (method, path) {
        ("GET", ["modules"] | ["modules", _, "logs"]) if is_versioned => (FIRST, Who::Anyone),
        ("POST", ["modules", _, "restart"]) if is_versioned => (FIRST, Who::Anyone),
        ("GET", ["modules", _]) => (FIRST, Who::Anyone),
        ("POST", ["modules", _, "start" | "stop"]) => (FIRST, Who::Anyone),
        ("GET", ["identities"] | ["systeminfo"]) => (FIRST, Who::Anyone),
        ("GET", ["systeminfo", "resources"]) => ("2019-11-05", Who::Anyone),
        ("GET", ["systeminfo", "supportbundle"]) if is_versioned => ("2020-07-07", Who::Anyone),
        ("POST", ["modules", _, "prepareupdate"]) => ("2019-01-30", Who::Agent),
        ("POST", ["device", "reprovision"]) => ("2019-10-22", Who::Agent),
        ("POST", ["modules"] | ["identities"]) => (FIRST, Who::Agent),
        ("PUT" | "DELETE", ["modules" | "identities", _]) => (FIRST, Who::Agent),
        (_, path) if is_versioned && is_known(path) => (FIRST, Who::Nobody),
        _ => return None,
    })
}

fn is_known(path: &[&str]) -> bool {
    matches!(
        path,
        ["modules" | "identities" | "systeminfo"]
            | ["modules" | "identities", _]
            | ["modules", _, "start" | "stop" | "restart" | "logs" | "prepareupdate"]
            | ["systeminfo", "resources" | "supportbundle"]
            | ["device", "reprovision"]
    )
}

/// On a workload socket.
pub fn workload<'a>(method: &str, path: &[&'a str]) -> Option<Call<'a>> {
    Some(match (method, path) {
        ("GET", ["modules"] | ["trust-bundle"]) => (FIRST, Who::Anyone),
        ("GET", ["manifest-trust-bundle"]) => ("2020-07-07", Who::Anyone),
        ("POST", ["modules", module, "genid", _, "sign" | "encrypt" | "decrypt"]) => {
            (FIRST, Who::Module(module))
        }
        ("POST", ["modules", module, "genid", _, "certificate", "server"]) => {
            (FIRST, Who::Module(module))
        }
        ("POST", ["modules", module, "certificate", "identity"]) => {
            ("2019-01-30", Who::Module(module))
        }
        (_, ["modules" | "trust-bundle" | "manifest-trust-bundle"])
        | (_, ["modules", _, "genid", _, "sign" | "encrypt" | "decrypt"])
        | (_, ["modules", _, "genid", _, "certificate", "server"])
        | (_, ["modules", _, "certificate", "identity"]) => (FIRST, Who::Nobody),
        _ => return None,
    })
}

/// Whether a call that came with `since` is had by this version; if not, why.
pub fn check_version(version: Option<&str>, since: &str, path: &str) -> Result<(), String> {
    let list = || VERSIONS.join(", ");
    match version {
        None => Err(format!("api-version is missing in the query; one of: {}", list())),
        Some(version) if !VERSIONS.contains(&version) => {
            Err(format!("api-version {version} is not known here; one of: {}", list()))
        }
        Some(version) if version < since => {
            Err(format!("{path} came with api-version {since}, not {version}"))
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_must_be_there_be_known_and_have_the_call() {
        let check = |version| check_version(version, "2019-10-22", "/x").is_ok();
        assert!(check(Some("2019-10-22")) && check(Some("2022-08-03")));
        for version in [None, Some(""), Some("2018-06-28"), Some("2030-01-01")] {
            assert!(!check(version), "{version:?}");
        }
    }

    #[test]
    fn what_changes_modules_and_identities_is_for_no_caller() {
        let who = |method, path: &[&'static str]| management(method, path, true).map(|it| it.1);
        assert_eq!(who("GET", &["modules", "m"]), Some(Who::Anyone));
        for (method, path) in [
            ("POST", &["modules"][..]),
            ("PUT", &["modules", "m"]),
            ("DELETE", &["identities", "m"]),
            ("POST", &["device", "reprovision"]),
        ] {
            assert_eq!(who(method, path), Some(Who::Agent), "{method} {path:?}");
        }
        assert_eq!(who("GET", &["x"]), None);
        assert_eq!(who("DELETE", &["modules"]), Some(Who::Nobody));
        assert_eq!(management("GET", &["modules"], false), None, "that is ours");
        let sign = workload("POST", &["modules", "m", "genid", "1", "sign"]);
        assert_eq!(sign.map(|it| it.1), Some(Who::Module("m")));
    }
}
