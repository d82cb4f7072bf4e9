//! Wrong settings, in files, in the environment and on the command line: status 78, and a line
//! that names the key, its place, and what would be right.

use std::path::Path;
use std::process::Output;

use crate::support::program::run;

const EDGE: &str = "edge-runtime";
const HUB: &str = "localhub";
const GOOD: &str = "HostName=127.0.0.2;DeviceId=gw;SharedAccessKey=c2VjcmV0";

/// Runs it below a state directory of the test's own: what should have been refused does no harm.
fn run_here(
    program: &'static str,
    folder: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Output {
    let (prefix, path) = match program {
        EDGE => ("EDGE_RUNTIME", "edge"),
        _ => ("LOCALHUB", "hub"),
    };
    let mut all = vec![(format!("{prefix}__STATE__PATH"), folder.join(path).display().to_string())];
    all.extend(environment.iter().map(|(name, value)| ((*name).into(), (*value).into())));
    run(program, arguments, &all)
}

#[track_caller]
fn refused(output: &Output, wanted: &[&str]) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{errors}");
    for text in wanted {
        assert!(errors.contains(text), "`{text}` is not in: {errors}");
    }
    assert!(!errors.contains("c2VjcmV0"), "a key is shown: {errors}");
}

/// With this text in a file.
#[track_caller]
fn file(program: &'static str, text: &str, wanted: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings.toml");
    std::fs::write(&path, text).unwrap();
    let output = run_here(program, folder.path(), &["--config", path.to_str().unwrap()], &[]);
    refused(&output, wanted);
    let state = folder.path().join(if program == EDGE { "edge" } else { "hub" });
    assert!(!state.exists(), "nothing is made before the settings are right");
}

#[track_caller]
fn variable(program: &'static str, variable: (&str, &str), wanted: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    refused(&run_here(program, folder.path(), &[], &[variable]), wanted);
}

#[track_caller]
fn flag(program: &'static str, text: &str, wanted: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    refused(&run_here(program, folder.path(), &["--set", text], &[]), wanted);
}

#[test]
fn an_unknown_setting_is_named_with_its_place_and_the_nearest_one() {
    let text = "[hub]\n\nlisten_plian = []\n";
    file(
        EDGE,
        text,
        &["settings.toml:3: unknown setting `hub.listen_plian`", "`hub.listen_plain`?"],
    );
    file(EDGE, "[upstraem]\naddress = 'h:1'", &["settings.toml:2: ", "`upstream.address`?"]);
    file(HUB, "hostnam = 'h'", &["settings.toml:1: unknown setting `hostnam`", "`hostname`?"]);
    let text = "[telemetry]\nretention_byte = 5";
    file(HUB, text, &["settings.toml:2: ", "did you mean `telemetry.retention_bytes`?"]);
    variable(
        EDGE,
        ("EDGE_RUNTIME__DEVICE__GATEWAY_HOST_NAME", "gw"),
        &[
            "environment variable EDGE_RUNTIME__DEVICE__GATEWAY_HOST_NAME",
            "`device.gateway_hostname`?",
        ],
    );
    variable(HUB, ("LOCALHUB__LISTN", ""), &["environment variable LOCALHUB__LISTN", "`listen`?"]);
    flag(EDGE, "log.levle=debug", &["flag --set: unknown setting `log.levle`", "`log.level`?"]);
    flag(HUB, "listen_http=[]", &["flag --set: unknown setting `listen_http`", "`listen_https`?"]);
}

#[test]
fn a_wrong_value_is_named_with_its_place_and_what_is_expected() {
    file(EDGE, "[hub]\nlisten = ['gw:8883']", &["settings.toml:2: setting `hub.listen` expects"]);
    file(EDGE, "[hub]\nlisten = [", &["settings.toml:2: not TOML: "]);
    file(EDGE, "[hub]\nlisten_plain = ['0.0.0.0:1']", &["settings.toml:2: ", "loopback"]);
    file(
        EDGE,
        "[agent]\ndocker = 'docker.sock'",
        &["settings.toml:2: setting `agent.docker`", "unix://"],
    );
    file(
        EDGE,
        "[device]\ngateway_hostname = 'my gw'",
        &["settings.toml:2: setting `device.gateway_hostname`"],
    );
    file(HUB, "[log]\nformat = 'xml'", &["settings.toml:2: setting `log.format`", "text, json"]);
    file(HUB, "hostname = 'a;b'", &["settings.toml:1: setting `hostname`"]);
    variable(
        EDGE,
        ("EDGE_RUNTIME__STORE__MAX_BYTES", "much"),
        &["environment variable EDGE_RUNTIME__STORE__MAX_BYTES: setting `store.max_bytes`", "MiB"],
    );
    flag(EDGE, "upstream.address=hub", &["flag --set: setting `upstream.address`", "host:port"]);
    flag(EDGE, "agent.network", &["flag --set: ", "`agent.network`", "KEY=VALUE"]);
}

#[test]
fn a_variable_that_is_not_text_is_refused_and_not_left_out() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    for (program, name) in [(EDGE, "EDGE_RUNTIME__STATE__PATH"), (HUB, "LOCALHUB__STATE__PATH")] {
        let mut command = std::process::Command::new(crate::support::program::binary(program));
        let path = [folder.path().as_os_str().as_bytes(), b"/\xff"].concat();
        let output = command.env(name, std::ffi::OsStr::from_bytes(&path)).output().unwrap();
        refused(&output, &[&format!("environment variable {name}"), "UTF-8"]);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone.toml");
    for program in [EDGE, HUB] {
        let output = run_here(program, folder.path(), &["--config", gone.to_str().unwrap()], &[]);
        refused(&output, &["cannot read", "gone.toml"]);
    }
    let text = "[device]\nconnection_string_file = '/nowhere/cs'";
    file(EDGE, text, &["settings.toml:2: setting `device.connection_string_file`", "/nowhere/cs"]);
    let text =
        format!("[device]\nconnection_string = '{GOOD}'\n[upstream]\ntrusted_ca = '/nowhere/ca'");
    file(EDGE, &text, &["settings.toml:4: setting `upstream.trusted_ca`", "/nowhere/ca"]);
    let text =
        format!("[device]\nconnection_string = '{GOOD}'\n[upstream]\ntrusted_ca = '/dev/null'");
    file(EDGE, &text, &["settings.toml:4: setting `upstream.trusted_ca`", "BEGIN CERTIFICATE"]);
    for wrong in ["/nowhere/ca", "/dev/null"] {
        let text = format!("[device]\nconnection_string = '{GOOD}'\n[hub]\nclient_ca = '{wrong}'");
        file(EDGE, &text, &["settings.toml:4: setting `hub.client_ca`", wrong]);
        let text = format!("client_ca = '{wrong}'");
        file(HUB, &text, &["settings.toml:1: setting `client_ca`", wrong]);
    }
    let text =
        "[[agent.registry_credentials]]\naddress='a'\nusername='u'\npassword_file='/nowhere/pw'";
    file(EDGE, text, &["settings.toml:1: setting `agent.registry_credentials`", "/nowhere/pw"]);
}

#[test]
fn a_connection_string_that_cannot_be_used_is_refused_and_not_shown() {
    let wrong = |text: &str, wanted: &[&str]| {
        let text = format!("[device]\nconnection_string = '{text}'");
        let key = ["settings.toml:2: setting `device.connection_string`"];
        file(EDGE, &text, &[&key[..], wanted].concat());
    };
    wrong("c2VjcmV0", &["Name=value"]);
    wrong("DeviceId=gw;SharedAccessKey=c2VjcmV0", &["no HostName"]);
    wrong("HostName=h;SharedAccessKey=c2VjcmV0", &["no DeviceId"]);
    wrong("HostName=h;DeviceId=g/w;SharedAccessKey=c2VjcmV0", &["DeviceId"]);
    wrong("HostName=h;DeviceId=gw;SharedAccessKey=c2VjcmV0*", &["SharedAccessKey"]);
    wrong("HostName=h;DeviceId=gw;x509=true", &["other ways to log in"]);
    wrong("HostName=h;DeviceId=gw;ModuleId=m;SharedAccessKey=c2VjcmV0", &["of a module"]);
    wrong("HostName=h;SharedAccessKeyName=o;SharedAccessKey=c2VjcmV0", &["of a service"]);
    let azure = "HostName=my-hub.azure-devices.net;DeviceId=gw;SharedAccessKey=c2VjcmV0";
    wrong(azure, &["my-hub.azure-devices.net", "multiplexed link", "localhub"]);
    variable(
        EDGE,
        ("EDGE_RUNTIME__DEVICE__CONNECTION_STRING", azure),
        &[
            "environment variable EDGE_RUNTIME__DEVICE__CONNECTION_STRING",
            "my-hub.azure-devices.net",
        ],
    );
    file(EDGE, "", &["`device.connection_string` is missing", "edgectl hub device create"]);
}
