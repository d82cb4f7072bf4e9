//! `hub …`: devices, modules, twins, methods and messages, at the hub.

mod files;
mod identities;
mod messages;
mod twins;

use std::time::Duration;

use super::command::{C2d, Hub as Command, Output};
use super::error::CtlError;
use super::output::print;
use super::rest::Hub;
use crate::domain::identity::Identity;

/// Does it.
pub(super) async fn run(hub: &Hub, output: Output, command: Command) -> Result<(), CtlError> {
    match command {
        Command::Device(device) => identities::device(hub, output, device).await,
        Command::Module(module) => identities::module(hub, output, module).await,
        Command::Twin(twin) => twins::run(hub, twin).await,
        Command::Token { life } => print(&format!("{}\n", hub.token(Duration::from_secs(life))?)),
        Command::File(file) => files::run(hub, output, file).await,
        Command::Method(method) => messages::method(hub, output, method).await,
        Command::C2d(C2d::Send {
            device,
            body,
            properties,
            message_id,
            correlation_id,
            content_type,
        }) => {
            let system = [
                ("Content-Type", content_type),
                ("iothub-messageid", message_id),
                ("iothub-correlationid", correlation_id),
            ];
            messages::send(hub, &device, body, &properties, system).await
        }
    }
}

/// A device, a module of it, or `device/module`.
fn identity(device: &str, module: Option<&str>) -> Result<Identity, CtlError> {
    let parsed = match module {
        Some(module) => Identity::module(device, module),
        None => Identity::parse(device),
    };
    parsed.map_err(|e| CtlError::usage(e.to_string()))
}

/// `/devices/d[/modules/m]` or `/twins/d[/modules/m]`, encoded.
fn target(kind: &str, identity: &Identity) -> String {
    let segment = super::device::segment;
    let device = segment(identity.device_id());
    match identity.module_id() {
        Some(module) => format!("/{kind}/{device}/modules/{}", segment(module)),
        None => format!("/{kind}/{device}"),
    }
}
