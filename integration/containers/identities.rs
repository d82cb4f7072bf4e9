//! Identities at the hub come and go with modules; those of others stay.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::SOON;
use super::support::gateway::{Gateway, make_images};
use super::support::wait_for;
use super::support::world::EDGE;

fn desired(modules: &[&str]) -> Value {
    let module = json!({
        "type": "docker", "status": "running", "restartPolicy": "always",
        "imagePullPolicy": "never",
        "settings": { "image": "edge-runtime/temperature-sensor:local", "createOptions": "{}" },
    });
    let modules: Value = modules.iter().map(|name| ((*name).to_owned(), module.clone())).collect();
    json!({ "schemaVersion": "1.1", "runtime": { "type": "docker", "settings": {} },
            "systemModules": {}, "modules": modules })
}

#[test]
fn the_agent_makes_identities_of_modules_and_removes_those_that_it_made_and_no_others() {
    make_images("images");
    let mut gateway = Gateway::start("identities");
    let service = gateway.world.hub.service.clone();
    let path = |module: &str| format!("/devices/{EDGE}/modules/{module}");
    let make = |module: &str, managed_by: &str| {
        let body = json!({ "deviceId": EDGE, "moduleId": module, "managedBy": managed_by });
        service.call("PUT", &path(module), Some(&body));
    };
    // Somebody's: one that looks as if it were the agent's, one that no deployment names.
    make("theirs", "IotEdge");
    make("apart", "IotEdge");
    let deploy = |modules: &[&str]| {
        let twin = json!({ "properties": { "desired": desired(modules) } });
        let target = format!("/twins/{EDGE}/modules/$edgeAgent");
        service.call("PUT", &target, Some(&twin));
    };
    let known = || {
        let list = service.call("GET", &format!("/devices/{EDGE}/modules"), None);
        let names = list.as_array().unwrap().iter();
        let mut names: Vec<_> =
            names.map(|it| it["moduleId"].as_str().unwrap().to_owned()).collect();
        names.retain(|name| !name.starts_with('$'));
        names.sort();
        names
    };
    let runs = |gateway: &Gateway, modules: &[&str]| {
        wait_for("the modules to run", SOON, || {
            let is_up = |name: &&str| gateway.ctl.module(name)["status"] == "running";
            modules.iter().all(is_up).then_some(())
        });
    };
    deploy(&["ours", "anew", "theirs"]);
    runs(&gateway, &["ours", "anew", "theirs"]);
    assert_eq!(known(), ["anew", "apart", "ours", "theirs"]);
    let made = service.call("GET", &path("ours"), None);
    assert_eq!(made["managedBy"], "IotEdge");

    // Somebody makes one of them anew: it is not the agent's any more. Then all of them go, while
    // the runtime is not there.
    gateway.ctl.run(&["hub", "module", "delete", EDGE, "anew"]);
    make("anew", "");
    gateway.world.edge.kill();
    deploy(&[]);
    gateway.world.edge.again();
    gateway.world.edge.wait_ready();
    wait_for("the identity that it made to go", SOON, || {
        (known() == ["anew", "apart", "theirs"]).then_some(())
    });
    wait_for("the containers to go", SOON, || {
        gateway.network.containers().is_empty().then_some(())
    });
    assert_eq!(known(), ["anew", "apart", "theirs"]);
    let state = std::fs::metadata(gateway.world.folder.path().join("edge")).unwrap();
    assert_eq!(state.permissions().mode() & 0o777, 0o700, "sockets in it are root's to hand out");
    let audit = gateway.world.folder.path().join("edge/audit.log");
    let audit = std::fs::read_to_string(audit).unwrap();
    for said in ["\"identity made\"", "\"identity removed\"", "\"deployment of $edgeAgent\""] {
        assert!(audit.contains(said), "{said} in {audit}");
    }
    assert!(!audit.contains("edge/theirs"), "{audit}");
}
