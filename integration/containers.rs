//! From outside: the real programs, real modules in real containers, and the operator's command
//! line. What a gateway engineer does and sees.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

#[path = "containers/main_job.rs"]
mod main_job;
#[path = "containers/operator.rs"]
mod operator;
#[path = "containers/python.rs"]
mod python;
