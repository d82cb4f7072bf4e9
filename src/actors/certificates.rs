//! Makes the certificates of this device anew in time: who comes from then on is shown the new one,
//! who is there is not disturbed.
//!
//! Started by the supervisor `services`; what is served stays as it is if it dies.
//! next: `protocol/certs/device.rs`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::prelude::*;

use crate::actors::clock;
use crate::actors::supervision::{Obituary, Supervised};
use crate::domain::agent::when::iso;
use crate::messages::certificates::{CertificateStatus, GetCertificates};
use crate::messages::supervision::Health;
use crate::protocol::certs::{DeviceCertificates, Life, Renewed};
use crate::protocol::tls::TlsServer;

/// What outlives the actor.
#[derive(Clone, Debug)]
pub struct CertificateHouse {
    made: Arc<Mutex<DeviceCertificates>>,
    tls: TlsServer,
}

impl CertificateHouse {
    /// `tls` serves with what was made.
    pub fn new(made: DeviceCertificates, tls: TlsServer) -> Self {
        CertificateHouse { made: Arc::new(Mutex::new(made)), tls }
    }

    fn with<T>(&self, what: impl FnOnce(&mut DeviceCertificates) -> T) -> T {
        what(&mut self.made.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes what is due, and shows it. Blocks.
    fn renew(&self, now: Duration) -> Result<Renewed, String> {
        self.with(|made| {
            let renewed = made.renew(now).map_err(|error| error.to_string())?;
            if renewed.server {
                self.tls.show(made.server()).map_err(|error| error.to_string())?;
            }
            Ok(renewed)
        })
    }
}

/// See the module documentation.
pub struct Certificates {
    house: CertificateHouse,
    is_busy: bool,
    /// Of the server certificate, and of the authority.
    renewals: (u64, u64),
    trouble: Option<String>,
    obituary: Obituary,
}

impl Certificates {
    /// Nothing was made anew yet.
    pub fn new(house: CertificateHouse, obituary: Obituary) -> Self {
        Certificates { house, is_busy: false, renewals: (0, 0), trouble: None, obituary }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.is_busy, true) {
            return;
        }
        let house = self.house.clone();
        let renewed = tokio::task::spawn_blocking(move || house.renew(clock::unix_time()));
        ctx.spawn(renewed.into_actor(self).map(|renewed, this, _| {
            this.is_busy = false;
            match renewed.unwrap_or_else(|_| Err("it panicked".into())) {
                Ok(renewed) => this.on_renewed(renewed),
                Err(why) => {
                    if this.trouble.as_ref() != Some(&why) {
                        tracing::error!(%why, "a certificate cannot be made anew; again later");
                    }
                    this.trouble = Some(why);
                }
            }
        }));
    }

    fn on_renewed(&mut self, renewed: Renewed) {
        self.trouble = None;
        self.renewals.0 += u64::from(renewed.server);
        self.renewals.1 += u64::from(renewed.authority);
        if renewed.server {
            let ends = self.house.with(|made| made.server_life().ends);
            tracing::info!(until = iso(ends), "a new server certificate is served");
        }
        if renewed.authority {
            tracing::warn!(
                "this device has a new certificate authority: give clients the new trust bundle \
                 before the one they have ends"
            );
        }
    }
}

impl Actor for Certificates {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(self.house.with(|made| made.pace()), Self::look);
    }
}

impl Supervised for Certificates {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        let ends = iso(self.house.with(|made| made.server_life().ends));
        let trouble = self.trouble.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        Health { state: format!("until {ends}{trouble}") }
    }
}
crate::supervised!(Certificates);

impl Handler<GetCertificates> for Certificates {
    type Result = MessageResult<GetCertificates>;

    fn handle(&mut self, _: GetCertificates, _: &mut Self::Context) -> Self::Result {
        let (server, authority) =
            self.house.with(|made| (made.server_life(), made.authority_life()));
        let status = |name, life: Life, renewals| CertificateStatus {
            name,
            ends: iso(life.ends),
            ends_unix: life.ends.as_secs(),
            renewed_from: life.renewed_from.map(iso),
            renewals,
            trouble: self.trouble.clone(),
        };
        MessageResult(vec![
            status("server", server, self.renewals.0),
            status("device-ca", authority, self.renewals.1),
        ])
    }
}
