//! `hub device` and `hub module`.

use serde_json::{Value, json};

use super::{identity, target};
use crate::ctl::command::{CreateDevice, Device, Module, Output};
use crate::ctl::error::CtlError;
use crate::ctl::output::{print, say, show, table, text_of};
use crate::ctl::rest::Hub;

/// `hub device …`.
pub(super) async fn device(hub: &Hub, output: Output, command: Device) -> Result<(), CtlError> {
    match command {
        Device::Create(create) => create_device(hub, output, &create).await,
        Device::List => {
            let devices = hub.get("/devices?top=1000").await?;
            show(output, &devices, |devices| rows(devices, "deviceId"))
        }
        Device::Show { id } => {
            let device = hub.get(&target("devices", &identity(&id, None)?)).await?;
            show(output, &device, |device| about(hub, device, None))
        }
        Device::Delete { id } => {
            hub.delete(&target("devices", &identity(&id, None)?)).await?;
            say(&format!("deleted {id}"));
            Ok(())
        }
    }
}

/// `hub module …`.
pub(super) async fn module(hub: &Hub, output: Output, command: Module) -> Result<(), CtlError> {
    match command {
        Module::Create { device, id } => {
            let identity = identity(&device, Some(&id))?;
            let sas = json!({ "type": "sas", "symmetricKey": {} });
            let body = json!({ "deviceId": device, "moduleId": id, "authentication": sas });
            let made = hub.send("PUT", &target("devices", &identity), &body).await?;
            created(hub, output, &made, None)
        }
        Module::List { device } => {
            let path = format!("{}/modules", target("devices", &identity(&device, None)?));
            show(output, &hub.get(&path).await?, |modules| rows(modules, "moduleId"))
        }
        Module::Show { device, id } => {
            let module = hub.get(&target("devices", &identity(&device, Some(&id))?)).await?;
            show(output, &module, |module| about(hub, module, None))
        }
        Module::Delete { device, id } => {
            hub.delete(&target("devices", &identity(&device, Some(&id))?)).await?;
            say(&format!("deleted {device}/{id}"));
            Ok(())
        }
    }
}

async fn create_device(hub: &Hub, output: Output, args: &CreateDevice) -> Result<(), CtlError> {
    let identity = identity(&args.id, None)?;
    if identity.module_id().is_some() {
        return Err(CtlError::usage("a device id has no `/` in it"));
    }
    let mut body = json!({
        "deviceId": args.id,
        "status": "enabled",
        "authentication": authentication(args.x509_thumbprint.as_deref()),
        "capabilities": { "iotEdge": args.edge },
    });
    if let Some(parent) = &args.parent {
        let parent_device = hub.get(&target("devices", &super::identity(parent, None)?)).await?;
        let scope = text_of(&parent_device, "deviceScope");
        if parent_device["capabilities"]["iotEdge"] != true || scope.is_empty() {
            let error = CtlError::new(format!("{parent} is no edge device: it cannot be a parent"));
            return Err(error.hint("make it with `edgectl hub device create NAME --edge`"));
        }
        match args.edge {
            true => body["parentScopes"] = json!([scope]),
            false => body["deviceScope"] = scope.into(),
        }
    }
    let made = hub.send("PUT", &target("devices", &identity), &body).await?;
    created(hub, output, &made, args.gateway.as_deref())
}

fn authentication(thumbprint: Option<&str>) -> Value {
    match thumbprint {
        Some(thumbprint) => json!({
            "type": "selfSigned",
            "x509Thumbprint": { "primaryThumbprint": thumbprint, "secondaryThumbprint": "" },
        }),
        None => json!({ "type": "sas", "symmetricKey": {} }),
    }
}

/// The connection string on standard output, and nothing else, so that a script can take it.
fn created(hub: &Hub, output: Output, made: &Value, gateway: Option<&str>) -> Result<(), CtlError> {
    if output == Output::Json {
        return show(output, made, |_| String::new());
    }
    match connection_string(&hub.host, made, gateway) {
        Some(text) => print(&format!("{text}\n")),
        None => {
            say(&format!("made {}: it logs in with its certificate", text_of(made, "deviceId")));
            Ok(())
        }
    }
}

/// Of an identity with a key.
fn connection_string(host: &str, identity: &Value, gateway: Option<&str>) -> Option<String> {
    let key = identity["authentication"]["symmetricKey"]["primaryKey"].as_str();
    let key = key.filter(|key| !key.is_empty())?;
    let module = identity["moduleId"].as_str().filter(|module| !module.is_empty());
    let module = module.map(|module| format!(";ModuleId={module}")).unwrap_or_default();
    let gateway = gateway.map(|host| format!(";GatewayHostName={host}")).unwrap_or_default();
    let device = text_of(identity, "deviceId");
    Some(format!("HostName={host};DeviceId={device}{module};SharedAccessKey={key}{gateway}"))
}

fn rows(list: &Value, id: &str) -> String {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let row = |item: &Value| {
        let kind = if item["capabilities"]["iotEdge"] == true { "edge" } else { "" };
        let seen = match text_of(item, "lastActivityTime") {
            time if time.starts_with("0001") => "never",
            time => time,
        };
        let cell = |name| text_of(item, name).to_owned();
        let (state, status) = (cell("connectionState"), cell("status"));
        vec![cell(id), kind.into(), status, state, seen.into()]
    };
    let rows: Vec<_> = list.iter().map(row).collect();
    table(&["ID", "KIND", "STATUS", "CONNECTION", "LAST SEEN"], &rows)
}

fn about(hub: &Hub, identity: &Value, gateway: Option<&str>) -> String {
    let mut text = String::new();
    let names = [
        "deviceId",
        "moduleId",
        "status",
        "connectionState",
        "lastActivityTime",
        "generationId",
        "managedBy",
        "deviceScope",
    ];
    for name in names {
        if let Some(value) = identity[name].as_str().filter(|value| !value.is_empty()) {
            text.push_str(&format!("{name:<20}{value}\n"));
        }
    }
    if identity["capabilities"]["iotEdge"] == true {
        text.push_str(&format!("{:<20}yes\n", "edge"));
    }
    if let Some(code) = identity["edgeStatus"]["code"].as_u64() {
        let since = text_of(&identity["edgeStatus"], "lastReportTime");
        text.push_str(&format!("{:<20}{code}, last report {since}\n", "edgeStatus"));
    }
    if let Some(string) = connection_string(&hub.host, identity, gateway) {
        text.push_str(&format!("{:<20}{string}\n", "connectionString"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_strings_name_module_and_gateway_if_there_are_any() {
        let key = json!({ "symmetricKey": { "primaryKey": "k=" } });
        let device = json!({ "deviceId": "d", "authentication": key });
        let text = connection_string("h", &device, None).unwrap();
        assert_eq!(text, "HostName=h;DeviceId=d;SharedAccessKey=k=");
        let module = json!({ "deviceId": "d", "moduleId": "m", "authentication": key });
        let text = connection_string("h", &module, Some("gw")).unwrap();
        assert_eq!(text, "HostName=h;DeviceId=d;ModuleId=m;SharedAccessKey=k=;GatewayHostName=gw");
        let certificate = json!({ "deviceId": "d", "authentication": authentication(Some("ab")) });
        assert_eq!(connection_string("h", &certificate, None), None);
    }

    #[test]
    fn identities_are_listed_with_who_is_connected() {
        let list = json!([{ "deviceId": "gw", "capabilities": { "iotEdge": true }, "status":
            "enabled", "connectionState": "Connected", "lastActivityTime": "0001-01-01T00:00:00Z" }]);
        let text = rows(&list, "deviceId");
        assert!(text.ends_with("gw  edge  enabled  Connected   never\n"), "{text}");
    }
}
