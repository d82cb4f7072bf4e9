//! A small async client for modules (and devices) of an IoT Edge runtime.
//!
//! It speaks what the Azure IoT SDKs speak (MQTT 3.1.1 over TLS, the workload API on a unix
//! socket), so it works with any edge hub of that kind. It connects by itself, retries for ever,
//! and keeps what it was given to send until the hub has acknowledged it.
//!
//! ```no_run
//! use edge_module_client::{Message, ModuleClient};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = ModuleClient::from_environment()?;
//! let mut inputs = client.inputs().await?;
//! let mut desired = client.desired().await?;
//! client.report(serde_json::json!({ "state": "started" })).await?;
//! loop {
//!     tokio::select! {
//!         Some(input) = inputs.recv() => {
//!             let message = Message::json(&serde_json::json!({ "seen": input.name() }));
//!             client.send("output1", message).await?; // resolves when the hub has stored it
//!             input.done().await;                     // only now the input is acknowledged
//!         }
//!         Ok(()) = desired.changed() => println!("desired: {}", *desired.borrow_and_update()),
//!         () = edge_module_client::stopped() => break,
//!     }
//! }
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! What it promises: [`ModuleClient::send`] resolves after the hub's acknowledgement, in order;
//! until then the message is kept and sent again after a reconnect (so it may arrive twice, it is
//! never lost while the module lives). An [`Input`] is acknowledged when the module says so; one
//! that was not is delivered again. Nothing survives the module's own process: see the hub for that.
//!
//! next: `client.rs`, then `link/mod.rs`.

mod backoff;
mod bag;
mod client;
mod clock;
mod credentials;
mod environment;
mod error;
mod link;
mod message;
mod signal;
mod tls;
mod token;
mod topics;
mod twin;
mod workload;

pub use client::{Inputs, Methods, ModuleClient};
pub use credentials::Settings;
pub use error::{ClientError, SettingsError};
pub use link::{Input, LinkState, MethodCall};
pub use message::Message;
pub use signal::stopped;
