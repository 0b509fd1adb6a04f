//! What an operator can set.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use sprout_agent::Limits;
use sprout_vmm::isolation::Required;

/// Everything the gateway needs to know to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Program and arguments of the process that starts workers (`sprout_vmm::worker::nursery`).
    pub worker_command: Vec<OsString>,
    /// Directory of the deployed functions.
    pub functions: PathBuf,
    /// Directory of the snapshots they start from.
    pub snapshots: PathBuf,
    /// Workers kept ready.
    pub workers: usize,
    /// Most workers alive at once, ready ones included.
    pub max_workers: usize,
    /// Requests that may wait for a worker; further ones are turned away.
    pub queue: usize,
    /// Most connections open at once.
    pub connections: usize,
    /// From the arrival of a request's body to the end of its response.
    pub timeout: Duration,
    /// Largest request body in bytes.
    pub max_request_body: usize,
    /// Largest response a function may give.
    pub response_limits: Limits,
    /// Refuse snapshots with less between the program and its sentry.
    pub required_isolation: Required,
}

impl Config {
    /// Largest request body that can be configured: it has to fit one message to a worker.
    pub const MAX_REQUEST_BODY: usize = sprout_vmm::worker::protocol::MAX_MESSAGE - (4 << 20);

    /// The defaults of `sprout serve`, for the given state directories and worker command.
    pub fn new(functions: PathBuf, snapshots: PathBuf, worker_command: Vec<OsString>) -> Self {
        Self {
            worker_command,
            functions,
            snapshots,
            workers: 8,
            max_workers: 32,
            queue: 128,
            connections: 512,
            timeout: Duration::from_secs(30),
            max_request_body: 8 << 20,
            response_limits: Limits::default(),
            required_isolation: Required::Shared,
        }
    }

    /// Refuses values that cannot work.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            !self.worker_command.is_empty(),
            "no command to start workers with"
        );
        anyhow::ensure!(self.workers > 0, "--workers must be at least 1");
        anyhow::ensure!(
            self.max_workers >= self.workers,
            "--max-workers ({}) must be at least --workers ({})",
            self.max_workers,
            self.workers
        );
        anyhow::ensure!(self.queue > 0, "--queue must be at least 1");
        anyhow::ensure!(self.connections > 0, "--connections must be at least 1");
        anyhow::ensure!(
            !self.timeout.is_zero(),
            "--timeout must be longer than nothing"
        );
        anyhow::ensure!(
            self.max_request_body <= Self::MAX_REQUEST_BODY,
            "--max-body ({}) is above the {} bytes a worker takes",
            self.max_request_body,
            Self::MAX_REQUEST_BODY
        );
        Ok(())
    }
}
