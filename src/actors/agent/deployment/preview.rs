//! What a deployment would do here. Nothing is changed by it.

use actix::prelude::*;
use serde_json::{Value, json};

use super::Deployment;
use super::apply::{ENGINE, SHORT, assignments};
use crate::domain::agent::layers::desired;
use crate::domain::agent::manifest::Manifest;
use crate::domain::agent::plan::Want;
use crate::domain::agent::preview::{ModuleChange, preview};
use crate::messages::agent::{PreviewDeployment, Previewed};
use crate::messages::engine::{Done, ListContainers, Run};
use crate::messages::twins::GetDesired;

impl Handler<PreviewDeployment> for Deployment {
    type Result = ResponseFuture<Result<Previewed, String>>;

    fn handle(
        &mut self,
        PreviewDeployment(given): PreviewDeployment,
        _: &mut Self::Context,
    ) -> Self::Result {
        let (config, ports, now) = (self.config.clone(), self.ports.clone(), self.good.clone());
        let own = self.own.clone();
        Box::pin(async move {
            let current = ports.get_desired.ask(GetDesired(own), SHORT).await.ok().flatten();
            let current = current.map_or_else(|| json!({}), |it| Value::clone(&it.properties));
            let properties = desired(&given, &current);
            let new = Manifest::parse(&properties, config.parent_hostname.as_deref());
            let new = new.map_err(|rejected| format!("{} {rejected}", rejected.code()))?;
            let run = |what| ports.run.ask_in_words(what, ENGINE);
            let gateway = match run(Run::FindNetwork(config.network.clone())).await? {
                Done::Network(gateway) => gateway,
                _ => None,
            };
            let have = ports.list.ask_in_words(ListContainers { module: None }, ENGINE).await?;
            let wanted = assignments(&config, (0, &new), gateway.as_deref());
            let wanted: Vec<Want> = wanted.into_iter().map(|it| it.want).collect();
            let modules = preview(now.as_ref(), &new, &wanted, &have);
            let mut images = Vec::new();
            let needed = modules.iter().filter_map(|it: &ModuleChange| it.image.clone());
            for image in needed {
                let bytes = match run(Run::FindImage(image.clone())).await? {
                    Done::Image(bytes) => bytes,
                    _ => None,
                };
                images.push((image, bytes));
            }
            images.sort();
            images.dedup();
            Ok(Previewed { modules, images, notes: new.notes() })
        })
    }
}
