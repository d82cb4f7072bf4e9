//! Identities, their etags, and what edges hear of them.

use serde_json::{Value, json};

use super::*;

/// A registry with a clock and keys that count.
#[derive(Default)]
struct House {
    registry: Registry,
    keys: u8,
}

impl House {
    fn put(&mut self, id: &str, body: Value, condition: &IfMatch) -> Result<Changes, ServiceError> {
        let keys = &mut self.keys;
        let mut key = || {
            *keys += 1;
            format!("key-{keys}")
        };
        let mut fresh = Fresh { now: Duration::from_secs(1_000), key: &mut key };
        let draft = Draft::parse(Identity::parse(id).unwrap(), &body)?;
        self.registry.put(draft, condition, &mut fresh)
    }

    fn make(&mut self, id: &str, body: Value) -> Changes {
        self.put(id, body, &IfMatch::None).unwrap()
    }

    fn change(&mut self, id: &str, body: Value) -> Changes {
        self.put(id, body, &IfMatch::Any).unwrap()
    }

    fn delete(&mut self, id: &str) -> Changes {
        self.registry.delete(&Identity::parse(id).unwrap(), &IfMatch::Any).unwrap()
    }

    fn get(&self, id: &str) -> &Entry {
        self.registry.get(&Identity::parse(id).unwrap()).unwrap()
    }

    fn edge(&mut self, id: &str, parent: Option<&str>) -> String {
        let parents: Vec<String> = parent.map(str::to_owned).into_iter().collect();
        self.make(id, json!({"capabilities": {"iotEdge": true}, "parentScopes": parents}));
        self.get(id).own_scope().unwrap()
    }

    /// All that an edge hears of after `since`, page by page.
    fn hears(&self, edge: &str, mut since: u64) -> (Vec<String>, Vec<String>, u64) {
        let (mut there, mut gone) = (Vec::new(), Vec::new());
        loop {
            let page = self.registry.page(edge, since, 2);
            there.extend(page.entries.iter().map(|entry| entry.id.to_string()));
            gone.extend(page.removed.iter().map(Identity::to_string));
            since = page.version;
            if !page.has_more {
                there.sort();
                gone.sort();
                return (there, gone, since);
            }
        }
    }
}

fn status(result: Result<Changes, ServiceError>) -> u16 {
    result.unwrap_err().status
}

#[test]
fn keys_are_made_when_missing_null_or_empty_and_kept_when_given() {
    let mut house = House::default();
    for (id, keys) in [("a", json!({})), ("b", json!({"primaryKey": null, "secondaryKey": ""}))] {
        house.make(id, json!({"authentication": {"symmetricKey": keys, "type": "sas"}}));
        assert_eq!(house.get(id).keys().len(), 2, "{id}");
    }
    let key = "MDEyMzQ1Njc4OWFiY2RlZg==";
    let given =
        json!({"authentication": {"symmetricKey": {"primaryKey": key, "secondaryKey": key}}});
    house.make("c", given);
    house.change("c", json!({"status": "disabled"}));
    assert_eq!(house.get("c").keys(), [key, key], "a change that says nothing of keys keeps them");
    let bad = json!({"authentication": {"symmetricKey": {"primaryKey": "short"}, "type": "sas"}});
    assert_eq!(status(house.put("d", bad, &IfMatch::None)), 400);
}

#[test]
fn a_change_needs_the_etag_that_is_there_now() {
    let mut house = House::default();
    let none = IfMatch::parse(None);
    house.make("a", json!({}));
    assert_eq!(status(house.put("a", json!({}), &none)), 409);
    assert_eq!(status(house.put("b", json!({}), &IfMatch::parse(Some("\"*\"")))), 404);
    let etag = IfMatch::parse(Some(&format!("\"{}\"", house.get("a").etag())));
    house.put("a", json!({"status": "disabled"}), &etag).unwrap();
    assert_eq!(status(house.put("a", json!({}), &etag)), 412);
    assert_eq!(status(house.registry.delete(&Identity::parse("a").unwrap(), &etag)), 412);
    assert_eq!(status(house.put("nobody/m", json!({}), &none)), 404);
    assert_eq!(status(house.put("c", json!({"deviceId": "other"}), &none)), 400);
}

#[test]
fn thumbprints_have_40_or_64_digits_of_any_case_and_the_second_may_be_empty() {
    let mut house = House::default();
    let x509 = |primary: &str| {
        let prints = json!({"primaryThumbprint": primary, "secondaryThumbprint": ""});
        json!({"authentication": {"type": "selfSigned", "x509Thumbprint": prints}})
    };
    house.make("sha1", x509(&"aB".repeat(20)));
    house.make("sha256", x509(&"0F".repeat(32)));
    assert_eq!(house.get("sha1").thumbprints(), ["ab".repeat(20)]);
    for bad in ["", "ab", &"x".repeat(40)] {
        assert_eq!(status(house.put("bad", x509(bad), &IfMatch::None)), 400, "{bad}");
    }
}

#[test]
fn an_edge_device_is_made_with_its_scope_and_its_modules() {
    let mut house = House::default();
    let scope = house.edge("gw", None);
    assert!(scope.starts_with("ms-azure-iot-edge://gw-"));
    assert_eq!(house.get("gw").json()["deviceScope"], json!(scope));
    let modules: Vec<_> = house.registry.modules("gw").map(|m| m.id.to_string()).collect();
    assert_eq!(modules, ["gw/$edgeAgent", "gw/$edgeHub"]);
    let hub = Identity::parse("gw/$edgeHub").unwrap();
    assert_eq!(status(house.registry.delete(&hub, &IfMatch::Any)), 400);
    house.make("leaf", json!({"deviceScope": scope}));
    assert_eq!(house.get("leaf").json()["parentScopes"], json!([scope]));
    let nowhere = json!({"deviceScope": "ms-azure-iot-edge://no-1"});
    assert_eq!(status(house.put("lost", nowhere, &IfMatch::None)), 400);
}

#[test]
fn an_edge_hears_of_each_change_below_it_once_and_of_nothing_else() {
    let mut house = House::default();
    let scope = house.edge("gw", None);
    house.edge("other", None);
    let (there, gone, version) = house.hears("gw", 0);
    assert_eq!(
        (there, gone),
        (vec!["gw".into(), "gw/$edgeAgent".into(), "gw/$edgeHub".into()], vec![])
    );
    house.make("leaf", json!({"deviceScope": scope}));
    let changes = house.make("leaf/m", json!({}));
    assert!(changes.scopes.contains_key("gw") && !changes.scopes.contains_key("other"));
    let (there, _, version) = house.hears("gw", version);
    assert_eq!(there, ["leaf", "leaf/m"]);
    assert_eq!(house.hears("gw", version).0, Vec::<String>::new());
    let changes = house.delete("leaf");
    assert_eq!(changes.ended.len(), 2, "device and module");
    let (there, gone, version) = house.hears("gw", version);
    assert_eq!((there, gone), (vec![], vec!["leaf".to_owned(), "leaf/m".to_owned()]));
    house.make("leaf", json!({"deviceScope": scope}));
    assert_eq!(house.hears("gw", version).0, ["leaf"], "made again");
    assert_eq!(house.hears("gw", 0).1, ["leaf/m"]);
    assert_eq!(house.hears("gw", 1_000).0.len(), 4, "a version never given counts as none");
}

#[test]
fn a_device_that_moves_leaves_one_scope_and_enters_the_other() {
    let mut house = House::default();
    let (one, two) = (house.edge("one", None), house.edge("two", None));
    house.make("leaf", json!({"deviceScope": one}));
    let (first, second) = (house.hears("one", 0).2, house.hears("two", 0).2);
    let changes = house.change("leaf", json!({"deviceScope": two}));
    assert_eq!(changes.scopes.keys().collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(house.hears("one", first).1, ["leaf"]);
    assert_eq!(house.hears("two", second).0, ["leaf"]);
    house.change("leaf", json!({"deviceScope": ""}));
    assert!(!house.registry.is_in_scope("two", &Identity::parse("leaf").unwrap()));
}

#[test]
fn an_edge_above_an_edge_hears_of_what_is_below_both() {
    let mut house = House::default();
    let top = house.edge("top", None);
    let low = house.edge("low", Some(&top));
    house.make("leaf", json!({"deviceScope": low}));
    let leaf = Identity::parse("leaf").unwrap();
    assert!(house.registry.is_in_scope("top", &leaf) && house.registry.is_in_scope("low", &leaf));
    let since = house.hears("top", 0).2;
    let other = house.edge("other", None);
    house.change("low", json!({"parentScopes": [other]}));
    let (_, gone, _) = house.hears("top", since);
    assert_eq!(gone, ["leaf", "low", "low/$edgeAgent", "low/$edgeHub"]);
    assert!(house.hears("other", 0).0.contains(&"leaf".to_owned()));
    let circle = json!({"parentScopes": [low]});
    assert_eq!(status(house.put("other", circle, &IfMatch::Any)), 400);
}

#[test]
fn disabling_a_device_ends_it_and_its_modules_and_new_keys_end_their_owner() {
    let mut house = House::default();
    let scope = house.edge("gw", None);
    house.make("gw/m", json!({}));
    let since = house.hears("gw", 0).2;
    let changes = house.change("gw", json!({"status": "disabled"}));
    let ended: Vec<_> = changes.ended.iter().map(Identity::as_str).collect();
    assert_eq!(ended, ["gw", "gw/$edgeAgent", "gw/$edgeHub", "gw/m"]);
    assert_eq!(house.hears("gw", since).0.len(), 4, "modules are not usable now either");
    assert!(!house.registry.is_usable(house.get("gw/m")));
    assert_eq!(house.get("gw").own_scope(), Some(scope));
    house.change("gw", json!({"status": "enabled"}));
    let keys = json!({"primaryKey": "MDEyMzQ1Njc4OWFiY2RlZg=="});
    let changes = house.change("gw/m", json!({"authentication": {"symmetricKey": keys}}));
    let ended: Vec<_> = changes.ended.iter().map(Identity::as_str).collect();
    assert_eq!(ended, ["gw/m"]);
}

#[test]
fn what_was_stored_makes_the_same_registry_again() {
    let mut house = House::default();
    let scope = house.edge("gw", None);
    house.make("leaf", json!({"deviceScope": scope}));
    let mut removed = house.delete("leaf").removed;
    house.make("a", json!({}));
    let loaded = Registry::load(
        house.registry.all().cloned(),
        removed.drain(..).filter_map(|(key, version)| Some((key, version?))),
    );
    assert_eq!(loaded.page("gw", 0, 9), house.registry.page("gw", 0, 9));
    assert_eq!(loaded.version, house.registry.version);
}

mod admission {
    use super::*;
    use crate::domain::sas;

    const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";
    const OTHER: &str = "ZmVkY2JhOTg3NjU0MzIxMA==";

    fn keys(primary: &str, secondary: &str) -> Value {
        json!({"symmetricKey": {"primaryKey": primary, "secondaryKey": secondary}, "type": "sas"})
    }

    /// An edge device `gw` with `KEY`, its modules, a module `gw/m` with both keys.
    fn house() -> House {
        let mut house = House::default();
        let edge = json!({"iotEdge": true});
        house.make("gw", json!({"capabilities": edge, "authentication": keys(KEY, KEY)}));
        house.make("gw/m", json!({"authentication": keys(OTHER, KEY)}));
        house
    }

    fn admit(
        house: &House,
        id: &str,
        token: (&str, &str),
        link: Option<u32>,
    ) -> Result<Proven, NotAdmitted> {
        let token = sas::make(token.0, token.1, 1000, None).unwrap();
        let shown = Shown { token: Some(&token), certificate: None };
        house.registry.admit(&Identity::parse(id).unwrap(), shown, link, "Hub.local", 900)
    }

    fn by(by_device: bool) -> Result<Proven, NotAdmitted> {
        Ok(Proven { until: 1000, by_device })
    }

    #[test]
    fn a_client_comes_in_with_a_token_for_this_hub() {
        let house = house();
        let own = "hub.LOCAL/devices/gw/modules/m";
        assert_eq!(admit(&house, "gw/m", (own, KEY), None), by(false));
        assert_eq!(admit(&house, "gw/m", (own, OTHER), None), by(false));
        assert_eq!(admit(&house, "gw", ("hub.local:8883/devices/gw", KEY), None), by(false));
        let device = "hub.local/devices/gw";
        assert_eq!(admit(&house, "gw/m", (device, KEY), None), by(true));
        let refused = |id: &str, resource: &str, key: &str| {
            admit(&house, id, (resource, key), None).unwrap_err()
        };
        assert_eq!(refused("gw", device, OTHER), not_proven(SasError::WrongKey));
        assert_eq!(refused("gw/m", device, OTHER), not_proven(SasError::WrongKey));
        let other = refused("gw", "other/devices/gw", KEY);
        assert_eq!(other, not_proven(SasError::OtherHost("other".into())));
        assert_eq!(refused("nobody", "hub.local/devices/nobody", KEY), NotAdmitted::Unknown);
        let hub = Identity::parse("gw").unwrap();
        let token = sas::make(device, KEY, 899, None).unwrap();
        let shown = Shown { token: Some(&token), certificate: None };
        let expired = house.registry.admit(&hub, shown, None, "hub.local", 900);
        assert_eq!(expired, Err(not_proven(SasError::Expired(899))), "no grace");
        let none = house.registry.admit(&hub, Shown::default(), None, "hub.local", 1);
        assert_eq!(none, Err(NotProven::Nothing.into()));
    }

    fn not_proven(why: SasError) -> NotAdmitted {
        NotProven::from(why).into()
    }

    #[test]
    fn a_link_is_edge_hub_of_an_edge_device_with_its_own_token_or_its_devices() {
        let mut house = house();
        let device = ("hub.local/devices/gw", KEY);
        assert_eq!(admit(&house, "gw/$edgeHub", device, Some(1)), by(true));
        assert_eq!(admit(&house, "gw/m", device, Some(1)), Err(NotAdmitted::NoEdge));
        let version = admit(&house, "gw/$edgeHub", device, Some(2));
        assert_eq!(version, Err(NotAdmitted::LinkVersion(2)));
        let resource = "hub.local/devices/gw/modules/$edgeHub";
        let keys = keys(OTHER, OTHER);
        house.change("gw/$edgeHub", json!({ "authentication": keys }));
        assert_eq!(admit(&house, "gw/$edgeHub", (resource, OTHER), Some(1)), by(false));
        house.make("plain", json!({}));
        house.make("plain/$edgeHub", json!({}));
        assert_eq!(admit(&house, "plain/$edgeHub", device, Some(1)), Err(NotAdmitted::NoEdge));
    }

    fn certificate(print: &str, chain: Result<Period, String>) -> ClientCertificate {
        let valid = Period { from: 0, until: 1000 };
        let thumbprints = vec!["00".repeat(32), print.to_owned()];
        ClientCertificate { thumbprints, common_names: vec!["x".into()], valid, chain }
    }

    /// Comes in as `x` with a certificate.
    fn admit_x(house: &House, shown: &ClientCertificate) -> Result<Proven, NotAdmitted> {
        let shown = Shown { token: None, certificate: Some(shown) };
        house.registry.admit(&Identity::parse("x").unwrap(), shown, None, "hub.local", 1)
    }

    #[test]
    fn a_certificate_counts_by_either_thumbprint_and_a_disabled_device_not_at_all() {
        let mut house = house();
        let prints =
            json!({"primaryThumbprint": "AB".repeat(20), "secondaryThumbprint": "cd".repeat(32)});
        let x509 = json!({"type": "selfSigned", "x509Thumbprint": prints});
        house.make("x", json!({ "authentication": x509 }));
        let mut admit = |print: &str, status: &str| {
            house.change("x", json!({ "status": status }));
            admit_x(&house, &certificate(print, Err("nobody".into())))
        };
        assert_eq!(admit(&"ab".repeat(20), "enabled"), by(false));
        assert_eq!(admit(&"cd".repeat(32), "enabled"), by(false));
        let other = Err(NotProven::from(NotGood::Thumbprint).into());
        assert_eq!(admit("", "enabled"), other);
        assert_eq!(admit(&"ab".repeat(20), "disabled"), Err(NotAdmitted::Disabled));
    }

    #[test]
    fn a_device_of_an_authority_comes_in_with_a_chain_to_it_and_one_of_none_not_at_all() {
        let mut house = house();
        house.make("x", json!({"authentication": {"type": "certificateAuthority"}}));
        let signed = certificate("", Ok(Period { from: 0, until: 1000 }));
        assert_eq!(admit_x(&house, &signed), by(false));
        let other = admit_x(&house, &certificate("", Err("nobody".into())));
        assert_eq!(other, Err(NotProven::from(NotGood::Chain("nobody".into())).into()));
        let record = house.get("x").authentication_type();
        assert_eq!(record, "certificateAuthority");
        house.change("x", json!({"authentication": {"type": "none"}}));
        assert_eq!(admit_x(&house, &signed), Err(NotProven::NoCertificate.into()));
        let token = ("hub.local/devices/x", KEY);
        assert_eq!(admit(&house, "x", token, None), Err(NotProven::NoKey.into()));
    }

    #[test]
    fn new_keys_of_a_device_end_its_connections_and_those_of_modules_that_came_in_by_them() {
        let mut house = house();
        let changes = house.change("gw", json!({"authentication": keys(OTHER, OTHER)}));
        assert_eq!(changes.ended.iter().map(Identity::as_str).collect::<Vec<_>>(), ["gw"]);
        let by_device: Vec<_> = changes.by_device.iter().map(Identity::as_str).collect();
        assert_eq!(by_device, ["gw/$edgeAgent", "gw/$edgeHub", "gw/m"]);
        assert!(
            house.change("gw/m", json!({"authentication": keys(KEY, KEY)})).by_device.is_empty()
        );
    }

    use crate::domain::certificate::{ClientCertificate, NotGood, Period};
    use crate::domain::proof::{NotProven, Proven, Shown};
    use crate::domain::sas::SasError;
}
