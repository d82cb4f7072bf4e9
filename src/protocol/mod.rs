//! Speaks: the only code that names the crates for MQTT, TLS, certificates, HTTP and Docker.

pub mod audit;
pub mod blob;
pub mod bus;
pub mod certs;
pub mod codec;
pub mod docker;
pub mod files;
pub mod groups;
pub mod http;
pub mod http_client;
pub mod link;
pub mod lock;
pub mod logging;
pub mod netns;
pub mod notify;
pub mod open_files;
pub mod parent_rest;
pub mod registry;
pub mod sockets;
pub mod system_info;
pub mod tls;
pub mod zip;
