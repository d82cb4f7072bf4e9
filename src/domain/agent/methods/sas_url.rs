//! The address of a container of blobs, with the signature that lets one write there: a secret.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::domain::connection_string::Secret;

/// Of a segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// See the module documentation. Shown without its query.
#[derive(Clone)]
pub struct SasUrl {
    /// `https`, not `http`.
    pub is_tls: bool,
    /// Host name, or `$upstream`: the parent.
    pub host: String,
    /// 443 or 80 if it does not say.
    pub port: u16,
    path: String,
    query: Secret,
}

impl SasUrl {
    /// Of `https://host[:port]/container?signature`. The error does not repeat it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("it begins with https:// (or http://)".into()),
        };
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = address.split_once('/').unwrap_or((address, ""));
        let default = if is_tls { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| "its port is not a number".to_owned())?)
            }
            _ => (authority, default),
        };
        let path = path.trim_end_matches('/');
        let is_plain = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}#@".contains(c);
        if host.is_empty() || !authority.chars().all(is_plain) {
            return Err("it has no host, or one that cannot be read".into());
        }
        if !path.chars().chain(query.chars()).all(is_plain) {
            return Err("its path or signature is not encoded".into());
        }
        let (path, query) =
            (format!("/{path}"), Secret::new(query.split('#').next().unwrap_or("")));
        Ok(SasUrl { is_tls, host: host.into(), port, path, query })
    }

    /// What is asked for at the host to write a blob of this name, with more in the query.
    pub fn target(&self, blob: &str, more: &str) -> String {
        let segments = blob.split('/').map(|part| utf8_percent_encode(part, SEGMENT).to_string());
        let blob = segments.collect::<Vec<_>>().join("/");
        let slash = if self.path.ends_with('/') { "" } else { "/" };
        let parts = [self.query.reveal(), more].into_iter().filter(|part| !part.is_empty());
        let query = parts.collect::<Vec<_>>().join("&");
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}{slash}{blob}{mark}{query}", self.path)
    }
}

impl fmt::Display for SasUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        let port = match (self.is_tls, self.port) {
            (true, 443) | (false, 80) => String::new(),
            (_, port) => format!(":{port}"),
        };
        write!(f, "{scheme}://{}{port}{}", self.host, self.path)
    }
}

impl fmt::Debug for SasUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}?***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_named_below_the_container_and_the_signature_is_not_shown() {
        let url = SasUrl::parse("https://acct.blob.example/logs?sv=1&sig=a%2Bb%3D").unwrap();
        assert_eq!((url.host.as_str(), url.port, url.is_tls), ("acct.blob.example", 443, true));
        let target = url.target("hub/gw/a b.log.gz", "comp=block");
        assert_eq!(target, "/logs/hub/gw/a%20b.log.gz?sv=1&sig=a%2Bb%3D&comp=block");
        assert_eq!(url.to_string(), "https://acct.blob.example/logs");
        assert_eq!(format!("{url:?}"), "https://acct.blob.example/logs?***");
        let url = SasUrl::parse("HTTP://$upstream:8443/devstoreaccount1/c/").unwrap();
        assert_eq!((url.host.as_str(), url.port), ("$upstream", 8443));
        assert_eq!(url.target("b", ""), "/devstoreaccount1/c/b");
        assert_eq!(SasUrl::parse("http://[::1]/c").unwrap().host, "[::1]");
        assert_eq!(SasUrl::parse("https://h?sig=x").unwrap().target("b", ""), "/b?sig=x");
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for wrong in [
            "",
            "acct/logs?sig=secret",
            "ftp://h/secret",
            "https:///c?sig=secret",
            "https://h:port/c?sig=secret",
            "https://h/c?sig=secret\r\nX: y",
            "https://h/a b?secret",
        ] {
            let why = SasUrl::parse(wrong).unwrap_err();
            assert!(!why.contains("secret"), "{why}");
        }
    }
}
