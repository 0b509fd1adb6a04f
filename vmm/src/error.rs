//! Why a VM could not be made, run, kept or restored: what the rooms below report, and the errors
//! that the operations above them share.

use std::io;
use std::path::{Path, PathBuf};

use sprout_abi::layout::MAX_VCPUS;

use crate::boot::kernel::KernelError;
use crate::boot::paging::TablesFull;
use crate::host::HostError;
use crate::memory::MemoryError;

/// Why a VM could not be made or run.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// The host can't run VMs.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The sentry's file is unusable.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Memory could not be set up.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The guest could not be loaded.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// A snapshot could not be written or restored.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A KVM call failed.
    #[error("cannot {action}: {cause}")]
    Kvm {
        /// What was tried.
        action: &'static str,
        /// KVM's reason.
        cause: kvm_ioctls::Error,
    },
    /// The host has no random numbers.
    #[error("the host's random number generator failed: {0}")]
    Entropy(getrandom::Error),
    /// A system call of the VMM failed.
    #[error("cannot {action}: {cause}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        cause: io::Error,
    },
    /// Too few or too many vCPUs.
    #[error("{0} vCPUs: a guest has 1 to {MAX_VCPUS}")]
    Vcpus(usize),
    /// KVM gave vCPUs different clocks.
    #[error(
        "the time-stamp counters of this host's vCPUs differ and KVM does not let us set them: use \
         one vCPU"
    )]
    Unsynchronised,
    /// The threads of the vCPUs ended without a reason.
    #[error("the vCPUs' threads ended without a reason (a bug of the VMM)")]
    Unfinished,
    /// The guest broke the contract or crashed; the text names its registers.
    #[error("the guest stopped: {reason}\n{registers}")]
    Stopped {
        /// What happened.
        reason: String,
        /// Registers and backtrace.
        registers: String,
    },
}

impl VmError {
    /// Wraps the error of a KVM call.
    pub(crate) fn kvm(action: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> Self {
        move |cause| Self::Kvm { action, cause }
    }

    /// Wraps the error of a system call.
    pub(crate) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io { action, cause }
    }
}

/// Why a guest could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The guest is too large for its page tables.
    #[error(transparent)]
    Tables(#[from] TablesFull),
    /// RAM is too small for the sentry and the program's file.
    #[error("{0} does not fit into {1} MiB of guest memory: give it more (--memory)")]
    TooSmall(String, u64),
    /// A string with a NUL byte.
    #[error("a NUL byte in {0}")]
    Nul(&'static str),
    /// A string too long for its field.
    #[error("the {0} is longer than {1} bytes")]
    TooLong(&'static str, usize),
    /// The program's file could not be read.
    #[error("cannot read the program: {0}")]
    Program(std::io::Error),
}

/// Why a snapshot can't be written, opened or restored.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file operation failed.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// There is no snapshot.
    #[error("there is no snapshot at {}", .0.display())]
    Missing(PathBuf),
    /// A part is damaged.
    #[error("the snapshot at {} is damaged: {reason}; make it again", path.display())]
    Corrupt {
        /// The snapshot's directory.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is intact, but not for this program or host.
    #[error("the snapshot at {} can't be restored here: {reason}", path.display())]
    Incompatible {
        /// The snapshot's directory.
        path: PathBuf,
        /// What does not fit, and what to do.
        reason: String,
    },
    /// The guest is not at a place where a snapshot can be taken.
    #[error("the guest does not wait for a request, so no snapshot can be taken")]
    NotReady,
}

impl SnapshotError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io {
            action,
            path: path.to_owned(),
            cause,
        }
    }
}
