//! What can go wrong, said so that a person knows what to do.

/// The settings of a client are not usable; trying again will not help.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Neither the edge's variables nor a connection string are in the environment.
    #[error(
        "environment variable {0} is missing: run this as a module, or set EdgeHubConnectionString"
    )]
    MissingVariable(&'static str),
    /// A connection string lacks a part.
    #[error("connection string has no {0}")]
    MissingPart(&'static str),
    /// The shared access key is not base64.
    #[error("SharedAccessKey is not base64")]
    Key,
    /// The workload address is of an unknown kind.
    #[error("workload address {0} is neither unix:// nor http://")]
    WorkloadUri(String),
    /// The certificate file cannot be read.
    #[error("cannot read the certificate file {path}: {source}")]
    CertificateFile {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// An operation came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The client was closed (or its task ended) before the hub answered.
    #[error("the client is closed")]
    Closed,
    /// The message is larger than the hub takes; it was not sent.
    #[error("message of {size} bytes is larger than {limit} bytes")]
    TooLarge {
        /// Its size.
        size: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The hub answered a twin request with an error.
    #[error("the hub answered {status} to a twin request: {body}")]
    Twin {
        /// The status, as in HTTP.
        status: u16,
        /// What it said.
        body: String,
    },
}

/// Why one attempt to connect (or one connection) ended; shown in `LinkState`, then retried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttemptError {
    #[error("workload API at {address}: {why}")]
    Workload { address: String, why: String },
    #[error("certificates: {0}")]
    Certificates(String),
    #[error("{host}: {why}")]
    Mqtt { host: String, why: String },
    #[error("the hub refused subscription {0}")]
    SubscriptionRefused(String),
    #[error("more inputs arrived than this client holds")]
    TooManyInputs,
    #[error("the hub did not answer a twin request")]
    TwinSilent,
    #[error("token is due for renewal")]
    TokenRenewal,
}
