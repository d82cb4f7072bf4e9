//! Sample module: sends the readings of a simulated machine to the output `temperatureOutput`.
//!
//! Environment: `MESSAGE_PERIOD` (`5`, `2s`, `500ms`; 5 s), `MESSAGE_COUNT` (0 = without end).
//! Desired properties, which win: `period` (seconds), `count`. Method `reset` starts over.
//! next: `machine.rs`, the simulation; `plan.rs`, how often and how many.

mod machine;
mod plan;

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;

use edge_module_client::{ClientError, Message, ModuleClient};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior};

use self::machine::Machine;
use self::plan::Plan;

const OUTPUT: &str = "temperatureOutput";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match start().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn start() -> Result<(), Box<dyn std::error::Error>> {
    let plan = Plan::from_environment(|name| std::env::var(name).ok())?;
    println!("temperature-sensor {}: {plan}", env!("CARGO_PKG_VERSION"));
    let client = ModuleClient::from_environment()?;
    tokio::spawn(print_states(client.clone()));
    tokio::select! {
        done = run(&client, plan) => done?,
        () = edge_module_client::stopped() => println!("asked to stop"),
    }
    client.close().await;
    println!("stopped");
    Ok(())
}

type Sending<'a> = Pin<Box<dyn Future<Output = Result<(), ClientError>> + 'a>>;

/// Sends one reading per period; the next is not made before the hub has the last.
async fn run(client: &ModuleClient, given: Plan) -> Result<(), ClientError> {
    let mut desired = client.desired().await?;
    let mut methods = client.methods().await?;
    let mut machine = Machine::new();
    let mut plan = given;
    let mut sequence = 0u64;
    let mut sending: Option<Sending<'_>> = None;
    let mut ticks = interval(&plan);
    loop {
        let idle = sending.is_none() && plan.goes_on(sequence);
        tokio::select! {
            _ = ticks.tick(), if idle => {
                sequence += 1;
                let message = Message::json(&machine.reading()).with("sequence", sequence);
                sending = Some(Box::pin(client.send(OUTPUT, message)));
            }
            sent = async { sending.as_mut().expect("guarded below").await }, if sending.is_some() => {
                sending = None;
                sent?;
                if sequence == 1 || sequence.is_multiple_of(100) || !plan.goes_on(sequence) {
                    println!("sent {sequence} readings");
                }
            }
            Ok(()) = desired.changed() => {
                let wanted = given.with_desired(&desired.borrow_and_update());
                if wanted != plan {
                    plan = wanted;
                    println!("desired properties: {plan}");
                    ticks = interval(&plan);
                }
            }
            Some(call) = methods.recv() => match call.name() {
                "reset" => {
                    println!("reset after {sequence} readings");
                    machine = Machine::new();
                    sequence = 0;
                    call.answer(200, json!({"message": "reset"})).await;
                }
                other => {
                    let body = json!({"message": format!("there is no method {other}: only reset")});
                    call.answer(404, body).await;
                }
            }
        }
    }
}

fn interval(plan: &Plan) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval_at(Instant::now() + plan.period, plan.period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// One line for each change of the connection.
async fn print_states(client: ModuleClient) {
    let mut state = client.state();
    drop(client);
    while state.changed().await.is_ok() {
        println!("{}", *state.borrow_and_update());
    }
}
