//! Identities of modules at a real hub: one that it will not make or remove holds up no other, and
//! a death at any step of making one leaves none behind, nor takes one that others made.
//!
//! No container is needed for that: the image of the modules is nowhere.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use edge_runtime::protocol::certs::{Authority, names_of};
use edge_runtime::protocol::http::{HttpRequest, HttpResponse, Limits, handler, serve_connection};
use edge_runtime::protocol::http_client::{ClientRequest, Place, ask};
use edge_runtime::protocol::tls::{ClientAuthorities, TlsClient, TlsServer, Trust};
use serde_json::{Value, json};

use super::support::gateway::Network;
use super::support::program::own_address;
use super::support::rest::Service;
use super::support::wait_for;
use super::support::world::{EDGE, Hub, World};

const SOON: Duration = Duration::from_secs(60);

/// Calls that the hub answers with 500, as `PUT name`.
type Refused = Arc<Mutex<Vec<String>>>;

/// The hub's HTTPS, but for some calls; its address.
fn hub_that_refuses(hub: &Hub, refused: Refused) -> String {
    let socket = TcpListener::bind((own_address(), 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let authority = Authority::load_or_make(&hub.state.join("ca.pem"), "localhub CA").unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let certificate = authority.certify(&names_of(&[], &[address]), now).unwrap();
    let tls = TlsServer::new(&certificate, ClientAuthorities::read(None).unwrap()).unwrap();
    let trust = Trust::from_file(Some(&hub.state.join("ca.pem"))).unwrap();
    let trusted = TlsClient::new(&trust).unwrap();
    let place = Place::Tls(hub.address.to_string(), 8443, trusted);
    let answer = async move |place: Place, refused: Refused, request: HttpRequest| {
        let module = request.segments().get(3).cloned().unwrap_or_default();
        let call = format!("{} {module}", request.method);
        if refused.lock().unwrap().contains(&call) {
            return HttpResponse::error(500, "not this one");
        }
        let version = &request.query["api-version"];
        let target = format!("{}?api-version={version}", request.path);
        let mut asked = ClientRequest::new(&request.method, target);
        for name in ["authorization", "content-type", "if-match"] {
            if let Some(value) = request.header(name) {
                asked = asked.with_header(name, value);
            }
        }
        asked.body = request.body;
        match ask(&place, asked, Duration::from_secs(20)).await {
            Ok(answer) => HttpResponse::bytes(answer.status, "application/json", answer.body),
            Err(why) => HttpResponse::error(502, why), // at the end of the test
        }
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let serving = async move {
            socket.set_nonblocking(true).unwrap();
            let socket = tokio::net::TcpListener::from_std(socket).unwrap();
            loop {
                let Ok((stream, _)) = socket.accept().await else { continue };
                let (tls, place, refused) = (tls.clone(), place.clone(), refused.clone());
                tokio::task::spawn_local(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let handler = handler(move |it| answer(place.clone(), refused.clone(), it));
                    let _ = serve_connection(stream, handler, Limits::default()).await;
                });
            }
        };
        tokio::task::LocalSet::new().block_on(&runtime, serving);
    });
    address.to_string()
}

fn deploy(service: &Service, modules: &[&str]) {
    let module = json!({
        "type": "docker", "status": "running", "restartPolicy": "always",
        "imagePullPolicy": "never", "settings": { "image": "edge-runtime-test/nowhere:1" },
    });
    let modules: Value = modules.iter().map(|name| ((*name).to_owned(), module.clone())).collect();
    let desired = json!({ "schemaVersion": "1.1", "systemModules": {}, "modules": modules,
                          "runtime": { "type": "docker", "settings": {} } });
    let twin = json!({ "properties": { "desired": desired } });
    service.call("PUT", &format!("/twins/{EDGE}/modules/$edgeAgent"), Some(&twin));
}

fn known(service: &Service) -> Vec<String> {
    let list = service.call("GET", &format!("/devices/{EDGE}/modules"), None);
    let names = list.as_array().unwrap().iter().map(|it| it["moduleId"].as_str().unwrap());
    let mut names: Vec<_> =
        names.filter(|name| !name.starts_with('$')).map(str::to_owned).collect();
    names.sort();
    names
}

#[track_caller]
fn until_known(service: &Service, modules: &[&str]) {
    wait_for(&format!("{modules:?} at the hub"), SOON, || {
        (known(service) == modules).then_some(())
    });
}

#[test]
fn an_identity_that_the_hub_will_not_make_or_remove_holds_up_no_other() {
    let network = Network::make("identities-hub");
    let refused: Refused = Arc::default();
    *refused.lock().unwrap() = vec!["PUT bad-made".into(), "DELETE bad-removed".into()];
    let of_hub = Arc::clone(&refused);
    let world = World::start_behind(&json!({}), &[], |hub| {
        let https = hub_that_refuses(hub, of_hub);
        let of_network = network.settings().into_iter();
        let of_network = of_network.filter(|(name, _)| !name.ends_with("__LISTEN"));
        let mut settings: Vec<_> = of_network.map(|(name, it)| (name.to_owned(), it)).collect();
        settings.push(("EDGE_RUNTIME__UPSTREAM__HTTPS_ADDRESS".into(), https));
        settings
    });
    let service = world.hub.service.clone();
    deploy(&service, &["bad-made", "bad-removed", "good-1", "good-2"]);
    until_known(&service, &["bad-removed", "good-1", "good-2"]);
    world.wait_reported("$edgeAgent", "why one has no identity", |reported| {
        let why = &reported["modules"]["bad-made"]["statusDescription"];
        why.as_str().is_some_and(|why| why.contains("refused to make edge/bad-made: status 500"))
    });
    deploy(&service, &["bad-made"]);
    until_known(&service, &["bad-removed"]);
    refused.lock().unwrap().clear();
    deploy(&service, &["bad-made", "late"]);
    until_known(&service, &["bad-made", "late"]); // all of it is tried again
    deploy(&service, &[]);
    until_known(&service, &[]);
}

#[cfg(feature = "faults")]
#[test]
fn a_death_while_an_identity_is_made_leaves_none_behind_and_takes_none_of_others() {
    let network = Network::make("identities-die");
    let settings = network.settings();
    let settings = settings.iter().filter(|(name, _)| !name.ends_with("__LISTEN"));
    let settings: Vec<_> = settings.map(|(name, value)| (*name, value.as_str())).collect();
    let mut world = World::start_as(&json!({}), &[], &settings);
    let service = world.hub.service.clone();
    // Who makes one of that name while the edge is dead: nobody, others, others in place of it.
    for (n, (step, others, is_wanted)) in [
        ("identity-made", false, false),
        ("identity-made", false, true),
        ("identity-made", true, false),
        ("identity-intended", false, false),
        ("identity-intended", false, true),
        ("identity-intended", true, false),
    ]
    .into_iter()
    .enumerate()
    {
        let module = format!("m-{n}");
        assert!(world.edge.terminate().success());
        world.edge.set("EDGE_DIE_AT", step);
        world.edge.again();
        deploy(&service, &[&module]);
        wait_for(&format!("the death at {step}"), SOON, || world.edge.ended());
        let at_hub = known(&service).contains(&module);
        println!("{step}, made by others {others}, wanted then {is_wanted}: at the hub {at_hub}");
        assert_eq!(at_hub, step == "identity-made");
        let path = format!("/devices/{EDGE}/modules/{module}");
        if others {
            if at_hub {
                service.call("DELETE", &path, None);
            }
            let body = json!({ "deviceId": EDGE, "moduleId": module });
            service.call("PUT", &path, Some(&body));
        }
        let wanted = [module.as_str()];
        deploy(&service, if is_wanted { &wanted } else { &[] });
        world.edge.set("EDGE_DIE_AT", "");
        world.edge.again();
        world.edge.wait_ready();
        if is_wanted {
            until_known(&service, &[&module]);
            deploy(&service, &[]);
        }
        // The deployment is acted upon; only then it is worth while to look.
        let version = service.twin(EDGE, "$edgeAgent")["properties"]["desired"]["$version"].clone();
        world.wait_reported("$edgeAgent", "it to be seen", |reported| {
            reported["lastDesiredVersion"] == version
        });
        if others {
            std::thread::sleep(Duration::from_secs(1)); // for what must not happen
            assert_eq!(known(&service), [module]);
            service.call("DELETE", &path, None);
        } else {
            until_known(&service, &[]);
        }
    }
}
