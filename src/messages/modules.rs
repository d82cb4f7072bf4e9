//! What `modules` answers to, and what it tells `deployment`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use actix::Message;

use crate::domain::agent::body::Body;
use crate::domain::agent::manifest::{Credential, ModuleSpec};
use crate::domain::agent::plan::Want;
use crate::domain::agent::redact::Known;
use crate::domain::agent::state::ModuleState;
use crate::domain::identity::Identity;

/// A module as it is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// For the planner.
    pub want: Want,
    /// Of the desired properties that say so; another one alone changes nothing.
    pub version: u64,
    /// From the deployment.
    pub spec: ModuleSpec,
    /// For the engine.
    pub body: Body,
    /// This runtime's instance, for names of containers.
    pub instance: String,
    /// So long a changed module's new container has to come up.
    pub update_deadline: Duration,
    /// For the image's registry.
    pub credential: Option<Credential>,
    /// Where EdgeHub is to be reached from its container, if that can be tried.
    pub hub_address: Option<SocketAddr>,
    /// Why no container can be made of it, on this device.
    pub obstacle: Option<String>,
}

impl Assignment {
    /// What is not to be shown of it, also if the engine quotes it.
    pub fn secrets(&self) -> Known {
        let password = self.credential.as_ref().map(|it| it.password.as_str());
        Known::of(self.body.value(), password)
    }
}

/// All modules, as they are to be from now on; idempotent. A module that is not among them, nor
/// among those kept, is stopped and removed.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Assign {
    /// By startup order.
    pub modules: Vec<Assignment>,
    /// Names of those that run as they are to: they are looked after at once, whatever their turn.
    pub running: BTreeSet<String>,
    /// Names of modules whose desired properties are wrong: what runs of them is left alone.
    pub kept: Vec<String>,
    /// Modules that have containers, and are wanted no more.
    pub unwanted: Vec<String>,
}

/// A module does otherwise than before. A notice.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ModuleChanged(pub ModuleState);

/// A module, its container and its state are gone. A notice.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ModuleGone(pub String);

/// `modules` has (re)started and knows nothing: assign. A notice.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct ModulesStarted;

/// To one module: it is to be as this says from now on; idempotent.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Adapt(pub Box<Assignment>);

/// To one module, or one container: something happened to the container, or may have. A notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Look {
    /// The engine was away: what ended meanwhile was not watched.
    pub was_away: bool,
}

/// To one module: an operator's, or the deployment's, will. Answered when the engine has done it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "Result<(), String>")]
pub enum Halt {
    /// Stop the container and start it again.
    Restart,
    /// Stop the container and leave it.
    Stop,
    /// Stop and remove it, then end.
    Remove,
}

/// Makes the identity of a module at the parent; one that is there already is as good. Answered by
/// `roster`.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), String>")]
pub struct MakeIdentity(pub Identity);

/// The modules of the deployment, all of them: `roster` removes the identities that it made for
/// others. A notice.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ModulesWanted(pub Vec<String>);
