//! The command line of routes, dead letters and backlogs: definitions only.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// See `Command`.
#[derive(Clone, Debug, Subcommand)]
pub enum Route {
    /// Each route with its state, what it matched and delivered, what waits, dead letters; and
    /// messages that no route took, by source
    List,
    /// Keep what the route takes, and send none of it until it is resumed; also after a restart
    Pause {
        /// Its name
        name: String,
    },
    /// Send on what a paused route has kept
    Resume {
        /// Its name
        name: String,
    },
    /// Read the routes of a file, and say all that is wrong with them (exit status 1 if anything
    /// is); no runtime is needed
    Check {
        /// A deployment as `deploy` takes it, `{"routes": {…}}`, or `{"NAME": "FROM …"}`
        file: PathBuf,
    },
    /// What each route makes of a message, part by part, and who wins it
    Explain(Explain),
    /// Run tests of routes and conditions; no runtime is needed
    Test(Test),
    /// Count what other routes would make of the messages that are stored, and of dead letters;
    /// nothing is changed
    Replay(Replay),
}

/// See [`Route`].
#[derive(Clone, Debug, Args)]
pub struct Explain {
    /// The message: JSON with `sender`, `output`, `properties`, `system`, and a `body`
    #[arg(long, value_name = "FILE")]
    pub message: PathBuf,
    /// Routes as `route check` takes them (default: those in force in the runtime here)
    #[arg(long, value_name = "FILE")]
    pub routes: Option<PathBuf>,
    /// With --routes: id of the edge device (default: that of the module that sends, or `edge`)
    #[arg(long, value_name = "ID", requires = "routes")]
    pub device: Option<String>,
}

/// See [`Route`].
#[derive(Clone, Debug, Args)]
pub struct Replay {
    /// Messages that were stored since: `2h`, or a time as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub from: String,
    /// … and until (default: now)
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// The other routes, as `route check` takes them
    #[arg(long, value_name = "FILE")]
    pub routes: PathBuf,
}

/// See [`Route`].
#[derive(Clone, Debug, Args)]
pub struct Test {
    /// Cases: `{"messages": {…}, "cases": […]}`; docs/operating-routes.md has the form
    pub file: PathBuf,
    /// Routes as `route check` takes them, for cases that have none of their own
    #[arg(long, value_name = "FILE")]
    pub routes: Option<PathBuf>,
}

/// See `Command`.
#[derive(Clone, Debug, Subcommand)]
pub enum DeadLetter {
    /// Dead letters: which message, when, how often tried, why
    List(OfEndpoint),
    /// One dead letter, with its properties and body
    Peek {
        /// Its offset, as `list` shows it
        offset: u64,
        /// Whose
        #[arg(long, value_name = "ENDPOINT", default_value = "$upstream")]
        endpoint: String,
    },
    /// Send dead letters again, at the end of the line
    Replay(Letters),
    /// Discard dead letters; they cannot be had back
    Drop(Letters),
}

/// See [`DeadLetter`].
#[derive(Clone, Debug, Args)]
pub struct OfEndpoint {
    /// Whose: $upstream, or a module as `gw/filter`
    #[arg(long, value_name = "ENDPOINT", default_value = "$upstream")]
    pub endpoint: String,
    /// Only of this route
    #[arg(long, value_name = "NAME")]
    pub route: Option<String>,
}

/// See [`DeadLetter`].
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(false))]
pub struct Letters {
    /// Their offsets, as `list` shows them
    #[arg(value_name = "OFFSET", group = "which")]
    pub offsets: Vec<u64>,
    /// All of this route
    #[arg(long, value_name = "NAME", group = "which")]
    pub route: Option<String>,
    /// All of the endpoint
    #[arg(long, group = "which")]
    pub all: bool,
    /// Whose: $upstream, or a module as `gw/filter`
    #[arg(long, value_name = "ENDPOINT", default_value = "$upstream")]
    pub endpoint: String,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// See `Command`.
#[derive(Clone, Debug, Subcommand)]
pub enum Queue {
    /// What waits for a route, in order of sending
    Peek(Peek),
    /// Discard what is owed to an endpoint: a module that is gone, say. It cannot be had back
    Discard(Discard),
    /// Make the queue's file as small as what is stored, and give the rest back to the disk; clients
    /// wait for as long as it takes to copy what is stored
    Compact,
}

/// See [`Queue`].
#[derive(Clone, Debug, Args)]
pub struct Peek {
    /// Its name; `route list` shows them
    pub route: String,
    /// Most messages of each endpoint
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub max: u32,
    /// Properties too, and the first 1,024 bytes of bodies
    #[arg(long)]
    pub body: bool,
}

/// See [`Queue`].
#[derive(Clone, Debug, Args)]
pub struct Discard {
    /// Whose: $upstream, or a module as `gw/filter`; `status` lists them
    pub endpoint: String,
    /// Only what this route took
    #[arg(long, value_name = "NAME")]
    pub route: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}
