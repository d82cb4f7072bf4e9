//! Cloud-to-device messages by REST.

use serde_json::json;

use super::*;

#[actix::test]
async fn messages_take_their_properties_from_headers_and_wait_until_purged() {
    let hub = Hub::new().await;
    hub.make("/devices/d", json!({})).await;
    let headers = [
        ("content-type", "text/plain"),
        ("iothub-messageid", "m1"),
        ("iothub-app-p", "a/b c=ü&"),
        ("iothub-ack", "full"),
        ("iothub-expiry", "2999-01-01T00:00:00Z"),
    ];
    let target = "/devices/d/messages/devicebound?api-version=x";
    let sent = hub.call_with("POST", target, json!("x"), &headers).await;
    assert_eq!(sent.status, 204, "{sent:?}");
    assert_eq!(hub.sessions.take(), [("d".to_owned(), "Owed".to_owned())]);
    assert_eq!(hub.get("/twins/d").await.json["cloudToDeviceMessageCount"], json!(1));
    let purged = hub.call("DELETE", "/devices/d/commands", Value::Null).await.json;
    assert_eq!(purged["totalMessagesPurged"], json!(1));
    let feedback = hub.get("/messages/serviceBound/feedback").await;
    assert_eq!(feedback.json[0]["originalMessageId"], json!("m1"));
    assert_eq!(hub.get("/messages/serviceBound/feedback").await.status, 204);
    for (name, value) in [("iothub-ack", "maybe"), ("iothub-expiry", "soon")] {
        let bad = hub.call_with("POST", target, json!("x"), &[(name, value)]).await;
        assert_eq!(bad.error(), "400 ArgumentInvalid", "{name}");
    }
    let nobody = hub.call("POST", "/devices/x/messages/devicebound", json!("x")).await;
    assert_eq!(nobody.error(), "404 DeviceNotFound");
}

#[test]
fn header_values_are_utf_8_or_else_iso_8859_1() {
    let mut request = HttpRequest::new("POST", "/");
    let headers: [(&str, &'static [u8]); 3] = [
        ("iothub-app-latin", b"h\xE4llo"),
        ("iothub-app-utf", "hällo".as_bytes()),
        ("content-type", b"text/plain"),
    ];
    for (name, value) in headers {
        request.headers.push((name.to_owned(), Bytes::from_static(value)));
    }
    let bag = super::super::devicebound::properties(&request, "/to").unwrap();
    let wanted = "%24.to=%2Fto&%24.ct=text%2Fplain&latin=h%C3%A4llo&utf=h%C3%A4llo";
    assert_eq!(bag.as_str(), wanted);
}
