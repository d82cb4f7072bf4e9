//! A look at a store before it is opened: is there one, and may it be mapped?

use std::fs::File;
use std::path::Path;

use super::copy::DATA;
use super::env::OpenError;
use super::raw::{self, BadFile, Depth};
use super::watch::{Starts, Watch};

/// After so many starts that were not followed by good health every page is looked at,
const DEEP_AFTER: u32 = 2;
/// … and after so many that never came to `ready` the store is salvaged whatever it looks like.
const SALVAGE_AFTER: u32 = 4;

/// Answers whether there is no store yet. `is_known`: there was one. Whoever looks has the lock.
pub(super) fn look(directory: &Path, is_known: bool) -> Result<bool, OpenError> {
    let io = |error: std::io::Error| OpenError::Io(directory.into(), error.to_string());
    let damaged = |why: String| Err(OpenError::Damaged(directory.into(), why));
    let (data, watch) = (directory.join(DATA), Watch::new(directory));
    let is_known = is_known || watch.id().is_some();
    let found = match data.symlink_metadata() {
        Ok(found) => found,
        Err(_) if is_known => return Err(OpenError::Missing(directory.into())),
        Err(_) => return Ok(true),
    };
    if found.is_dir() {
        return damaged("its data file is a directory".into());
    }
    if let Some(why) = watch.damage() {
        return damaged(why);
    }
    let Starts { unready, unwell } = watch.starts();
    if unready >= SALVAGE_AFTER {
        return damaged(format!("{unready} starts with it ended before they were ready"));
    }
    let depth = if unwell >= DEEP_AFTER { Depth::Deep } else { Depth::Quick };
    let file = File::options().read(true).write(true).open(data).map_err(io)?;
    match raw::check(file, depth) {
        Ok(()) => Ok(false),
        Err(BadFile::Empty) if !is_known => Ok(true), // a first start that was cut off
        Err(BadFile::Io(error)) => Err(io(error)),
        Err(bad) => damaged(bad.to_string()),
    }
}

/// Looks at every page of a store; `Err`: what is wrong with it.
pub fn inspect(directory: &Path) -> Result<(), OpenError> {
    let _lock = super::env::lock(directory)?;
    if let Some(why) = Watch::new(directory).damage() {
        return Err(OpenError::Damaged(directory.into(), why));
    }
    let io = |error: std::io::Error| OpenError::Io(directory.into(), error.to_string());
    let data = directory.join(DATA);
    let file = File::options().read(true).write(true).open(data).map_err(io)?;
    raw::check(file, Depth::Deep).map_err(|bad| match bad {
        BadFile::Io(error) => io(error),
        bad => OpenError::Damaged(directory.into(), bad.to_string()),
    })
}
