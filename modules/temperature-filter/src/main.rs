//! Sample module: passes readings above a threshold from `input1` to `output1`.
//!
//! The desired property `threshold` (25) says above what; the reported one says what is in force.
//! A reading is acknowledged only after the hub has the message it led to, so none is lost when
//! this module, the hub or the machine goes down. next: `filter.rs`, the decision.

mod filter;

use std::process::ExitCode;
use std::time::Duration;

use edge_module_client::{ClientError, ModuleClient};
use serde_json::json;

use self::filter::{Verdict, judge, threshold};

const INPUT: &str = "input1";
const OUTPUT: &str = "output1";
/// How long readings wait for the desired properties at start; then the default is in force.
const PATIENCE: Duration = Duration::from_secs(30);

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
    println!("temperature-filter {}: {INPUT} to {OUTPUT}", env!("CARGO_PKG_VERSION"));
    let client = ModuleClient::from_environment()?;
    tokio::spawn(print_states(client.clone()));
    tokio::select! {
        done = pass_readings(&client) => done?,
        done = report_threshold(&client) => done?,
        () = edge_module_client::stopped() => println!("asked to stop"),
    }
    client.close().await;
    println!("stopped");
    Ok(())
}

/// Takes one reading after the other, in order.
async fn pass_readings(client: &ModuleClient) -> Result<(), ClientError> {
    let mut inputs = client.inputs().await?;
    let mut desired = client.desired().await?;
    // Readings wait for the threshold that was set, but not for ever.
    let known = desired.wait_for(|desired| !desired.is_null());
    let _ = tokio::time::timeout(PATIENCE, known).await;
    let (mut taken, mut passed) = (0u64, 0u64);
    while let Some(input) = inputs.recv().await {
        let verdict = if input.name() == INPUT {
            judge(input.message(), threshold(&desired.borrow()))
        } else {
            Verdict::Drop
        };
        taken += 1;
        match verdict {
            Verdict::Pass(alert) => {
                client.send(OUTPUT, alert).await?;
                passed += 1;
                if passed == 1 {
                    println!("passed the first reading");
                }
            }
            Verdict::Drop => (),
            Verdict::Unreadable(why) => println!("dropped a message that is no reading: {why}"),
        }
        input.done().await;
        if taken.is_multiple_of(100) {
            println!("passed {passed} of {taken} readings");
        }
    }
    Err(ClientError::Closed)
}

/// Reports the threshold in force, at start and whenever it changes.
async fn report_threshold(client: &ModuleClient) -> Result<(), ClientError> {
    let mut desired = client.desired().await?;
    let mut reported = None;
    while desired.changed().await.is_ok() {
        let limit = threshold(&desired.borrow_and_update());
        if reported == Some(limit) {
            continue;
        }
        println!("threshold {limit}");
        match client.report(json!({ "threshold": number(limit) })).await {
            Ok(()) => reported = Some(limit),
            Err(error @ ClientError::Twin { .. }) => println!("not reported: {error}"),
            Err(closed) => return Err(closed),
        }
    }
    Err(ClientError::Closed)
}

/// 30 rather than 30.0: as an operator writes it.
#[expect(clippy::cast_possible_truncation, reason = "only whole numbers of this size are cast")]
fn number(value: f64) -> serde_json::Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}

/// One line for each change of the connection.
async fn print_states(client: ModuleClient) {
    let mut state = client.state();
    drop(client);
    while state.changed().await.is_ok() {
        println!("{}", *state.borrow_and_update());
    }
}
