//! The thin front of Sprout: HTTP in, one fresh instance per request, HTTP out.
//!
//! ```text
//! http -> pool -> worker process -> (VMM, agent, function)
//! ```
//!
//! [`http`] turns a request under `/f/NAME` into a [`job::Job`]; the [`pool`] hands it to a worker
//! process that has a VM ready; [`worker`] talks with that process until the response is complete,
//! the deadline passes or the process dies. Workers serve one request and are never used again.
//! [`registry`] knows the deployed functions, [`metrics`] what happened.
//!
//! Depends on `sprout-protocol` (what workers say and are told), `sprout-agent` (the request channel)
//! and `sprout-text`: building and testing it needs neither KVM nor the sentry.

#![deny(unsafe_code)]

pub mod clients;
pub mod config;
pub(crate) mod connection;
pub mod http;
pub mod job;
pub mod logs;
pub mod metrics;
pub mod pool;
pub mod process;
pub mod registry;
pub mod server;
pub mod spawn;
pub mod units;
pub mod worker;
