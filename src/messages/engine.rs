//! What `engine` answers to, and what it tells: the container engine (Docker, Podman).

use std::collections::BTreeMap;
use std::time::Duration;

use actix::{Message, Recipient};
use serde_json::Value;

use crate::domain::agent::manifest::Credential;
use crate::domain::agent::observed::Observed;

/// Why the engine did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// It does not answer; it is tried again all the time.
    #[error("the container engine is away: {0}")]
    Away(String),
    /// No such container, image or network.
    #[error("{0}")]
    NotFound(String),
    /// A name is taken, or a container is in another state.
    #[error("{0}")]
    Conflict(String),
    /// It will not, whatever the reason.
    #[error("{0}")]
    Refused(String),
}

impl EngineError {
    /// The same in other words.
    pub fn map(self, words: impl FnOnce(&str) -> String) -> Self {
        match self {
            EngineError::Away(why) => EngineError::Away(words(&why)),
            EngineError::NotFound(why) => EngineError::NotFound(words(&why)),
            EngineError::Conflict(why) => EngineError::Conflict(words(&why)),
            EngineError::Refused(why) => EngineError::Refused(words(&why)),
        }
    }
}

/// How the engine does.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "EngineStatus")]
pub struct GetEngineStatus;

/// See [`GetEngineStatus`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineStatus {
    /// What it was told to do since our start, by the word for it.
    pub commands: BTreeMap<&'static str, Commands>,
    /// It answers.
    pub is_ready: bool,
    /// `ready`, or why it cannot be used.
    pub text: String,
    /// Its version.
    pub version: String,
    /// Of the machine it runs on.
    pub architecture: String,
}

/// Commands of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    /// Done.
    pub done: u64,
    /// Refused, or not answered.
    pub failed: u64,
    /// How long all of them took.
    pub took: Duration,
}

/// The containers that carry our instance's label: of one module, or all.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Vec<Observed>, EngineError>")]
pub struct ListContainers {
    /// Of this module only.
    pub module: Option<String>,
}

/// Does one thing.
#[derive(Clone, Debug, PartialEq, Message)]
#[rtype(result = "Result<Done, EngineError>")]
pub enum Run {
    /// Creates a container: name and body.
    Create {
        /// For people; the engine gives an id.
        name: String,
        /// JSON, as it is.
        body: Value,
    },
    /// Starts a container, if the rules for images allow it.
    Start(String),
    /// Whether the rules for images would let a container start now; an error says why not.
    Judge {
        /// Which.
        id: String,
        /// For the registry that has its signature.
        credential: Option<Credential>,
    },
    /// Stops a container, with the time that it was given to end by itself.
    Stop(String),
    /// Removes a container; volumes with a name are kept.
    Remove(String),
    /// Gives a container another name.
    Rename {
        /// Which.
        id: String,
        /// Its new name.
        name: String,
    },
    /// Looks for the modules' network.
    FindNetwork(String),
    /// Looks for an image.
    FindImage(String),
    /// Creates the modules' network if it is not there.
    EnsureNetwork(String),
}

impl Run {
    /// For metrics; none: nothing is changed by it.
    pub fn word(&self) -> Option<&'static str> {
        Some(match self {
            Run::Create { .. } => "create",
            Run::Start(_) => "start",
            Run::Stop(_) => "stop",
            Run::Remove(_) => "remove",
            Run::Rename { .. } => "rename",
            Run::Judge { .. } | Run::FindNetwork(_) | Run::FindImage(_) | Run::EnsureNetwork(_) => {
                return None;
            }
        })
    }
}

/// What came of [`Run`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It is done.
    Plain,
    /// The id of the new container.
    Created(String),
    /// The bytes of an image that is here.
    Image(Option<u64>),
    /// The address of the host in the network, if it has one.
    Network(Option<String>),
}

/// Has an image, asking the registry for it. A few at a time (`images.max_pulls`), the others wait;
/// who asks for one that is under way gets the answer of that.
#[derive(Clone, Message)]
#[rtype(result = "Result<Pulled, EngineError>")]
pub struct PullImage {
    /// What.
    pub image: String,
    /// The registry is asked; otherwise the image must be there.
    pub ask_registry: bool,
    /// The registry's log-in.
    pub credential: Option<Credential>,
    /// Who wants to know how far it is.
    pub progress: Option<Recipient<PullProgress>>,
}

/// The image is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulled {
    /// If the registry could not be asked: why, and that the image on this device is used.
    pub note: String,
}

/// How far a download is. A notice, at most once a second.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct PullProgress {
    /// In words.
    pub text: String,
    /// Of what is to be downloaded, once that is known.
    pub percent: Option<u8>,
}

/// What the engine tells. Notices: look.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum EngineNotice {
    /// It answers now. Containers may have ended meanwhile.
    Up,
    /// It does not answer any more.
    Down,
    /// Something happened to a container of this module.
    Container(String),
}
