//! What `$edgeHub` reports of its clients (spec edgehub.md 4.2): `clients`, by id.
//!
//! Looked at every so often, so that many who come and go make one patch. Modules stay when they
//! disconnect, other devices go. No more is shown than fits: modules of this device first, then
//! those who have been connected for the longest time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::identity::Identity;
use super::iso8601;
use super::twin::diff_object;

/// Most bytes of what is shown; half of what one patch may have, since what goes is named too.
const MOST: usize = super::twin::limits::MAX_BYTES / 2;

/// See the module documentation.
#[derive(Debug)]
pub struct ClientsReport {
    device: String,
    clients: BTreeMap<Identity, Client>,
    /// `None`: what was reported before this process is to be cleared first.
    reported: Option<Map<String, Value>>,
}

/// Times are Unix times.
#[derive(Debug)]
struct Client {
    is_connected: bool,
    connected: Duration,
    disconnected: Option<Duration>,
}

impl ClientsReport {
    /// For an edge device; nobody is there.
    pub fn new(device: &str) -> Self {
        ClientsReport { device: device.to_owned(), clients: BTreeMap::new(), reported: None }
    }

    /// These, and no others, are connected now.
    pub fn on_online<'i>(&mut self, online: impl Iterator<Item = &'i Identity>, now: Duration) {
        let online: BTreeSet<&Identity> = online.collect();
        for who in &online {
            let client = self.clients.entry((*who).clone()).or_insert(Client {
                is_connected: true,
                connected: now,
                disconnected: None,
            });
            if !std::mem::replace(&mut client.is_connected, true) {
                client.connected = now;
            }
        }
        let device = &self.device;
        self.clients.retain(|who, client| {
            if !online.contains(who) && std::mem::replace(&mut client.is_connected, false) {
                client.disconnected = Some(now);
            }
            client.is_connected || (who.module_id().is_some() && who.device_id() == device)
        });
    }

    /// It is no more.
    pub fn on_gone(&mut self, who: &Identity) {
        self.clients.remove(who);
    }

    /// What is to be reported now; `None`: nothing has changed.
    pub fn patch(&mut self) -> Option<Value> {
        let Some(reported) = &self.reported else {
            self.reported = Some(Map::new());
            return Some(json!({ "clients": null }));
        };
        let shown = self.shown();
        let patch = diff_object(reported, &shown);
        self.reported = Some(shown);
        (!patch.is_empty()).then(|| json!({ "clients": patch }))
    }

    /// What was to be reported was not taken: all is reported anew.
    pub fn on_not_reported(&mut self) {
        self.reported = None;
    }

    fn shown(&self) -> Map<String, Value> {
        let mut all: Vec<_> = self.clients.iter().collect();
        let is_own = |who: &Identity| who.module_id().is_some() && who.device_id() == self.device;
        all.sort_by_key(|(who, client)| (!is_own(who), client.connected));
        let (mut shown, mut bytes) = (Map::new(), 0);
        for (who, client) in all {
            let status = if client.is_connected { "Connected" } else { "Disconnected" };
            let entry = json!({
                "status": status,
                "lastConnectedTimeUtc": iso8601::text(client.connected),
                "lastDisconnectedTimeUtc": client.disconnected.map(iso8601::text),
            });
            let name = key(who);
            bytes += name.len() + entry.to_string().len() + 4;
            if bytes > MOST {
                break;
            }
            let mut entry = entry;
            if let Value::Object(entry) = &mut entry {
                entry.retain(|_, value| !value.is_null()); // null would delete
            }
            shown.insert(name, entry);
        }
        shown
    }
}

/// An id as the name of a property (spec edgehub.md 1.10).
fn key(who: &Identity) -> String {
    let id = who.as_str();
    let escapes = [('.', "%2E"), ('$', "%24"), (' ', "%20"), ('#', "%23")];
    escapes.iter().fold(id.to_owned(), |id, (char, escape)| id.replace(*char, escape))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::twin::{merge, validate_reported};

    fn id(text: &str) -> Identity {
        Identity::parse(text).unwrap()
    }

    fn look(report: &mut ClientsReport, online: &[Identity], seconds: u64) -> Option<Value> {
        report.on_online(online.iter(), Duration::from_secs(seconds));
        report.patch()
    }

    #[test]
    fn what_an_earlier_process_reported_is_cleared_and_each_change_is_told_once() {
        let mut report = ClientsReport::new("gw");
        let (module, leaf) = (id("gw/a.b$c"), id("leaf"));
        assert_eq!(look(&mut report, &[], 0), Some(json!({ "clients": null })));
        assert_eq!(look(&mut report, &[], 0), None);
        let connected = "1970-01-01T00:00:01.000Z";
        let entry = json!({ "status": "Connected", "lastConnectedTimeUtc": connected });
        let all = json!({ "clients": { "gw/a%2Eb%24c": entry, "leaf": entry } });
        assert_eq!(look(&mut report, &[module.clone(), leaf.clone()], 1), Some(all));
        assert_eq!(look(&mut report, &[module.clone(), leaf], 2), None);
        let away = json!({
            "status": "Disconnected", "lastDisconnectedTimeUtc": "1970-01-01T00:00:03.000Z",
        });
        let patch = json!({ "clients": { "leaf": null, "gw/a%2Eb%24c": away } });
        assert_eq!(look(&mut report, &[], 3), Some(patch), "a module stays, a leaf goes");
        report.on_gone(&module);
        assert_eq!(report.patch(), Some(json!({ "clients": { "gw/a%2Eb%24c": null } })));
        report.on_not_reported();
        assert_eq!(report.patch(), Some(json!({ "clients": null })));
    }

    #[test]
    fn five_thousand_clients_make_one_patch_within_the_limits_and_modules_come_first() {
        let mut report = ClientsReport::new("gw");
        report.patch();
        let leaves = |from: usize| (from..from + 5_000).map(|n| id(&format!("a-leaf-{n:05}")));
        let mut online: Vec<_> = leaves(0).collect();
        online.push(id("gw/module"));
        let patch = look(&mut report, &online, 1).unwrap();
        let mut whole = json!({});
        merge(&mut whole, &patch);
        assert!(whole["clients"]["gw/module"].is_object());
        assert!(whole["clients"].as_object().unwrap().len() > 50);
        validate_reported(patch.to_string().as_bytes()).unwrap();
        let others: Vec<_> = leaves(5_000).collect();
        let patch = look(&mut report, &others, 2).unwrap();
        validate_reported(patch.to_string().as_bytes()).unwrap();
        merge(&mut whole, &patch);
        let clients = whole["clients"].as_object().unwrap();
        assert!(clients.keys().all(|id| id >= &"a-leaf-05000".to_owned()));
        assert_eq!(clients["gw/module"]["status"], "Disconnected");
    }
}
