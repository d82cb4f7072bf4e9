//! What is changed at the hub ends the connections that it concerns within 5 s, and no others; what
//! is changed while the link is down counts from when it is back.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::house::{At, By, FIVE, FOR_GOOD, House, KEY, LATER, Made, OTHER_KEY};
use crate::house::{by_authority, make, prints, sas, self_signed};
use crate::support::mqtt::Mqtt;
use crate::support::wait_for;

/// What happens to an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Disabled,
    Deleted,
    Proof,
}

/// A client, and all that it has.
struct Client<'a> {
    house: &'a House,
    at: At,
    by: By,
    device: String,
    shown: Made,
}

impl<'a> Client<'a> {
    fn new(house: &'a House, at: At, by: By, name: &str) -> Self {
        let device = format!("{at:?}-{by:?}-{name}");
        let signer = (by == By::Authority).then_some(&house.between);
        let shown = make(&device, false, signer);
        let client = Client { house, at, by, device, shown };
        house.put(&client.device, &client.proof(KEY));
        if client.id() != client.device {
            let path = format!("/devices/{}/modules/m", client.device);
            let key = if by == By::ModuleKey { KEY } else { "b25lIHRoYXQgbm9ib2R5IGhhcw==" };
            let module = json!({ "authentication": sas(key, key) });
            house.hub.service.call("PUT", &path, Some(&module));
        }
        client
    }

    fn id(&self) -> String {
        match self.by {
            By::ModuleKey | By::DeviceKey => format!("{}/m", self.device),
            _ => self.device.clone(),
        }
    }

    fn proof(&self, key: &str) -> serde_json::Value {
        match self.by {
            By::Thumbprint => self_signed("00".repeat(20).as_str(), &prints(&self.shown)[1]),
            By::Authority => by_authority(),
            _ => sas("c29tZSBvdGhlciBrZXkgdGhhbiB0aGF0", key),
        }
    }

    fn connect(&self) -> Result<Mqtt, String> {
        let (house, id) = (self.house, self.id());
        let of_device = format!("devices/{}", self.device);
        match self.by {
            By::Thumbprint => house.show(self.at, &id, &[&self.shown]),
            By::Authority => house.show(self.at, &id, &[&self.shown, &house.between]),
            By::ModuleKey => house.token(self.at, &id, &format!("{of_device}/modules/m"), KEY),
            By::Key | By::DeviceKey => house.token(self.at, &id, &of_device, KEY),
        }
    }

    fn make(&self, change: Change) {
        let service = &self.house.hub.service;
        let path = format!("/devices/{}", self.device);
        match (change, self.by) {
            (Change::Deleted, _) => {
                let gone = json!([{ "id": self.device, "importMode": "delete" }]);
                service.call("POST", "/devices", Some(&gone));
            }
            (Change::Disabled, _) => {
                let disabled = json!([{
                    "id": self.device, "importMode": "update", "status": "disabled",
                    "deviceScope": self.house.scope, "authentication": self.proof(KEY),
                }]);
                service.call("POST", "/devices", Some(&disabled));
            }
            (Change::Proof, By::ModuleKey) => {
                let path = format!("{path}/modules/m");
                service.call("DELETE", &path, None);
                let module = json!({ "authentication": sas(OTHER_KEY, OTHER_KEY) });
                service.call("PUT", &path, Some(&module));
            }
            (Change::Proof, By::Thumbprint) => {
                let other = self_signed(&"ab".repeat(20), "");
                self.house.put(&self.device, &other);
            }
            (Change::Proof, _) => self.house.put(&self.device, &sas(OTHER_KEY, OTHER_KEY)),
        }
    }
}

#[test]
fn a_connection_ends_within_five_seconds_of_what_it_came_in_by() {
    let house = House::start();
    let mut others = Vec::new();
    for at in [At::Hub, At::Gateway] {
        for by in [By::Key, By::ModuleKey, By::DeviceKey, By::Thumbprint, By::Authority] {
            let other = Client::new(&house, at, by, "witness");
            others.push((other.id(), other.connect().unwrap()));
            for change in [Change::Disabled, Change::Deleted, Change::Proof] {
                let case = format!("{at:?}, by {by:?}, {change:?}");
                let client = Client::new(&house, at, by, &format!("{change:?}"));
                let mut mqtt = client.connect().unwrap_or_else(|why| panic!("{case}: {why}"));
                client.make(change);
                let began = Instant::now();
                assert!(mqtt.is_closed_within(FIVE), "{case}: it goes on");
                println!("{case}: {:?}", began.elapsed());
                assert_eq!(client.connect().err().as_deref(), Some(FOR_GOOD), "{case}");
            }
        }
    }
    for (id, mut other) in others {
        assert!(!other.is_closed_within(Duration::from_millis(20)), "{id} was disturbed");
    }
}

#[test]
fn a_key_that_is_rotated_while_the_link_is_down_counts_from_when_it_is_back() {
    let house = House::start();
    house.put("leaf", &sas(KEY, KEY));
    let log_in = |key: &str| house.token(At::Gateway, "leaf", "devices/leaf", key);
    let mut connected = wait_for("leaf to come in", FIVE, || log_in(KEY).ok());
    std::thread::scope(|scope| {
        let away = scope.spawn(|| house.proxy.cut(true, Duration::from_secs(6)));
        std::thread::sleep(Duration::from_millis(500));
        house.put("leaf", &sas(OTHER_KEY, OTHER_KEY));
        assert_eq!(log_in(OTHER_KEY).err().as_deref(), Some(LATER), "the new key, offline");
        let mut again = log_in(KEY).expect("the old key, offline");
        connected.is_closed_within(FIVE); // taken over
        assert!(!again.is_closed_within(Duration::from_secs(1)), "nobody has told of it");
        away.join().unwrap();
        connected = again;
    });
    // The link is tried again within seconds; then the scope is read.
    let new = || log_in(OTHER_KEY).ok();
    assert!(connected.is_closed_within(Duration::from_secs(45)), "the old key's connection");
    wait_for("the new key to be taken", FIVE, new);
    assert_eq!(log_in(KEY).err().as_deref(), Some(FOR_GOOD), "the old key");
}

/// The gateway gives 30 s of grace, the hub none.
#[test]
fn a_connection_ends_with_its_token() {
    let house = House::start();
    house.put("leaf", &sas(KEY, KEY));
    house.put("direct", &sas(KEY, KEY));
    let connect = |at, id: &str| {
        use edge_runtime::domain::sas::make;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let expiry = now.unwrap().as_secs() + 3;
        let resource = format!("{}/devices/{id}", house.hub_name());
        let password = make(&resource, KEY, expiry, None).unwrap();
        house.open(at, &[]).log_in(&house.hub_name(), id, &password).unwrap()
    };
    let mut at_hub = connect(At::Hub, "direct");
    assert!(!at_hub.is_closed_within(Duration::from_secs(1)), "it is good for a moment");
    assert!(at_hub.is_closed_within(Duration::from_secs(3) + FIVE), "at the hub");
    let mut at_gateway = connect(At::Gateway, "leaf");
    assert!(!at_gateway.is_closed_within(Duration::from_secs(25)), "within the grace");
    assert!(at_gateway.is_closed_within(Duration::from_secs(8) + FIVE), "at the gateway");
}
