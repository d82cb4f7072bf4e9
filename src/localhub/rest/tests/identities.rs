//! Devices, modules, edge devices and their status.

use serde_json::json;

use super::*;
use crate::domain::features::Features;
use crate::localhub::testing::id;

async fn come(hub: &Hub, who: &str, is_here: bool) {
    let features = is_here.then(Features::default);
    let changed = PresenceChanged { identity: id(who), features };
    hub.presence.ask(changed, DEADLINE).await.unwrap();
}

#[actix::test]
async fn devices_are_created_read_changed_and_deleted_by_their_etags() {
    let hub = Hub::new().await;
    let made = hub.make("/devices/d", json!({"deviceId": "d", "status": "enabled"})).await;
    assert_eq!(made["authentication"]["symmetricKey"]["primaryKey"], json!(KEY));
    for name in ["generationId", "etag", "connectionState", "lastActivityTime", "capabilities"] {
        assert!(!made[name].is_null(), "{name}");
    }
    let again = hub.call("PUT", "/devices/d", json!({})).await;
    assert_eq!(again.error(), "409 DeviceAlreadyExists");
    let etag = format!("\"{}\"", made["etag"].as_str().unwrap());
    let disabled = json!({"status": "disabled"});
    let if_match = [("if-match", etag.as_str())];
    let changed = hub.call_with("PUT", "/devices/d", disabled.clone(), &if_match).await;
    assert_eq!((changed.status, &changed.json["status"]), (200, &json!("disabled")));
    let stale = hub.call_with("PUT", "/devices/d", disabled, &if_match).await;
    assert_eq!(stale.error(), "412 PreconditionFailed");
    let counts = hub.get("/statistics/devices").await.json;
    let wanted = json!({"totalDeviceCount": 1, "enabledDeviceCount": 0, "disabledDeviceCount": 1});
    assert_eq!(counts, wanted);
    let any = [("if-match", "\"*\"")];
    assert_eq!(hub.call_with("DELETE", "/devices/d", Value::Null, &any).await.status, 204);
    assert_eq!(hub.get("/devices/d").await.error(), "404 DeviceNotFound");
}

#[actix::test]
async fn a_device_that_is_made_again_has_nothing_of_the_old_one() {
    let hub = Hub::new().await;
    hub.make("/devices/d", json!({})).await;
    hub.make("/devices/d/modules/m", json!({"managedBy": "me"})).await;
    hub.call("PATCH", "/twins/d", json!({"tags": {"old": 1}})).await;
    hub.call("POST", "/devices/d/messages/devicebound", json!("hello")).await;
    assert_eq!(hub.get("/devices/d").await.json["cloudToDeviceMessageCount"], json!(1));
    hub.call("DELETE", "/devices/d", Value::Null).await;
    hub.make("/devices/d", json!({})).await;
    assert_eq!(hub.get("/devices/d/modules").await.json, json!([]));
    assert_eq!(hub.get("/twins/d").await.json["tags"], json!({}));
    assert_eq!(hub.get("/devices/d").await.json["cloudToDeviceMessageCount"], json!(0));
}

#[actix::test]
async fn an_edge_device_has_its_modules_and_a_status_from_its_link_and_its_agent() {
    let hub = Hub::new().await;
    let made = hub.make("/devices/gw", json!({"capabilities": {"iotEdge": true}})).await;
    assert!(made["deviceScope"].as_str().unwrap().starts_with("ms-azure-iot-edge://gw-"));
    let modules = hub.get("/devices/gw/modules").await.json;
    let names: Vec<_> = modules.as_array().unwrap().iter().map(|m| m["moduleId"].clone()).collect();
    assert_eq!(names, [json!("$edgeAgent"), json!("$edgeHub")]);
    let status = async || hub.get("/devices/gw").await.json["edgeStatus"].clone();
    let never = json!({"code": 406, "lastReportTime": "0001-01-01T00:00:00Z"});
    assert_eq!(status().await, never, "it was never here");
    come(&hub, "gw/$edgeHub", true).await;
    let patch = Bytes::from_static(br#"{"lastDesiredStatus": {"code": 200}}"#);
    let report = PatchReported { identity: id("gw/$edgeAgent"), patch };
    hub.report.ask(report, DEADLINE).await.unwrap();
    let here = status().await;
    assert_eq!(here["code"], json!(200));
    come(&hub, "gw/$edgeHub", false).await;
    assert_eq!(status().await, here, "not for a minute yet");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
    let gone = status().await;
    assert_eq!((&gone["code"], &gone["lastReportTime"]), (&json!(406), &here["lastReportTime"]));
    assert!(hub.get("/devices/gw").await.json["connectionState"] == json!("Disconnected"));
}

#[actix::test]
async fn many_are_listed_with_who_is_here_and_changed_in_one_call() {
    let hub = Hub::new().await;
    let items: Vec<_> =
        (0..5).map(|n| json!({"id": format!("d{n}"), "importMode": "create"})).collect();
    let made = hub.call("POST", "/devices", json!(items)).await;
    assert_eq!((made.status, &made.json["isSuccessful"]), (200, &json!(true)));
    let more = json!([
        {"id": "d0", "importMode": "create"},
        {"id": "d1", "importMode": "update", "status": "disabled"},
        {"id": "d2", "importMode": "delete"},
        {"id": "d3", "moduleId": "m"},
    ]);
    let mixed = hub.call("POST", "/devices", more).await;
    assert_eq!(mixed.status, 400);
    let errors = mixed.json["errors"].as_array().unwrap();
    assert_eq!((errors.len(), &errors[0]["errorCode"]), (1, &json!("DeviceAlreadyExists")));
    come(&hub, "d1", true).await;
    let listed = hub.get("/devices?top=3").await.json;
    let seen: Vec<_> = listed.as_array().unwrap().iter().collect();
    let ids: Vec<_> = seen.iter().map(|d| d["deviceId"].as_str().unwrap()).collect();
    assert_eq!(ids, ["d0", "d1", "d3"]);
    let states = [&seen[0]["connectionState"], &seen[1]["connectionState"], &seen[1]["status"]];
    assert_eq!(states, [&json!("Disconnected"), &json!("Connected"), &json!("disabled")]);
    let connected = hub.get("/statistics/service").await.json;
    assert_eq!(connected, json!({"connectedDeviceCount": 1}));
    assert_eq!(hub.get("/devices/d3/modules/m").await.json["moduleId"], json!("m"));
}

#[actix::test]
async fn a_bulk_call_has_every_mode_and_changes_twins_too() {
    let hub = Hub::new().await;
    let one = async |item: Value| {
        let answer = hub.call("POST", "/devices", json!([item])).await;
        (answer.status, answer.json["errors"][0]["errorCode"].clone())
    };
    let twin = async || hub.get("/twins/d").await.json;
    let (fine, missing) = ((200, Value::Null), (400, json!("DeviceNotFound")));
    let stale = (400, json!("PreconditionFailed"));
    let made = json!({"id": "d", "importMode": "create", "tags": {"a": 1},
                      "properties": {"desired": {"x": 1}}});
    assert_eq!(one(made).await, fine);
    let first = twin().await;
    assert_eq!((&first["tags"]["a"], &first["properties"]["desired"]["x"]), (&json!(1), &json!(1)));
    let change = |mode: &str, etag: &Value| json!({"id": "d", "importMode": mode, "twinETag": etag, "eTag": etag, "tags": {"b": mode}});
    let twin_etag = &first["etag"];
    assert_eq!(one(change("updateTwinIfMatchETag", twin_etag)).await, fine);
    assert_eq!(one(change("updateTwinIfMatchETag", twin_etag)).await, stale);
    assert_eq!(one(change("updateTwin", &Value::Null)).await, fine);
    assert_eq!(twin().await["tags"], json!({"a": 1, "b": "updateTwin"}));
    let etag = hub.get("/devices/d").await.json["etag"].clone();
    let wrong = json!("wrong");
    for mode in ["updateIfMatchETag", "createOrUpdateIfMatchETag", "deleteIfMatchETag"] {
        assert_eq!(one(change(mode, &wrong)).await, stale, "{mode}");
        let no_etag = one(change(mode, &Value::Null)).await;
        assert_eq!(no_etag, (400, json!("ArgumentInvalid")), "{mode}");
    }
    assert_eq!(one(change("updateIfMatchETag", &etag)).await, fine);
    let etag = hub.get("/devices/d").await.json["etag"].clone();
    assert_eq!(one(change("deleteIfMatchETag", &etag)).await, fine);
    for mode in ["update", "updateTwin", "delete"] {
        assert_eq!(one(change(mode, &Value::Null)).await, missing, "{mode}");
    }
    assert_eq!(one(change("createOrUpdateIfMatchETag", &wrong)).await, fine, "it is not there");
    assert_eq!(one(change("magic", &Value::Null)).await, (400, json!("ArgumentInvalid")));
}

#[actix::test]
async fn etags_stand_in_the_header_too() {
    let hub = Hub::new().await;
    hub.make("/devices/d", json!({})).await;
    hub.make("/devices/d/modules/m", json!({})).await;
    for path in ["/devices/d", "/devices/d/modules/m", "/twins/d", "/twins/d/modules/m"] {
        let read = hub.get(path).await;
        let etag = format!("\"{}\"", read.json["etag"].as_str().unwrap());
        assert_eq!(read.header("ETag"), Some(etag.as_str()), "{path}");
    }
    assert_eq!(hub.get("/devices?top=many").await.error(), "400 ArgumentInvalid");
}
