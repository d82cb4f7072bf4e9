//! A leaf device: sends a numbered reading every period through an edge gateway.
//!
//! `leaf CONNECTION_STRING_FILE CA_FILE [GATEWAY[:PORT] [PERIOD_MS [COUNT [BYTES]]]]`; a reading is
//! filled up to BYTES. One line on stdout for each change of the connection and for each ten readings
//! that the gateway acknowledged.

use std::process::ExitCode;
use std::time::Duration;

use edge_module_client::{Message, ModuleClient, Settings};
use serde_json::json;

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match start(std::env::args().skip(1).collect()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn start(args: Vec<String>) -> Result<(), Failure> {
    let [connection, ca, rest @ ..] = args.as_slice() else {
        return Err(
            "usage: leaf CONNECTION_STRING_FILE CA_FILE [GATEWAY [PERIOD_MS [COUNT [BYTES]]]]"
                .into(),
        );
    };
    let connection = std::fs::read_to_string(connection)?;
    let mut settings =
        Settings::from_connection_string(connection.trim(), &std::fs::read_to_string(ca)?)?;
    if let Some(gateway) = rest.first() {
        settings = settings.through(gateway);
    }
    let period = Duration::from_millis(rest.get(1).map_or(Ok(1_000), |text| text.parse())?);
    let count: u64 = rest.get(2).map_or(Ok(u64::MAX), |text| text.parse())?;
    let bytes: usize = rest.get(3).map_or(Ok(0), |text| text.parse())?;
    println!("leaf device {}", settings.device());
    let client = ModuleClient::connect(settings);
    let states = client.clone();
    tokio::spawn(async move {
        let mut state = states.state();
        drop(states);
        while state.changed().await.is_ok() {
            println!("{}", *state.borrow_and_update());
        }
    });
    tokio::select! {
        done = send_readings(&client, period, count, bytes) => done?,
        () = edge_module_client::stopped() => (),
    }
    client.close().await;
    Ok(())
}

async fn send_readings(
    client: &ModuleClient,
    period: Duration,
    count: u64,
    bytes: usize,
) -> Result<(), Failure> {
    let filling = "-".repeat(bytes);
    let mut ticks = tokio::time::interval(period);
    for sequence in 1..=count {
        ticks.tick().await;
        let mut reading = json!({ "reading": sequence });
        if bytes > 0 {
            reading["filling"] = filling.as_str().into();
        }
        let message = Message::json(&reading).with("sequence", sequence);
        client.send_telemetry(message).await?;
        if sequence == 1 || sequence.is_multiple_of(10) {
            println!("acknowledged {sequence}");
        }
    }
    println!("acknowledged {count}, done");
    Ok(())
}
