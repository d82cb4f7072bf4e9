//! What there is outside of EdgeAgent, in memory: containers, twins, a store; and what was done.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::Value;

use crate::actors::clock;
use crate::domain::agent::names::{GENERATION, IMAGE, MODULE, SPEC_HASH, aside_name};
use crate::domain::agent::observed::{Health, Observed, Phase};
use crate::messages::engine::{Done, EngineError, Run};

/// What everybody outside of EdgeAgent does, and did.
#[derive(Default)]
pub(super) struct World {
    pub(super) is_away: bool,
    /// Nothing can be removed.
    pub(super) is_stuck: bool,
    /// Nothing can be stored.
    pub(super) is_full: bool,
    pub(super) containers: Vec<Observed>,
    pub(super) bodies: BTreeMap<String, Value>,
    /// In order: `pull i`, `create m`, `start m`, …
    pub(super) log: Vec<String>,
    /// Images that cannot be had.
    pub(super) bad_images: BTreeSet<String>,
    /// Images whose download does not end.
    pub(super) slow_images: BTreeSet<String>,
    /// Names taken by containers that are not ours.
    pub(super) foreign: BTreeSet<String>,
    pub(super) desired: Option<(u64, Value)>,
    pub(super) reported: Value,
    pub(super) patches: Vec<Value>,
    /// Status of the next answers to patches.
    pub(super) patch_status: u16,
    /// So long an answer to a patch takes.
    pub(super) patch_seconds: u64,
    /// Status of the next answers to reads of the twin; 0 is 200.
    pub(super) twin_status: u16,
    /// Reads of the twin.
    pub(super) reads: usize,
    pub(super) unknown: BTreeSet<String>,
    pub(super) registrar_error: Option<String>,
    /// The last good deployment, as stored.
    pub(super) kept: Option<Vec<u8>>,
    /// What else is stored.
    pub(super) stored: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What containers of an image do when they are started.
    pub(super) habits: BTreeMap<String, Habit>,
    /// After so many changes more the runtime does nothing any more: it was killed.
    pub(super) dies_after: Option<usize>,
    pub(super) next_id: u32,
}

/// What containers of an image do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// The engine will not create them.
    Uncreatable,
    /// The engine cannot start them.
    Unstartable,
    /// They end at once, with this code.
    Ends(i64),
    /// They have a health check.
    Checked,
}

/// Shared with the fakes.
pub(super) type Shared = Rc<RefCell<World>>;

impl World {
    pub(super) fn container(&mut self, module: &str) -> &mut Observed {
        let found = self.containers.iter_mut().find(|it| it.module == module);
        found.unwrap_or_else(|| panic!("no container of {module}"))
    }

    pub(super) fn took(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    fn create(&mut self, name: String, body: Value) -> Result<Done, EngineError> {
        let module = body["Labels"][MODULE].as_str().unwrap().to_owned();
        if self.foreign.contains(&name) || self.containers.iter().any(|it| it.name == name) {
            return Err(EngineError::Conflict(format!("the name {name} is taken")));
        }
        let image = body["Labels"][IMAGE].as_str().unwrap();
        if self.habits.get(image) == Some(&Habit::Uncreatable) {
            return Err(EngineError::Refused(format!("invalid mount in {body}"))); // quotes it
        }
        self.next_id += 1;
        let id = format!("c{}", self.next_id);
        self.log.push(format!("create {module}"));
        let label = |name: &str| body["Labels"][name].as_str().unwrap_or_default().to_owned();
        self.containers.push(Observed {
            id: id.clone(),
            name,
            module: module.clone(),
            spec_hash: label(SPEC_HASH),
            image: label(IMAGE),
            generation: label(GENERATION),
            phase: Phase::Created,
            exit_code: Some(0),
            ..Observed::default()
        });
        self.bodies.insert(module, body);
        Ok(Done::Created(id))
    }

    pub(super) fn run(&mut self, what: Run) -> Result<Done, EngineError> {
        let (word, id) = match what {
            Run::Create { name, body } => return self.create(name, body),
            Run::EnsureNetwork(_) => return Ok(Done::Network(Some("172.20.0.1".into()))),
            Run::FindNetwork(_) => return Ok(Done::Network(Some("172.20.0.1".into()))),
            Run::Judge { .. } => return Ok(Done::Plain),
            Run::FindImage(_) => return Ok(Done::Image(None)),
            Run::Start(id) => ("start", id),
            Run::Stop(id) => ("stop", id),
            Run::Remove(id) => ("remove", id),
            Run::Rename { id, name } => return self.rename(&id, name),
        };
        let at = self.containers.iter().position(|it| it.id == id);
        let at = at.ok_or_else(|| EngineError::NotFound(format!("no container {id}")))?;
        let module = self.containers[at].module.clone();
        if word == "remove" && self.is_stuck {
            self.log.push(format!("stuck {module}"));
            return Err(EngineError::Refused("device or resource busy".into()));
        }
        self.log.push(format!("{word} {module}"));
        let container = &mut self.containers[at];
        let habit = self.habits.get(&container.image);
        match word {
            "start" if habit == Some(&Habit::Unstartable) => {
                return Err(EngineError::Refused("the port is taken".into()));
            }
            "start" => {
                let is_checked = habit == Some(&Habit::Checked);
                container.phase = Phase::Running;
                container.health = if is_checked { Health::Starting } else { Health::None };
                container.started = Some(clock::unix_time());
                if let Some(Habit::Ends(code)) = habit {
                    container.phase = Phase::Exited;
                    container.exit_code = Some(*code);
                    container.finished = Some(clock::unix_time());
                }
            }
            "stop" => {
                container.phase = Phase::Exited;
                container.exit_code = Some(143);
                container.finished = Some(clock::unix_time());
            }
            _ => drop(self.containers.remove(at)),
        }
        Ok(Done::Plain)
    }
}

impl World {
    fn rename(&mut self, id: &str, name: String) -> Result<Done, EngineError> {
        if self.foreign.contains(&name) || self.containers.iter().any(|it| it.name == name) {
            return Err(EngineError::Conflict(format!("the name {name} is taken")));
        }
        let container = self.containers.iter_mut().find(|it| it.id == id);
        let container = container.ok_or_else(|| EngineError::NotFound(format!("no {id}")))?;
        container.is_aside = name == aside_name(&container.module, "i1");
        let word = if container.is_aside { "aside" } else { "back" };
        self.log.push(format!("{word} {}", container.module));
        container.name = name;
        Ok(Done::Plain)
    }
}
