//! `configure`: writes a settings file for edge-runtime, checked before it is written.

use std::io::Read;
use std::path::{Path, absolute};

use toml::{Table, Value};

use super::command::Configure;
use super::error::CtlError;
use super::output::say;
use crate::protocol::files::{make_dir, read_text, write_atomically};
use crate::settings::{EdgeSettings, Layers};

/// `configure`.
pub(super) fn configure(args: &Configure) -> Result<(), CtlError> {
    let mut args = args.clone();
    if args.connection_string.as_deref() == Some("-") {
        args.connection_string = Some(standard_input("the connection string")?);
    }
    let password = match (&args.registry, &args.password_file) {
        (Some(_), None) => Some(standard_input("the registry's password")?),
        _ => None,
    };
    let before = match read_text(&args.file) {
        Ok(text) => Some(text),
        Err(e) if e.is_not_found() => None,
        Err(e) => return Err(CtlError::new("the settings cannot be changed").because(e)),
    };
    let text = written(before.as_deref().unwrap_or_default(), &args, password)?;
    let name = args.file.display().to_string();
    let layers = Layers { files: vec![(name, text.clone())], ..Layers::default() };
    let checked = EdgeSettings::load(&layers, "localhost");
    checked.map_err(|e| CtlError::new("nothing was written").because(e))?;
    let write = || {
        if let Some(dir) = args.file.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            make_dir(dir, 0o755)?;
        }
        if let Some(before) = before.as_ref().filter(|before| **before != text) {
            write_atomically(&args.file.with_extension("toml.bak"), before.as_bytes(), 0o600)?;
        }
        write_atomically(&args.file, text.as_bytes(), 0o600)
    };
    write().map_err(|e| CtlError::new("the settings cannot be written").because(e))?;
    say(&format!("wrote {}", args.file.display()));
    if before.is_some_and(|before| before.contains('#')) {
        say("comments are not kept; the file as it was has the extension .toml.bak");
    }
    Ok(())
}

fn standard_input(what: &str) -> Result<String, CtlError> {
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    read.map_err(|e| CtlError::new(format!("cannot read {what}")).because(e))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(CtlError::usage(format!("{what} is expected on standard input"))),
        text => Ok(text.to_owned()),
    }
}

/// The file with what was asked for set in it.
fn written(before: &str, args: &Configure, password: Option<String>) -> Result<String, CtlError> {
    let bad = |e: &dyn std::fmt::Display| {
        CtlError::new("the settings file as it is cannot be read").because(e)
    };
    let mut settings: Table = before.parse().map_err(|e: toml::de::Error| bad(&e.message()))?;
    let whole = |path: &Path| absolute(path).unwrap_or(path.into()).display().to_string();
    let ca = args.trusted_ca.as_deref().map(whole);
    let pairs = [
        ("device.connection_string", args.connection_string.clone()),
        ("device.gateway_hostname", args.gateway_hostname.clone()),
        ("upstream.trusted_ca", ca),
    ];
    for (key, value) in pairs {
        let Some(value) = value else { continue };
        put(&mut settings, key, value.into())?;
        if key == "device.connection_string"
            && let Some(Value::Table(device)) = settings.get_mut("device")
        {
            device.remove("connection_string_file");
        }
    }
    for pair in &args.set {
        let wrong = || CtlError::usage(format!("`{pair}` is not of the form key=value"));
        let (key, value) = pair.split_once('=').ok_or_else(wrong)?;
        let parsed = format!("v = {value}").parse::<Table>().ok().and_then(|mut t| t.remove("v"));
        put(&mut settings, key.trim(), parsed.unwrap_or_else(|| value.into()))?;
    }
    if let Some(address) = &args.registry {
        let mut entry = Table::new();
        entry.insert("address".into(), address.clone().into());
        entry.insert("username".into(), args.username.clone().unwrap_or_default().into());
        match (&args.password_file, password) {
            (Some(path), _) => entry.insert("password_file".into(), whole(path).into()),
            (None, password) => {
                entry.insert("password".into(), password.unwrap_or_default().into())
            }
        };
        let key = "agent.registry_credentials";
        let list = settings.get("agent").and_then(|agent| agent.get("registry_credentials"));
        let mut list = list.and_then(Value::as_array).cloned().unwrap_or_default();
        list.retain(|e| e.get("address").and_then(Value::as_str) != Some(address.as_str()));
        list.push(Value::Table(entry));
        put(&mut settings, key, Value::Array(list))?;
    }
    toml::to_string(&settings).map_err(|e| bad(&e))
}

fn put(settings: &mut Table, key: &str, value: Value) -> Result<(), CtlError> {
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    let mut table = settings;
    for part in section.split('.').filter(|part| !part.is_empty()) {
        let next = table.entry(part).or_insert_with(|| Value::Table(Table::new()));
        let is_no_table = || CtlError::usage(format!("`{part}` is not a section"));
        table = next.as_table_mut().ok_or_else(is_no_table)?;
    }
    table.insert(name.into(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::command::{Command, Edgectl};
    use super::*;
    use clap::Parser;
    use std::os::unix::fs::PermissionsExt;

    const STRING: &str = "HostName=h;DeviceId=gw;SharedAccessKey=c2VjcmV0";

    fn args(file: &Path, more: &[&str]) -> Configure {
        let file = file.to_str().unwrap();
        let line = [&["edgectl", "configure", "--file", file], more].concat();
        match Edgectl::try_parse_from(line).unwrap().command {
            Command::Configure(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_named_stays_and_the_file_is_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("etc/config.toml");
        let first = ["--connection-string", STRING, "--set", "hub.listen=[\"127.0.0.1:8883\"]"];
        configure(&args(&file, &first)).unwrap();
        configure(&args(&file, &["--gateway-hostname", "gw.local", "--set", "log.level=debug"]))
            .unwrap();
        let layers = Layers::read(std::slice::from_ref(&file), Vec::new()).unwrap();
        let settings = EdgeSettings::load(&layers, "x").unwrap().settings;
        assert_eq!(settings.connection().unwrap().1.as_str(), "gw");
        assert_eq!(settings.device.gateway_hostname, "gw.local");
        assert_eq!(settings.hub.listen, ["127.0.0.1:8883".parse().unwrap()]);
        assert_eq!(settings.log.level, "debug");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_registry_is_replaced_by_its_address() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        let one = args(&file, &["--registry", "r.io", "--username", "u"]);
        let text = written("", &one, Some("hush".into())).unwrap();
        let two = args(&file, &["--registry", "r.io", "--username", "v", "--password-file", "/pw"]);
        let text = written(&text, &two, None).unwrap();
        let table: Table = text.parse().unwrap();
        let list = table["agent"]["registry_credentials"].as_array().unwrap();
        assert_eq!(list.len(), 1);
        assert_eq!(list[0]["username"].as_str(), Some("v"));
        assert_eq!(list[0]["password_file"].as_str(), Some("/pw"));
        assert!(list[0].get("password").is_none());
    }

    #[test]
    fn what_is_wrong_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        let error = configure(&args(&file, &["--set", "log.levle=debug"])).unwrap_err().to_string();
        assert!(error.contains("did you mean `log.level`?"), "{error}");
        let error = configure(&args(&file, &["--connection-string", "x"])).unwrap_err().to_string();
        assert!(error.contains("nothing was written"), "{error}");
        assert!(!file.exists());
    }
}
