//! Deployments: what is replaced, laid over, made, refused.

use serde_json::json;

use super::*;

async fn apply(hub: &Hub, content: Value) -> Read {
    hub.call("POST", "/devices/gw/applyConfigurationContent", content).await
}

async fn desired(hub: &Hub, module: &str) -> Value {
    let twin = hub.get(&format!("/twins/gw/modules/{module}")).await;
    let mut desired = twin.json["properties"]["desired"].clone();
    if let Value::Object(map) = &mut desired {
        map.retain(|key, _| !key.starts_with('$'));
    }
    desired
}

#[actix::test]
async fn a_deployment_replaces_lays_over_and_makes_what_it_names() {
    let hub = Hub::new().await;
    hub.make("/devices/gw", json!({"capabilities": {"iotEdge": true}})).await;
    let first = json!({"modulesContent": {
        "$edgeAgent": {"properties.desired": {"schemaVersion": "1.1", "modules": {"m": {}}}},
        "$edgeHub": {"properties.desired": {"routes": {}}},
        "m": {"properties.desired": {"mode": "auto", "old": 1}},
    }});
    assert_eq!(apply(&hub, first).await.status, 204);
    assert_eq!(hub.get("/devices/gw/modules/m").await.json["managedBy"], json!("IotEdge"));
    let order: Vec<String> = hub.sessions.take().into_iter().map(|(to, _)| to).collect();
    let patched: Vec<&str> = order.iter().rev().take(2).map(String::as_str).collect();
    assert_eq!(patched, ["gw/$edgeAgent", "gw/$edgeHub"], "the agent last");
    let second = json!({"content": {"modulesContent": {
        "m": {"properties.desired.limits.high": 3, "properties.desired": {"mode": "off"}},
    }}});
    assert_eq!(apply(&hub, second).await.status, 204);
    assert_eq!(desired(&hub, "m").await, json!({"mode": "off", "limits": {"high": 3}}));
    let wanted = json!({"schemaVersion": "1.1", "modules": {"m": {}}});
    assert_eq!(desired(&hub, "$edgeAgent").await, wanted);
    // A layer is in place of what is at its path, and leaves the rest.
    for (value, modules) in [
        (
            json!({"env": {"A": {"value": "1"}}}),
            json!({"m": {}, "x": {"env": {"A": {"value": "1"}}}}),
        ),
        (
            json!({"env": {"B": {"value": "1"}}}),
            json!({"m": {}, "x": {"env": {"B": {"value": "1"}}}}),
        ),
        (json!(null), json!({"m": {}})),
    ] {
        let layer = json!({"modulesContent": {
            "$edgeAgent": {"properties.desired.modules.x": value},
        }});
        assert_eq!(apply(&hub, layer).await.status, 204);
        assert_eq!(desired(&hub, "$edgeAgent").await["modules"], modules);
    }
}

#[actix::test]
async fn a_deployment_that_cannot_be_understood_changes_nothing() {
    let hub = Hub::new().await;
    hub.make("/devices/gw", json!({"capabilities": {"iotEdge": true}})).await;
    for bad in [
        json!({}),
        json!({"modulesContent": {"m": {"properties.reported": {}}}}),
        json!({"modulesContent": {"m": {"properties.desired": 1}}}),
        json!({"modulesContent": {"no id": {"properties.desired": {}}}}),
        json!({"modulesContent": []}),
        json!({"modulesContent": {"m": {"properties.desired": {}}},
               "moduleContent": {"properties.desired": {}}}),
    ] {
        assert_eq!(apply(&hub, bad.clone()).await.error(), "400 ArgumentInvalid", "{bad}");
    }
    assert_eq!(hub.get("/devices/gw/modules/m").await.status, 404);
    let nobody = hub.call("POST", "/devices/x/applyConfigurationContent", json!({})).await;
    assert_eq!(nobody.status, 404);
    hub.make("/devices/plain", json!({})).await;
    let plain = async |content: Value| {
        hub.call("POST", "/devices/plain/applyConfigurationContent", content).await
    };
    let agent = json!({"modulesContent": {"$edgeAgent": {"properties.desired": {}}}});
    assert_eq!(plain(agent).await.error(), "400 ArgumentInvalid", "it is no edge device");
    let own = json!({"deviceContent": {"properties.desired": {"a": 1}, "properties.desired.b.c": 2},
                     "moduleContent": {}});
    assert_eq!(plain(own).await.status, 204);
    let desired = hub.get("/twins/plain").await.json["properties"]["desired"].clone();
    assert_eq!((&desired["a"], &desired["b"]), (&json!(1), &json!({"c": 2})));
}
