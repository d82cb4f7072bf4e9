//! The deployment: desired properties of `$edgeAgent`, schema 1.0 and 1.1.
//!
//! What is wrong with the document as a whole rejects it, with the code that IoT Edge gives for
//! it. What is wrong with one module rejects that module, and the others run.
//! next: `module.rs`, then `body.rs`.

mod module;
#[cfg(test)]
mod tests;
mod unknown;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

pub use self::module::{LAST, ModuleSpec, parse_module};
use super::create_options;
use super::fields::{Invalid, Object, invalid, object, some_field, text};
use super::image::expand_upstream;
use crate::domain::identity::is_id;

/// Names that stand for this process.
pub const SYSTEM_MODULES: [&str; 2] = ["edgeAgent", "edgeHub"];

/// A deployment, checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    /// As written.
    pub schema_version: String,
    /// The modules that are whole, and why the others are not.
    pub modules: BTreeMap<String, Result<ModuleSpec, Invalid>>,
    /// `systemModules`, for reports and warnings.
    pub system: BTreeMap<&'static str, SystemModule>,
    /// Log-ins to registries.
    pub credentials: Vec<Credential>,
    /// `runtime.settings` that are reported back, and not acted on.
    pub runtime: RuntimeSettings,
    /// What was read and is not acted on, in words.
    pub warnings: Vec<String>,
}

/// `edgeAgent` or `edgeHub` of a deployment: they name this process, their images are not run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SystemModule {
    /// As written.
    pub image: String,
    /// Names in `env`; values may be secrets.
    pub env: Vec<String>,
}

/// See [`Manifest::runtime`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuntimeSettings {
    /// As written.
    pub min_docker_version: String,
    /// As written.
    pub logging_options: String,
}

/// A log-in to a registry. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Host of the registry.
    pub address: String,
    /// Who.
    pub username: String,
    /// Secret.
    pub password: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.username, self.address)
    }
}

/// Why a whole document is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// 417.
    #[error("the device has no deployment: desired properties of $edgeAgent are empty; deploy one")]
    Empty,
    /// 412.
    #[error("schema version {0} is not served; write 1.0 or 1.1")]
    SchemaVersion(String),
    /// 400.
    #[error("the deployment is not well formed: {0}")]
    Format(#[from] Invalid),
}

impl Rejected {
    /// Code of `lastDesiredStatus`.
    pub fn code(&self) -> u16 {
        match self {
            Rejected::Empty => 417,
            Rejected::SchemaVersion(_) => 412,
            Rejected::Format(_) => 400,
        }
    }
}

impl Manifest {
    /// Reads desired properties; `parent` is the host name of the parent device, if there is one.
    pub fn parse(properties: &Value, parent: Option<&str>) -> Result<Self, Rejected> {
        let root = match properties {
            Value::Null => return Err(Rejected::Empty),
            other => object(other, "properties")?,
        };
        if root.keys().all(|key| key.starts_with('$')) {
            return Err(Rejected::Empty);
        }
        let schema_version = schema_version(root)?;
        let mut manifest = Manifest { schema_version, ..Manifest::default() };
        manifest.read_runtime(root, parent)?;
        let system = some_field(root, "systemModules")
            .ok_or_else(|| invalid("systemModules", "is missing"))?;
        manifest.read_system(object(system, "systemModules")?);
        if let Some(modules) = some_field(root, "modules") {
            for (name, value) in object(modules, "modules")? {
                if !name.starts_with('$') && !value.is_null() {
                    let place = format!("modules.{name}");
                    let module = check_name(name, &place)
                        .and_then(|()| parse_module(name, value, &place, parent));
                    manifest.modules.insert(name.clone(), module);
                }
            }
        }
        manifest.warnings.extend(unknown::unknown(root));
        Ok(manifest)
    }

    /// What of it is not acted on, or cannot work here, in words.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.warnings.clone();
        for spec in self.modules.values().flatten() {
            let all = [spec.amqp_note(), spec.engine_policy_note()];
            notes.extend(all.into_iter().flatten().map(|note| format!("{}: {note}", spec.name)));
        }
        notes
    }

    /// The log-in for an image, if there is one.
    pub fn credential(&self, registry: &str) -> Option<&Credential> {
        self.credentials.iter().find(|it| super::image::is_registry(&it.address, registry))
    }

    fn read_runtime(&mut self, root: &Object, parent: Option<&str>) -> Result<(), Invalid> {
        let runtime =
            some_field(root, "runtime").ok_or_else(|| invalid("runtime", "is missing"))?;
        let runtime = object(runtime, "runtime")?;
        let kind = text(runtime, "type", "runtime")?;
        if !kind.eq_ignore_ascii_case("docker") {
            let what = format!("`{kind}` is not served; write docker");
            return Err(invalid("runtime.type", what));
        }
        let Some(settings) = some_field(runtime, "settings") else { return Ok(()) };
        let settings = object(settings, "runtime.settings")?;
        let plain = |name| some_field(settings, name).and_then(Value::as_str).unwrap_or_default();
        self.runtime = RuntimeSettings {
            min_docker_version: plain("minDockerVersion").into(),
            logging_options: plain("loggingOptions").into(),
        };
        if let Some(credentials) = some_field(settings, "registryCredentials") {
            let place = "runtime.settings.registryCredentials";
            for (name, value) in object(credentials, place)? {
                if !name.starts_with('$') && !value.is_null() {
                    self.credentials.push(credential(value, &format!("{place}.{name}"), parent)?);
                }
            }
        }
        Ok(())
    }

    /// They are not run, so nothing in them can reject a deployment.
    fn read_system(&mut self, system: &Object) {
        for name in SYSTEM_MODULES {
            let Some(Value::Object(module)) = some_field(system, name) else { continue };
            let settings = some_field(module, "settings").and_then(Value::as_object);
            let image = settings.and_then(|it| some_field(it, "image")).and_then(Value::as_str);
            let env = some_field(module, "env").and_then(Value::as_object);
            let env: Vec<String> = env.into_iter().flat_map(Object::keys).cloned().collect();
            if !env.is_empty() {
                let env = env.join(", ");
                self.warnings.push(format!(
                    "systemModules.{name} is this process: its env ({env}) is not acted on, see \
                     the settings"
                ));
            }
            let ports = settings.map(ports).unwrap_or_default();
            if !ports.is_empty() {
                self.warnings.push(format!(
                    "systemModules.{name} is this process: its createOptions are not acted on; ports \
                     ({}) are those of hub.listen and hub.listen_https, and AMQP (5671) is not served",
                    ports.join(", ")
                ));
            }
            let image = image.unwrap_or_default().into();
            self.system.insert(name, SystemModule { image, env });
        }
    }
}

/// What `createOptions` of a system module would have the engine bind.
fn ports(settings: &Object) -> Vec<String> {
    let options = create_options::parse(settings, "").unwrap_or_default();
    let host = some_field(&options, "HostConfig").and_then(Value::as_object);
    let bindings = host.and_then(|it| some_field(it, "PortBindings")).and_then(Value::as_object);
    bindings.into_iter().flat_map(Object::keys).cloned().collect()
}

/// Major 1, at least two parts, at most 1.1.0.
fn schema_version(root: &Object) -> Result<String, Rejected> {
    let version = match some_field(root, "schemaVersion") {
        Some(Value::String(version)) => version.trim(),
        Some(_) => return Err(invalid("schemaVersion", "must be a text").into()),
        None => return Err(invalid("schemaVersion", "is missing").into()),
    };
    let refused = || Rejected::SchemaVersion(format!("`{version}`"));
    let parts: Result<Vec<i64>, _> =
        version.split('.').map(|part| part.parse::<u32>().map(i64::from)).collect();
    let mut parts = parts.map_err(|_| refused())?;
    if !(2..=4).contains(&parts.len()) || parts[0] != 1 {
        return Err(refused());
    }
    parts.resize(4, -1);
    if parts.as_slice() > [1, 1, 0, -1].as_slice() {
        return Err(refused());
    }
    Ok(version.into())
}

/// Reads one log-in.
pub fn credential(value: &Value, place: &str, parent: Option<&str>) -> Result<Credential, Invalid> {
    let fields = object(value, place)?;
    let address = expand_upstream(text(fields, "address", place)?.trim(), parent)
        .map_err(|error| invalid(format!("{place}.address"), error.to_string()))?;
    Ok(Credential {
        address,
        username: text(fields, "username", place)?.into(),
        password: text(fields, "password", place)?.into(),
    })
}

fn check_name(name: &str, place: &str) -> Result<(), Invalid> {
    if !is_id(name) {
        let what = "is not a module name: 1 to 128 characters of A-Z a-z 0-9 and -.%_*?!(),:=@'";
        return Err(invalid(place, what));
    }
    if SYSTEM_MODULES.iter().any(|system| system.eq_ignore_ascii_case(name)) {
        return Err(invalid(place, "is the name of a system module; choose another"));
    }
    Ok(())
}
