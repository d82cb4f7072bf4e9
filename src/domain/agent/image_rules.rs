//! Which images may run on this device, by rules of the device: who deploys cannot change them.
//!
//! Without rules every image may. With rules an image needs one, and the rule with the longest
//! name that the image's begins with counts: there is no order to get wrong.
//! next: `actors/agent/engine/gate.rs`, which asks the engine and the registry.

use super::image::Location;

/// What an image must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Require {
    /// That it is from there.
    Nothing,
    /// A digest, in the deployment.
    Digest,
    /// A signature by one of the rule's keys.
    Signature,
}

impl Require {
    /// By its word in the settings.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "nothing" => Require::Nothing,
            "digest" => Require::Digest,
            "signature" => Require::Signature,
            _ => return None,
        })
    }
}

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256; signatures in DER.
    EcdsaP256,
    /// Ed25519.
    Ed25519,
}

/// Who may have signed an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Where it was read from, for people.
    pub name: String,
    /// How it signs.
    pub algorithm: Algorithm,
    /// The point, as the algorithm has it.
    pub bytes: Vec<u8>,
}

/// A rule for images of one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRule {
    /// `*`, a registry, or a registry and the beginning of a path: `r.io/plant`.
    pub image: String,
    /// What they must show.
    pub require: Require,
    /// For [`Require::Signature`].
    pub keys: Vec<PublicKey>,
}

/// All rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageRules(Vec<ImageRule>);

/// Why there can be no such rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRules {
    /// It is not a name.
    #[error(
        "`{0}` names no images: write a registry as registry.example.com, with the beginning of a path or not, or \"*\""
    )]
    Name(String),
    /// There are two.
    #[error("there are two rules for {0}: remove one")]
    Twice(String),
    /// Nobody could sign.
    #[error("the rule for {0} requires a signature and has no keys")]
    NoKeys(String),
    /// Keys nobody looks at.
    #[error("the rule for {0} has keys and does not require a signature")]
    IdleKeys(String),
}

impl ImageRules {
    /// Checks them.
    pub fn new(rules: Vec<ImageRule>) -> Result<Self, BadRules> {
        let mut all: Vec<ImageRule> = Vec::new();
        for mut rule in rules {
            let given = rule.image.clone();
            rule.image = normal(&given).ok_or_else(|| BadRules::Name(given.clone()))?;
            if all.iter().any(|known| known.image == rule.image) {
                return Err(BadRules::Twice(given));
            }
            match (rule.require, rule.keys.is_empty()) {
                (Require::Signature, true) => return Err(BadRules::NoKeys(given)),
                (Require::Nothing | Require::Digest, false) => {
                    return Err(BadRules::IdleKeys(given));
                }
                _ => all.push(rule),
            }
        }
        Ok(ImageRules(all))
    }

    /// There are none: every image may run.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rule for an image, `None` if there are no rules at all; or why it may not run.
    pub fn rule_for(&self, image: &str) -> Result<Option<&ImageRule>, String> {
        if self.is_empty() {
            return Ok(None);
        }
        let location = Location::of(image);
        let name = location.to_string();
        let fits = |rule: &&ImageRule| {
            let rest = name.strip_prefix(&rule.image);
            rule.image == "*" || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let length = |rule: &&ImageRule| if rule.image == "*" { 0 } else { rule.image.len() };
        let rule = self.0.iter().filter(fits).max_by_key(length);
        let rule = rule.ok_or_else(|| {
            format!("no rule of images.rules allows images of {}", location.registry)
        })?;
        if rule.require == Require::Digest && location.digest.is_none() {
            return Err(format!(
                "the rule for {} wants a digest: write {}@sha256:… in the deployment, or \
                 settings.digest",
                rule.image,
                super::image::without_tag(image)
            ));
        }
        Ok(Some(rule))
    }
}

/// As `Location` writes it.
fn normal(given: &str) -> Option<String> {
    let given = given.trim().trim_end_matches('/');
    if given == "*" {
        return Some(given.into());
    }
    let (registry, path) = given.split_once('/').map_or((given, None), |(a, b)| (a, Some(b)));
    let is_host = registry.contains(['.', ':']) || registry == "localhost";
    let is_plain = !given.contains(['@', '*', '$']) && !given.contains(char::is_whitespace);
    if !is_host || !is_plain || path.is_some_and(|path| path.contains(':')) {
        return None;
    }
    let registry = match registry.to_ascii_lowercase().as_str() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".into(),
        other => other.to_owned(),
    };
    Some(path.map_or(registry.clone(), |path| format!("{registry}/{path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(image: &str, require: Require) -> ImageRule {
        let key = PublicKey { name: "k".into(), algorithm: Algorithm::Ed25519, bytes: vec![1] };
        let keys = if require == Require::Signature { vec![key] } else { Vec::new() };
        ImageRule { image: image.into(), require, keys }
    }

    #[test]
    fn the_rule_with_the_longest_name_counts_and_what_has_none_may_not_run() {
        let rules = ImageRules::new(vec![
            rule("R.io", Require::Nothing),
            rule("r.io/plant", Require::Signature),
            rule("r.io/plant/open/", Require::Digest),
            rule("docker.io/library", Require::Nothing),
        ])
        .unwrap();
        let found = |image| rules.rule_for(image).map(|rule| rule.unwrap().image.clone()).ok();
        let pinned = format!("r.io/plant/open/x@sha256:{}", "0a".repeat(32));
        for (image, rule) in [
            ("r.io/a:1", Some("r.io")),
            ("r.io/planted:1", Some("r.io")),
            ("r.io/plant:1", Some("r.io/plant")),
            ("r.io/plant/x:1", Some("r.io/plant")),
            ("r.io/plant/open/x:1", None),
            (&pinned, Some("r.io/plant/open")),
            ("alpine", Some("docker.io/library")),
            ("team/app", None),
            ("r.io.evil.com/a", None),
            ("r.io:5000/a", None),
        ] {
            assert_eq!(found(image).as_deref(), rule, "{image}");
        }
        let why = rules.rule_for("evil.com/a:1").unwrap_err();
        assert!(why.contains("evil.com"), "{why}");
        assert_eq!(ImageRules::default().rule_for("evil.com/a:1"), Ok(None));
        let any = ImageRules::new(vec![rule("*", Require::Nothing)]).unwrap();
        assert!(any.rule_for("evil.com/a:1").is_ok());
    }

    #[test]
    fn rules_that_mean_nothing_are_errors() {
        let bad = |rules: Vec<ImageRule>| ImageRules::new(rules).unwrap_err();
        for name in ["plant", "", "r.io/a:1", "r.io/*", "r.io/a@sha256:1", "a b.c"] {
            let error = bad(vec![rule(name, Require::Nothing)]);
            assert_eq!(error, BadRules::Name(name.into()));
        }
        let twice = bad(vec![rule("r.io", Require::Nothing), rule("R.io/", Require::Digest)]);
        assert_eq!(twice, BadRules::Twice("R.io/".into()));
        let none = ImageRule { keys: Vec::new(), ..rule("r.io", Require::Signature) };
        assert_eq!(bad(vec![none]), BadRules::NoKeys("r.io".into()));
        let idle = ImageRule { require: Require::Digest, ..rule("r.io", Require::Signature) };
        assert_eq!(bad(vec![idle]), BadRules::IdleKeys("r.io".into()));
    }
}
