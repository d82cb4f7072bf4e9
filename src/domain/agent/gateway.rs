//! How a container reaches EdgeHub, by the host name of this device.

use std::net::IpAddr;

/// What makes the host name known in a container: nothing for an address, and the address of the
/// host in the modules' network for a name. An error is one of every container.
pub fn extra_host(
    gateway_hostname: &str,
    network_gateway: Option<&str>,
) -> Result<Option<(String, String)>, String> {
    let name = gateway_hostname.trim();
    let loopback = || {
        Err(format!(
            "device.gateway_hostname is `{name}`, which in a container is the container itself: \
             set it to a name or an address of this device that is not a loopback one"
        ))
    };
    let bare = name.trim_matches(['[', ']']);
    match bare.parse::<IpAddr>() {
        Ok(address) if address.is_loopback() || address.is_unspecified() => loopback(),
        Ok(_) => Ok(None),
        Err(_) if name.is_empty() => Err("device.gateway_hostname is not set".into()),
        Err(_) if bare.eq_ignore_ascii_case("localhost") || bare.ends_with(".localhost") => {
            loopback()
        }
        Err(_) => Ok(network_gateway.map(|gateway| (name.to_owned(), gateway.to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_the_networks_gateway_addresses_are_used_as_they_are() {
        let host = |name| extra_host(name, Some("172.20.0.1"));
        let known = Ok(Some(("gw.local".to_owned(), "172.20.0.1".to_owned())));
        assert_eq!(host("gw.local"), known);
        assert_eq!(host("192.168.1.7"), Ok(None));
        assert_eq!(extra_host("gw.local", None), Ok(None));
        for loopback in
            ["localhost", "LocalHost", "x.localhost", "127.0.0.11", "::1", "0.0.0.0", ""]
        {
            assert!(host(loopback).is_err(), "{loopback}");
        }
    }
}
