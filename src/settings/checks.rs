//! What the kinds of settings do not check: that files can be used, and values make sense together.

use std::path::Path;

use super::error::SettingsError;
use super::layers::Merged;
use super::values::Size;
use crate::protocol::files::FileError;
use crate::protocol::tls::{ClientAuthorities, TlsClient, Trust};

/// The largest packet must fit: a client that never gets room would be closed for ever.
pub(super) fn at_least(
    merged: &Merged,
    key: &str,
    Size(given): Size,
    least: u64,
) -> Result<(), SettingsError> {
    if given >= least {
        return Ok(());
    }
    Err(merged.wrong(key, format!("expects at least {least} bytes, not {given}")))
}

/// It stands in certificates, tokens and containers' hosts.
pub(super) fn check_host_name(name: &str, merged: &Merged) -> Result<(), SettingsError> {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    if !name.is_empty() && name.bytes().all(is_allowed) {
        return Ok(());
    }
    let why = format!("expects a host name or an address, not `{name}`");
    Err(merged.wrong("device.gateway_hostname", why))
}

pub(super) fn unreadable(merged: &Merged, key: &str, why: &FileError) -> SettingsError {
    merged.wrong(key, format!("cannot be used: {why}"))
}

/// A file of authorities that is not there, or holds none, is a mistake in the settings too.
pub(super) fn check_trust(file: Option<&Path>, merged: &Merged) -> Result<(), SettingsError> {
    let Some(file) = file else { return Ok(()) }; // the machine's own: looked at when needed
    let wrong = |why: String| merged.wrong("upstream.trusted_ca", format!("cannot be used: {why}"));
    let trust = Trust::from_file(Some(file)).map_err(|error| wrong(error.to_string()))?;
    TlsClient::new(&trust).map(drop).map_err(|error| wrong(error.to_string()))
}

/// Like the above, for those that sign certificates of clients.
pub(super) fn check_client_ca(
    key: &str,
    path: Option<&Path>,
    merged: &Merged,
) -> Result<(), SettingsError> {
    let read = ClientAuthorities::read(path).map(drop);
    read.map_err(|error| merged.wrong(key, format!("cannot be used: {error}")))
}
