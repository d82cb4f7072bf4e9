//! Brings a module's container to where it is wanted: looks, does the planner's steps, looks again.
//!
//! One future, with a deadline at every ask; what it needs it owns, so that it may be dropped at
//! any point: the next run begins with a look. Until the image of an update is here, what ran
//! before is brought up. next: `engine.rs`, `actors/agent/module/update.rs`.

use std::time::{Duration, Instant};

use actix::Recipient;

use super::refusal::{self, Refusal};
use super::{Doing, RunReport};
use crate::actors::agent::{AgentPorts, Registrar};
use crate::actors::clock;
use crate::domain::agent::observed::{Observed, Phase};
use crate::domain::agent::plan::{
    Effort, Known, Step, TURNS, Then, Trial, Turn, is_on_trial, stand,
};
use crate::domain::identity::Identity;
use crate::domain::restart::RestartPolicy;
use crate::messages::engine::{EngineError, PullProgress, Run};
use crate::messages::modules::Assignment;
use crate::mutant;

/// See the module documentation.
#[derive(Clone)]
pub(super) struct BringUp {
    pub(super) assignment: Assignment,
    pub(super) start_ended: bool,
    pub(super) device: Identity,
    pub(super) ports: AgentPorts,
    pub(super) registrar: Registrar,
    pub(super) doing: Recipient<RunReport>,
    pub(super) progress: Option<Recipient<PullProgress>>,
    /// It was up before: if it is gone now, it ended, and is not made again here.
    pub(super) is_watching: bool,
    /// The image of an update is here; with what there is to say of it.
    pub(super) image: Option<String>,
    /// Whether the wanted container was refused, and why; none: it is not known yet.
    pub(super) refused: Option<Option<String>>,
    /// Which container is on trial, and since when.
    pub(super) trial: Option<(String, Instant)>,
}

/// A container is as it is to be for now.
pub(super) struct Up {
    pub(super) observed: Observed,
    pub(super) note: String,
    pub(super) update: Update,
    pub(super) refused: Option<String>,
    pub(super) trial: Option<(String, Instant)>,
}

/// How the update of a module stands; all but the first two: it is what ran before that is seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Update {
    /// There is none: the wanted container is.
    #[default]
    Done,
    /// What ran before is kept until the wanted one has come up.
    OnTrial,
    /// The image is not here yet: `module` has it pulled.
    NeedsImage,
    /// It failed, and is to be tried again.
    Held(String),
    /// The wanted one did not come up. That is not tried again.
    Refused(String),
}

/// It is not; and whether the image of an update is needed.
pub(super) struct Down(pub(super) Failure, pub(super) bool);

/// It is not.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Engine(#[from] EngineError),
    #[error("its identity cannot be had: {0}")]
    Identity(String),
    #[error("its container was removed by somebody")]
    Removed,
    #[error("its container is not there after it was made")]
    Vanished,
}

/// What changes from turn to turn.
struct Course {
    effort: Effort,
    held: Option<String>,
    refused: Option<String>,
    note: String,
    created: Option<String>,
    /// Which container is on trial, and since when.
    trial: Option<(String, Instant)>,
}

impl BringUp {
    pub(super) async fn run(self) -> Result<Up, Down> {
        let mut needs_image = false;
        self.bring_up(&mut needs_image).await.map_err(|failure| Down(failure, needs_image))
    }

    async fn bring_up(mut self, needs_image: &mut bool) -> Result<Up, Failure> {
        let identity = self.device.sibling(&self.assignment.spec.name);
        let identity = identity.map_err(|error| Failure::Identity(error.to_string()))?;
        let mut want = self.assignment.want.clone();
        want.generation = self.known_generation(&identity).await;
        let refused = match self.refused.take() {
            Some(known) => known,
            None => refusal::read(&self.ports, &want).await,
        };
        let policy = self.assignment.spec.restart_policy;
        let (may_end, is_once) = (policy < RestartPolicy::Always, policy == RestartPolicy::Never);
        let known = Known { may_end, is_once, ..Known::default() };
        let (has_image, start_ended) = (self.image.is_some(), self.start_ended);
        let mut course = Course {
            effort: Effort { want, known, has_image, start_ended },
            held: None,
            refused,
            note: self.image.take().unwrap_or_default(),
            created: None,
            trial: self.trial.take(),
        };
        for _ in 0..TURNS {
            let have = self.list().await?;
            let have: Vec<&Observed> = have.iter().collect();
            course.effort.known.is_held = course.held.is_some() || course.refused.is_some();
            self.look_at_trial(&mut course, &have);
            let turn = course.effort.turn(&have);
            *needs_image = turn.needs_image;
            if self.is_watching && turn.stand.target.is_none() && turn.stand.before.is_none() {
                return Err(Failure::Removed);
            }
            if turn.steps.is_empty() {
                return up(&turn, course);
            }
            if turn.needs_identity(&course.effort.want) {
                match self.make_identity(&identity).await {
                    Ok(generation) => course.effort.want.generation = Some(generation),
                    Err(error) if turn.stand.before.is_none() => return Err(error),
                    Err(error) => {
                        course.held = Some(error.to_string());
                        continue;
                    }
                }
            }
            self.carry_out(&turn, &mut course).await?;
        }
        Err(Failure::Vanished)
    }

    /// The time of a trial begins when the container was started, or is first seen running.
    fn look_at_trial(&self, course: &mut Course, have: &[&Observed]) {
        let known = &mut course.effort.known;
        let stand = stand(&course.effort.want, have, *known);
        let new = stand.target.filter(|_| is_on_trial(&stand));
        course.trial = course.trial.take().filter(|(id, _)| new.is_some_and(|new| new.id == *id));
        if let (None, Some(new)) = (&course.trial, new)
            && new.phase == Phase::Running
        {
            course.trial = Some((new.id.clone(), clock::now()));
        }
        let time = self.assignment.update_deadline;
        known.trial = match &course.trial {
            None => Trial::Unseen,
            Some(_) if time == Duration::ZERO => Trial::Off,
            Some((_, since)) if clock::now().saturating_duration_since(*since) >= time => {
                Trial::Over
            }
            Some(_) => Trial::Going,
        };
    }

    /// All steps of a turn, or those up to one that fails: then the next turn goes another way.
    async fn carry_out(&self, turn: &Turn<'_>, course: &mut Course) -> Result<(), Failure> {
        for step in &turn.steps {
            if *step == Step::Pull && course.effort.has_image {
                continue;
            }
            tracing::info!(module = course.effort.want.name, ?step, "step");
            match self.step(step, course).await {
                Ok(()) => course.effort.on_done(step),
                Err(error @ EngineError::Away(_)) => return Err(error.into()),
                Err(error) => {
                    let (module, then) = (&course.effort.want.name, turn.on_failed(step));
                    tracing::warn!(module, ?step, %error, ?then, "step failed");
                    return match then {
                        Then::GiveUp => Err(error.into()),
                        Then::Hold => {
                            course.held = Some(error.to_string());
                            Ok(())
                        }
                        Then::Refuse => {
                            self.refuse(format!("could not be started: {error}"), course).await;
                            Ok(())
                        }
                    };
                }
            }
            mutant::point_of(point(step, course.refused.is_some()), &course.effort.want.name);
        }
        Ok(())
    }

    async fn step(&self, step: &Step, course: &mut Course) -> Result<(), EngineError> {
        match step {
            Step::Pull => {
                self.tell(Doing::Downloading(false));
                course.note = self.pull().await?;
                course.effort.has_image = true;
                self.tell(Doing::Replacing);
            }
            Step::Aside(id) => self.aside(id).await?,
            Step::Back(id) => self.back(id).await?,
            Step::Create => course.created = Some(self.create(&course.effort.want).await?),
            Step::StartNew => {
                let lost = || EngineError::NotFound("the container that was made is lost".into());
                let id = course.created.clone().ok_or_else(lost)?;
                self.start(id, course).await?;
            }
            Step::Start(id) => self.start(id.clone(), course).await?,
            Step::Stop(id) => self.engine(Run::Stop(id.clone())).await.map(drop)?,
            Step::Remove(id) => self.engine(Run::Remove(id.clone())).await.map(drop)?,
            Step::Refuse(why) => self.refuse(why.clone(), course).await,
        }
        Ok(())
    }

    async fn start(&self, id: String, course: &mut Course) -> Result<(), EngineError> {
        let credential = self.assignment.credential.clone();
        self.engine(Run::Judge { id: id.clone(), credential }).await?;
        self.tell(Doing::Starting);
        self.engine(Run::Start(id.clone())).await?;
        course.trial = Some((id, clock::now()));
        Ok(())
    }

    /// On disk before anything is undone. If it cannot be kept, it holds for as long as this
    /// process runs.
    async fn refuse(&self, why: String, course: &mut Course) {
        let want = &course.effort.want;
        tracing::warn!(
            module = want.name,
            why,
            "the new container did not come up; back to the old"
        );
        let refusal = Refusal { hash: want.hash.clone(), why: why.clone() };
        if let Err(error) = refusal::keep(&self.ports, &want.name, &refusal).await {
            tracing::warn!(module = want.name, error, "that cannot be kept over a restart");
        }
        mutant::point_of("undo-refused", &want.name);
        course.refused = Some(why);
    }

    pub(super) async fn stop(self, id: String) -> Result<(), EngineError> {
        self.engine(Run::Stop(id)).await.map(drop)
    }

    pub(super) fn tell(&self, doing: Doing) {
        self.doing.do_send(RunReport::Doing(doing)); // the last one told counts
    }
}

/// Nothing is left to do.
fn up(turn: &Turn<'_>, course: Course) -> Result<Up, Failure> {
    let observed = turn.stand.target.ok_or(Failure::Vanished)?.clone();
    let is_wanted = observed.spec_hash == course.effort.want.hash;
    let update = match (&course.refused, course.held) {
        _ if is_wanted && course.trial.is_some() => Update::OnTrial,
        _ if is_wanted => Update::Done,
        (Some(why), _) => Update::Refused(why.clone()),
        (None, Some(why)) => Update::Held(why),
        (None, None) => Update::NeedsImage,
    };
    let Course { note, refused, trial, .. } = course;
    Ok(Up { observed, note, update, refused, trial })
}

/// Where tests let this process die.
fn point(step: &Step, is_undo: bool) -> &'static str {
    match (step, is_undo) {
        (Step::Pull, _) => "update-pulled",
        (Step::Aside(_), _) => "update-aside",
        (Step::Create, _) => "update-created",
        (Step::Stop(_), false) => "update-stopped",
        (Step::StartNew | Step::Start(_), false) => "update-started",
        (Step::Remove(_), false) => "update-removed",
        (Step::Stop(_), true) => "undo-stopped",
        (Step::StartNew | Step::Start(_), true) => "undo-started",
        (Step::Remove(_), true) => "undo-removed",
        (Step::Back(_), _) => "undo-back",
        (Step::Refuse(_), _) => "undo-noted",
    }
}
