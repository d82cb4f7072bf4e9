//! What a container may do on the host, where a device does not leave that to its deployments.

use serde_json::json;

use super::take_array;
use crate::domain::agent::fields::{Object, some_field, take_field};

/// What no container has then: with them it could become another user.
const DROPPED: [&str; 2] = ["CHOWN", "SETUID"];

/// Takes from `host` what would lift it above others.
pub(super) fn lower(host: &mut Object) {
    let is_given = |name: &str| some_field(host, name).is_some();
    if is_given("Privileged") || is_given("CapAdd") {
        take_field(host, "Privileged");
        host.insert("Privileged".into(), json!(false));
    }
    take_field(host, "CapAdd");
    let asked = take_array(host, "CapDrop");
    let dropped = DROPPED.iter().map(|it| json!(it)).chain(asked);
    host.insert("CapDrop".into(), dropped.collect());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn nothing_of_createoptions_lifts_a_container_above_others() {
        let lowered = |host: Value| {
            let mut host = host.as_object().unwrap().clone();
            lower(&mut host);
            Value::Object(host)
        };
        assert_eq!(
            lowered(json!({"privileged": true, "CAPADD": ["SYS_ADMIN"], "Binds": ["/a:/b"]})),
            json!({"Binds": ["/a:/b"], "Privileged": false, "CapDrop": ["CHOWN", "SETUID"]})
        );
        assert_eq!(
            lowered(json!({"CapDrop": ["NET_RAW"]})),
            json!({"CapDrop": ["CHOWN", "SETUID", "NET_RAW"]})
        );
    }
}
