//! Downloads: one for an image, however many modules wait for it; a few at a time; none where the
//! disk would be full afterwards, and none that nobody waits for.
//!
//! What an interrupted one has brought stays with the engine: the next try goes on from there.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::Recipient;
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared, WeakShared};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::collect::record;
use crate::actors::agent::AgentPorts;
use crate::actors::clock;
use crate::domain::agent::image::registry_of;
use crate::domain::agent::manifest::Credential;
use crate::domain::agent::redact::Known;
use crate::messages::engine::{EngineError, PullImage, PullProgress};
use crate::protocol::docker::{Docker, Progress};

/// Between two notices of one download.
const NOTICE: Duration = Duration::from_secs(1);
/// A download that nobody waits for goes on for so long: who is replaced asks again.
const ABANDONED: Duration = Duration::from_secs(10);

type Outcome = Result<(), EngineError>;
type Download = LocalBoxFuture<'static, Outcome>;

/// All downloads of one engine.
pub(super) struct Pulls {
    permits: Rc<Semaphore>,
    /// Of the engine's disk, what stays free.
    reserve: u64,
    flights: Vec<Flight>,
}

/// One that is under way.
struct Flight {
    image: String,
    credential: Option<Credential>,
    download: WeakShared<Download>,
    audience: Rc<RefCell<Audience>>,
}

impl Flight {
    fn is_under_way(&self) -> Option<Shared<Download>> {
        self.download.upgrade().filter(|download| download.peek().is_none())
    }
}

impl Pulls {
    pub(super) fn new(most: usize, reserve: u64) -> Self {
        let permits = Rc::new(Semaphore::new(most.max(1)));
        Pulls { permits, reserve, flights: Vec::new() }
    }

    /// The download of this image: a new one, or the one under way. It goes on while it is polled.
    pub(super) fn join(
        &mut self,
        docker: &Docker,
        ports: &AgentPorts,
        ask: &PullImage,
    ) -> Shared<Download> {
        self.flights.retain(|flight| flight.is_under_way().is_some());
        let is_it = |it: &&Flight| it.image == ask.image && it.credential == ask.credential;
        let known = self.flights.iter().find(is_it);
        if let Some((flight, download)) = known.and_then(|it| Some((it, it.is_under_way()?))) {
            flight.audience.borrow_mut().add(ask.progress.clone());
            return download;
        }
        let audience = Rc::new(RefCell::new(Audience::new(clock::now())));
        audience.borrow_mut().add(ask.progress.clone());
        let pull = Pull {
            docker: docker.clone(),
            ports: ports.clone(),
            image: ask.image.clone(),
            credential: ask.credential.clone(),
            permits: self.permits.clone(),
            reserve: self.reserve,
            audience: audience.clone(),
        };
        let download = pull.run().boxed_local().shared();
        if let Some(weak) = download.downgrade() {
            let (image, credential) = (ask.image.clone(), ask.credential.clone());
            self.flights.push(Flight { image, credential, download: weak, audience });
        }
        download
    }
}

struct Pull {
    docker: Docker,
    ports: AgentPorts,
    image: String,
    credential: Option<Credential>,
    permits: Rc<Semaphore>,
    reserve: u64,
    audience: Rc<RefCell<Audience>>,
}

impl Pull {
    async fn run(self) -> Outcome {
        if self.permits.available_permits() == 0 {
            let text = "waits for other downloads".into();
            self.audience.borrow_mut().tell(PullProgress { text, percent: None });
        }
        let _permit = self.permits.acquire().await;
        self.check_room(0)?;
        let progress = |progress: Progress| {
            if self.audience.borrow_mut().on_progress(progress, clock::now())? {
                self.check_room(progress.all.saturating_sub(progress.here))?;
            }
            Ok(())
        };
        let (image, credential) = (&self.image, self.credential.as_ref());
        let before = self.docker.image(image).await?;
        let pulled = self.docker.pull(image, credential, progress).await;
        let password = credential.map(|it| it.password.as_str());
        let secrets = Known::of(&Value::Null, password);
        let hidden = |error: EngineError| error.map(|why| secrets.hide(why));
        pulled.map_err(|error| with_advice(hidden(error), image, credential))?;
        if let Err(why) = record(&self.docker, &self.ports, image, before).await {
            tracing::debug!(image, why, "its image is not in the ledger: it will stay for good");
        }
        Ok(())
    }

    fn check_room(&self, missing: u64) -> Outcome {
        let Some(room) = self.docker.room().filter(|_| self.reserve > 0) else { return Ok(()) };
        if room.free >= self.reserve.saturating_add(missing) {
            return Ok(());
        }
        Err(EngineError::Refused(format!(
            "there is no room for it: {} are free in {}, {} are still to come, and {} are to stay \
             free (images.disk_reserve_bytes); make room there, it is tried again",
            megabytes(room.free),
            room.place.display(),
            megabytes(missing),
            megabytes(self.reserve),
        )))
    }
}

/// Who waits for a download.
struct Audience {
    who: Vec<Recipient<PullProgress>>,
    /// Somebody waits who wants to hear nothing.
    has_silent: bool,
    last: Option<PullProgress>,
    told: Option<Instant>,
    /// When somebody waited last.
    wanted: Instant,
}

impl Audience {
    fn new(now: Instant) -> Self {
        Audience { who: Vec::new(), has_silent: false, last: None, told: None, wanted: now }
    }

    fn add(&mut self, who: Option<Recipient<PullProgress>>) {
        let Some(who) = who else {
            self.has_silent = true;
            return;
        };
        if let Some(last) = &self.last {
            who.do_send(last.clone()); // idempotent
        }
        self.who.push(who);
    }

    fn tell(&mut self, progress: PullProgress) {
        for who in &self.who {
            who.do_send(progress.clone()); // idempotent
        }
        self.last = Some(progress);
    }

    /// Whether a notice was due. An error: nobody waits any more.
    fn on_progress(&mut self, progress: Progress, now: Instant) -> Result<bool, EngineError> {
        self.who.retain(Recipient::connected);
        if self.has_silent || !self.who.is_empty() {
            self.wanted = now;
        } else if now.saturating_duration_since(self.wanted) > ABANDONED {
            return Err(EngineError::Refused("nobody waits for it any more".into()));
        }
        let is_due = self.told.is_none_or(|at| now.saturating_duration_since(at) >= NOTICE);
        if is_due {
            self.told = Some(now);
            let progress = in_words(progress);
            if self.last.as_ref() != Some(&progress) {
                self.tell(progress);
            }
        }
        Ok(is_due)
    }
}

fn in_words(Progress { here, all }: Progress) -> PullProgress {
    if all == 0 {
        return PullProgress { text: "asking the registry".into(), percent: None };
    }
    let percent = u8::try_from(u128::from(here) * 100 / u128::from(all)).unwrap_or(100).min(100);
    let text = match percent {
        100 => format!("unpacking {}", megabytes(all)),
        _ => {
            let here = here as f64 / 1e6;
            format!("downloaded {here:.1} of {} ({percent} %)", megabytes(all))
        }
    };
    PullProgress { text, percent: Some(percent) }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// What to do about a registry that lets nobody in: its words do not say who was refused.
fn with_advice(error: EngineError, image: &str, credential: Option<&Credential>) -> EngineError {
    let (EngineError::Refused(words) | EngineError::NotFound(words)) = &error else { return error };
    let lower = words.to_lowercase();
    let signs = ["unauthorized", "authentication required", "denied", "no basic auth", "forbidden"];
    if !signs.iter().any(|sign| lower.contains(sign)) {
        return error;
    }
    EngineError::Refused(match (credential, registry_of(image)) {
        (Some(credential), _) => format!(
            "{words} (the log-in of {} at {} was used: is it right, and may it pull this?)",
            credential.username, credential.address
        ),
        (None, registry) => format!(
            "{words} (there is no log-in for {}: does the image exist, or is one missing in \
             runtime.settings.registryCredentials or agent.registry_credentials?)",
            registry.unwrap_or("the registry")
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_in_words_and_in_per_cent() {
        let words = |here, all| {
            let told = in_words(Progress { here, all });
            (told.text, told.percent)
        };
        assert_eq!(words(0, 0), ("asking the registry".into(), None));
        let some = words(3_500_000, 20_000_000);
        assert_eq!(some, ("downloaded 3.5 of 20.0 MB (17 %)".into(), Some(17)));
        assert_eq!(words(5, 5), ("unpacking 0.0 MB".into(), Some(100)));
    }

    #[test]
    fn a_download_that_nobody_waits_for_is_ended_after_a_while() {
        let start = clock::now();
        let mut audience = Audience::new(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(audience.on_progress(Progress::default(), at(1)), Ok(true));
        assert_eq!(audience.on_progress(Progress::default(), at(10)), Ok(true));
        assert!(audience.on_progress(Progress::default(), at(11)).is_err());
        audience.add(None);
        assert_eq!(audience.on_progress(Progress::default(), at(99)), Ok(true));
        assert_eq!(audience.on_progress(Progress::default(), at(99)), Ok(false), "too soon");
    }

    #[test]
    fn who_was_refused_is_told_and_no_password() {
        let credential =
            Credential { address: "r.io".into(), username: "u".into(), password: "s3cret".into() };
        let refused = EngineError::NotFound("unauthorized: authentication required".into());
        let told = |credential| with_advice(refused.clone(), "r.io/a:1", credential).to_string();
        assert!(told(Some(&credential)).contains("log-in of u at r.io"));
        assert!(!told(Some(&credential)).contains("s3cret"));
        assert!(told(None).contains("no log-in for r.io"));
        let other = EngineError::Refused("manifest unknown".into());
        assert_eq!(with_advice(other.clone(), "r.io/a:1", None), other);
    }
}
