//! Who may do what, and what is not there.

use serde_json::json;

use super::*;

fn request(method: &str, target: &str, token: Option<&str>) -> HttpRequest {
    let mut request = HttpRequest::new(method, target);
    if let Some(token) = token {
        request.headers.push(("authorization".into(), Bytes::from(token.to_owned())));
    }
    request.body = Bytes::from_static(b"{}");
    request
}

#[actix::test]
async fn only_the_policys_key_opens_the_hub() {
    let hub = Hub::new().await;
    let token = |resource, key, expiry, name| sas::make(resource, key, expiry, name).unwrap();
    let owner = Some("iothubowner");
    let far = u64::MAX;
    let good = [
        token(HOST, KEY, far, owner),
        token("hub.local:443", KEY, far, owner),
        token("HUB.local/devices", KEY, far, owner),
    ];
    for good in good {
        assert_eq!(hub.send(request("GET", "/devices", Some(&good))).await.status, 200, "{good}");
    }
    let bad = [
        token(HOST, "bm8gbm8gbm8gbm8gbm8=", far, owner),
        token("other.hub", KEY, far, owner),
        token(HOST, KEY, 1000, owner),
        token(HOST, KEY, far, Some("device")),
        "Basic x".to_owned(),
    ];
    for bad in bad {
        let read = hub.send(request("GET", "/devices", Some(&bad))).await;
        assert_eq!(read.error(), "401 IotHubUnauthorizedAccess", "{bad}");
    }
    assert_eq!(hub.send(request("GET", "/devices", None)).await.status, 401);
}

#[actix::test]
async fn a_token_for_a_part_of_the_hub_opens_that_part_only() {
    let hub = Hub::new().await;
    hub.make("/devices/d", json!({})).await;
    hub.make("/devices/d2", json!({})).await;
    for (resource, target, status) in [
        ("hub.local", "/devices/d", 200),
        ("hub.local/", "/devices/d", 200),
        ("hub.local/devices", "/devices/d", 200),
        ("hub.local/devices/d", "/devices/d", 200),
        ("hub.local/devices/d", "/devices/d/modules", 200),
        ("hub.local/devices/d", "/devices/d2", 401),
        ("hub.local/devices/d", "/devices", 401),
        ("hub.local/devices/d", "/twins/d", 401),
        ("hub.local/devices/D", "/devices/d", 401),
        ("hub.local/twins", "/devices/d", 401),
    ] {
        let token = sas::make(resource, KEY, u64::MAX, Some("iothubowner")).unwrap();
        let got = hub.send(request("GET", target, Some(&token))).await.status;
        assert_eq!(got, status, "{target} with a token for {resource}");
    }
}

#[actix::test]
async fn an_edge_device_manages_its_own_modules_and_every_device_its_own_files() {
    let hub = Hub::new().await;
    hub.make("/devices/gw", json!({"capabilities": {"iotEdge": true}})).await;
    hub.make("/devices/leaf", json!({})).await;
    let token = |device: &str| sas::make(&format!("{HOST}/devices/{device}"), KEY, u64::MAX, None);
    let (gw, leaf) = (token("gw").unwrap(), token("leaf").unwrap());
    let status = async |method: &str, target: &str, token: &str| {
        hub.send(request(method, target, Some(token))).await.status
    };
    assert_eq!(status("PUT", "/devices/gw/modules/m", &gw).await, 200);
    assert_eq!(status("GET", "/devices/gw/modules/m?api-version=x", &gw).await, 200);
    assert_eq!(status("GET", "/devices/gw/modules", &gw).await, 200);
    assert_eq!(status("DELETE", "/devices/gw/modules/m", &gw).await, 204);
    for (method, target) in [
        ("GET", "/devices/gw"),
        ("GET", "/devices/leaf/modules"),
        ("GET", "/twins/gw"),
        ("POST", "/devices/leaf/files"),
    ] {
        assert_eq!(status(method, target, &gw).await, 401, "{method} {target}");
    }
    assert_eq!(status("PUT", "/devices/leaf/modules/m", &leaf).await, 401, "it is no edge");
    let mut upload = request("POST", "/devices/leaf/files", Some(&leaf));
    upload.body = Bytes::from_static(br#"{"blobName": "a/b.txt"}"#);
    let begun = hub.send(upload).await;
    assert_eq!((begun.status, &begun.json["blobName"]), (200, &json!("leaf/a/b.txt")));
    let end = async |id: &Value| {
        let mut done = request("POST", "/devices/leaf/files/notifications", Some(&leaf));
        done.body = json!({"correlationId": id, "isSuccess": true}).to_string().into();
        hub.send(done).await.error()
    };
    assert_eq!(end(&json!("c")).await, "400 ArgumentInvalid", "it never began");
    assert_eq!(end(&begun.json["correlationId"]).await, "204 ");
    assert_eq!(end(&begun.json["correlationId"]).await, "400 ArgumentInvalid", "it has ended");
}

#[actix::test]
async fn what_is_not_there_and_what_is_not_a_part_of_this_hub_is_said() {
    let hub = Hub::new().await;
    assert_eq!(hub.get("/nowhere").await.error(), "404 ResourceNotFound");
    let jobs = hub.get("/jobs/v2/x").await;
    assert_eq!(jobs.error(), "501 NotImplemented");
    assert_eq!(jobs.header("iothub-errorcode"), Some("NotImplemented"));
    assert_eq!(hub.get("/configurations").await.json, json!([]), "az asks for them");
    for (method, path) in
        [("PATCH", "/devices/d"), ("GET", "/twins/d/methods"), ("POST", "/twins/d")]
    {
        let wrong = hub.call(method, path, json!({})).await;
        assert_eq!(wrong.error(), "405 MethodNotAllowed", "{method} {path}");
    }
    assert_eq!(hub.get("/devices/nobody").await.error(), "404 DeviceNotFound");
    assert_eq!(hub.get("/devices/no%20id").await.error(), "400 ArgumentInvalid");
    assert_eq!(hub.call("POST", "/faults/refuse?id=d", Value::Null).await.status, {
        if cfg!(feature = "faults") { 503 } else { 404 }
    });
}
