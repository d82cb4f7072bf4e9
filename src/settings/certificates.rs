//! How long the certificates of an edge device are good.

use serde::Deserialize;

use super::error::SettingsError;
use super::layers::Merged;
use super::values::Age;

/// See the module documentation.
#[derive(Clone, Debug, Deserialize)]
pub struct Certificates {
    /// Of a server certificate.
    pub server_life: Age,
    /// Of the device's authority, if it is made anew.
    pub ca_life: Age,
}

impl Certificates {
    /// Not so short that they would be made anew all the time.
    pub(super) fn checked(self, merged: &Merged) -> Result<Self, SettingsError> {
        for (key, Age(life)) in
            [("certificates.server_life", self.server_life), ("certificates.ca_life", self.ca_life)]
        {
            if life.as_secs() < 5 {
                let why = "is shorter than 5 s: it would be made anew all the time";
                return Err(merged.wrong(key, why));
            }
        }
        Ok(self)
    }
}
