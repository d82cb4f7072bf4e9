//! What the clients for .NET, C and Java send, replayed by the byte against the hub and the
//! gateway: they are not installed here. Facts of their published sources, and what each needs of
//! the answers: where it would close, hang or misread.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "clients/c.rs"]
mod c;
#[path = "clients/dotnet.rs"]
mod dotnet;
#[path = "clients/java.rs"]
mod java;
#[path = "clients/replay.rs"]
mod replay;
mod support;
