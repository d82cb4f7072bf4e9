//! Module client.
