//! Tokens are good for what they were made for, and nothing else.

use edge_runtime::protocol::http_client::{ClientRequest, Place};
use edge_runtime::protocol::tls::{TlsClient, Trust};
use serde_json::json;

use crate::house::{At, FOR_GOOD, House, KEY, OTHER_KEY, sas};
use crate::support::rest::{ask_now, token};
use crate::support::world::EDGE;

#[test]
fn a_token_of_one_is_of_no_use_to_another() {
    let house = House::start();
    house.put("leaf", &sas(KEY, OTHER_KEY));
    house.put("other", &sas(KEY, KEY)); // the same key, so that only the resource differs
    house.put("Leaf", &sas(OTHER_KEY, OTHER_KEY));
    let module = json!({ "authentication": sas(KEY, KEY) });
    for module_path in ["/devices/leaf/modules/m", "/devices/leaf/modules/n"] {
        house.hub.service.call("PUT", module_path, Some(&module));
    }
    let odd = "leaf%2Fmodules%2Fm"; // an id, with a percent sign in it
    house.put(odd, &sas(KEY, KEY));
    for at in [At::Hub, At::Gateway] {
        let log_in = |id: &str, resource: &str| house.token(at, id, resource, KEY).map(drop);
        for (id, resource) in [
            ("leaf", "devices/leaf"),
            ("leaf/m", "devices/leaf/modules/m"),
            ("leaf/m", "devices/leaf"),
            (odd, "devices/leaf%2Fmodules%2Fm"),
        ] {
            assert_eq!(log_in(id, resource), Ok(()), "{at:?}: {id} with {resource}");
        }
        for (id, resource) in [
            ("leaf", "devices/other"),
            ("leaf", "devices/leaf/modules/m"),
            ("leaf/m", "devices/leaf/modules/n"),
            ("leaf/m", "devices/other"),
            ("leaf/m", "devices/leaf%2Fmodules%2Fm"),
            (odd, "devices/leaf/modules/m"),
            ("Leaf", "devices/leaf"), // by its name it would, by its key it does not
            ("leaf", "devices"),
            ("leaf", ""),
            ("leaf", "devices/leaf/"),
            ("leaf", "devices/leaf/messages/events"),
            ("leaf", "../devices/leaf"),
        ] {
            assert_eq!(log_in(id, resource), Err(FOR_GOOD.into()), "{at:?}: {id} with {resource}");
        }
        // A module's, or an edge's, on behalf of somebody else.
        let name = house.hub_name();
        let password = token(&format!("{name}/devices/other"), KEY, None);
        for more in [
            "&auth-chain=leaf;other",
            &format!("&auth-chain=leaf;{EDGE}"),
            "&DeviceId=other",
            "&model-id=other%2F",
            "&link=1",
        ] {
            let user = format!("{name}/leaf/?api-version=2021-04-12{more}");
            let log_in = house.open(at, &[]).log_in_as(&user, "leaf", &password).map(drop);
            assert_eq!(log_in, Err(FOR_GOOD.into()), "{at:?}: {user}");
        }
        let own = token(&format!("{name}/devices/leaf"), KEY, None);
        for (user, id) in [
            (format!("{name}/other/?api-version=2021-04-12"), "leaf"),
            (format!("{name}/leaf/?api-version=2021-04-12"), "other"),
            (format!("{name}/leaf/?api-version=2021-04-12"), "LEAF"),
            (format!("{name}/%6Ceaf/?api-version=2021-04-12"), "leaf"),
            (format!("{name}/leaf/?api-version=2021-04-12"), "%6Ceaf"),
            (format!("{name}/leaf/?api-version=2021-04-12"), "leaf/"),
            (format!("{name}//leaf/?api-version=2021-04-12"), "leaf"),
            (format!("{name}/leaf/\n?api-version=2021-04-12"), "leaf\n"),
            (format!("{name}/{}/?api-version=2021-04-12", "l".repeat(60_000)), "leaf"),
        ] {
            let log_in = house.open(at, &[]).log_in_as(&user, id, &own).map(drop);
            assert_eq!(log_in, Err(FOR_GOOD.into()), "{at:?}: {id} as {user:.80}");
        }
        let user = format!("anything/leaf/?api-version=2021-04-12&auth-chain=leaf;{EDGE}");
        let log_in = house.open(at, &[]).log_in_as(&user, "leaf", &own).map(drop);
        assert_eq!(log_in, Ok(()), "{at:?}: by its own token it is who it is");
    }
}

#[test]
fn tokens_of_the_policy_open_the_service_and_no_device_and_the_other_way_about() {
    let house = House::start();
    house.put("leaf", &sas(KEY, KEY));
    let file = house.hub.state.join("iothubowner.connection-string");
    let owner = std::fs::read_to_string(file).unwrap();
    let policy_key = owner.trim().rsplit_once("SharedAccessKey=").unwrap().1;
    let name = house.hub_name();
    for at in [At::Hub, At::Gateway] {
        for resource in ["", "devices/leaf"] {
            let resource = format!("{name}/{resource}");
            let resource = resource.trim_end_matches('/');
            for policy in [None, Some("iothubowner"), Some("device")] {
                let password = token(resource, policy_key, policy);
                let log_in = house.open(at, &[]).log_in(&name, "leaf", &password).map(drop);
                assert_eq!(log_in, Err(FOR_GOOD.into()), "{at:?}: {resource} {policy:?}");
            }
        }
    }
    let trust = Trust::from_file(Some(&house.hub.state.join("ca.pem"))).unwrap();
    let place = Place::Tls(name.clone(), 8443, TlsClient::new(&trust).unwrap());
    let status = |token: String, target: &str| {
        let request = ClientRequest::new("GET", target).with_header("Authorization", token);
        ask_now(&place, request).unwrap().status
    };
    assert_eq!(status(token(&name, policy_key, Some("iothubowner")), "/devices"), 200);
    for (resource, key, policy) in [
        ("devices/leaf", KEY, None),
        ("devices/leaf", KEY, Some("iothubowner")),
        ("", KEY, Some("iothubowner")),
        ("", KEY, None),
        ("devices/leaf", policy_key, None),
        ("devices/leaf", policy_key, Some("iothubowner")), // of a part of it
        ("devices/leaf/modules/m", KEY, Some("iothubowner")),
    ] {
        let resource = format!("{name}/{resource}");
        let token = token(resource.trim_end_matches('/'), key, policy);
        for target in ["/devices", "/twins/leaf", "/telemetry"] {
            assert_eq!(status(token.clone(), target), 401, "{target}: {resource} {policy:?}");
        }
    }
}
