//! `hub file …`: what devices have uploaded.

use std::io::{Write, stdout};

use futures_util::stream::StreamExt;
use serde_json::Value;

use super::{identity, target};
use crate::ctl::command::{Output, UploadedFile};
use crate::ctl::device::segment;
use crate::ctl::error::CtlError;
use crate::ctl::output::{distance, say, show, table, text_of};
use crate::ctl::rest::Hub;

/// Does it.
pub(super) async fn run(hub: &Hub, output: Output, command: UploadedFile) -> Result<(), CtlError> {
    match command {
        UploadedFile::List { device } => {
            let path = format!("{}/files", target("devices", &identity(&device, None)?));
            show(output, &hub.get(&path).await?, text)
        }
        UploadedFile::Get { device, name, to: out } => {
            let mut chunks = hub.follow(&blob(&device, &name)).await?;
            let cannot = |why: &dyn std::fmt::Display| {
                let to =
                    out.as_ref().map_or("standard output".into(), |out| out.display().to_string());
                CtlError::new(format!("cannot write the file to {to}")).because(why)
            };
            let mut to: Box<dyn Write> = match &out {
                Some(path) => Box::new(std::fs::File::create(path).map_err(|why| cannot(&why))?),
                None => Box::new(stdout().lock()),
            };
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk.map_err(|e| CtlError::new("the file broke off").because(e))?;
                to.write_all(&chunk).map_err(|why| cannot(&why))?;
            }
            to.flush().map_err(|why| cannot(&why))
        }
        UploadedFile::Delete { device, name } => {
            hub.delete(&blob(&device, &name)).await?;
            say(&format!("deleted {name} of {device}"));
            Ok(())
        }
    }
}

fn blob(device: &str, name: &str) -> String {
    let parts: Vec<_> = name.split('/').map(segment).collect();
    format!("/uploads/{}/{}", segment(device), parts.join("/"))
}

fn text(files: &Value) -> String {
    let row = |file: &Value| {
        let modified = file["lastModified"].as_str().map_or("-".into(), distance);
        vec![text_of(file, "name").to_owned(), file["size"].to_string(), modified]
    };
    let rows: Vec<_> = files.as_array().into_iter().flatten().map(row).collect();
    table(&["NAME", "BYTES", "CHANGED"], &rows)
}
