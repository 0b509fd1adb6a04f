//! Everything that depends on the processor. The rest of the sentry sees the names exported here;
//! host unit tests see a stand-in with the same ones.

#[cfg(all(target_os = "none", target_arch = "x86_64"))]
mod x86_64;
#[cfg(all(target_os = "none", target_arch = "x86_64"))]
pub use x86_64::*;

#[cfg(not(target_os = "none"))]
mod host;
#[cfg(not(target_os = "none"))]
#[path = "x86_64/page_table.rs"]
pub mod page_table;
#[cfg(not(target_os = "none"))]
pub use host::*;

#[path = "x86_64/frame.rs"]
mod frame;
pub use frame::TrapFrame;

#[cfg(not(target_os = "none"))]
#[path = "x86_64/signal_frame.rs"]
pub mod signal_frame;

/// What an architecture calls: the kernel above it, by names that the linker resolves. Defined in
/// `life/entry.rs`.
#[cfg(target_os = "none")]
#[allow(unsafe_code)]
pub mod kernel {
    use super::TrapFrame;
    use sprout_abi::boot::BootInfo;

    // SAFETY: `life/entry.rs` defines them with these types.
    unsafe extern "C" {
        /// The first vCPU is set up, on its boot stack.
        pub safe fn sentry_boot(info: &'static BootInfo) -> !;
        /// Another vCPU is set up, on its boot stack, without the kernel lock.
        pub safe fn sentry_online() -> !;
        /// The vCPU left a task for its boot stack, with the kernel lock.
        pub safe fn sentry_idle() -> !;
        /// A new task's first moment on its own stack, with the kernel lock of who switched to it.
        pub safe fn sentry_new_task(frame: &mut TrapFrame);
        /// The program made a system call.
        pub safe fn sentry_syscall(frame: &mut TrapFrame);
        /// An exception or tick came while the program ran; of a page fault, with the address.
        pub safe fn sentry_exception(frame: &mut TrapFrame, vector: u64, error: u64, address: u64);
        /// An exception in the sentry: a bug.
        pub safe fn sentry_bug(rip: u64, vector: u64, error: u64, address: u64, rsp: u64) -> !;
    }
}

#[path = "x86_64/cpuinfo.rs"]
mod cpuinfo;
pub use cpuinfo::cpu_information;
