//! Direct methods of `$edgeAgent` (spec edgeagent.md 6): they come from the hub by the link only;
//! modules cannot call them.
//!
//! Started by the supervisor `apis`. What takes long is a task: the answer names it, and
//! `GetTaskStatus` tells how it ended. next: `work.rs`.

#[cfg(test)]
mod tests;
mod work;

use std::future::ready;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use actix::prelude::*;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

pub use self::work::Work;
use crate::actors::clock;
use crate::actors::supervision::{Obituary, Supervised};
use crate::domain::agent::methods::tasks::Tasks;
use crate::domain::agent::methods::{Asked, Refused};
use crate::domain::method::Outcome;
use crate::messages::sessions::Invoke;
use crate::messages::supervision::Health;

/// Calls that read logs, at a time; others wait.
const CALLS: usize = 4;
/// Uploads at a time; others wait as `NotStarted`.
const UPLOADS: usize = 2;

/// See the module documentation.
pub struct Methods {
    work: Rc<Work>,
    tasks: Tasks,
    calls: Rc<Semaphore>,
    uploads: Rc<Semaphore>,
    obituary: Obituary,
}

type Answer = Result<Value, Refused>;
type Task = LocalBoxFuture<'static, Result<String, String>>;

impl Methods {
    /// Nothing is under way.
    pub fn new(work: Work, obituary: Obituary) -> Self {
        let (calls, uploads) = (Semaphore::new(CALLS), Semaphore::new(UPLOADS));
        let (calls, uploads) = (Rc::new(calls), Rc::new(uploads));
        Methods { work: Rc::new(work), tasks: Tasks::default(), calls, uploads, obituary }
    }

    /// Begins a task, and answers with its id.
    fn begin(&mut self, task: Task, ctx: &mut Context<Self>) -> Answer {
        let id = correlation_id();
        if !self.tasks.on_begun(&id, clock::now()) {
            let why = "too many uploads are under way: ask again when some have ended";
            return Err(Refused { status: 429, message: why.into() });
        }
        let (uploads, own, of_task) = (Rc::clone(&self.uploads), ctx.address(), id.clone());
        let work = async move {
            let _permit = uploads.acquire().await;
            own.do_send(Begun(of_task.clone()));
            (of_task, task.await)
        };
        ctx.spawn(work.into_actor(self).map(|(id, result), this, _| {
            match &result {
                Ok(said) => tracing::info!(task = id, said, "a task of a direct method is done"),
                Err(why) => tracing::warn!(task = id, why, "a task of a direct method failed"),
            }
            this.tasks.on_ended(&id, result, clock::now());
        }));
        Ok(self.status(&id))
    }

    fn status(&mut self, id: &str) -> Value {
        let (status, message) = self.tasks.status(id, clock::now());
        json!({ "status": status.as_str(), "message": message, "correlationId": id })
    }

    fn carry_out(
        &mut self,
        asked: Result<Asked, Refused>,
        ctx: &mut Context<Self>,
    ) -> LocalBoxFuture<'static, Answer> {
        let (work, calls) = (Rc::clone(&self.work), Rc::clone(&self.calls));
        let now = |answer: Answer| -> LocalBoxFuture<'static, Answer> { Box::pin(ready(answer)) };
        match asked {
            Err(refused) => now(Err(refused)),
            Ok(Asked::Ping) => now(Ok(Value::Null)),
            Ok(Asked::GetTaskStatus(id)) => now(Ok(self.status(&id))),
            Ok(Asked::RestartModule(id)) => Box::pin(async move { work.restart(&id).await }),
            Ok(Asked::GetModuleLogs(asked)) => Box::pin(async move {
                let _permit = calls.acquire().await;
                work.get_logs(&asked).await
            }),
            Ok(Asked::UploadModuleLogs(asked, url)) => {
                now(self.begin(Box::pin(async move { work.upload_logs(&asked, &url).await }), ctx))
            }
            Ok(Asked::UploadSupportBundle(asked, url)) => {
                now(self.begin(Box::pin(async move { work.upload_bundle(asked, &url).await }), ctx))
            }
        }
    }
}

/// The turn of a task has come.
#[derive(Message)]
#[rtype(result = "()")]
struct Begun(String);

impl Actor for Methods {
    type Context = Context<Self>;
}

impl Handler<Begun> for Methods {
    type Result = ();

    fn handle(&mut self, Begun(id): Begun, _: &mut Self::Context) {
        self.tasks.on_started(&id);
    }
}

impl Handler<Invoke> for Methods {
    type Result = ResponseFuture<Outcome>;

    fn handle(&mut self, Invoke { call, .. }: Invoke, ctx: &mut Self::Context) -> Self::Result {
        let asked = Asked::parse(&call.name, &call.payload, clock::unix_time());
        let answer = self.carry_out(asked, ctx);
        Box::pin(async move {
            let answer = match tokio::time::timeout(call.response_timeout, answer).await {
                Ok(answer) => answer,
                Err(_) => Err(Refused::failed("it takes too long: ask for less")),
            };
            let (status, body) = match answer {
                Ok(Value::Null) => (200, Bytes::new()),
                Ok(body) => (200, body.to_string().into()),
                Err(Refused { status, message }) => {
                    tracing::info!(method = call.name, status, message, "a method is refused");
                    (status, json!({ "message": message }).to_string().into())
                }
            };
            tracing::info!(target: "audit", method = call.name, status, "direct method of $edgeAgent");
            Outcome::Answered(status, body)
        })
    }
}

impl Supervised for Methods {
    fn obituary(&mut self) -> &mut Obituary {
        &mut self.obituary
    }

    fn health(&self) -> Health {
        Health { state: format!("{} tasks known", self.tasks.len()) }
    }
}
crate::supervised!(Methods);

/// As a UUID is written; no two in this process are the same.
fn correlation_id() -> String {
    let random = || RandomState::new().hash_one(0);
    let (a, b) = (random(), random());
    let (c, d, e) = (a >> 32, (a >> 16) & 0xffff, a & 0xffff);
    format!("{c:08x}-{d:04x}-{e:04x}-{:04x}-{:012x}", b >> 48, b & 0xffff_ffff_ffff)
}
