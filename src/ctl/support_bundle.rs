//! `support-bundle`: what the runtime gives, into a file.

use std::fs::{File, OpenOptions};
use std::io::{Write, stdout};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use futures_util::stream::StreamExt;

use super::command::SupportBundle;
use super::device::{Runtime, times};
use super::error::CtlError;
use super::output::say;
use crate::actors::clock::unix_time;
use crate::domain::iso8601;

/// Does it. A bundle that is not whole is removed.
pub(super) async fn make(runtime: &Runtime, args: &SupportBundle) -> Result<(), CtlError> {
    let query = format!(
        "edge_runtime_only={}{}",
        args.edge_runtime_only,
        times(Some(&args.since), args.until.as_deref())
    );
    let target = format!("/systeminfo/supportbundle?{query}");
    if args.file.as_deref() == Some(Path::new("-")) {
        return copy(runtime, &target, &mut stdout().lock()).await;
    }
    let path = args.file.clone().unwrap_or_else(default_name);
    let mut file = create(&path)
        .map_err(|why| CtlError::new(format!("cannot write {}", path.display())).because(why))?;
    if let Err(error) = copy(runtime, &target, &mut file).await {
        let _ = std::fs::remove_file(&path); // it may have gone
        return Err(error);
    }
    say(&format!("wrote {}; look into it before you pass it on", path.display()));
    Ok(())
}

/// For its owner only: modules may have logged what nobody else should read.
fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

async fn copy(runtime: &Runtime, target: &str, to: &mut dyn Write) -> Result<(), CtlError> {
    let cannot = |why: std::io::Error| CtlError::new("cannot write the bundle").because(why);
    let mut pieces = runtime.follow(target).await?;
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|e| CtlError::new("the bundle broke off").because(e))?;
        to.write_all(&piece).map_err(cannot)?;
    }
    to.flush().map_err(cannot)
}

fn default_name() -> PathBuf {
    let now = iso8601::text(unix_time());
    let now = now[..19].replace(['-', 'T', ':'], "_");
    PathBuf::from(format!("support_bundle_{now}_UTC.zip"))
}
