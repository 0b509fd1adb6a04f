//! What an operator can set.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use sprout_agent::Limits;
use sprout_protocol::{Instances, Required};

/// Everything the gateway needs to know to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Program and arguments of the process that starts workers (`sprout_protocol::nursery`).
    pub worker_command: Vec<OsString>,
    /// Directory of the deployed functions.
    pub functions: PathBuf,
    /// Directory of the snapshots they start from.
    pub snapshots: PathBuf,
    /// Workers kept ready.
    pub workers: usize,
    /// Most workers alive at once, ready ones included.
    pub max_workers: usize,
    /// Most of them that requests of one client address have at once.
    pub workers_per_client: usize,
    /// Requests that may wait for a worker; further ones are turned away.
    pub queue: usize,
    /// Most connections open at once.
    pub connections: usize,
    /// Most of them from one client address.
    pub connections_per_client: usize,
    /// How long a client may take to send the head of a request, or keep a connection idle.
    pub head_timeout: Duration,
    /// How long a client may send nothing of a request's body.
    pub body_timeout: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub send_timeout: Duration,
    /// Longest time of a request and its response, and apart from it of the arrival of its body.
    pub timeout: Duration,
    /// Most header fields of a request, and of a function's response.
    pub max_header_fields: usize,
    /// Largest head of a request, and of a function's response, in bytes.
    pub max_header_size: usize,
    /// Largest request body in bytes.
    pub max_request_body: usize,
    /// Largest response a function may give.
    pub response_limits: Limits,
    /// What becomes of a VM after its answer, for functions that do not say so themselves.
    pub instances: Instances,
    /// How many requests one VM serves at most, if it is rewound in between.
    pub most_rewinds: u64,
    /// How long a rewound VM waits for its next request.
    pub rewound_idle: Duration,
    /// Refuse snapshots with less between the program and its sentry.
    pub required_isolation: Required,
}

impl Config {
    /// Largest request body that can be configured: with head and frames it is what a worker takes.
    pub const MAX_REQUEST_BODY: usize = sprout_protocol::MAX_REQUEST - (4 << 20);

    /// Most header fields that can be configured: what holds them takes some more.
    pub const MAX_HEADER_FIELDS: usize = 10_000;
    /// Sizes of a head that can be configured: it has to fit one frame of the request channel.
    pub const HEADER_SIZES: RangeInclusive<usize> = (8 << 10)..=(256 << 10);

    /// The defaults of `sprout serve`, for the given state directories and worker command.
    pub fn new(functions: PathBuf, snapshots: PathBuf, worker_command: Vec<OsString>) -> Self {
        Self {
            worker_command,
            functions,
            snapshots,
            workers: 8,
            max_workers: 32,
            workers_per_client: Self::share_of(32),
            queue: 128,
            connections: 512,
            connections_per_client: 256,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(10),
            send_timeout: Duration::from_secs(30),
            max_header_fields: 512,
            max_header_size: 64 << 10,
            timeout: Duration::from_secs(30),
            max_request_body: 8 << 20,
            response_limits: Limits::default(),
            instances: Instances::Fresh,
            most_rewinds: 10_000,
            rewound_idle: Duration::from_secs(300),
            required_isolation: Required::Shared,
        }
    }

    /// Workers one client may have of so many: three quarters.
    pub fn share_of(max_workers: usize) -> usize {
        max_workers - max_workers / 4
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
        anyhow::ensure!(
            self.workers_per_client > 0,
            "--workers-per-client must be at least 1"
        );
        anyhow::ensure!(self.queue > 0, "--queue must be at least 1");
        anyhow::ensure!(self.connections > 0, "--connections must be at least 1");
        anyhow::ensure!(
            self.connections_per_client > 0,
            "--connections-per-client must be at least 1"
        );
        for (name, time) in [
            ("timeout", self.timeout),
            ("head-timeout", self.head_timeout),
            ("body-timeout", self.body_timeout),
            ("send-timeout", self.send_timeout),
        ] {
            anyhow::ensure!(!time.is_zero(), "--{name} must be longer than nothing");
        }
        anyhow::ensure!(
            (1..=Self::MAX_HEADER_FIELDS).contains(&self.max_header_fields),
            "--max-header-fields ({}) must be from 1 to {}",
            self.max_header_fields,
            Self::MAX_HEADER_FIELDS
        );
        anyhow::ensure!(
            Self::HEADER_SIZES.contains(&self.max_header_size),
            "--max-header-size ({}) must be from {} to {} bytes",
            self.max_header_size,
            Self::HEADER_SIZES.start(),
            Self::HEADER_SIZES.end()
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
