//! One request on its way to a worker, and what comes back.

use std::time::Duration;

use bytes::Bytes;
use sprout_agent::{ErrorReport, ResponseEvent};
use sprout_protocol::Seed;
use sprout_text::{printable, printable_within};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::clients::Share;
use crate::logs::MAX_LINE;

/// Batches of a response that may wait between a worker and a slow client.
pub const REPLY_DEPTH: usize = 4;

/// A request for one instance.
#[derive(Debug)]
pub struct Job {
    /// Names the request in logs.
    pub id: String,
    /// The function, for logs and metrics.
    pub function: String,
    /// What the worker is to be an instance of.
    pub seed: Seed,
    /// The request as the guest reads it. Empty while `body` is there.
    pub request: RequestBytes,
    /// Where the request comes from once a worker is there for it: its body is not read before.
    pub body: Option<Awaited>,
    /// The worker of its client's share; none where shares do not matter.
    pub share: Option<Share>,
    /// When the request arrived.
    pub arrived: Instant,
    /// When it began to wait for a worker.
    pub queued: Instant,
    /// When its response must be complete: `timeout` after `queued`, and later by as long as its body
    /// took to come.
    pub deadline: Instant,
    /// The time for it as configured, for the message.
    pub timeout: Duration,
    /// Takes the response in order. Dropped by a client that went away.
    pub reply: mpsc::Sender<Reply>,
    /// Workers that were lost before they began with it.
    pub lost_workers: u32,
}

/// A request, framed by `sprout_agent`, in pieces that lie where they were received: it may have to
/// be sent to a second worker.
pub type RequestBytes = Vec<Bytes>;

/// A request whose body has not been read.
#[derive(Debug)]
pub struct Awaited {
    /// Takes the word that a worker waits for it.
    pub admitted: oneshot::Sender<()>,
    /// Gives the request, and until when its response must be complete, if all of it comes.
    pub request: oneshot::Receiver<(RequestBytes, Instant)>,
}

impl Job {
    /// Has the body read, if that is still to be done; false if it does not come.
    pub async fn complete(&mut self) -> bool {
        let Some(Awaited { admitted, request }) = self.body.take() else {
            return true;
        };
        // A client that has gone meanwhile sends no request either.
        let _ = admitted.send(());
        match request.await {
            Ok((request, deadline)) => {
                (self.request, self.deadline) = (request, deadline);
                true
            }
            Err(_) => false,
        }
    }
}

/// Parts of a response that arrived together, or why no more will come.
pub type Reply = Result<Vec<ResponseEvent>, Failure>;

/// Why a request got no (complete) response.
#[derive(Clone, Debug, Error)]
pub enum Failure {
    /// The function threw, rejected or gave no response.
    #[error("the function failed: {}", printable_within(&.0.message, MAX_LINE))]
    Function(ErrorReport),
    /// The deadline passed.
    #[error("no complete response within {0:?}")]
    Timeout(Duration),
    /// No worker was free in time, or too many requests wait already.
    #[error("no worker is free")]
    Overloaded,
    /// The instance, its worker or the machinery under it broke.
    #[error("{}", printable_within(.0, MAX_LINE))]
    Worker(String),
    /// The worker was lost before it read the request: another one may have it.
    #[error("{}, before it began", printable(.0))]
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
