//! The messages.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Most bytes of a guest in one [`FromWorker::Log`].
pub const PIECE: usize = 128 << 10;

/// From the gateway to a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToWorker {
    /// Map this seed and set its state, so that [`ToWorker::Assign`] of the same seed only runs it.
    Prepare(Seed),
    /// Become an instance of a seed and answer one request.
    Assign(Assign),
}

/// Names a snapshot and how to restore it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed {
    /// The snapshot's directory, verified by the gateway when it was registered.
    pub snapshot_dir: PathBuf,
    /// Refuse a snapshot with less between its program and its sentry.
    pub required_isolation: Required,
    /// What becomes of a VM after its answer.
    pub instances: Instances,
}

/// What becomes of a VM after its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instances {
    /// It ends: each request gets a VM of its own.
    #[default]
    Fresh,
    /// It is rolled back to its seed in place and serves the next request of the same function
    /// version.
    Rewind,
    /// As `Rewind`, and all of memory and of the vCPUs' state is compared with the seed each time.
    RewindChecked,
}

impl std::str::FromStr for Instances {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "fresh" => Ok(Self::Fresh),
            "rewind" => Ok(Self::Rewind),
            "rewind-checked" => Ok(Self::RewindChecked),
            _ => Err("it is one of fresh, rewind, rewind-checked".into()),
        }
    }
}

impl Instances {
    /// Whether a VM is used again.
    pub fn rewind(self) -> bool {
        self != Self::Fresh
    }
}

/// The least that has to stand between a program and its sentry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Required {
    /// The VM around both is enough.
    #[default]
    Shared,
    /// Page tables of their own, or more.
    Strict,
    /// The processor's privilege levels.
    Hardware,
}

/// One request for one instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assign {
    /// Which seed.
    pub seed: Seed,
    /// Length of the request that follows, framed by `sprout_agent`, as the guest reads it from
    /// `/dev/sprout`.
    pub request_length: u64,
    /// Trace the guest's system calls to the log stream.
    pub strace: bool,
    /// Have the sentry report its counters; they arrive in [`Done::counters`].
    pub stats: bool,
}

/// From a worker to the gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromWorker {
    /// The VM exists and can be assigned.
    Ready,
    /// Output of the program or of the sentry.
    Log {
        /// Where it was written.
        stream: LogStream,
        /// The bytes, cut wherever the guest's writes were cut.
        bytes: Vec<u8>,
    },
    /// The next response bytes follow, framed by `sprout_agent`.
    Response {
        /// How many.
        length: u64,
    },
    /// The instance ended.
    Done(Done),
    /// The VM is its seed again.
    Rewound {
        /// Pages that were compared with the seed's.
        compared: u32,
        /// Pages of them that differed.
        copied: u32,
        /// Entries of page tables that the guest undid.
        undone: u32,
        /// Microseconds it took.
        took: u64,
    },
    /// The VM is not used again.
    Retired {
        /// A word for counters.
        kind: String,
        /// What was in the way.
        reason: String,
    },
}

/// A stream of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogStream {
    /// The program's standard output.
    Stdout,
    /// The program's standard error.
    Stderr,
    /// The sentry's log and system call trace.
    Sentry,
    /// Audit records, one UTF-8 line each.
    Audit,
}

/// How an instance ended, and what it took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// How it ended.
    pub outcome: Outcome,
    /// Where the time went.
    pub timings: Timings,
    /// Counters of KVM (`kvm.exits`, ...) and, if asked for, of the sentry.
    pub counters: Vec<(String, u64)>,
}

/// How an instance ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The guest read the whole request, answered, and waits for another.
    Answered,
    /// The program exited before it waited for another request.
    Exited {
        /// As a shell shows it: the exit status, or 128 + signal.
        status: u8,
    },
    /// The sentry panicked: a bug of ours. The text has the symbolised backtrace.
    Panicked {
        /// What the operator should see.
        report: String,
    },
    /// The VM could not be restored or stopped in a way it should not.
    Failed {
        /// What, where, and what to do.
        error: String,
    },
}

/// Where the time of one request went, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// Creating the VM and its vCPU, ahead of the request.
    pub create: u64,
    /// Restoring: from [`ToWorker::Assign`] (or `Prepare`) to the first `KVM_RUN`.
    pub restore: u64,
    /// From the first `KVM_RUN` to the end.
    pub run: u64,
    /// From the receipt of [`ToWorker::Assign`] to the first response byte; 0 if there was none.
    pub first_byte: u64,
    /// From the receipt of [`ToWorker::Assign`] to the last response byte; 0 if there was none.
    pub last_byte: u64,
}
