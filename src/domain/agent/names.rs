//! Names and places that EdgeAgent gives: labels, containers, workload sockets.

use sha2::{Digest, Sha256};

use crate::domain::hex::hex;

/// Label: the instance of the runtime that a container or a network belongs to.
pub const INSTANCE: &str = "io.edge-runtime.instance";
/// Label: the module that a container runs.
pub const MODULE: &str = "io.edge-runtime.module";
/// Label: hash of all that a container was created from.
pub const SPEC_HASH: &str = "io.edge-runtime.spec-hash";
/// Label: the image, as in the deployment.
pub const IMAGE: &str = "io.edge-runtime.image";
/// Label: the generation of the module's identity that the container was created for.
pub const GENERATION: &str = "io.edge-runtime.generation";
/// What all our labels begin with.
pub const NAMESPACE: &str = "io.edge-runtime.";

/// Where a container finds the directory of its workload socket.
pub const WORKLOAD_MOUNT: &str = "/run/edge-runtime/workload";
/// The workload socket, as a container sees it.
pub const WORKLOAD_URI: &str = "unix:///run/edge-runtime/workload/s.sock";

/// The name of a module's container: the module's own, as people expect it, or with the instance
/// after it where the engine would refuse that name.
pub fn container_name(module: &str, instance: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let plain = module.len() > 1
        && module.chars().all(allowed)
        && module.starts_with(|c: char| c.is_ascii_alphanumeric());
    if plain { module.into() } else { other_container_name(module, instance) }
}

/// The name of a module's container where a container that is not ours has the plain one.
pub fn other_container_name(module: &str, instance: &str) -> String {
    let clean: String = module
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '-' })
        .collect();
    let digest = hex(&Sha256::digest(format!("{instance}/{module}")));
    format!("edge-{clean}-{}", &digest[..8])
}

/// The name of a module's container that ran before an update, while it is kept.
pub fn aside_name(module: &str, instance: &str) -> String {
    other_container_name(module, &format!("{instance}/before"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_named_as_their_modules_where_the_engine_takes_that() {
        assert_eq!(container_name("temp-Sensor_1.x", "i"), "temp-Sensor_1.x");
        assert_ne!(aside_name("temp", "i"), other_container_name("temp", "i"));
        assert!(aside_name("temp", "i").starts_with("edge-temp-"));
        for odd in ["m", "$x", "a*b", "-a"] {
            let name = container_name(odd, "i");
            assert!(name.starts_with("edge-") && name != container_name(odd, "j"), "{name}");
        }
    }
}
