//! Stop, restart and remove: what an operator, or a new deployment, wants of a module's container.

use std::time::Duration;

use actix::prelude::*;

use super::{Module, kept};
use crate::actors::agent::AgentPorts;
use crate::actors::agent::container::refusal;
use crate::actors::clock;
use crate::domain::agent::observed::{Observed, Phase, newest};
use crate::domain::agent::plan::{Step, removal};
use crate::domain::agent::words::{DesiredStatus, ModuleStatus};
use crate::messages::engine::{ListContainers, Run};
use crate::messages::modules::Halt;
use crate::mutant;

/// Stopping takes as long as the container was given.
const ENGINE: Duration = Duration::from_secs(310);
/// A removal that did not succeed is tried again.
const AGAIN: Duration = Duration::from_secs(10);

impl Handler<Halt> for Module {
    type Result = ResponseActFuture<Self, Result<(), String>>;

    fn handle(&mut self, halt: Halt, ctx: &mut Self::Context) -> Self::Result {
        let wanted = self.assignment.as_ref().map(|it| it.want.status);
        if halt == Halt::Restart && wanted != Some(DesiredStatus::Running) {
            let why = format!("module {} is not to run: deploy it with status running", self.name);
            return Box::pin(actix::fut::ready(Err(why)));
        }
        self.stop_worker();
        self.stop_timer(ctx);
        self.is_halted = true;
        if halt == Halt::Remove {
            self.change(|state| state.why = "is no longer wanted, and is being removed".into());
        }
        let work = carry_out(halt, self.name.clone(), self.ports.clone());
        let secrets = self.assignment.as_ref().map(|it| it.secrets()).unwrap_or_default();
        Box::pin(work.into_actor(self).map(move |result, this, ctx| {
            let result = result.map_err(|why| secrets.hide(&why));
            this.on_halted(halt, &result, ctx);
            result
        }))
    }
}

impl Module {
    fn on_halted(&mut self, halt: Halt, result: &Result<(), String>, ctx: &mut Context<Self>) {
        match (halt, result) {
            (Halt::Restart, _) => {
                self.is_halted = false;
                self.start_worker(true, ctx);
            }
            (Halt::Stop, _) => {
                let why = match result {
                    Ok(()) => "stopped by the operator".to_owned(),
                    Err(error) => format!("could not be stopped: {error}"),
                };
                self.change(|state| {
                    state.status = ModuleStatus::Stopped;
                    state.is_done = false; // it is stopped by will
                    state.why = why;
                });
            }
            (Halt::Remove, Ok(())) => ctx.stop(),
            (Halt::Remove, Err(why)) => {
                let why = format!("is no longer wanted, and cannot be removed: {why}");
                self.change(|state| {
                    state.why = why;
                    state.next_attempt = Some(clock::now() + AGAIN);
                });
                // One timer, however often it was told meanwhile.
                if let Some(earlier) = self.timer.take() {
                    ctx.cancel_future(earlier);
                }
                self.timer = Some(ctx.run_later(AGAIN, |this, ctx| {
                    this.timer = None;
                    let is_unwanted = this.is_halted;
                    if is_unwanted {
                        ctx.notify(Halt::Remove);
                    }
                }));
            }
        }
    }
}

async fn carry_out(halt: Halt, module: String, ports: AgentPorts) -> Result<(), String> {
    if halt == Halt::Remove {
        // First: what is remembered of one that is gone would hold for one that is wanted later.
        refusal::forget(&ports, &module).await;
        kept::forget(&ports, &module).await;
    }
    let have = list(&ports, &module).await?;
    let steps = match halt {
        Halt::Remove => removal(&have.iter().collect::<Vec<_>>()),
        Halt::Stop | Halt::Restart => {
            let running = have.iter().filter(|it| it.phase == Phase::Running);
            running.map(|it| Step::Stop(it.id.clone())).collect()
        }
    };
    for step in steps {
        tracing::info!(module, ?step, "step");
        match step {
            Step::Stop(id) => {
                run(&ports, Run::Stop(id)).await?;
                mutant::point_of("halt-stopped", &module);
            }
            Step::Remove(id) => {
                run(&ports, Run::Remove(id)).await?;
                mutant::point_of("halt-removed", &module);
            }
            _ => {} // there is no other here
        }
    }
    if halt == Halt::Restart {
        let newest =
            newest(&have).ok_or_else(|| format!("module {module} has no container yet"))?;
        run(&ports, Run::Start(newest.id.clone())).await?;
    }
    Ok(())
}

async fn list(ports: &AgentPorts, module: &str) -> Result<Vec<Observed>, String> {
    let ask = ListContainers { module: Some(module.to_owned()) };
    ports.list.ask_in_words(ask, ENGINE).await
}

async fn run(ports: &AgentPorts, what: Run) -> Result<(), String> {
    ports.run.ask_in_words(what, ENGINE).await.map(drop)
}
