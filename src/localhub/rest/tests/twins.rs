//! Twins, queries and direct methods.

use serde_json::json;

use super::*;

#[actix::test]
async fn a_twin_is_read_whole_patched_and_replaced() {
    let hub = Hub::new().await;
    hub.make("/devices/d", json!({})).await;
    let patch = json!({"tags": {"site": "a"}, "properties": {"desired": {"x": 1}}});
    let patched = hub.call("PATCH", "/twins/d", patch).await;
    assert_eq!(patched.status, 200);
    let twin = patched.json;
    assert_eq!((&twin["tags"], &twin["deviceId"]), (&json!({"site": "a"}), &json!("d")));
    assert_eq!(twin["properties"]["desired"]["$version"], json!(2));
    for name in ["etag", "deviceEtag", "version", "status", "connectionState", "capabilities"] {
        assert!(!twin[name].is_null(), "{name}");
    }
    assert_eq!(hub.sessions.take().len(), 1, "the device gets the patch");
    let etag = twin["etag"].as_str().unwrap();
    let headers = [("if-match", etag)];
    let tags = json!({"tags": {"site": null, "b": 2}});
    let next = hub.call_with("PATCH", "/twins/d", tags.clone(), &headers).await;
    assert_eq!(next.json["tags"], json!({"b": 2}));
    let stale = hub.call_with("PATCH", "/twins/d", tags, &headers).await;
    assert_eq!(stale.error(), "412 PreconditionFailed");
    let put = json!({"tags": {"only": 1}, "properties": {"desired": {"y": 2}}});
    let replaced = hub.call("PUT", "/twins/d", put).await.json;
    assert_eq!(replaced["tags"], json!({"only": 1}));
    let desired = &replaced["properties"]["desired"];
    assert!(desired["x"].is_null() && desired["y"] == json!(2));
    let missing = hub.get("/twins/d/modules/m").await;
    assert_eq!(missing.error(), "404 ModuleNotFound");
    let bad = hub.call("PATCH", "/twins/d", json!({"properties": {"desired": {"a b": 1}}})).await;
    assert_eq!(bad.error(), "400 ArgumentInvalid");
}

#[actix::test]
async fn queries_page_through_twins() {
    let hub = Hub::new().await;
    for n in 0..5 {
        hub.make(&format!("/devices/d{n}"), json!({})).await;
        hub.make(&format!("/devices/d{n}/modules/m"), json!({})).await;
    }
    hub.call("PATCH", "/twins/d3", json!({"tags": {"site": "x"}})).await;
    let query = async |text: &str, headers: &[(&str, &str)]| {
        hub.call_with("POST", "/devices/query", json!({ "query": text }), headers).await
    };
    let (mut seen, mut next) = (Vec::new(), Some(String::new()));
    while let Some(from) = next {
        let headers = [("x-ms-max-item-count", "2"), ("x-ms-continuation", from.as_str())];
        let page = query("SELECT * FROM devices", &headers).await;
        assert_eq!(page.header("x-ms-item-type"), Some("Twin"));
        let ids = page.json.as_array().unwrap().iter().map(|twin| twin["deviceId"].clone());
        seen.extend(ids);
        next = page.header("x-ms-continuation").map(str::to_owned);
        if seen.len() == 2 {
            // What was seen goes, and something comes before it: the next page is not moved.
            hub.call("DELETE", "/devices/d0", Value::Null).await;
            hub.make("/devices/a", json!({})).await;
        }
    }
    assert_eq!(seen, ["d0", "d1", "d2", "d3", "d4"].map(Value::from));
    let all = "SELECT TOP 3 deviceId AS id FROM devices";
    let two = query(all, &[("x-ms-max-item-count", "2")]).await;
    assert_eq!(two.header("x-ms-item-type"), Some("raw"));
    let next = two.header("x-ms-continuation").unwrap();
    let one = query(all, &[("x-ms-max-item-count", "2"), ("x-ms-continuation", next)]).await;
    assert_eq!(two.json, json!([{"id": "a"}, {"id": "d1"}]));
    assert_eq!((&one.json, one.header("x-ms-continuation")), (&json!([{"id": "d2"}]), None));
    let counted = query("SELECT COUNT() AS all FROM devices WHERE deviceId != 'a'", &[]).await;
    assert_eq!((&counted.json, counted.header("x-ms-continuation")), (&json!([{"all": 4}]), None));
    for header in [("x-ms-continuation", "0"), ("x-ms-max-item-count", "0")] {
        assert_eq!(query(all, &[header]).await.error(), "400 ArgumentInvalid", "{header:?}");
    }
    let found = query("SELECT * FROM devices WHERE tags.site = 'x'", &[]).await.json;
    assert_eq!(found.as_array().map(Vec::len), Some(1));
    let modules = query("select * from devices.modules where deviceId = 'd1'", &[]).await.json;
    assert_eq!(modules[0]["moduleId"], json!("m"));
    assert_eq!(query("SELECT x", &[]).await.error(), "400 ArgumentInvalid");
}

#[actix::test]
async fn methods_are_called_with_time_outs_as_numbers_or_text_and_end_in_a_status() {
    let hub = Hub::new().await;
    hub.make("/devices/d", json!({})).await;
    let call = async |body: Value| hub.call("POST", "/twins/d/methods", body).await;
    let failed = async || {
        let answer = call(json!({"methodName": "m"})).await;
        let nested: Value = serde_json::from_str(answer.json["Message"].as_str().unwrap()).unwrap();
        (answer.status, nested["errorCode"].as_u64().unwrap())
    };
    assert_eq!(failed().await, (404, 404_103));
    hub.methods.0.borrow_mut().0 = Outcome::TimedOut;
    assert_eq!(failed().await, (504, 504_101));
    hub.methods.0.borrow_mut().0 = Outcome::Answered(207, Bytes::from_static(b"{\"a\":1}"));
    hub.methods.0.borrow_mut().1.clear();
    let texts = json!({
        "methodName": "do It", "payload": "", "responseTimeoutInSeconds": "7",
        "connectTimeoutInSeconds": 2,
    });
    let answered = call(texts).await;
    assert_eq!(
        (answered.status, answered.json),
        (200, json!({"status": 207, "payload": {"a": 1}}))
    );
    call(json!({"methodName": "m"})).await;
    let calls = hub.methods.0.borrow().1.clone();
    let (response, connect) = (Duration::from_secs(7), Duration::from_secs(2));
    assert_eq!((&*calls[0].name, &calls[0].payload[..]), ("do It", &b"\"\""[..]));
    assert_eq!((calls[0].response_timeout, calls[0].connect_timeout), (response, connect));
    assert_eq!(&calls[1].payload[..], b"null");
    for bad in [json!({}), json!({"methodName": "m", "responseTimeoutInSeconds": 301})] {
        assert_eq!(call(bad).await.error(), "400 ArgumentInvalid");
    }
    let nobody = hub.call("POST", "/twins/x/methods", json!({"methodName": "m"})).await;
    assert_eq!(nobody.error(), "404 DeviceNotFound");
}
