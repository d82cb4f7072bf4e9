//! The modules' network: made if it is not there, with our label, so that it can be told apart.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{Docker, from_bollard};
use crate::domain::agent::names::INSTANCE;
use crate::messages::engine::EngineError;

const DEADLINE: Duration = Duration::from_secs(60);

impl Docker {
    /// Makes the network if it is not there; answers with the address of the host in it.
    pub async fn ensure_network(&self, name: &str) -> Result<Option<String>, EngineError> {
        if let Some(network) = self.network(name).await? {
            return Ok(gateway(&network));
        }
        let body = json!({
            "Name": name, "Driver": "bridge", "CheckDuplicate": true,
            "Labels": { INSTANCE: self.instance },
        });
        match self.json("POST", "/networks/create", Some(&body), DEADLINE).await {
            Ok(_) | Err(EngineError::Conflict(_)) => {} // somebody was faster: as good
            Err(error) => return Err(error),
        }
        let network = self.network(name).await?;
        let missing = || EngineError::Refused(format!("network {name} was made, and is not there"));
        Ok(gateway(&network.ok_or_else(missing)?))
    }

    /// The address of the host in the network, if it is there.
    pub async fn find_network(&self, name: &str) -> Result<Option<String>, EngineError> {
        Ok(self.network(name).await?.as_ref().and_then(gateway))
    }

    /// Removes the network if we made it and nothing is on it. `Ok(false)`: it was left alone.
    pub async fn remove_network(&self, name: &str) -> Result<bool, EngineError> {
        let Some(network) = self.network(name).await? else { return Ok(false) };
        let is_ours = network["Labels"][INSTANCE].as_str() == Some(&self.instance);
        let is_used = network["Containers"].as_object().is_some_and(|used| !used.is_empty());
        if !is_ours || is_used {
            return Ok(false);
        }
        self.client.remove_network(name).await.map_err(from_bollard)?;
        Ok(true)
    }

    async fn network(&self, name: &str) -> Result<Option<Value>, EngineError> {
        let target = format!("/networks/{}", utf8_percent_encode(name, NON_ALPHANUMERIC));
        match self.json("GET", &target, None, DEADLINE).await {
            Ok(network) => Ok(Some(network)),
            Err(EngineError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The first gateway; IPv4 before IPv6.
fn gateway(network: &Value) -> Option<String> {
    let configs = network["IPAM"]["Config"].as_array()?;
    let gateways = configs.iter().filter_map(|it| it["Gateway"].as_str());
    let plain = gateways.map(|it| it.split('/').next().unwrap_or(it)).filter(|it| !it.is_empty());
    let mut all: Vec<&str> = plain.collect();
    all.sort_by_key(|address| address.contains(':'));
    all.first().map(|address| (*address).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_found_if_there_is_one() {
        let with = |configs: Value| gateway(&json!({"IPAM": {"Config": configs}}));
        assert_eq!(with(json!(null)), None);
        assert_eq!(with(json!([{"Subnet": "172.20.0.0/16"}])), None);
        let both = json!([{"Gateway": "fd00::1"}, {"Gateway": "172.20.0.1/16"}]);
        assert_eq!(with(both).as_deref(), Some("172.20.0.1"));
        assert_eq!(with(json!([{"Gateway": "fd00::1"}])).as_deref(), Some("fd00::1"));
    }
}
