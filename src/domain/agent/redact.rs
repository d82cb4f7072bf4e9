//! Takes secrets out of what is shown to others: what the engine says of a container, and text.

use serde_json::Value;

/// In place of a secret.
pub const HIDDEN: &str = "***";

/// Variables that say who and where a module is.
const PLAIN: [&str; 8] = [
    "IOTEDGE_WORKLOADURI",
    "IOTEDGE_AUTHSCHEME",
    "IOTEDGE_APIVERSION",
    "IOTEDGE_IOTHUBHOSTNAME",
    "IOTEDGE_DEVICEID",
    "IOTEDGE_MODULEID",
    "IOTEDGE_MODULEGENERATIONID",
    "IOTEDGE_GATEWAYHOSTNAME",
];
/// A name with one of these in it names a secret.
const WORDS: [&str; 10] = [
    "password",
    "passwd",
    "pwd",
    "secret",
    "token",
    "credential",
    "accesskey",
    "apikey",
    "privatekey",
    "connectionstring",
];
/// A secret follows, up to a blank, `;`, `&`, or a quotation mark.
const MARKS: [&str; 6] = ["SharedAccessKey=", "AccountKey=", "?sig=", "&sig=", "Password=", "Pwd="];

/// What is in an `inspect`, without the values of its environment, and without what is named as a
/// secret or looks like one.
pub fn inspect(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), &mut *member) {
                    ("Env", Value::Array(variables)) => variables.iter_mut().for_each(variable),
                    ("Cmd" | "Args" | "Entrypoint", Value::Array(words)) => arguments(words),
                    (name, Value::String(text)) if is_secret(name) => *text = HIDDEN.into(),
                    _ => inspect(member),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(inspect),
        Value::String(shown) => *shown = text(shown),
        _ => {}
    }
}

fn variable(variable: &mut Value) {
    let Some((name, _)) = variable.as_str().and_then(|it| it.split_once('=')) else { return };
    if !PLAIN.contains(&name) {
        *variable = format!("{name}={HIDDEN}").into();
    }
}

/// `--password x`, `--password=x`, and what looks like a secret anywhere.
fn arguments(words: &mut [Value]) {
    let mut is_next_secret = false;
    for word in words {
        let Some(given) = word.as_str().map(str::to_owned) else { continue };
        let shown = match given.split_once('=') {
            _ if is_next_secret => HIDDEN.to_owned(),
            Some((name, _)) if is_secret(name) => format!("{name}={HIDDEN}"),
            _ => text(&given),
        };
        is_next_secret = given.starts_with('-') && !given.contains('=') && is_secret(&given);
        *word = shown.into();
    }
}

fn is_secret(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let plain = plain.to_ascii_lowercase();
    WORDS.iter().any(|word| plain.contains(word))
}

/// Text without the keys and signatures in it.
pub fn text(text: &str) -> String {
    let mut rest = text;
    let mut shown = String::with_capacity(text.len());
    loop {
        let found = MARKS.iter().filter_map(|mark| {
            let at = find(rest, mark)?;
            Some((at, at + mark.len()))
        });
        let Some((_, end)) = found.min() else {
            shown.push_str(rest);
            return shown;
        };
        shown.push_str(&rest[..end]);
        shown.push_str(HIDDEN);
        let is_end = |c: char| c.is_whitespace() || ";&\"'`<>,".contains(c);
        rest = &rest[end..];
        rest = rest.find(is_end).map_or("", |at| &rest[at..]);
    }
}

/// In any case.
fn find(text: &str, mark: &str) -> Option<usize> {
    let (text, mark) = (text.as_bytes(), mark.as_bytes());
    text.windows(mark.len()).position(|part| part.eq_ignore_ascii_case(mark))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_engine_says_is_shown_without_secrets() {
        let mut said = json!({
            "Id": "1",
            "Args": ["--password", "s1", "--mode=fast", "--api-key=s2", "-v"],
            "Config": {
                "Env": ["DB=s3", "IOTEDGE_MODULEID=m", "X=SharedAccessKey=s4", "FLAG"],
                "Cmd": ["run", "HostName=h;SharedAccessKey=s5=;x=1"],
                "Labels": { "registry-token": "s6", "a": "https://b/c?sv=1&sig=s7%3D&x=2" },
            },
        });
        inspect(&mut said);
        let text = said.to_string();
        for n in 1..=7 {
            assert!(!text.contains(&format!("s{n}")), "s{n} in {text}");
        }
        assert_eq!(said["Config"]["Env"], json!(["DB=***", "IOTEDGE_MODULEID=m", "X=***", "FLAG"]));
        assert_eq!(
            said["Args"],
            json!(["--password", "***", "--mode=fast", "--api-key=***", "-v"])
        );
        assert_eq!(said["Config"]["Cmd"][1], "HostName=h;SharedAccessKey=***;x=1");
        assert_eq!(said["Config"]["Labels"]["a"], "https://b/c?sv=1&sig=***&x=2");
        assert_eq!(said["Id"], "1");
    }

    #[test]
    fn keys_and_signatures_are_taken_out_of_text_and_the_rest_stays() {
        assert_eq!(text("nothing here"), "nothing here");
        assert_eq!(text("a sharedaccesskey=x y ?SIG=z"), "a sharedaccesskey=*** y ?SIG=***");
        assert_eq!(text("é&sig=é\"ü design=a"), "é&sig=***\"ü design=a");
    }
}
