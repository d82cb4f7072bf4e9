//! One module of a deployment.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::domain::agent::create_options;
use crate::domain::agent::fields::{
    Invalid, Object, field, invalid, kind, object, some_field, text, word,
};
use crate::domain::agent::image::{ImageName, Location};
use crate::domain::agent::protocol::{Protocol, VARIABLES};
use crate::domain::agent::words::{DesiredStatus, PullPolicy, restart_policy};
use crate::domain::restart::RestartPolicy;

/// What a deployment says of one module. `Debug` shows neither env nor createOptions: they may
/// hold secrets.
#[derive(Clone, PartialEq)]
pub struct ModuleSpec {
    /// Key in `modules`.
    pub name: String,
    /// Its author's version: shown, not acted on.
    pub version: String,
    /// Whether it is to run.
    pub status: DesiredStatus,
    /// When it is started again.
    pub restart_policy: RestartPolicy,
    /// Lower numbers start first.
    pub startup_order: u32,
    /// When the registry is asked.
    pub pull_policy: PullPolicy,
    /// What is run.
    pub image: ImageName,
    /// For the engine, as written.
    pub create_options: Object,
    /// Environment.
    pub env: BTreeMap<String, String>,
}

/// The simulated sensor of the public samples.
const AMQP_BY_ITSELF: &str = "azureiotedge-simulated-temperature-sensor";

/// `startupOrder` of a module that says none: last.
pub const LAST: u32 = u32::MAX;

impl ModuleSpec {
    /// The variable that has the module speak AMQP, which is not served: as the environment says, or
    /// as a program that is known does unless it is told otherwise.
    pub fn speaks_amqp(&self) -> Option<&str> {
        let env = self.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let of_engine = some_field(&self.create_options, "Env").and_then(Value::as_array);
        let of_engine = of_engine.into_iter().flatten().filter_map(Value::as_str);
        let all = env.chain(of_engine.filter_map(|variable| variable.split_once('=')));
        let told = all.filter_map(|(name, value)| {
            let is_one = VARIABLES.iter().any(|it| it.eq_ignore_ascii_case(name));
            Some((name, Protocol::parse(value)?)).filter(|_| is_one)
        });
        let told: Vec<(&str, Protocol)> = told.collect();
        let by_itself = Location::of(self.image.as_str()).repository.ends_with(AMQP_BY_ITSELF);
        let is_told = |(name, _): &(&str, _)| name.eq_ignore_ascii_case(VARIABLES[1]);
        match told.iter().find(|(_, protocol)| protocol.is_amqp()) {
            Some((name, _)) => Some(name),
            None => (by_itself && !told.iter().any(is_told)).then_some(VARIABLES[1]),
        }
    }

    /// That it reaches no hub as it is, and what to write.
    pub fn amqp_note(&self) -> Option<String> {
        let name = self.speaks_amqp()?;
        Some(format!("speaks AMQP ({name}), which is not served: set {name} to Mqtt"))
    }

    /// That the engine's own restart policy is not used.
    pub fn engine_policy_note(&self) -> Option<String> {
        let name = self.engine_policy()?;
        let note = "of its createOptions is not used, but its restartPolicy";
        Some(format!("RestartPolicy {name} {note}"))
    }

    /// The engine's own restart policy, if createOptions ask for one: it is not used.
    pub fn engine_policy(&self) -> Option<&str> {
        let host = some_field(&self.create_options, "HostConfig").and_then(Value::as_object)?;
        let policy = some_field(host, "RestartPolicy").and_then(Value::as_object)?;
        let name = some_field(policy, "Name").and_then(Value::as_str)?;
        Some(name).filter(|name| !["", "no"].contains(name))
    }
}

impl fmt::Debug for ModuleSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {:?})", self.name, self.image, self.status)
    }
}

/// Reads one module; `place` is where it stands.
pub fn parse_module(
    name: &str,
    value: &Value,
    place: &str,
    parent: Option<&str>,
) -> Result<ModuleSpec, Invalid> {
    let module = object(value, place)?;
    let kind = text(module, "type", place)?;
    if !kind.eq_ignore_ascii_case("docker") {
        let what = format!("`{kind}` is not served; write docker");
        return Err(invalid(format!("{place}.type"), what));
    }
    let status = word(module, "status", place, None, DesiredStatus::parse, "`running`, `stopped`")?;
    let restart_policy = word(
        module,
        "restartPolicy",
        place,
        Some(RestartPolicy::OnUnhealthy),
        restart_policy,
        "`never`, `on-failure`, `on-unhealthy`, `always`",
    )?;
    let default = Some(PullPolicy::OnCreate);
    let pulls = "`on-create`, `never`";
    let pull_policy = word(module, "imagePullPolicy", place, default, PullPolicy::parse, pulls)?;
    let settings = some_field(module, "settings")
        .ok_or_else(|| invalid(format!("{place}.settings"), "is missing"))?;
    let at = format!("{place}.settings");
    let settings = object(settings, &at)?;
    let mut image = ImageName::parse(text(settings, "image", &at)?, parent)
        .map_err(|error| invalid(format!("{at}.image"), error.to_string()))?;
    if some_field(settings, "digest").is_some_and(|digest| digest != "") {
        image = image
            .with_digest(text(settings, "digest", &at)?)
            .map_err(|error| invalid(format!("{at}.digest"), error.to_string()))?;
    }
    Ok(ModuleSpec {
        name: name.into(),
        version: some_field(module, "version").and_then(Value::as_str).unwrap_or_default().into(),
        status,
        restart_policy,
        startup_order: startup_order(module, place)?,
        pull_policy,
        image,
        create_options: create_options::parse(settings, &at)?,
        env: environment(module, place)?,
    })
}

fn startup_order(module: &Object, place: &str) -> Result<u32, Invalid> {
    let Some(value) = field(module, "startupOrder") else { return Ok(LAST) };
    let order = value.as_u64().and_then(|order| u32::try_from(order).ok());
    order.ok_or_else(|| {
        invalid(format!("{place}.startupOrder"), "must be a whole number from 0 to 4294967295")
    })
}

fn environment(module: &Object, place: &str) -> Result<BTreeMap<String, String>, Invalid> {
    let Some(env) = some_field(module, "env") else { return Ok(BTreeMap::new()) };
    let place = format!("{place}.env");
    let entries = object(env, &place)?.iter().filter(|(name, value)| {
        !name.starts_with('$') && !value.is_null() // deleted by a patch
    });
    entries
        .map(|(name, entry)| {
            let place = format!("{place}.{name}");
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(invalid(place, "is not the name of a variable"));
            }
            let value = match field(object(entry, &place)?, "value") {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(plain @ (Value::Number(_) | Value::Bool(_))) => plain.to_string(),
                Some(other) => {
                    let what = format!("must be a text, is {}", kind(other));
                    return Err(invalid(format!("{place}.value"), what));
                }
            };
            Ok((name.clone(), value))
        })
        .collect()
}
