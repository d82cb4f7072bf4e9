//! `createOptions`: JSON for the engine, as a text cut into pieces, or as an object.
//!
//! It is kept as JSON from end to end: a typed model would lose what it does not know.
//! next: `body.rs`, which merges it with what the runtime adds.

use serde_json::Value;

use super::fields::{Invalid, Object, invalid, kind, take_field};
use super::redact;

/// Characters of one piece.
pub const PIECE: usize = 512;
/// Most pieces: `createOptions`, then `createOptions01` to `createOptions99`.
pub const PIECES: usize = 100;

const NAME: &str = "createoptions";

/// Reads the pieces out of a module's `settings`.
pub fn parse(settings: &Object, place: &str) -> Result<Object, Invalid> {
    let mut pieces = Vec::new();
    for (key, value) in settings {
        let lower = key.to_ascii_lowercase();
        let Some(number) = lower.strip_prefix(NAME) else { continue };
        if !number.bytes().all(|b| b.is_ascii_digit()) || number.len() > 2 {
            continue; // another property
        }
        pieces.push((number.to_owned(), value));
    }
    pieces.sort_by(|a, b| a.0.cmp(&b.0));
    let place = format!("{place}.createOptions");
    for (at, (number, _)) in pieces.iter().enumerate() {
        let expected = if at == 0 { String::new() } else { format!("{at:02}") };
        if *number != expected {
            let what = format!(
                "pieces must be numbered without a gap: createOptions{expected} is \
                                missing before createOptions{number}"
            );
            return Err(invalid(place, what));
        }
    }
    let value = match pieces.as_slice() {
        [] => Value::Null,
        [(_, value)] if !value.is_string() => (*value).clone(),
        pieces => {
            let texts = pieces.iter().map(|(_, value)| value.as_str().ok_or(*value));
            let text: String = texts.collect::<Result<_, _>>().map_err(|value| {
                invalid(&place, format!("pieces must be texts, one is {}", kind(value)))
            })?;
            match text.trim() {
                "" => Value::Null,
                text => serde_json::from_str(text).map_err(|error| {
                    invalid(&place, format!("is not JSON: {}", without_content(&error)))
                })?,
            }
        }
    };
    let options = match value {
        Value::Null => Object::new(),
        Value::Object(options) => options,
        other => {
            return Err(invalid(place, format!("must hold a JSON object, is {}", kind(&other))));
        }
    };
    check(&options, &place)?;
    Ok(options)
}

/// Cuts `options` into pieces, with the names they have in `settings`.
pub fn pieces(options: &Object) -> Vec<(String, String)> {
    let text = Value::Object(options.clone()).to_string();
    let chars: Vec<char> = text.chars().collect();
    let name = |at: usize| match at {
        0 => "createOptions".to_owned(),
        at => format!("createOptions{at:02}"),
    };
    let pieces = chars.chunks(PIECE).take(PIECES).enumerate();
    pieces.map(|(at, piece)| (name(at), piece.iter().collect())).collect()
}

/// A copy without the values of `Env`, which may be secrets, and without what is named as one or
/// looks like one.
pub fn without_secrets(options: &Object) -> Object {
    let mut options = options.clone();
    options.values_mut().for_each(redact::inspect);
    for name in ["Cmd", "Entrypoint"] {
        if let Some(Value::Array(mut words)) = take_field(&mut options, name) {
            redact::arguments(&mut words);
            options.insert(name.into(), Value::Array(words));
        }
    }
    if let Some(Value::Array(env)) = take_field(&mut options, "Env") {
        let names = env.iter().filter_map(Value::as_str).map(|entry| {
            let (name, _) = entry.split_once('=').unwrap_or((entry, ""));
            Value::String(format!("{name}=***"))
        });
        options.insert("Env".into(), names.collect());
    }
    options
}

/// Shapes that the engine would refuse, or that could not be merged.
fn check(options: &Object, place: &str) -> Result<(), Invalid> {
    use super::fields::some_field;
    if let Some(env) = some_field(options, "Env")
        && !env.as_array().is_some_and(|env| env.iter().all(Value::is_string))
    {
        return Err(invalid(format!("{place}.Env"), "must be a list of texts"));
    }
    for name in ["HostConfig", "Labels", "NetworkingConfig"] {
        if let Some(value) = some_field(options, name)
            && !value.is_object()
        {
            let what = format!("must be an object, is {}", kind(value));
            return Err(invalid(format!("{place}.{name}"), what));
        }
    }
    let host = some_field(options, "HostConfig").and_then(Value::as_object);
    for name in ["Binds", "ExtraHosts", "Mounts"] {
        if let Some(value) = host.and_then(|host| some_field(host, name))
            && !value.is_array()
        {
            let what = format!("must be a list, is {}", kind(value));
            return Err(invalid(format!("{place}.HostConfig.{name}"), what));
        }
    }
    Ok(())
}

/// serde's message tells place and kind; it quotes no more than a word of the text.
fn without_content(error: &serde_json::Error) -> String {
    let category = if error.is_eof() { "ends too early" } else { "has a syntax error" };
    format!("{category} at line {} column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse_settings(settings: Value) -> Result<Object, Invalid> {
        parse(settings.as_object().unwrap(), "settings")
    }

    #[test]
    fn text_object_and_nothing_are_read() {
        for settings in [
            json!({}),
            json!({"createOptions": null}),
            json!({"createOptions": " "}),
            json!({"createOptions": "null"}),
            json!({"createOptions": "{}"}),
            json!({"CREATEOPTIONS": {}}),
        ] {
            assert_eq!(parse_settings(settings.clone()).unwrap(), Object::new(), "{settings}");
        }
        let options = parse_settings(json!({"createOptions": r#"{"Future":{"x":[1]}}"#})).unwrap();
        assert_eq!(Value::Object(options), json!({"Future": {"x": [1]}}));
    }

    #[test]
    fn pieces_are_joined_in_the_order_of_their_numbers() {
        let text = json!({"Env": ["A=".to_owned() + &"x".repeat(1200)]}).to_string();
        let pieces: Vec<(String, String)> = pieces(serde_json::from_str(&text).as_ref().unwrap());
        let names: Vec<&str> = pieces.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["createOptions", "createOptions01", "createOptions02"]);
        let settings: Object =
            pieces.into_iter().rev().map(|(name, piece)| (name, Value::String(piece))).collect();
        assert_eq!(Value::Object(parse(&settings, "s").unwrap()).to_string(), text);
    }

    #[test]
    fn wrong_pieces_and_shapes_are_named() {
        for (settings, place) in [
            (json!({"createOptions": "{", "createOptions02": "}"}), "settings.createOptions"),
            (json!({"createOptions00": "{}"}), "settings.createOptions"),
            (json!({"createOptions01": "{}"}), "settings.createOptions"),
            (json!({"createOptions": "{\"a\":"}), "settings.createOptions"),
            (json!({"createOptions": "[]"}), "settings.createOptions"),
            (json!({"createOptions": {"env": "boo"}}), "settings.createOptions.Env"),
            (json!({"createOptions": {"HostConfig": 1}}), "settings.createOptions.HostConfig"),
            (
                json!({"createOptions": {"hostconfig": {"binds": "x"}}}),
                "settings.createOptions.HostConfig.Binds",
            ),
        ] {
            assert_eq!(parse_settings(settings.clone()).unwrap_err().place, place, "{settings}");
        }
    }

    #[test]
    fn secrets_in_the_environment_are_left_out_of_what_is_shown() {
        let options = json!({"env": ["PASSWORD=s3cret", "B"], "Image": "x"});
        let shown = Value::Object(without_secrets(options.as_object().unwrap())).to_string();
        assert!(!shown.contains("s3cret") && shown.contains("PASSWORD=***"), "{shown}");
    }
}
