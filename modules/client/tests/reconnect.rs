//! The client against a hub that loses connections and answers late.

mod hub;

use edge_module_client::{LinkState, Message};
use rumqttc::ConnectReturnCode;
use rumqttc::mqttbytes::v4::Packet;
use serde_json::json;

use self::hub::Hub;

#[tokio::test]
async fn it_logs_in_as_the_sdks_do_and_asks_for_its_session() {
    let hub = Hub::start().await;
    let client = hub.client();
    let (_connection, connect) = hub.accept_with(ConnectReturnCode::Success).await;
    assert_eq!(connect.client_id, "d/m");
    assert!(!connect.clean_session);
    let login = connect.login.expect("it has a user name and a password");
    assert!(login.username.starts_with("hub/d/m/?api-version="), "{}", login.username);
    assert!(login.password.starts_with("SharedAccessSignature sr=hub%2Fdevices%2Fd%2Fmodules%2Fm"));
    drop(client);
}

#[tokio::test]
async fn a_message_is_resolved_by_its_acknowledgement_and_not_before() {
    let hub = Hub::start().await;
    let client = hub.client();
    let mut connection = hub.accept().await;
    let sending = tokio::spawn({
        let client = client.clone();
        async move { client.send("out", Message::new("a").with("n", 1)).await }
    });
    let publish = connection.published().await;
    assert_eq!(publish.topic, "devices/d/modules/m/messages/events/%24.on=out&n=1");
    assert!(connection.silent().await);
    assert!(!sending.is_finished());
    connection.acknowledge(&publish).await;
    sending.await.expect("it does not panic").expect("the hub has it");
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_in_order_on_the_next_connection() {
    let hub = Hub::start().await;
    let client = hub.client();
    let mut connection = hub.accept().await;
    let mut sends = Vec::new();
    for body in ["a", "b", "c"] {
        let client = client.clone();
        sends.push(tokio::spawn(async move { client.send("out", Message::new(body)).await }));
        // One after the other, so that their order is known.
        assert_eq!(connection.published().await.payload, body);
    }
    drop(connection);
    let mut connection = hub.accept().await;
    for body in ["a", "b", "c"] {
        let publish = connection.published().await;
        assert_eq!(publish.payload, body);
        connection.acknowledge(&publish).await;
    }
    for send in sends {
        send.await.expect("it does not panic").expect("the hub has it");
    }
}

#[tokio::test]
async fn a_hub_that_is_not_ready_or_refuses_is_tried_again() {
    let hub = Hub::start().await;
    let client = hub.client();
    let mut state = client.state();
    for code in [ConnectReturnCode::ServiceUnavailable, ConnectReturnCode::NotAuthorized] {
        hub.accept_with(code).await;
        let waiting = state.wait_for(|state| matches!(state, LinkState::Waiting { .. })).await;
        assert!(waiting.expect("the client lives").to_string().contains("127.0.0.1"));
    }
    let _connection = hub.accept().await;
    let connected = state.wait_for(|state| *state == LinkState::Connected);
    connected.await.expect("the client lives");
}

#[tokio::test]
async fn an_input_is_acknowledged_when_the_module_says_so_and_only_on_its_connection() {
    let hub = Hub::start().await;
    let client = hub.client();
    let mut connection = hub.accept().await;
    let mut inputs = client.inputs().await.expect("the client is open");
    assert_eq!(connection.subscribed().await, "devices/d/modules/m/inputs/#");
    let pkid = connection.publish("devices/d/modules/m/inputs/in/n=1", "x").await;
    let input = inputs.recv().await.expect("it was sent");
    assert_eq!((input.name(), input.message().property("n")), ("in", Some("1")));
    assert!(connection.silent().await, "nobody has taken it yet");
    input.done().await;
    connection.acknowledged(pkid).await;

    connection.publish("devices/d/modules/m/inputs/in/n=2", "y").await;
    let late = inputs.recv().await.expect("it was sent");
    drop(connection);
    let mut connection = hub.accept().await;
    assert_eq!(connection.subscribed().await, "devices/d/modules/m/inputs/#");
    late.done().await;
    assert!(connection.silent().await, "its packet id means something else on this connection");
}

#[tokio::test]
async fn twin_requests_cut_off_by_a_lost_connection_are_asked_again() {
    let hub = Hub::start().await;
    let client = hub.client();
    let mut connection = hub.accept().await;
    let report = tokio::spawn({
        let client = client.clone();
        async move { client.report(json!({"a": 1})).await }
    });
    assert_eq!(connection.subscribed().await, "$iothub/twin/res/#");
    let first = connection.published().await;
    assert!(first.topic.starts_with("$iothub/twin/PATCH/properties/reported/?$rid="));
    drop(connection);
    let mut connection = hub.accept().await;
    assert_eq!(connection.subscribed().await, "$iothub/twin/res/#");
    let again = connection.published().await;
    assert_eq!((&again.topic, &again.payload), (&first.topic, &first.payload));
    connection.answer_twin(&again, 204, "").await;
    report.await.expect("it does not panic").expect("the hub took it");
}

#[tokio::test]
async fn desired_properties_follow_patches_and_are_fetched_again_after_a_reconnect() {
    let hub = Hub::start().await;
    let client = hub.client();
    let mut connection = hub.accept().await;
    let mut desired = client.desired().await.expect("the client is open");
    assert_eq!(connection.subscribed().await, "$iothub/twin/PATCH/properties/desired/#");
    assert_eq!(connection.subscribed().await, "$iothub/twin/res/#");
    let get = connection.published().await;
    connection.answer_twin(&get, 200, r#"{"desired":{"t":25,"$version":3},"reported":{}}"#).await;
    desired.changed().await.expect("the client lives");
    assert_eq!(desired.borrow_and_update()["t"], 25);

    let topic = "$iothub/twin/PATCH/properties/desired/?$version=4";
    let pkid = connection.publish(topic, r#"{"t":30,"$version":4}"#).await;
    connection.acknowledged(pkid).await;
    desired.changed().await.expect("the client lives");
    assert_eq!(*desired.borrow_and_update(), json!({"t": 30, "$version": 4}));

    drop(connection);
    let mut connection = hub.accept().await;
    connection.subscribed().await;
    connection.subscribed().await;
    let get = connection.published().await;
    assert!(get.topic.starts_with("$iothub/twin/GET/?$rid="));
    connection.answer_twin(&get, 200, r#"{"desired":{"t":40,"$version":9},"reported":{}}"#).await;
    desired.changed().await.expect("the client lives");
    assert_eq!(desired.borrow_and_update()["t"], 40);
}

#[tokio::test]
async fn a_method_is_answered_with_its_request_id() {
    let hub = Hub::start().await;
    let client = hub.client();
    let mut connection = hub.accept().await;
    let mut methods = client.methods().await.expect("the client is open");
    assert_eq!(connection.subscribed().await, "$iothub/methods/POST/#");
    let pkid = connection.publish("$iothub/methods/POST/reset/?$rid=7f", "null").await;
    connection.acknowledged(pkid).await;
    let call = methods.recv().await.expect("it was called");
    assert_eq!((call.name(), call.payload()), ("reset", &json!(null)));
    call.answer(200, json!({"ok": true})).await;
    let answer = connection.published().await;
    assert_eq!(answer.topic, "$iothub/methods/res/200/?$rid=7f");
    assert_eq!(answer.payload, r#"{"ok":true}"#);
}

#[tokio::test]
async fn closing_waits_for_acknowledgements_and_says_goodbye() {
    let hub = Hub::start().await;
    let client = hub.client();
    let mut connection = hub.accept().await;
    let sending = tokio::spawn({
        let client = client.clone();
        async move { client.send("out", Message::new("last")).await }
    });
    let publish = connection.published().await;
    let closing = tokio::spawn(async move { client.close().await });
    assert!(connection.silent().await, "no DISCONNECT while a message is under way");
    connection.acknowledge(&publish).await;
    sending.await.expect("it does not panic").expect("the hub has it");
    assert!(matches!(connection.packet().await, Packet::Disconnect));
    closing.await.expect("it does not panic");
}
