//! Settings of images: how they come, and when they go.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::checks::unreadable;
use super::error::SettingsError;
use super::layers::Merged;
use super::values::{Age, Size};
use crate::domain::agent::image_rules::{ImageRule, ImageRules, Require};
use crate::protocol::files::read_text;
use crate::protocol::registry::signature::read_key;

/// See the module documentation.
#[derive(Clone, Debug)]
pub struct Images {
    /// Downloads at a time.
    pub max_pulls: usize,
    /// Of the engine's disk, what no download takes.
    pub disk_reserve: u64,
    /// Which may run.
    pub rules: ImageRules,
    /// When those that nothing needs go: every so often, after so long; `None`: never.
    pub collection: Option<(Duration, Duration)>,
}

#[derive(Deserialize)]
pub(super) struct Raw {
    max_pulls: usize,
    disk_reserve_bytes: Size,
    #[serde(default)]
    rules: Vec<RawRule>,
}

/// `image_garbage_collection`, in the words of the reference.
#[derive(Deserialize)]
pub(super) struct RawCollection {
    enabled: bool,
    cleanup_recurrence: Age,
    image_age_cleanup_threshold: Age,
}

#[derive(Deserialize)]
struct RawRule {
    image: String,
    require: String,
    #[serde(default)]
    keys: Vec<PathBuf>,
}

pub(super) fn read(
    raw: Raw,
    collection: RawCollection,
    merged: &Merged,
) -> Result<Images, SettingsError> {
    if raw.max_pulls == 0 {
        return Err(merged.wrong("images.max_pulls", "expects at least 1, not 0"));
    }
    let key = "images.rules";
    let rules = raw.rules.into_iter().map(|rule| {
        let require = Require::parse(&rule.require).unwrap_or(Require::Signature);
        let keys = rule.keys.iter().map(|path| {
            let pem = read_text(path).map_err(|error| unreadable(merged, key, &error))?;
            let name = path.display().to_string();
            read_key(pem.as_bytes(), &name)
                .map_err(|error| merged.wrong(key, format!("{name} {error}")))
        });
        let keys = keys.collect::<Result<_, _>>()?;
        Ok(ImageRule { image: rule.image, require, keys })
    });
    let rules = rules.collect::<Result<_, SettingsError>>()?;
    let rules = ImageRules::new(rules).map_err(|error| merged.wrong(key, error.to_string()))?;
    let Age(every) = collection.cleanup_recurrence;
    if every.is_zero() {
        let key = "image_garbage_collection.cleanup_recurrence";
        return Err(merged.wrong(key, "expects more than 0"));
    }
    let times = (every, collection.image_age_cleanup_threshold.0);
    Ok(Images {
        max_pulls: raw.max_pulls,
        disk_reserve: raw.disk_reserve_bytes.0,
        rules,
        collection: collection.enabled.then_some(times),
    })
}
