//! Names of images: `[registry[:port]/][path/]name[:tag][@digest]`, and whose registry they are of.

use std::fmt;

/// A checked image name, with `:latest` added where it has neither tag nor digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageName {
    text: String,
    /// What it must be, to the bit: from the name, or beside it.
    digest: Option<String>,
}

/// Why a text is not the name of an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadImage {
    /// Nothing there.
    #[error("image name is blank")]
    Blank,
    /// Not of the grammar.
    #[error(
        "`{0}` is not an image name: write [registry[:port]/][path/]name[:tag] or name@sha256:digest"
    )]
    Malformed(String),
    /// `$` with something else than `$upstream:port`.
    #[error(
        "`{0}`: `$` is only allowed as `$upstream:port`, with a port that does not begin with 0"
    )]
    BadUpstream(String),
    /// `$upstream`, on a device without a parent device.
    #[error("`{0}` names the parent device, and this device has none")]
    NoParent(String),
    /// `settings.digest` of another form.
    #[error("`{0}` is not a digest: write sha256: and 64 hexadecimal digits")]
    Digest(String),
    /// `settings.digest` of something else.
    #[error("digest `{0}` is not the one in the image's name: remove one of them")]
    TwoDigests(String),
}

/// Docker Hub, as credentials name it.
pub const DOCKER_HUB: &str = "https://index.docker.io/v1/";

impl ImageName {
    /// Checks `text`; `$upstream:port` becomes the parent device's host name.
    pub fn parse(text: &str, parent: Option<&str>) -> Result<Self, BadImage> {
        let text = text.trim();
        if text.is_empty() {
            return Err(BadImage::Blank);
        }
        let text = if text.starts_with('$') { expand_upstream(text, parent)? } else { text.into() };
        let malformed = || BadImage::Malformed(text.chars().take(300).collect());
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text.as_str(), None),
        };
        if digest.is_some_and(|digest| !is_digest(digest))
            || name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '$')
        {
            return Err(malformed());
        }
        let last = name.rsplit('/').next().unwrap_or(name);
        let (short, tag) = match last.split_once(':') {
            Some((short, tag)) => (short, Some(tag)),
            None => (last, None),
        };
        if short.is_empty() || tag.is_some_and(|tag| tag.is_empty() || tag.contains(':')) {
            return Err(malformed());
        }
        let whole = tag.is_some() || digest.is_some();
        let digest = digest.map(str::to_owned);
        Ok(ImageName { text: if whole { text } else { format!("{text}:latest") }, digest })
    }

    /// Pins it (`settings.digest`).
    pub fn with_digest(mut self, digest: &str) -> Result<Self, BadImage> {
        let digest = digest.trim();
        let short = || digest.chars().take(300).collect();
        if !is_digest(digest) {
            return Err(BadImage::Digest(short()));
        }
        if self.digest.as_deref().is_some_and(|known| known != digest) {
            return Err(BadImage::TwoDigests(short()));
        }
        self.digest = Some(digest.to_owned());
        Ok(self)
    }

    /// The name, whole, as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What is pulled and run: by the digest alone, if it has one.
    pub fn reference(&self) -> String {
        match &self.digest {
            Some(digest) => format!("{}@{digest}", without_tag(&self.text)),
            None => self.text.clone(),
        }
    }

    /// `settings.digest`, if it stands there and not in the name.
    pub fn digest_beside(&self) -> Option<&str> {
        self.digest.as_deref().filter(|_| !self.text.contains('@'))
    }

    /// The address of its registry; `None` for a name without `/`, which never needs a log-in.
    pub fn registry(&self) -> Option<&str> {
        registry_of(&self.text)
    }
}

/// The registry an image comes from, by the first part of its name.
pub fn registry_of(image: &str) -> Option<&str> {
    let (first, _) = image.split_once('/')?;
    let is_host = first.contains(['.', ':']) || first == "localhost";
    Some(if is_host { first } else { DOCKER_HUB })
}

/// An image as registries know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Host of the registry, lower case; `docker.io` where the name has none.
    pub registry: String,
    /// `library/alpine`.
    pub repository: String,
    /// Of the image, if the name has one.
    pub digest: Option<String>,
}

impl Location {
    /// Of a checked name, or of one that an engine gave.
    pub fn of(image: &str) -> Self {
        let name = without_tag(image);
        let (registry, path) = match (registry_of(name), name.split_once('/')) {
            (Some(registry), Some((_, path))) if registry != DOCKER_HUB => (registry, path),
            _ => ("docker.io", name),
        };
        let hub = registry == "docker.io" || registry == "index.docker.io";
        let repository =
            if hub && !path.contains('/') { format!("library/{path}") } else { path.into() };
        let registry = if hub { "docker.io".into() } else { registry.to_ascii_lowercase() };
        let digest = image.split_once('@').map(|(_, digest)| digest.to_owned());
        Location { registry, repository, digest }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)
    }
}

/// A name without tag and digest.
pub fn without_tag(image: &str) -> &str {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    name[last..].find(':').map_or(name, |colon| &name[..last + colon])
}

/// Replaces `$upstream:port`, at the beginning or after `://`.
pub fn expand_upstream(text: &str, parent: Option<&str>) -> Result<String, BadImage> {
    let Some(dollar) = text.find('$') else { return Ok(text.into()) };
    let bad = || BadImage::BadUpstream(text.chars().take(300).collect());
    let (before, after) = text.split_at(dollar);
    let after = after.strip_prefix("$upstream:").ok_or_else(bad)?;
    let port = after.split('/').next().unwrap_or_default();
    let is_port = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if !is_port || port.starts_with('0') || !(before.is_empty() || before.ends_with("://")) {
        return Err(bad());
    }
    let parent = parent.ok_or_else(|| BadImage::NoParent(text.chars().take(300).collect()))?;
    Ok(format!("{before}{parent}:{after}"))
}

/// Whether credentials for `address` are for `registry`: scheme, case and a last `/` do not count.
pub fn is_registry(address: &str, registry: &str) -> bool {
    let plain = |address: &str| {
        let address = address.trim().to_ascii_lowercase();
        let address = address.trim_start_matches("https://").trim_start_matches("http://");
        let address = address.trim_end_matches('/').trim_end_matches("/v1").to_owned();
        match address.as_str() {
            "docker.io" | "registry-1.docker.io" => "index.docker.io".to_owned(),
            _ => address,
        }
    };
    plain(address) == plain(registry)
}

fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else { return false };
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b"+._-".contains(&b);
    !algorithm.is_empty()
        && algorithm.bytes().all(is_word)
        && hex.len() >= 32
        && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_completed() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let with_digest = format!("r.io/a/b@{digest}");
        let with_both = format!("r.io/a/b:1@{digest}");
        for (text, name) in [
            ("ea", Some("ea:latest")),
            (" ea:t1 ", Some("ea:t1")),
            ("mcr.ms.com/ms/ea:t1", Some("mcr.ms.com/ms/ea:t1")),
            ("localhost:9000/ea", Some("localhost:9000/ea:latest")),
            (&with_digest, Some(with_digest.as_str())),
            (&with_both, Some(with_both.as_str())),
            ("a@sha256:short", None),
            ("ea:t1:t2", None),
            ("a b", None),
            ("a/", None),
            ("a:", None),
            ("", None),
            ("  ", None),
            ("$dummy:9000/ea", None),
        ] {
            let parsed = ImageName::parse(text, None).ok();
            assert_eq!(parsed.as_ref().map(ImageName::as_str), name, "{text}");
        }
    }

    #[test]
    fn a_digest_in_the_name_or_beside_it_pins_the_image() {
        let (one, two) =
            (format!("sha256:{}", "0a".repeat(32)), format!("sha256:{}", "0b".repeat(32)));
        let plain = ImageName::parse("r.io:5000/a/b:1", None).unwrap();
        assert_eq!(plain.reference(), "r.io:5000/a/b:1");
        let pinned = plain.clone().with_digest(&one).unwrap();
        assert_eq!(pinned.as_str(), "r.io:5000/a/b:1", "as it was written");
        assert_eq!(pinned.reference(), format!("r.io:5000/a/b@{one}"));
        let named = ImageName::parse(&format!("b:1@{one}"), None).unwrap();
        assert_eq!(named.reference(), format!("b@{one}"));
        assert_eq!(named.clone().with_digest(&one), Ok(named.clone()));
        assert_eq!(named.with_digest(&two), Err(BadImage::TwoDigests(two)));
        assert_eq!(plain.with_digest("sha256:1"), Err(BadImage::Digest("sha256:1".into())));
    }

    #[test]
    fn every_name_has_a_registry_and_a_repository() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (image, location, pinned) in [
            ("alpine:3".to_owned(), "docker.io/library/alpine", false),
            ("docker.io/alpine".to_owned(), "docker.io/library/alpine", false),
            ("team/app:1".to_owned(), "docker.io/team/app", false),
            (format!("R.io:5000/a/b:1@{digest}"), "r.io:5000/a/b", true),
            (format!("localhost/b@{digest}"), "localhost/b", true),
        ] {
            let found = Location::of(&image);
            assert_eq!((found.to_string().as_str(), found.digest.is_some()), (location, pinned));
        }
    }

    #[test]
    fn the_parent_device_may_be_the_registry() {
        let parse = |text| ImageName::parse(text, Some("parent")).map(|name| name.to_string());
        assert_eq!(parse("$upstream:9000/comp/ea:tag1").unwrap(), "parent:9000/comp/ea:tag1");
        assert!(parse("$upstream:/comp/ea").is_err());
        assert!(parse("$upstream:08/comp/ea").is_err());
        assert!(ImageName::parse("$upstream:9000/ea", None).is_err());
    }

    #[test]
    fn the_registry_is_the_first_part_if_it_is_a_host() {
        for (image, registry) in [
            ("ubuntu", None),
            ("repo/image", Some(DOCKER_HUB)),
            ("hostname/repo/image", Some(DOCKER_HUB)),
            ("x.azurecr.io/namespace/image", Some("x.azurecr.io")),
            ("localhost:5000/image", Some("localhost:5000")),
        ] {
            assert_eq!(registry_of(image), registry, "{image}");
        }
        assert!(is_registry("docker.io", DOCKER_HUB));
        assert!(is_registry("https://X.azurecr.io/", "x.azurecr.io"));
        assert!(!is_registry("azurecr.io", "x.azurecr.io"));
    }
}
