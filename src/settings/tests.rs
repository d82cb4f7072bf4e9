//! Layers, mistakes and their places, and that the documented defaults are the built-in ones.

use super::schema::{EDGE, LOCALHUB};
use super::*;
use crate::domain::budget::FullPolicy;

const STRING: &str = "HostName=127.0.0.2;DeviceId=gw;SharedAccessKey=c2VjcmV0";

fn file(text: &str) -> Layers {
    Layers { files: vec![("edge.toml".into(), text.into())], ..Layers::default() }
}

fn load(layers: &Layers) -> Result<Loaded<EdgeSettings>, SettingsError> {
    EdgeSettings::load(layers, "box")
}

#[track_caller]
fn refuses(text: &str, expected: &str) {
    let error = load(&file(text)).unwrap_err().to_string();
    assert_eq!(error, expected);
}

#[test]
fn the_built_in_defaults_are_those_of_the_interface() {
    let s = load(&Layers::default()).unwrap().settings;
    assert_eq!(s.state.path.to_str(), Some("/var/lib/edge-runtime"));
    assert_eq!(s.device.gateway_hostname, "box");
    assert!(s.device.connection.is_none());
    assert_eq!(s.hub.listen, ["0.0.0.0:8883".parse().unwrap()]);
    assert_eq!(s.hub.listen_https, ["0.0.0.0:443".parse().unwrap()]);
    assert!(s.hub.listen_plain.is_empty() && s.store.allowed_roots.is_empty());
    let parking = (s.hub.parking_bytes, s.hub.parking_bytes_per_client);
    assert_eq!(parking, (Size(16 << 20), Size(1 << 20)));
    assert_eq!((s.hub.priority_share_percent, s.hub.live_share_percent), (0, 0));
    let upstream = (s.upstream.address, s.upstream.https_address, s.upstream.trusted_ca);
    assert_eq!(upstream, (None, None, None));
    assert_eq!(s.upstream.dialect, "multiplexed");
    assert_eq!(s.store.queue.to_str(), Some("/var/lib/edge-runtime/queue"));
    assert_eq!((s.store.max_bytes, s.store.reserve_bytes), (None, Size(16 << 20)));
    assert_eq!(s.store.trace_ended, 1_000);
    assert_eq!(s.store.full_policy, FullPolicy::RejectNew);
    assert_eq!(s.agent.docker, "unix:///var/run/docker.sock");
    assert_eq!(s.agent.network, "edge-runtime");
    assert_eq!((s.agent.registry_credentials, s.agent.workload_development_socket), (vec![], None));
    assert_eq!(s.management.socket.to_str(), Some("/var/lib/edge-runtime/mgmt.sock"));
    assert_eq!(s.metrics.listen, Some("127.0.0.1:9600".parse().unwrap()));
    assert_eq!((s.log.level.as_str(), s.log.format), ("info", LogFormat::Text));
    let hub = LocalhubSettings::load(&Layers::default()).unwrap().settings;
    assert_eq!(hub.hostname, "127.0.0.2");
    assert_eq!(hub.state.path.to_str(), Some("/var/lib/localhub"));
    assert_eq!(hub.listen, ["127.0.0.2:8883".parse().unwrap()]);
    assert_eq!(hub.listen_https, ["127.0.0.2:443".parse().unwrap()]);
    assert!(hub.telemetry.retention_bytes.is_none() && hub.telemetry.retention_age.is_none());
}

/// The files are the defaults; so what is to be shown is that they leave nothing out.
#[test]
fn the_documented_files_name_every_key_in_its_section() {
    for schema in [&EDGE, &LOCALHUB] {
        let mut section = "";
        let mut documented = Vec::new();
        for line in schema.defaults.lines() {
            let bare = line.trim_start_matches("# ");
            if let Some(name) = bare.strip_prefix('[').and_then(|b| b.split(']').next()) {
                section = name.trim_start_matches('[');
                documented.push(section.to_owned());
            } else if let Some((name, _)) = bare.split_once(" = ") {
                let dot = if section.is_empty() { "" } else { "." };
                documented.push(format!("{section}{dot}{name}"));
            }
        }
        for (key, _) in schema.keys {
            assert!(documented.iter().any(|name| name == key), "{key} is not documented");
        }
    }
}

#[test]
fn later_layers_win_and_each_value_says_where_it_came_from() {
    let mut layers = file("[hub]\nlisten = ['127.0.0.1:1']\n[log]\nlevel = 'debug'\n");
    layers.files.push(("more.toml".into(), "\n[hub]\nlisten = ['127.0.0.1:2']".into()));
    layers
        .environment
        .push(("EDGE_RUNTIME__HUB__LISTEN_PLAIN".into(), "127.0.0.1:3, [::1]:3".into()));
    layers.environment.push(("EDGE_RUNTIME_OTHER".into(), "of somebody else".into()));
    layers.environment.push(("EDGE_RUNTIME__STORE__MAX_BYTES".into(), "5 MiB".into()));
    layers.flags.push("log.level=trace".into());
    let loaded = load(&layers).unwrap();
    assert_eq!(loaded.settings.hub.listen, ["127.0.0.1:2".parse().unwrap()]);
    assert_eq!(loaded.settings.hub.listen_plain.len(), 2);
    assert_eq!(loaded.settings.store.max_bytes, Some(Size(5 << 20)));
    assert_eq!(loaded.settings.log.level, "trace");
    let origin = |key| loaded.effective.iter().find(|e| e.key == key).unwrap().to_string();
    assert_eq!(origin("hub.listen"), "hub.listen = [\"127.0.0.1:2\"]  # more.toml:3");
    assert_eq!(
        origin("hub.listen_plain"),
        "hub.listen_plain = [\"127.0.0.1:3\", \"[::1]:3\"]  # environment variable \
         EDGE_RUNTIME__HUB__LISTEN_PLAIN"
    );
    assert_eq!(origin("log.level"), "log.level = \"trace\"  # flag --set");
    assert_eq!(origin("log.format"), "log.format = \"text\"  # default");
    assert_eq!(origin("upstream.address"), "# upstream.address is not set");
    assert_eq!(loaded.effective.len(), EDGE.keys.len());
}

#[test]
fn unknown_keys_are_named_with_file_line_and_the_nearest_known_key() {
    refuses(
        "[hub]\n\nlisten_plian = []",
        "edge.toml:3: unknown setting `hub.listen_plian`; did you mean `hub.listen_plain`?",
    );
    refuses(
        "[hubb]\nlisten = []",
        "edge.toml:2: unknown setting `hubb.listen`; did you mean `hub.listen`?",
    );
    refuses(
        "[[agent.registry_credentials]]\naddress='a'\nuser='u'",
        "edge.toml:3: unknown setting `agent.registry_credentials.user`; did you mean \
         `agent.registry_credentials.username`?",
    );
    refuses("qqqqq = 1", "edge.toml:1: unknown setting `qqqqq`");
    let mut layers = Layers::default();
    layers.environment.push(("EDGE_RUNTIME__LOG__LEVLE".into(), "info".into()));
    let error = load(&layers).unwrap_err().to_string();
    assert_eq!(
        error,
        "environment variable EDGE_RUNTIME__LOG__LEVLE: unknown setting `log.levle`; did you mean \
         `log.level`?"
    );
}

#[test]
fn values_of_the_wrong_type_are_named_with_what_is_expected() {
    refuses(
        "[hub]\nlisten = 'x'",
        "edge.toml:2: setting `hub.listen` expects a list of addresses as [\"0.0.0.0:8883\"], not \
         a text",
    );
    refuses(
        "[hub]\nlisten = ['localhost']",
        "edge.toml:2: setting `hub.listen` expects a list of addresses as [\"0.0.0.0:8883\"], not \
         `localhost` in it",
    );
    refuses(
        "[state]\npath = 5",
        "edge.toml:2: setting `state.path` expects a path in quotes, not a number",
    );
    refuses("state = 5", "edge.toml:1: setting `state` is a section, written [state], not integer");
    refuses(
        "[store]\nfull_policy = 'never'",
        "edge.toml:2: setting `store.full_policy` expects one of reject-new, drop-oldest, \
         drop-lowest-priority, not `never`",
    );
    refuses(
        "[upstream]\naddress = 'hub'",
        "edge.toml:2: setting `upstream.address` expects \"host:port\", not `hub`",
    );
    refuses(
        "[log]\nlevel = 'loud'",
        "edge.toml:2: setting `log.level` expects a level (error, warn, info, debug, trace), not \
         `loud`",
    );
    let error = load(&file("[log]\nlevel = 'in")).unwrap_err().to_string();
    assert!(error.starts_with("edge.toml:2: not TOML: "), "{error}");
}

#[test]
fn plain_listeners_are_for_loopback_only() {
    let error = load(&file("[hub]\nlisten_plain = ['0.0.0.0:1883']")).unwrap_err().to_string();
    let expected = "edge.toml:2: setting `hub.listen_plain` may hold loopback addresses only, not";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn hosts_that_speak_no_link_are_refused_with_the_reason() {
    let text = "[device]\nconnection_string = 'HostName=my.Azure-Devices.net;DeviceId=d;\
                SharedAccessKey=c2VjcmV0'";
    let error = load(&file(text)).unwrap_err().to_string();
    assert!(
        error.starts_with("edge.toml:2: setting `device.connection_string` names my."),
        "{error}"
    );
    assert!(error.contains("does not speak the multiplexed link"), "{error}");
}

#[test]
fn a_connection_string_may_come_from_a_file_and_is_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cs");
    std::fs::write(&path, format!("{STRING}\n")).unwrap();
    let text = format!("[device]\nconnection_string_file = '{}'", path.display());
    let settings = load(&file(&text)).unwrap().settings;
    assert_eq!(settings.connection().unwrap().1.as_str(), "gw");
    let text = format!("[device]\nconnection_string = '{STRING}'");
    let loaded = load(&file(&text)).unwrap();
    assert_eq!(
        loaded.effective[0].value.as_deref(),
        Some("\"HostName=127.0.0.2;DeviceId=gw;SharedAccessKey=***\"")
    );
    let shown = format!("{loaded:?}");
    assert!(!shown.contains("c2VjcmV0"), "{shown}");
    let both = format!("{text}\nconnection_string_file = '/x'");
    let error = load(&file(&both)).unwrap_err().to_string();
    assert!(error.contains("are both set"), "{error}");
    let error = load(&file("[device]\nconnection_string = 'hello'")).unwrap_err().to_string();
    assert_eq!(
        error,
        "edge.toml:2: setting `device.connection_string` cannot be used: part 1 of the connection \
         string is not of the form Name=value"
    );
    let none = load(&Layers::default()).unwrap().settings.connection().unwrap_err().to_string();
    assert!(none.contains("`device.connection_string` is missing"), "{none}");
}

#[test]
fn registry_passwords_come_in_either_way_and_are_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pw");
    std::fs::write(&path, "hush2\n").unwrap();
    let text = format!(
        "[[agent.registry_credentials]]\naddress='a'\nusername='u'\npassword='hush1'\n\
         [[agent.registry_credentials]]\naddress='b'\nusername='u'\npassword_file='{}'",
        path.display()
    );
    let loaded = load(&file(&text)).unwrap();
    let passwords = loaded.settings.agent.registry_credentials.iter();
    assert_eq!(passwords.map(|c| c.password.reveal()).collect::<Vec<_>>(), ["hush1", "hush2"]);
    assert!(!format!("{loaded:?}").contains("hush"));
    refuses(
        "[[agent.registry_credentials]]\naddress='a'\nusername='u'",
        "edge.toml:1: setting `agent.registry_credentials` needs password or password_file, one of \
         them, for a",
    );
    refuses(
        "[[agent.registry_credentials]]\naddress='a'",
        "edge.toml:1: setting `agent.registry_credentials` has an entry without `username`",
    );
}

#[test]
fn the_local_hub_has_its_own_prefix_and_units() {
    let mut layers = Layers::default();
    layers.environment.push(("LOCALHUB__TELEMETRY__RETENTION_AGE".into(), "2 h".into()));
    layers.environment.push(("LOCALHUB__HOSTNAME".into(), "hub.local".into()));
    let settings = LocalhubSettings::load(&layers).unwrap().settings;
    assert_eq!(settings.hostname, "hub.local");
    let age = settings.telemetry.retention_age.unwrap().0;
    assert_eq!(age, std::time::Duration::from_secs(7200));
}

#[test]
fn paths_are_made_absolute_and_what_is_risky_is_warned_of() {
    let text = "[state]\npath = 'run'\n[agent]\nworkload_development_socket = 'dev.sock'";
    let loaded = load(&file(text)).unwrap();
    let s = &loaded.settings;
    for path in [&s.state.path, &s.store.queue, &s.management.socket] {
        assert!(path.is_absolute(), "{}", path.display());
    }
    assert!(s.store.queue.ends_with("run/queue"));
    let [warning] = s.warnings().try_into().unwrap();
    assert!(warning.contains("workload_development_socket") && warning.contains("/dev.sock"));
    assert!(loaded.report().contains("state.path = \"run\"  # edge.toml:2\n"));
}

#[test]
fn parking_that_no_packet_fits_into_is_refused() {
    refuses(
        "[hub]\nparking_bytes = 1000\n",
        "edge.toml:2: setting `hub.parking_bytes` expects at least 1048576 bytes, not 1000",
    );
}

#[test]
fn live_messages_have_at_most_ninety_of_a_hundred() {
    let loaded = load(&file("[hub]\nlive_share_percent = 90\n")).unwrap();
    assert_eq!(loaded.settings.hub.live_share_percent, 90);
    refuses(
        "[hub]\nlive_share_percent = 91\n",
        "edge.toml:2: setting `hub.live_share_percent` expects a whole number from 0 to 90, not \
         another one",
    );
}

#[test]
fn a_share_of_more_than_there_is_for_eleven_priorities_is_refused() {
    let loaded = load(&file("[hub]\npriority_share_percent = 9\n")).unwrap();
    assert_eq!(loaded.settings.hub.priority_share_percent, 9);
    refuses(
        "[hub]\npriority_share_percent = 10\n",
        "edge.toml:2: setting `hub.priority_share_percent` expects a whole number from 0 to 9, not \
         another one",
    );
}
