//! What the host offers: here `/dev/kvm` with the capabilities we need, or why not and what to do;
//! beside it the processor, the privilege modes, KVM's counters.

pub mod cpuid;
pub mod isolation;
pub mod stats;

use std::io;
use std::os::fd::FromRawFd;

use kvm_ioctls::{Cap, Kvm};

/// The device every VM starts from.
pub const KVM_DEVICE: &str = "/dev/kvm";

/// Why this host can't run a VM, with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// There is no KVM device.
    #[error(
        "{KVM_DEVICE} does not exist: load the kvm_amd or kvm_intel module (virtualization must be \
         on in the firmware, or nested virtualization on in the cloud machine), or pass the device \
         into the container (--device {KVM_DEVICE})"
    )]
    Missing,
    /// The device is there but not for us.
    #[error(
        "{KVM_DEVICE} is not accessible for this user: add the user to the group that owns it \
         (`usermod -aG kvm USER`, then log in again), or `chmod` it, or run as root"
    )]
    Denied,
    /// Opening failed otherwise.
    #[error("cannot open {KVM_DEVICE}: {0}")]
    Open(io::Error),
    /// It is no KVM of the stable API.
    #[error("{KVM_DEVICE} speaks KVM API version {0}, not 12: this is no Linux KVM we know")]
    ApiVersion(i32),
    /// A capability is missing.
    #[error("this kernel's KVM lacks {0}: use a newer kernel (Linux 5.10 or later)")]
    Capability(&'static str),
}

/// Capabilities without which no VM of ours can run.
const REQUIRED: [(Cap, &str); 5] = [
    (Cap::UserMemory, "KVM_CAP_USER_MEMORY"),
    (
        Cap::ReadonlyMem,
        "KVM_CAP_READONLY_MEM (read-only memory slots)",
    ),
    (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
    (Cap::ExtCpuid, "KVM_CAP_EXT_CPUID"),
    (Cap::Xcrs, "KVM_CAP_XCRS"),
];

/// Opens `/dev/kvm` and checks that it can do what we need.
pub fn open_kvm() -> Result<Kvm, HostError> {
    // SAFETY: the path is a NUL-terminated constant; the result is checked.
    let fd = unsafe { libc::open(c"/dev/kvm".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    if fd < 0 {
        let error = io::Error::last_os_error();
        return Err(match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENXIO | libc::ENODEV) => HostError::Missing,
            Some(libc::EACCES | libc::EPERM) => HostError::Denied,
            _ => HostError::Open(error),
        });
    }
    // SAFETY: `fd` was just opened and nobody else owns it.
    let kvm = unsafe { Kvm::from_raw_fd(fd) };
    match kvm.get_api_version() {
        12 => {}
        other => return Err(HostError::ApiVersion(other)),
    }
    match REQUIRED
        .into_iter()
        .find(|(capability, _)| !kvm.check_extension(*capability))
    {
        Some((_, name)) => Err(HostError::Capability(name)),
        None => Ok(kvm),
    }
}
