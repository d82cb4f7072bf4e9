//! Direct methods of `$edgeAgent`: what is asked, by name and payload (spec edgeagent.md 6).
//!
//! next: `actors/apis/methods/`, which carries them out

pub mod line;
pub mod logs;
pub mod sas_url;
pub mod since;
pub mod tasks;
pub mod written;

use std::time::Duration;

use serde_json::Value;

use self::logs::LogsAsked;
use self::sas_url::SasUrl;
use self::since::since;
use crate::domain::agent::fields::{Object, some_field};

/// Most bytes of an answer's payload: the hub takes 128 KiB, with what it adds.
pub const LARGEST_ANSWER: usize = 127_000;

/// What is asked.
#[derive(Clone, Debug)]
pub enum Asked {
    /// Whether the agent is there.
    Ping,
    /// What modules wrote, in the answer.
    GetModuleLogs(LogsAsked),
    /// The same, to a container of blobs.
    UploadModuleLogs(LogsAsked, SasUrl),
    /// How a task stands, by its correlation id.
    GetTaskStatus(String),
    /// A module is restarted.
    RestartModule(String),
    /// A support bundle, to a container of blobs.
    UploadSupportBundle(BundleAsked, SasUrl),
}

/// What is to be in a support bundle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BundleAsked {
    /// Logs from then on (Unix time).
    pub since: Option<Duration>,
    /// … until then.
    pub until: Option<Duration>,
    /// No other modules' logs than those of the runtime.
    pub runtime_only: bool,
}

/// A method that is not carried out: its status, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// 400, or 500 as the reference has it.
    pub status: i32,
    /// For the body.
    pub message: String,
}

impl Refused {
    /// What is asked is wrong.
    pub fn bad(message: impl Into<String>) -> Self {
        Refused { status: 400, message: message.into() }
    }

    /// It cannot be done.
    pub fn failed(message: impl Into<String>) -> Self {
        Refused { status: 500, message: message.into() }
    }
}

const METHODS: [&str; 6] = [
    "ping",
    "GetModuleLogs",
    "UploadModuleLogs",
    "GetTaskStatus",
    "RestartModule",
    "UploadSupportBundle",
];

impl Asked {
    /// By its name, in any case, and the payload; `now` is for times that count back.
    pub fn parse(name: &str, payload: &[u8], now: Duration) -> Result<Self, Refused> {
        let Some(method) = METHODS.into_iter().find(|it| it.eq_ignore_ascii_case(name)) else {
            let why = format!("there is no method `{name}`; there are: {}", METHODS.join(", "));
            return Err(Refused::bad(why));
        };
        if method == "ping" {
            return Ok(Asked::Ping);
        }
        let payload: Value = serde_json::from_slice(payload)
            .map_err(|e| Refused::bad(format!("the payload is not JSON: {e}")))?;
        // Some clients send JSON as a text.
        let payload = match payload {
            Value::String(text) => serde_json::from_str(&text)
                .map_err(|e| Refused::bad(format!("the payload is a text that is no JSON: {e}")))?,
            other => other,
        };
        let Value::Object(payload) = payload else {
            return Err(Refused::bad(format!("the payload of {method} is a JSON object")));
        };
        match method {
            "UploadSupportBundle" => Ok(Asked::UploadSupportBundle(
                BundleAsked {
                    since: time(&payload, "since", now)?,
                    until: time(&payload, "until", now)?,
                    runtime_only: flag(&payload, "edgeRuntimeOnly")?,
                },
                sas_url(&payload)?,
            )),
            _ => {
                check_schema(&payload)?;
                Ok(match method {
                    "GetModuleLogs" => Asked::GetModuleLogs(LogsAsked::parse(&payload, now)?),
                    "UploadModuleLogs" => {
                        let url = sas_url(&payload)?;
                        Asked::UploadModuleLogs(LogsAsked::parse(&payload, now)?, url)
                    }
                    "GetTaskStatus" => Asked::GetTaskStatus(text(&payload, "correlationId")?),
                    _ => Asked::RestartModule(text(&payload, "id")?),
                })
            }
        }
    }
}

/// Its major is 1. Blank is a bad request; another version is 500, as in the reference.
fn check_schema(payload: &Object) -> Result<(), Refused> {
    let version = text(payload, "schemaVersion")?;
    let mut parts = version.trim().split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next(), parts.all(|part| part.is_ok())) {
        (Some(Ok(1)), Some(Ok(_)), true) => Ok(()),
        _ => Err(Refused::failed(format!("schemaVersion is {version}; 1.0 is served here"))),
    }
}

/// Not blank.
fn text(payload: &Object, name: &str) -> Result<String, Refused> {
    match some_field(payload, name) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.clone()),
        Some(Value::String(_)) => Err(Refused::bad(format!("{name} is blank"))),
        Some(_) => Err(Refused::bad(format!("{name} is not a text"))),
        None => Err(Refused::bad(format!("{name} is missing"))),
    }
}

fn flag(payload: &Object, name: &str) -> Result<bool, Refused> {
    match some_field(payload, name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => Err(Refused::bad(format!("{name} is true or false"))),
    }
}

fn time(payload: &Object, name: &str, now: Duration) -> Result<Option<Duration>, Refused> {
    let text = match some_field(payload, name) {
        None => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    since(&text, now).map(Some).map_err(|why| Refused::bad(format!("{name}: {why}")))
}

fn sas_url(payload: &Object) -> Result<SasUrl, Refused> {
    SasUrl::parse(&text(payload, "sasUrl")?).map_err(|why| Refused::bad(format!("sasUrl: {why}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_700_000_000);

    fn refused(name: &str, payload: &Value) -> (i32, String) {
        let refused = Asked::parse(name, payload.to_string().as_bytes(), NOW).unwrap_err();
        (refused.status, refused.message)
    }

    #[test]
    fn methods_are_known_in_any_case_and_others_are_named_as_unknown() {
        for payload in ["null", "{}", "7", ""] {
            assert!(matches!(Asked::parse("PING", payload.as_bytes(), NOW), Ok(Asked::Ping)));
        }
        for name in ["", "reboot"] {
            let (status, message) = refused(name, &json!({}));
            assert!(status == 400 && message.contains("GetModuleLogs"), "{message}");
        }
        let asked = json!({ "SchemaVersion": "1.2", "ID": "mod1" });
        let asked = Asked::parse("restartmodule", asked.to_string().as_bytes(), NOW);
        assert!(matches!(asked, Ok(Asked::RestartModule(id)) if id == "mod1"));
        let as_text = json!(json!({ "schemaVersion": "1.0", "correlationId": "c" }).to_string());
        let asked = Asked::parse("GetTaskStatus", as_text.to_string().as_bytes(), NOW);
        assert!(matches!(asked, Ok(Asked::GetTaskStatus(id)) if id == "c"));
    }

    #[test]
    fn what_is_wrong_with_a_payload_is_named() {
        let with = |version: Value| json!({ "schemaVersion": version, "id": "m" });
        for (version, status) in [
            (json!("2.0"), 500),
            (json!("0.0"), 500),
            (json!("abc"), 500),
            (json!("1"), 500),
            (json!("1.x"), 500),
            (json!(""), 400),
            (json!("  "), 400),
            (json!(1), 400),
            (json!(null), 400),
        ] {
            assert_eq!(refused("RestartModule", &with(version.clone())).0, status, "{version}");
        }
        let (status, message) = refused("RestartModule", &json!({ "schemaVersion": "1.0" }));
        assert_eq!((status, message.as_str()), (400, "id is missing"));
        assert_eq!(refused("RestartModule", &json!([])).0, 400);
        let asked = json!({ "schemaVersion": "1.0", "correlationId": "" });
        assert_eq!(refused("GetTaskStatus", &asked), (400, "correlationId is blank".into()));
        let asked = json!({ "schemaVersion": "1.0", "items": [{ "id": "all" }] });
        assert_eq!(refused("UploadModuleLogs", &asked), (400, "sasUrl is missing".into()));
        let asked = json!({ "sasUrl": "https://a/b?sig=secret", "since": "soon" });
        let (status, message) = refused("UploadSupportBundle", &asked);
        assert!(status == 400 && message.starts_with("since: `soon`"), "{message}");
        let asked = json!({ "sasUrl": "ftp://a/b?sig=secret" });
        let (_, message) = refused("UploadSupportBundle", &asked);
        assert!(message.starts_with("sasUrl: ") && !message.contains("secret"), "{message}");
    }

    #[test]
    fn a_support_bundle_needs_no_schema_version() {
        let asked =
            json!({ "sasUrl": "https://a/b?sig=s", "since": "1 day", "edgeRuntimeOnly": true });
        let asked = Asked::parse("UploadSupportBundle", asked.to_string().as_bytes(), NOW).unwrap();
        let Asked::UploadSupportBundle(bundle, url) = &asked else { panic!("{asked:?}") };
        let since = Some(NOW - Duration::from_secs(86_400));
        assert_eq!(*bundle, BundleAsked { since, until: None, runtime_only: true });
        assert_eq!(url.to_string(), "https://a/b");
        assert!(!format!("{asked:?}").contains("sig=s"));
    }
}
