//! How registries let in: by a password at once, or by a token that another server gives for it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{Registry, RegistryError, limited};
use crate::protocol::http_client::{ClientAnswer, ClientRequest};

/// What a registry wants (`WWW-Authenticate`).
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Basic,
    Bearer { realm: String, service: String },
}

impl Registry {
    /// The header that answers a 401. Secret.
    pub(super) async fn log_in(
        &self,
        refused: &ClientAnswer,
        repository: &str,
    ) -> Result<String, RegistryError> {
        let basic = self.credential.as_ref().map(|credential| {
            let text = format!("{}:{}", credential.username, credential.password);
            format!("Basic {}", STANDARD.encode(text))
        });
        let header = refused.header("www-authenticate").unwrap_or_default();
        match wanted(header) {
            Some(Wanted::Basic) => basic.ok_or_else(|| {
                self.odd("wants a log-in to tell of signatures, and there is none for it".into())
            }),
            Some(Wanted::Bearer { realm, service }) => {
                let (place, mut target) = self.resolve(&self.place, &realm)?;
                let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
                let scope = format!("repository:{repository}:pull");
                target += if target.contains('?') { "&" } else { "?" };
                target += &format!("service={}&scope={}", encode(&service), encode(&scope));
                let mut request = ClientRequest::new("GET", target);
                if let Some(basic) = basic {
                    request = request.with_header("Authorization", basic);
                }
                let answer = self.good(limited(&place, request).await?, &realm)?;
                let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                let token = json["token"].as_str().or_else(|| json["access_token"].as_str());
                let token = token.ok_or_else(|| self.odd(format!("{realm} gives no token")))?;
                Ok(format!("Bearer {token}"))
            }
            None => Err(self.odd("wants a log-in of a kind that is not served".into())),
        }
    }
}

fn wanted(header: &str) -> Option<Wanted> {
    let (kind, parameters) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if kind.eq_ignore_ascii_case("basic") {
        return Some(Wanted::Basic);
    }
    let of = |name: &str| {
        let parts = parameters.split(',').filter_map(|part| part.split_once('='));
        let mut parts = parts.map(|(name, value)| (name.trim(), value.trim().trim_matches('"')));
        parts.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let realm = of("realm").filter(|_| kind.eq_ignore_ascii_case("bearer"))?;
    Some(Wanted::Bearer { realm, service: of("service").unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_wants_is_read() {
        let bearer = |realm: &str, service: &str| {
            Some(Wanted::Bearer { realm: realm.into(), service: service.into() })
        };
        for (header, expected) in [
            ("Basic realm=\"Registry Realm\"", Some(Wanted::Basic)),
            ("basic", Some(Wanted::Basic)),
            (
                "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"x,y\"",
                bearer("https://auth.docker.io/token", "registry.docker.io"),
            ),
            ("Bearer realm=\"https://a/t\"", bearer("https://a/t", "")),
            ("Negotiate", None),
            ("Bearer service=\"x\"", None),
            ("", None),
        ] {
            assert_eq!(wanted(header), expected, "{header}");
        }
    }
}
