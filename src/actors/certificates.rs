//! Makes the certificates of this device anew in time: who comes from then on is shown the new one,
//! who is there is not disturbed.
//!
//! Started by the supervisor `services`; what is served stays as it is if it dies.
//! next: `protocol/certs/device.rs`.

use std::collections::BTreeMap;
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

/// What an operator is to do.
const OF_DEVICE: &str = "it is your own; put the next one and its key in certs/device-ca.pem and \
                         certs/device-ca.key of the state directory, give clients the new trust \
                         bundle, and restart";
const OF_HUB: &str = "put the next authority of the hub in the file of upstream.trusted_ca, and \
                      restart";
/// Between two warnings of the same.
const DAY: Duration = Duration::from_secs(86_400);

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
    told: Told,
    obituary: Obituary,
}

/// When was warned of which, by the wall clock.
#[derive(Default)]
struct Told(BTreeMap<&'static str, Duration>);

impl Told {
    /// At once, then daily.
    fn is_due(&mut self, which: &'static str, now: Duration) -> bool {
        let is_told = |at: &Duration| (*at..*at + DAY).contains(&now);
        let is_due = !self.0.get(which).is_some_and(is_told);
        if is_due {
            self.0.insert(which, now);
        }
        is_due
    }
}

impl Certificates {
    /// Nothing was made anew yet.
    pub fn new(house: CertificateHouse, obituary: Obituary) -> Self {
        let (renewals, told) = ((0, 0), Told::default());
        Certificates { house, is_busy: false, renewals, trouble: None, told, obituary }
    }

    /// Of what others have to renew.
    fn warn(&mut self) {
        let now = clock::unix_time();
        for it in self.all(now) {
            let Some(warning) = it.warning else { continue };
            if self.told.is_due(it.name, now) {
                tracing::warn!("{warning}");
            }
        }
    }

    fn all(&self, now: Duration) -> Vec<CertificateStatus> {
        let (server, authority, trusted) = self
            .house
            .with(|made| (made.server_life(), made.authority_life(), made.trusted_life()));
        let status = |name, life: Life, renewals, remedy: &str| CertificateStatus {
            name,
            ends: iso(life.ends),
            ends_unix: life.ends.as_secs(),
            renewed_from: life.renewed_from.map(iso),
            renewals,
            trouble: self.trouble.clone().filter(|_| life.renewed_from.is_some()),
            warning: life.warned_from.filter(|from| now >= *from).map(|_| {
                let ends = match life.ends.checked_sub(now) {
                    Some(left) => {
                        format!("ends in {} days, on {}", left.as_secs() / 86_400, iso(life.ends))
                    }
                    None => format!("has ended on {}", iso(life.ends)),
                };
                format!("certificate {name} {ends}: {remedy}")
            }),
        };
        let mut all = vec![
            status("server", server, self.renewals.0, ""),
            status("device-ca", authority, self.renewals.1, OF_DEVICE),
        ];
        all.extend(trusted.map(|life| status("trusted-ca", life, 0, OF_HUB)));
        all
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
            this.warn();
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
        self.warn();
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
        MessageResult(self.all(clock::unix_time()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::protocol::certs::{Authority, DeviceNames};
    use crate::protocol::tls::ClientAuthorities;

    fn names(state: &Path) -> DeviceNames {
        DeviceNames {
            state: state.into(),
            device: "gw".into(),
            gateway_hostname: "gw.local".into(),
            listen: Vec::new(),
            trusted_ca: None,
            server_life: 30 * DAY,
            ca_life: 300 * DAY,
        }
    }

    fn certificates(state: &Path) -> Certificates {
        let made = DeviceCertificates::prepare(names(state), clock::unix_time()).unwrap();
        let tls = TlsServer::new(made.server(), ClientAuthorities::default()).unwrap();
        Certificates::new(CertificateHouse::new(made, tls), Obituary::unsupervised())
    }

    #[test]
    fn an_operator_is_told_daily_of_an_authority_of_his_own_in_its_last_fifth_and_of_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let certs = dir.path().join("certs");
        std::fs::create_dir(&certs).unwrap();
        Authority::load_or_make(&certs.join("device-ca.pem"), "Plant 7 CA").unwrap();
        let own = certificates(dir.path());
        let life = own.house.with(|made| made.authority_life());
        let from = life.warned_from.unwrap();
        let warning = |at: Duration| {
            let all = own.all(at);
            assert!(all.iter().all(|it| it.name == "device-ca" || it.warning.is_none()));
            all.into_iter().find_map(|it| it.warning)
        };
        assert_eq!(warning(from - DAY), None);
        let told = warning(life.ends - 9 * DAY).unwrap();
        assert!(told.contains("device-ca ends in 9 days, on 20"), "{told}");
        assert!(told.contains("certs/device-ca.pem") && told.contains("restart"), "{told}");
        assert!(warning(life.ends + DAY).unwrap().contains("has ended on 20"));

        let ours = certificates(tempfile::tempdir().unwrap().path());
        let ends = ours.house.with(|made| made.authority_life()).ends;
        assert!(ours.all(ends).iter().all(|it| it.warning.is_none()), "those are renewed");
    }

    #[test]
    fn the_log_is_told_at_once_then_daily_and_after_a_clock_was_set_back() {
        let mut told = Told::default();
        let at = |days: u32, hours: u32| DAY * 20_000 + days * DAY + hours * DAY / 24;
        for (when, is_due) in [
            (at(0, 0), true),
            (at(0, 1), false),
            (at(0, 23), false),
            (at(1, 0), true),
            (at(1, 1), false),
            (at(0, 12), true),
            (at(0, 13), false),
            (at(9, 0), true),
        ] {
            assert_eq!(told.is_due("device-ca", when), is_due, "{when:?}");
        }
        assert!(told.is_due("trusted-ca", at(9, 1)), "each by itself");
    }
}
