//! Takes secrets out of what is shown to others: what the engine says of a container, and text.
//! What a module is given as a secret is known ([`Known`]); the rest is told by how it looks.

use std::sync::LazyLock;

use regex_lite::Regex;
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
pub fn arguments(words: &mut [Value]) {
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

/// How a secret looks, what stands in its place, and one of which it has in it, in lower case:
/// most text has none, and is not looked at closer.
type Looks = (Regex, &'static str, &'static [&'static str]);

/// `scheme://user:password@`; `NAME=value` and `"name": "value"` whose name is that of a secret;
/// headers that log in.
static LOOKS: LazyLock<[Looks; 4]> = LazyLock::new(|| {
    const NAMES: &[&str] = &["pass", "pwd", "secret", "token", "credential", "key", "connection"];
    let words = "password|passwd|pwd|secret|token|credential|access_?key|api_?key|private_?key\
                 |connection_?string";
    let regex = |text: &str| Regex::new(text).expect("it is an expression");
    let address = r#"\b([A-Za-z][A-Za-z0-9+.-]*://)[^\s/"'<>`]*@"#;
    let pair = format!(r#"(?i)\b([\w.-]*(?:{words})[\w.-]*=)[^\s;&"'`<>,]+"#);
    let member = format!(r#"(?i)(\\?["'][\w.-]*(?:{words})[\w.-]*\\?["']\s*:\s*\\?["'])[^"'\\]+"#);
    let header = r#"(?i)\b((?:authorization|x-registry-auth)["']?\s*[:=]\s*["']?)[^"',;]+"#;
    [
        (regex(address), "${1}***@", &["@"]),
        (regex(&pair), "${1}***", NAMES),
        (regex(&member), "${1}***", NAMES),
        (regex(header), "${1}***", &["authorization", "registry-auth"]),
    ]
});

/// Text without what looks like a secret in it. Once more it changes nothing.
pub fn text(text: &str) -> String {
    let mut shown = without_marked(text);
    let lower = shown.to_ascii_lowercase();
    for (looks, instead, signs) in LOOKS.iter() {
        if signs.iter().any(|sign| lower.contains(sign)) {
            shown = looks.replace_all(&shown, *instead).into_owned();
        }
    }
    shown
}

/// Shorter values of variables are no secrets, unless their name says so.
const SHORT: usize = 8;
/// Shorter ones stand everywhere.
const SHORTEST: usize = 3;

/// What a module is given as a secret: an engine that refuses it may quote that.
#[derive(Debug, Default)]
pub struct Known(Vec<String>);

impl Known {
    /// Out of what the engine is asked to create, and of a log-in's password.
    pub fn of(body: &Value, password: Option<&str>) -> Self {
        let mut known = Known::default();
        known.walk(body);
        password.into_iter().for_each(|it| known.add(it, SHORTEST));
        known.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        known
    }

    fn add(&mut self, secret: &str, shortest: usize) {
        if secret.chars().count() < shortest {
            return;
        }
        self.0.push(secret.to_owned());
        let quoted = Value::from(secret).to_string(); // as it stands in JSON
        if quoted.len() > secret.len() + 2 {
            self.0.push(quoted[1..quoted.len() - 1].to_owned());
        }
    }

    fn walk(&mut self, value: &Value) {
        let members = match value {
            Value::Object(members) => members,
            Value::Array(elements) => return elements.iter().for_each(|it| self.walk(it)),
            _ => return,
        };
        for (name, member) in members {
            let words = || member.as_array().into_iter().flatten().filter_map(Value::as_str);
            match (name.to_ascii_lowercase().as_str(), member) {
                ("env", _) => words().for_each(|variable| self.variable(variable)),
                ("cmd" | "args" | "entrypoint", _) => {
                    let mut is_next = false;
                    for word in words() {
                        match word.split_once('=') {
                            _ if is_next => self.add(word, SHORTEST),
                            Some((name, value)) if is_secret(name) => self.add(value, SHORTEST),
                            _ => {}
                        }
                        is_next = word.starts_with('-') && !word.contains('=') && is_secret(word);
                    }
                }
                (name, Value::String(secret)) if is_secret(name) => self.add(secret, SHORTEST),
                _ => self.walk(member),
            }
        }
    }

    fn variable(&mut self, variable: &str) {
        if let Some((name, value)) = variable.split_once('=')
            && !PLAIN.contains(&name)
        {
            self.add(value, if is_secret(name) { SHORTEST } else { SHORT });
        }
    }

    /// Text without them, and without what looks like a secret.
    pub fn hide(&self, given: &str) -> String {
        let mut shown = given.to_owned();
        for secret in &self.0 {
            if shown.contains(secret.as_str()) {
                shown = shown.replace(secret.as_str(), HIDDEN);
            }
        }
        text(&shown)
    }
}

fn without_marked(text: &str) -> String {
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
    fn what_is_named_as_a_secret_or_stands_in_an_address_is_taken_out_of_text() {
        for (given, shown) in [
            ("Get \"https://bob:s1@r.io/v2/\": denied", "Get \"https://***@r.io/v2/\": denied"),
            ("https://u:p@ss@r.io/a@b", "https://***@r.io/a@b"),
            ("env DB_PASSWORD=s1 and A=b", "env DB_PASSWORD=*** and A=b"),
            ("{\"password\":\"s1\",\"a\":\"b\"}", "{\"password\":\"***\",\"a\":\"b\"}"),
            ("{\\\"identityToken\\\": \\\"s1\\\"}", "{\\\"identityToken\\\": \\\"***\\\"}"),
            ("Authorization: Basic czE6czE=", "Authorization: ***"),
            ("no basic auth credentials", "no basic auth credentials"),
            ("unauthorized: authentication required", "unauthorized: authentication required"),
            ("token is expired: ask again", "token is expired: ask again"),
            ("mail a@b about https://r.io/x", "mail a@b about https://r.io/x"),
        ] {
            assert_eq!(text(given), shown);
            assert_eq!(text(shown), shown, "once more");
        }
    }

    #[test]
    fn what_a_module_is_given_as_a_secret_is_known_wherever_it_is_quoted() {
        let body = json!({
            "Env": ["DB=mongodb and s1s1s1", "KEY_TOKEN=s2", "PIN_SECRET=s33", "MODE=fast",
                    "Q=say \"s4s4s4\"", "IOTEDGE_MODULEID=temperature"],
            "Cmd": ["run", "--password", "s55", "--api-key=s66"],
            "Labels": { "access-token": "s77", "plain": "labelled" },
        });
        let known = Known::of(&body, Some("s88"));
        let said = "invalid DB=mongodb and s1s1s1, s33, fast, say \\\"s4s4s4\\\", say \"s4s4s4\", s55 \
                    s66 s77 s88 temperature labelled";
        let shown = known.hide(said);
        assert_eq!(
            shown,
            "invalid DB=***, ***, fast, ***, ***, *** *** *** *** temperature labelled"
        );
        assert_eq!(Known::default().hide("as it is"), "as it is");
    }

    #[test]
    fn keys_and_signatures_are_taken_out_of_text_and_the_rest_stays() {
        assert_eq!(text("nothing here"), "nothing here");
        assert_eq!(text("a sharedaccesskey=x y ?SIG=z"), "a sharedaccesskey=*** y ?SIG=***");
        assert_eq!(text("é&sig=é\"ü design=a"), "é&sig=***\"ü design=a");
    }
}
