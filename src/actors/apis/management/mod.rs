//! Management API: what `edgectl` asks, over a unix socket that the operator's group may use.
//!
//! Started by the supervisor `apis`. next: `answers.rs`.

mod answers;
mod bundle;
mod daemon;
mod environment;
mod plan;
mod queue;
#[cfg(test)]
mod tests;
mod trace;

use std::path::PathBuf;
use std::rc::Rc;

use actix::prelude::*;

use self::answers::Answers;
use super::overview::{About, ApiPorts};
use super::socket::{Rights, listen};
use crate::actors::supervision::{Obituary, Supervised};
use crate::protocol::http::{Limits, Server, handler};
use crate::protocol::logging::LogRing;

/// Connections of one user; all users together have 64, and each of them at least one.
const OF_USER: usize = 32;

/// See the module documentation.
pub struct Management {
    path: PathBuf,
    rights: Rights,
    answers: Rc<Answers>,
    server: Option<Server>,
    obituary: Obituary,
}

impl Management {
    /// Listens at `path` once it is started; `log` is this process's own.
    pub fn new(
        path: PathBuf,
        rights: Rights,
        about: About,
        ports: ApiPorts,
        log: LogRing,
        obituary: Obituary,
    ) -> Self {
        let answers = Rc::new(Answers::new(about, ports, log));
        Management { path, rights, answers, server: None, obituary }
    }
}

impl Actor for Management {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        match listen(&self.path, &PathBuf::from(beside), self.rights) {
            Ok(listener) => {
                let answers = Rc::clone(&self.answers);
                let answer = handler(move |request| {
                    let answers = Rc::clone(&answers);
                    async move { answers.answer(&request).await }
                });
                let limits = Limits { of_user: Some(OF_USER), ..Limits::default() };
                self.server = Some(Server::unix(listener, answer, limits));
            }
            Err(why) => self.fail(&why, ctx),
        }
    }
}

impl Supervised for Management {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }
}
crate::supervised!(Management);
