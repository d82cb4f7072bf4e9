//! Kinds of settings: what a value must look like.

use std::net::SocketAddr;

use super::values::{parse_age, parse_size};
use crate::protocol::docker;

/// What a setting holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Shown as `***`.
    Secret,
    /// Shown with its key as `***`.
    ConnectionString,
    Path,
    Paths,
    /// `host:port`.
    HostPort,
    /// `unix:///path` or `tcp://host:port`.
    EngineAddress,
    /// `address:port`, or nothing.
    Address,
    Addresses,
    /// Only loopback.
    LoopbackAddresses,
    Size,
    Age,
    /// Whole, from 0 to this.
    Number(i64),
    /// `info`, or `warn,edge_runtime=debug`.
    LogLevel,
    OneOf(&'static [&'static str]),
    /// `true` or `false`.
    Switch,
    /// A list of texts.
    Texts,
    /// A list of tables with these keys, and those of them that none may lack; in files only.
    Tables(&'static [(&'static str, Kind)], &'static [&'static str]),
}

/// A value as it was given.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Given {
    Text(String),
    Number(i64),
    Switch(bool),
    List(Vec<String>),
    /// Something else, by its name.
    Other(&'static str),
}

impl Kind {
    /// From one line of text: a variable or a flag.
    pub(super) fn read(self, text: &str) -> Given {
        match self {
            Kind::Paths | Kind::Addresses | Kind::LoopbackAddresses | Kind::Texts => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Given::List(parts.map(str::to_owned).collect())
            }
            Kind::Size | Kind::Age | Kind::Number(_) => {
                text.parse().map_or_else(|_| Given::Text(text.into()), Given::Number)
            }
            Kind::Switch => text.parse().map_or_else(|_| Given::Text(text.into()), Given::Switch),
            Kind::Tables(..) => Given::Other("text"),
            _ => Given::Text(text.into()),
        }
    }

    /// Whether a value fits; if not, what would.
    pub(super) fn check(self, given: &Given) -> Result<(), String> {
        let got = match given {
            Given::Text(text) => return self.check_text(text),
            Given::Number(_) if matches!(self, Kind::Age) => return self.check_number(given),
            Given::Switch(_) if matches!(self, Kind::Switch) => return Ok(()),
            Given::Number(_) if matches!(self, Kind::Size) => return self.check_number(given),
            Given::Number(n) if matches!(self, Kind::Number(most) if (0..=most).contains(n)) => {
                return Ok(());
            }
            Given::List(list) if self.is_list() => {
                return list.iter().try_for_each(|item| self.check_item(item));
            }
            Given::Number(_) if matches!(self, Kind::Number(_)) => "another one",
            Given::Number(_) => "a number",
            Given::Switch(_) => "true or false",
            Given::List(_) => "a list",
            Given::Other(what) => what,
        };
        Err(format!("expects {}, not {got}", self.expects()))
    }

    fn check_number(self, given: &Given) -> Result<(), String> {
        let is_good = matches!(given, Given::Number(n) if *n >= 0);
        if is_good { Ok(()) } else { Err(format!("expects {}, not below 0", self.expects())) }
    }

    fn check_text(self, text: &str) -> Result<(), String> {
        let is_good = match self {
            Kind::Text | Kind::Secret | Kind::ConnectionString => true,
            Kind::Path => !text.is_empty(),
            Kind::HostPort => {
                let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
                port.is_some_and(|(_, port)| port.parse::<u16>().is_ok())
            }
            Kind::EngineAddress => docker::is_address(text),
            Kind::Address => text.is_empty() || text.parse::<SocketAddr>().is_ok(),
            Kind::Size => parse_size(text).is_some(),
            Kind::Age => parse_age(text).is_some(),
            Kind::LogLevel => text.split(',').all(is_log_directive),
            Kind::OneOf(words) => words.contains(&text),
            Kind::Switch | Kind::Number(_) => false,
            Kind::Paths
            | Kind::Addresses
            | Kind::LoopbackAddresses
            | Kind::Texts
            | Kind::Tables(..) => {
                return Err(format!("expects {}, not a text", self.expects()));
            }
        };
        // Secrets never come here: every text is one.
        if is_good { Ok(()) } else { Err(format!("expects {}, not `{text}`", self.expects())) }
    }

    fn is_list(self) -> bool {
        matches!(self, Kind::Paths | Kind::Addresses | Kind::LoopbackAddresses | Kind::Texts)
    }

    fn check_item(self, item: &str) -> Result<(), String> {
        let address = item.parse::<SocketAddr>();
        match (self, address) {
            (Kind::Paths | Kind::Texts, _) if !item.is_empty() => Ok(()),
            (Kind::Addresses, Ok(_)) => Ok(()),
            (Kind::LoopbackAddresses, Ok(address)) if address.ip().is_loopback() => Ok(()),
            (Kind::LoopbackAddresses, Ok(_)) => Err(format!(
                "may hold loopback addresses only, not `{item}`: whoever reaches it could read \
                 passwords; use TLS"
            )),
            _ => Err(format!("expects {}, not `{item}` in it", self.expects())),
        }
    }

    fn expects(self) -> String {
        match self {
            Kind::Text | Kind::Secret => "a text in quotes".into(),
            Kind::ConnectionString => "\"HostName=…;DeviceId=…;SharedAccessKey=…\"".into(),
            Kind::Path => "a path in quotes".into(),
            Kind::Paths => "a list of paths as [\"/data\"]".into(),
            Kind::HostPort => "\"host:port\"".into(),
            Kind::EngineAddress => "\"unix:///path/to/docker.sock\" or \"tcp://host:port\"".into(),
            Kind::Address => "an address as \"127.0.0.1:9600\", or \"\" for none".into(),
            Kind::Addresses => "a list of addresses as [\"0.0.0.0:8883\"]".into(),
            Kind::LoopbackAddresses => "a list of addresses as [\"127.0.0.1:1883\"]".into(),
            Kind::Size => "a number of bytes, or a text as \"16 MiB\"".into(),
            Kind::Age => "a number of seconds, or a text as \"7 d\"".into(),
            Kind::LogLevel => "a level (error, warn, info, debug, trace)".into(),
            Kind::OneOf(words) => format!("one of {}", words.join(", ")),
            Kind::Number(most) => format!("a whole number from 0 to {most}"),
            Kind::Switch => "true or false".into(),
            Kind::Texts => "a list of texts as [\"one\"]".into(),
            Kind::Tables(keys, _) => {
                let keys: Vec<_> = keys.iter().map(|(key, _)| *key).collect();
                format!("a list of tables with {} (in a file)", keys.join(", "))
            }
        }
    }
}

fn is_log_directive(text: &str) -> bool {
    let level = text.rsplit_once('=').map_or(text, |(_, level)| level).trim();
    ["off", "error", "warn", "info", "debug", "trace"].contains(&level)
}
