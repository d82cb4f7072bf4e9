//! What the engine is asked to create for a module: its createOptions, with ours merged in.
//!
//! Nothing of createOptions is lost. Its Env wins over the module's env, which wins over ours;
//! its network, its mounts, hosts and log settings are kept.
//! next: `plan.rs`, which compares the hash of it with what runs.

mod privileges;
#[cfg(test)]
pub(crate) mod properties;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::fields::{Object, some_field, take_field};
use super::manifest::ModuleSpec;
use super::names::{
    GENERATION, IMAGE, INSTANCE, MODULE, NAMESPACE, SPEC_HASH, WORKLOAD_MOUNT, WORKLOAD_URI,
};
use crate::domain::hex::hex;
use crate::domain::workload;

/// What is the same for all modules of this device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// This runtime's state directory, by its id.
    pub instance: String,
    /// The modules' network.
    pub network: String,
    /// Name and address by which a container reaches EdgeHub, where a name must be made known.
    pub extra_host: Option<(String, String)>,
    /// State directory of the runtime: under it lie the directories of the workload sockets.
    pub state: PathBuf,
    /// Host name of the hub.
    pub hub: String,
    /// This device.
    pub device: String,
    /// By which containers reach EdgeHub.
    pub gateway_hostname: String,
    /// Host name of the parent device, if there is one.
    pub parent_hostname: Option<String>,
    /// A deployment may have privileged containers, and give them capabilities.
    pub allow_elevated: bool,
}

/// A container to be created.
#[derive(Clone, PartialEq)]
pub struct Body {
    /// JSON for `/containers/create`, but for the identity's generation.
    value: Value,
    /// Hash of all of it.
    pub hash: String,
    /// createOptions says which generation, or the container has none of our env.
    own_generation: bool,
}

/// Shows no env.
impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "body {}", self.hash)
    }
}

const GENERATION_ENV: &str = "IOTEDGE_MODULEGENERATIONID";

impl Body {
    /// Merges; `spec` was checked when it was read.
    pub fn new(spec: &ModuleSpec, around: &Surroundings) -> Self {
        let mut body = spec.create_options.clone();
        let env = environment(take_field(&mut body, "Env"), spec, around);
        let own_generation = env.contains_key(GENERATION_ENV);
        let env: Vec<String> = env.into_iter().map(|(name, value)| name + "=" + &value).collect();
        body.insert("Env".into(), json!(env));
        take_field(&mut body, "Image");
        body.insert("Image".into(), json!(spec.image.reference()));

        let mut host = take_object(&mut body, "HostConfig");
        let mut networking = take_object(&mut body, "NetworkingConfig");
        let mode = join_network(&mut host, &mut networking, spec, around);
        add_host(&mut host, &mode, around);
        mount_workload(&mut host, spec, around);
        drop_empty(&mut host, "LogConfig");
        if !around.allow_elevated {
            privileges::lower(&mut host);
        }
        take_field(&mut host, "RestartPolicy"); // two who restart it would get in each other's way
        body.insert("HostConfig".into(), Value::Object(host));
        if !networking.is_empty() {
            body.insert("NetworkingConfig".into(), Value::Object(networking));
        }
        let labels = take_object(&mut body, "Labels");
        let labels = labels.into_iter().filter(|(name, _)| !name.starts_with(NAMESPACE));
        let mut labels: Object = labels.collect();
        for (name, value) in [
            (INSTANCE, around.instance.as_str()),
            (MODULE, &spec.name),
            (IMAGE, spec.image.as_str()),
        ] {
            labels.insert(name.into(), json!(value));
        }
        body.insert("Labels".into(), Value::Object(labels));
        let mut value = Value::Object(body);
        let hash = hex(&Sha256::digest(canonical(&folded(&value))))[..32].to_owned();
        value["Labels"][SPEC_HASH] = json!(hash);
        Body { value, hash, own_generation }
    }

    /// JSON, but for the identity's generation.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The body for an identity of this generation.
    pub fn for_generation(&self, generation: &str) -> Value {
        let mut value = self.value.clone();
        value["Labels"][GENERATION] = json!(generation);
        if !self.own_generation
            && let Some(env) = value["Env"].as_array_mut()
        {
            env.push(json!(format!("{GENERATION_ENV}={generation}")));
        }
        value
    }
}

/// Ours, then the module's, then createOptions'.
fn environment(
    options: Option<Value>,
    spec: &ModuleSpec,
    around: &Surroundings,
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let mut set = |name: &str, value: &str| env.insert(name.to_owned(), value.to_owned());
    set("IOTEDGE_WORKLOADURI", WORKLOAD_URI);
    set("IOTEDGE_AUTHSCHEME", "sasToken");
    set("IOTEDGE_APIVERSION", "2021-12-07");
    set("IOTEDGE_IOTHUBHOSTNAME", &around.hub);
    set("IOTEDGE_DEVICEID", &around.device);
    set("IOTEDGE_MODULEID", &spec.name);
    set("IOTEDGE_GATEWAYHOSTNAME", &around.gateway_hostname);
    if let Some(parent) = &around.parent_hostname {
        set("IOTEDGE_PARENTHOSTNAME", parent);
    }
    if !spec.env.keys().any(|name| name.eq_ignore_ascii_case("RuntimeLogLevel")) {
        set("RuntimeLogLevel", "Information");
    }
    env.extend(spec.env.clone());
    let options = options.as_ref().and_then(Value::as_array).into_iter().flatten();
    for entry in options.filter_map(Value::as_str).filter(|entry| !entry.is_empty()) {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        env.insert(name.into(), value.into());
    }
    env
}

/// Puts the container on the modules' network, unless createOptions chose one. Returns the mode.
fn join_network(
    host: &mut Object,
    networking: &mut Object,
    spec: &ModuleSpec,
    around: &Surroundings,
) -> String {
    let mode = some_field(host, "NetworkMode").and_then(Value::as_str).unwrap_or_default();
    let mode = mode.to_owned();
    let endpoints = some_field(networking, "EndpointsConfig").and_then(Value::as_object);
    if !mode.is_empty() || endpoints.is_some_and(|endpoints| !endpoints.is_empty()) {
        return mode;
    }
    take_field(host, "NetworkMode");
    host.insert("NetworkMode".into(), json!(around.network));
    take_field(networking, "EndpointsConfig");
    let endpoint = json!({ &around.network: { "Aliases": [&spec.name] } });
    networking.insert("EndpointsConfig".into(), endpoint);
    around.network.clone()
}

/// Makes the gateway's name known, unless createOptions does, or the container has no hosts file
/// of its own.
fn add_host(host: &mut Object, mode: &str, around: &Surroundings) {
    let Some((name, address)) = &around.extra_host else { return };
    if mode.starts_with("container:") || mode == "none" {
        return;
    }
    let mut hosts = take_array(host, "ExtraHosts");
    let known = hosts.iter().filter_map(Value::as_str).any(|entry| {
        entry.split([':', '=']).next().is_some_and(|known| known.eq_ignore_ascii_case(name))
    });
    if !known {
        hosts.push(json!(format!("{name}:{address}")));
    }
    host.insert("ExtraHosts".into(), Value::Array(hosts));
}

/// Mounts the directory, not the socket: a restarted runtime makes a new socket in it.
fn mount_workload(host: &mut Object, spec: &ModuleSpec, around: &Surroundings) {
    let directory = workload::directory(&around.state, &spec.name).display().to_string();
    let mut binds = take_array(host, "Binds");
    let mut mounts = take_array(host, "Mounts");
    let is_ours = |to: &str| to.trim_end_matches('/') == WORKLOAD_MOUNT;
    let taken = binds.iter().filter_map(Value::as_str).filter_map(|it| it.split(':').nth(1));
    let taken =
        taken.chain(mounts.iter().filter_map(|it| some_field(it.as_object()?, "Target")?.as_str()));
    if !taken.into_iter().any(is_ours) {
        if directory.contains(':') {
            let mount = json!({"Type": "bind", "Source": directory, "Target": WORKLOAD_MOUNT});
            mounts.push(mount); // a bind could not be told apart
        } else {
            binds.push(json!(format!("{directory}:{WORKLOAD_MOUNT}")));
        }
    }
    for (name, list) in [("Binds", binds), ("Mounts", mounts)] {
        if !list.is_empty() {
            host.insert(name.into(), Value::Array(list));
        }
    }
}

/// An empty object is as good as none. Limits of a log that nobody chose are `protocol/docker`'s: it
/// knows what the engine does by itself, which makes no container anew.
fn drop_empty(host: &mut Object, name: &str) {
    let is_empty = |value: &Value| value.as_object().is_none_or(Object::is_empty);
    if some_field(host, name).is_none_or(is_empty) {
        take_field(host, name);
    }
}

fn take_object(parent: &mut Object, name: &str) -> Object {
    match take_field(parent, name) {
        Some(Value::Object(object)) => object,
        _ => Object::new(),
    }
}

fn take_array(parent: &mut Object, name: &str) -> Vec<Value> {
    match take_field(parent, name) {
        Some(Value::Array(array)) => array,
        _ => Vec::new(),
    }
}

/// The engine reads names of its own properties in any case; those of labels, ports and the like
/// are the user's, and stay.
fn folded(body: &Value) -> Value {
    let fold = |object: &Object| -> Object {
        object.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect()
    };
    let Some(body) = body.as_object() else { return body.clone() };
    let mut body = fold(body);
    if let Some(Value::Object(host)) = body.get_mut("hostconfig") {
        *host = fold(host);
    }
    Value::Object(body)
}

/// JSON with the names of every object in order.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(object) => {
            let sorted: BTreeMap<&String, &Value> = object.iter().collect();
            let fields: Vec<String> = sorted
                .into_iter()
                .map(|(name, value)| format!("{}:{}", json!(name), canonical(value)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        plain => plain.to_string(),
    }
}
