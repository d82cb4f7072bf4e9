//! Certificates that are renewed every few seconds: who is connected stays so, who comes is shown
//! the new one, and trusts it by what it has trusted from the beginning.

use std::net::SocketAddr;
use std::time::Duration;

use edge_runtime::protocol::http_client::{ClientRequest, Place};
use edge_runtime::protocol::tls::{TlsClient, Trust, thumbprints};
use serde_json::json;

use crate::support::mqtt::Mqtt;
use crate::support::program;
use crate::support::rest::ask_now;
use crate::support::wait_for;
use crate::support::world::World;

const LONG: Duration = Duration::from_secs(60);

fn trusting(pem: &str) -> TlsClient {
    TlsClient::new(&Trust::Pem(pem.as_bytes().to_vec(), "test".into())).unwrap()
}

/// SHA-1 of the certificate that a client with this trust is shown, if it takes it.
fn shown(address: SocketAddr, trust: &str) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(address).await.map_err(|e| e.to_string())?;
        let stream = trusting(trust).connect(&address.ip().to_string(), socket).await;
        let stream = stream.map_err(|e| e.to_string())?;
        let certificates = stream.get_ref().1.peer_certificates().unwrap().to_vec();
        Ok(thumbprints(&certificates[0])[0].clone())
    })
}

fn is_served(client: &mut Mqtt, id: u16) {
    let topic = "devices/leaf/messages/events/";
    client.publish(topic, id, false, b"{}").expect("its connection is open");
    loop {
        match client.read(Duration::from_secs(10)).expect("its connection is open") {
            Some(rumqttc::mqttbytes::v4::Packet::PubAck(ack)) if ack.pkid == id => return,
            Some(_) => {}
            None => panic!("no PUBACK in 10 s"),
        }
    }
}

#[test]
fn certificates_are_renewed_under_clients_that_stay_and_clients_that_come() {
    let world = World::start_as(
        &json!({ "up": "FROM /messages/* INTO $upstream" }),
        &[],
        &[
            ("EDGE_RUNTIME__CERTIFICATES__SERVER_LIFE", "5 s"),
            ("EDGE_RUNTIME__CERTIFICATES__CA_LIFE", "30 s"),
        ],
    );
    let address = SocketAddr::from((world.edge_address, 8883));
    let bundle = || {
        std::fs::read_to_string(world.folder.path().join("edge/certs/trust-bundle.pem")).unwrap()
    };
    let first_bundle = bundle();
    let log_in = world.leaf("leaf");
    let first = shown(address, &first_bundle).unwrap();
    let client = Mqtt::open_tls(address, &trusting(&first_bundle)).unwrap();
    let mut client = client.log_in(&log_in.hub, &log_in.id, &log_in.token()).unwrap();
    is_served(&mut client, 1);

    // The server's own: again and again.
    let metrics = || {
        let place = Place::Tcp(world.edge_address.to_string(), 9600);
        let answer = ask_now(&place, ClientRequest::new("GET", "/metrics")).unwrap();
        String::from_utf8(answer.body.to_vec()).unwrap()
    };
    let renewed = |name: &str| {
        let metrics = metrics();
        let line = format!("edge_runtime_certificate_renewals_total{{certificate=\"{name}\"}} ");
        let count = metrics.lines().find_map(|it| it.strip_prefix(&line)?.parse::<u64>().ok());
        count.unwrap_or_else(|| panic!("{line}: {metrics}"))
    };
    wait_for("two renewals", LONG, || (renewed("server") >= 2).then_some(()));
    is_served(&mut client, 2);
    let second = shown(address, &first_bundle).unwrap();
    assert_ne!(first, second);
    assert!(metrics().contains("edge_runtime_certificate_ends_timestamp_seconds{"));

    // The authority: 24 s after it was made. What trusts the old one alone comes in all the same.
    wait_for("a new authority", LONG, || (renewed("device-ca") >= 1).then_some(()));
    is_served(&mut client, 3);
    let both = bundle();
    assert!(both.contains(first_bundle.lines().nth(1).unwrap()) && both != first_bundle);
    let third = shown(address, &first_bundle).expect("who knows the old authority only");
    assert_ne!(second, third);
    let fourth = shown(address, &both).expect("who knows both");
    assert!(
        shown(address, &std::fs::read_to_string(world.hub.state.join("ca.pem")).unwrap()).is_err()
    );
    let client = Mqtt::open_tls(address, &trusting(&first_bundle)).unwrap();
    drop(client.log_in(&log_in.hub, &log_in.id, &log_in.token()).unwrap()); // takes over
    drop(fourth);

    let socket = world.management.0.display().to_string();
    let status = program::run("edgectl", &["--socket", &socket, "status"], &[]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    let line = status.lines().find(|line| line.starts_with("certificates")).expect("a line");
    assert!(line.contains("server until 20") && line.contains("device-ca until 20"), "{line}");
}
