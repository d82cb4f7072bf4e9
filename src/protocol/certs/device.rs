//! The certificates of an edge device, as its clients need them (interfaces 3), for as long as it
//! runs: each is followed by the next one when four fifths of its life are over.
//!
//! Lives are measured by the wall clock, counted from 2026 on: a device that was started in 1970
//! makes its server certificate anew once its clock is set, if that is due then.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use time::OffsetDateTime;

use super::authority::{Files, lives, read, time_of};
use super::{
    Authority, CertError, ServerCertificate, counted_from_2026, names_of, optional,
    write_trust_bundle,
};
use crate::protocol::files::make_dir;

/// What an edge device's certificates are made of.
#[derive(Clone, Debug)]
pub struct DeviceNames {
    /// State directory: they lie in `certs/` below it.
    pub state: PathBuf,
    /// Its id.
    pub device: String,
    /// What clients call it.
    pub gateway_hostname: String,
    /// What is listened on.
    pub listen: Vec<SocketAddr>,
    /// Authorities of the parent.
    pub trusted_ca: Option<PathBuf>,
    /// How long a server certificate is good.
    pub server_life: Duration,
    /// How long the device's authority is, if it is made now; not beyond 2099.
    pub ca_life: Duration,
}

/// A trust bundle, PEM; all clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct TrustBundle(Arc<RwLock<String>>);

impl TrustBundle {
    /// As it is now.
    pub fn pem(&self) -> String {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, pem: String) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = pem;
    }
}

impl From<&str> for TrustBundle {
    fn from(pem: &str) -> Self {
        let bundle = TrustBundle::default();
        bundle.set(pem.into());
        bundle
    }
}

/// The authority of a device, as it is at the moment; all clones are the same one.
#[derive(Clone, Debug)]
pub struct CurrentAuthority(Arc<RwLock<Arc<Authority>>>);

impl CurrentAuthority {
    /// As it is now.
    pub fn now(&self) -> Arc<Authority> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, next: Authority) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }
}

impl From<Authority> for CurrentAuthority {
    fn from(authority: Authority) -> Self {
        CurrentAuthority(Arc::new(RwLock::new(Arc::new(authority))))
    }
}

/// One certificate's time. Since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// It is not good any more.
    pub ends: Duration,
    /// From then on it is followed by another; none: it is not ours to renew.
    pub renewed_from: Option<Duration>,
    /// Where it is not: its last fifth begins, and who has to renew it is to be told.
    pub warned_from: Option<Duration>,
}

impl Life {
    /// Of a certificate that somebody else made.
    fn of_others((begins, ends): (Duration, Duration)) -> Self {
        let warned_from = ends.saturating_sub(ends.saturating_sub(begins) / 5);
        Life { ends, renewed_from: None, warned_from: Some(warned_from) }
    }
}

/// What an edge device serves with, and gives its clients.
pub struct DeviceCertificates {
    names: DeviceNames,
    files: Files,
    authority: CurrentAuthority,
    server: ServerCertificate,
    server_life: Life,
    /// Of what is trusted upstream: the first to end.
    trusted_life: Option<Life>,
    bundle: TrustBundle,
}

impl fmt::Debug for DeviceCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceCertificates")
    }
}

/// What was made anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Renewed {
    /// The server certificate.
    pub server: bool,
    /// The device's authority; the trust bundle has it and the one before.
    pub authority: bool,
}

impl DeviceCertificates {
    /// Makes what is missing below `certs/` in the state directory, and a server certificate for
    /// the gateway's name and all that is listened on.
    pub fn prepare(names: DeviceNames, now: Duration) -> Result<Self, CertError> {
        let certs = names.state.join("certs");
        make_dir(&certs, 0o755)?;
        let files = Files::in_directory(&certs);
        let first = format!("{} device CA", names.device);
        let first: String = first.chars().take(64).collect(); // the longest common name
        let authority = CurrentAuthority::from(files.load(&first, ends(names.ca_life, now))?);
        let (server, server_life) = serve(&names, &authority.now(), now)?;
        let mut made = DeviceCertificates {
            names,
            files,
            authority,
            server,
            server_life,
            trusted_life: None,
            bundle: TrustBundle::default(),
        };
        made.write_bundle(now)?;
        made.renew(now)?; // an authority that ended while the device was off
        Ok(made)
    }

    /// Makes anew what is due. What is served until now is as good as before.
    pub fn renew(&mut self, now: Duration) -> Result<Renewed, CertError> {
        let is_due = |life: Life| life.renewed_from.is_some_and(|from| now >= from);
        let mut renewed = Renewed::default();
        if is_due(self.authority_life()) {
            let day = time_of(now).unix_timestamp();
            let name = format!("{} {day}", self.prefix());
            let before = self.authority.now();
            let next = self.files.renew(&before, &name, ends(self.names.ca_life, now))?;
            self.authority.set(next);
            self.write_bundle(now)?;
            renewed.authority = true;
        }
        if renewed.authority || is_due(self.server_life) {
            (self.server, self.server_life) = serve(&self.names, &self.authority.now(), now)?;
            renewed.server = true;
        }
        let trusted = self.names.trusted_ca.as_deref();
        let trusted = trusted.and_then(|path| optional(path).ok().flatten());
        let lives = trusted.iter().flat_map(|pem| lives(pem)).map(Life::of_others);
        self.trusted_life = lives.min_by_key(|life| life.ends);
        Ok(renewed)
    }

    /// What is served from now on.
    pub fn server(&self) -> &ServerCertificate {
        &self.server
    }

    /// Its time.
    pub fn server_life(&self) -> Life {
        self.server_life
    }

    /// The device's authority, for who signs with it.
    pub fn authority(&self) -> CurrentAuthority {
        self.authority.clone()
    }

    /// Its time.
    pub fn authority_life(&self) -> Life {
        let authority = self.authority.now();
        let ends = authority.ends();
        if !authority.is_named_like(&self.prefix()) {
            return Life::of_others((authority.begins(), ends));
        }
        let renewed_from = Some(ends.saturating_sub(self.names.ca_life / 5));
        Life { ends, renewed_from, warned_from: None }
    }

    /// Of the authorities of `upstream.trusted_ca`, the first to end.
    pub fn trusted_life(&self) -> Option<Life> {
        self.trusted_life
    }

    /// The device's authority, the one before it, and what it trusts upstream.
    pub fn trust_bundle(&self) -> TrustBundle {
        self.bundle.clone()
    }

    /// How often to look whether something is due.
    pub fn pace(&self) -> Duration {
        let shorter = self.names.server_life.min(self.names.ca_life);
        (shorter / 50).clamp(Duration::from_millis(200), Duration::from_secs(60))
    }

    /// What the names of our own authorities begin with.
    fn prefix(&self) -> String {
        self.names.device.chars().take(40).collect()
    }

    fn write_bundle(&self, now: Duration) -> Result<(), CertError> {
        let old = optional(&self.files.old)?;
        let old = old.filter(|pem| read(pem).is_some_and(|(ends, _)| ends > now));
        let path = self.names.state.join("certs/trust-bundle.pem");
        let all = self.authority.now().pem().to_owned() + &old.unwrap_or_default();
        let bundle = write_trust_bundle(&path, &all, self.names.trusted_ca.as_deref())?;
        self.bundle.set(bundle);
        Ok(())
    }
}

fn ends(life: Duration, now: Duration) -> OffsetDateTime {
    time_of(counted_from_2026(now).saturating_add(life))
}

fn serve(
    names: &DeviceNames,
    authority: &Authority,
    now: Duration,
) -> Result<(ServerCertificate, Life), CertError> {
    let (made, life) = (counted_from_2026(now), names.server_life);
    let wanted = names_of(&[&names.gateway_hostname], &names.listen);
    let ends = made.saturating_add(life).min(authority.ends());
    let server = authority.certify_until(&wanted, time_of(ends), now)?;
    let renewed_from = made + ends.saturating_sub(made) / 5 * 4;
    Ok((server, Life { ends, renewed_from: Some(renewed_from), warned_from: None }))
}

#[cfg(test)]
#[path = "device_tests.rs"]
mod tests;
