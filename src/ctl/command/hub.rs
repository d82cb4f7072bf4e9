//! `edgectl hub …`: definitions only.

use clap::{Args, Subcommand};

/// See `Command`.
#[derive(Clone, Debug, Subcommand)]
pub enum Hub {
    /// Devices
    #[command(subcommand)]
    Device(Device),
    /// Modules of a device
    #[command(subcommand)]
    Module(Module),
    /// Twins
    #[command(subcommand)]
    Twin(Twin),
    /// Call a direct method
    Method(Method),
    /// Cloud-to-device messages
    #[command(subcommand)]
    C2d(C2d),
    /// Print a token for the hub's REST API: `curl -H "Authorization: $(edgectl hub token)" …`
    Token {
        /// Seconds that it is good for
        #[arg(long, value_name = "S", default_value_t = 3600)]
        life: u64,
    },
    /// Files that devices have uploaded
    #[command(subcommand)]
    File(UploadedFile),
}

/// See [`Hub`].
#[derive(Clone, Debug, Subcommand)]
pub enum Device {
    /// Make a device; prints its connection string
    Create(CreateDevice),
    /// List devices
    List,
    /// Show a device, and its connection string
    Show {
        /// Device
        id: String,
    },
    /// Delete a device with its modules and twins
    Delete {
        /// Device
        id: String,
    },
}

/// See [`Device`].
#[derive(Clone, Debug, Args)]
pub struct CreateDevice {
    /// Device
    pub id: String,
    /// An edge device: it may run modules and be a parent
    #[arg(long)]
    pub edge: bool,
    /// The edge device that it connects through
    #[arg(long, value_name = "EDGE")]
    pub parent: Option<String>,
    /// Logs in with a self-signed certificate of this SHA-1 or SHA-256 thumbprint
    #[arg(long, value_name = "HEX")]
    pub x509_thumbprint: Option<String>,
    /// Put GatewayHostName=… into the connection string
    #[arg(long, value_name = "HOST")]
    pub gateway: Option<String>,
}

/// See [`Hub`].
#[derive(Clone, Debug, Subcommand)]
pub enum Module {
    /// Make a module identity; prints its connection string
    Create {
        /// Device
        device: String,
        /// Module
        id: String,
    },
    /// List a device's modules
    List {
        /// Device
        device: String,
    },
    /// Show a module identity, and its connection string
    Show {
        /// Device
        device: String,
        /// Module
        id: String,
    },
    /// Delete a module identity
    Delete {
        /// Device
        device: String,
        /// Module
        id: String,
    },
}

/// See [`Hub`].
#[derive(Clone, Debug, Subcommand)]
pub enum Twin {
    /// Print a twin (JSON)
    Show {
        /// Device
        device: String,
        /// Module
        module: Option<String>,
    },
    /// Set desired properties: `a.b=30`; `=null` removes; `tags.x=…` sets tags
    Set {
        /// Device
        device: String,
        /// Module, then path=value…
        #[arg(required = true, value_name = "[MODULE] PATH=VALUE")]
        what: Vec<String>,
    },
}

/// See [`Hub`].
#[derive(Clone, Debug, Args)]
pub struct Method {
    /// Device, or DEVICE/MODULE
    pub target: String,
    /// Method
    pub name: String,
    /// JSON
    pub payload: Option<String>,
    /// Module
    #[arg(long, value_name = "ID")]
    pub module: Option<String>,
    /// Seconds that the answer may take
    #[arg(long, value_name = "S", default_value_t = 30)]
    pub timeout: u64,
    /// Seconds to wait for the target to connect
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub connect_timeout: u64,
}

/// See [`Hub`].
#[derive(Clone, Debug, Subcommand)]
pub enum C2d {
    /// Send a message to a device
    Send {
        /// Device
        device: String,
        /// Body
        body: String,
        /// Property
        #[arg(long = "property", short, value_name = "NAME=VALUE")]
        properties: Vec<String>,
        /// Message id
        #[arg(long, value_name = "ID")]
        message_id: Option<String>,
        /// Correlation id
        #[arg(long, value_name = "ID")]
        correlation_id: Option<String>,
        /// Content type
        #[arg(long, value_name = "TYPE")]
        content_type: Option<String>,
    },
}

/// See [`Hub`].
#[derive(Clone, Debug, Subcommand)]
pub enum UploadedFile {
    /// List a device's files
    List {
        /// Device
        device: String,
    },
    /// Fetch a file
    Get {
        /// Device
        device: String,
        /// Its name, as in the list
        name: String,
        /// Where to write it; without, to standard output
        #[arg(long, value_name = "FILE")]
        to: Option<std::path::PathBuf>,
    },
    /// Delete a file
    Delete {
        /// Device
        device: String,
        /// Its name, as in the list
        name: String,
    },
}
