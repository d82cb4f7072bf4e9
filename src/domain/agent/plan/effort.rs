//! One effort to have a module's container as it is wanted: turns of looking and doing, until
//! nothing is left to do. What fails on the way leads to another way, not to an end.

use super::{Known, Observed, Phase, Stand, Step, Want, stand, steps};
use crate::domain::agent::words::DesiredStatus;

/// So many turns are enough for all that can follow one another.
pub const TURNS: usize = 8;

/// What is tried.
#[derive(Clone, Debug)]
pub struct Effort {
    /// For which module.
    pub want: Want,
    /// See [`Known`].
    pub known: Known,
    /// The image was pulled for it. Until then what runs goes on.
    pub has_image: bool,
    /// A container that has ended is to be started again, once.
    pub start_ended: bool,
}

/// What is to be done after a look.
#[derive(Debug)]
pub struct Turn<'a> {
    /// How the containers stand.
    pub stand: Stand<'a>,
    /// Nothing: the target is as it is to be.
    pub steps: Vec<Step>,
    /// There is more to do as soon as the image is here.
    pub needs_image: bool,
}

/// What follows on a step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// What ran before is to run on; this is tried again later.
    Hold,
    /// What ran before is to run again; this is not tried again.
    Refuse,
    /// There is no other way.
    GiveUp,
}

impl Effort {
    /// What is to be done about these.
    pub fn turn<'a>(&self, have: &[&'a Observed]) -> Turn<'a> {
        let mut known = self.known;
        let mut stand = stand(&self.want, have, known);
        let needs_image = !self.has_image && stand.target.is_none() && stand.before.is_some();
        if needs_image {
            known.is_held = true;
            stand = super::stand(&self.want, have, known);
        }
        let mut steps = steps(&self.want, have, known);
        if let (Some(target), None) = (stand.target, stand.before)
            && self.start_ended
            && self.want.status == DesiredStatus::Running
            && target.phase == Phase::Exited
            && !target.is_aside
        {
            steps.push(Step::Start(target.id.clone()));
        }
        Turn { stand, steps, needs_image }
    }

    /// A step is done.
    pub fn on_done(&mut self, step: &Step) {
        if matches!(step, Step::Start(_) | Step::StartNew) {
            self.start_ended = false;
        }
    }
}

impl Turn<'_> {
    /// A container is created for an identity: the one that is known, or one that is made first.
    pub fn needs_identity(&self, want: &Want) -> bool {
        want.generation.is_none() && self.steps.contains(&Step::Create)
    }

    /// What follows on the failure of this step.
    pub fn on_failed(&self, step: &Step) -> Then {
        let is_new_down = self.stand.target.is_none_or(|it| it.phase == Phase::Created);
        match (step, self.stand.before.is_some()) {
            (Step::StartNew | Step::Start(_), true) => Then::Refuse,
            (_, true) if is_new_down => Then::Hold,
            _ => Then::GiveUp,
        }
    }
}
