//! One request on its way to a worker, and what comes back.

use std::time::Duration;

use sprout_agent::{ErrorReport, ResponseEvent};
use sprout_vmm::worker::protocol::Assign;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Batches of a response that may wait between a worker and a slow client.
pub const REPLY_DEPTH: usize = 8;

/// A request for one instance.
#[derive(Debug)]
pub struct Job {
    /// Names the request in logs.
    pub id: String,
    /// The function, for logs and metrics.
    pub function: String,
    /// What the worker is told.
    pub assign: Assign,
    /// When the request arrived.
    pub arrived: Instant,
    /// When it began to wait for a worker.
    pub queued: Instant,
    /// When its response must be complete.
    pub deadline: Instant,
    /// How long that is after its arrival, for the message.
    pub timeout: Duration,
    /// Takes the response in order. Dropped by a client that went away.
    pub reply: mpsc::Sender<Reply>,
    /// Workers that were lost before they began with it.
    pub lost_workers: u32,
}

/// Parts of a response that arrived together, or why no more will come.
pub type Reply = Result<Vec<ResponseEvent>, Failure>;

/// Why a request got no (complete) response.
#[derive(Clone, Debug, Error)]
pub enum Failure {
    /// The function threw, rejected or gave no response.
    #[error("the function failed: {}", .0.message)]
    Function(ErrorReport),
    /// The deadline passed.
    #[error("no complete response within {0:?}")]
    Timeout(Duration),
    /// No worker was free in time, or too many requests wait already.
    #[error("no worker is free")]
    Overloaded,
    /// The instance, its worker or the machinery under it broke.
    #[error("{0}")]
    Worker(String),
    /// The worker was lost before it read the request: another one may have it.
    #[error("{0}, before it began")]
    NotBegun(String),
}

impl Failure {
    /// Short fixed name for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Function(_) => "function",
            Self::Timeout(_) => "timeout",
            Self::Overloaded => "overloaded",
            Self::Worker(_) | Self::NotBegun(_) => "worker",
        }
    }
}
