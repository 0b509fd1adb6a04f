//! The names by which an architecture calls the kernel ([`crate::arch::kernel`]).

// Names for the linker; their types are those of the declarations.
#![allow(unsafe_code)]

use crate::arch::{TrapFrame, debug};
use crate::task::sched;
use crate::{smp, traps};
use sprout_abi::boot::BootInfo;

#[unsafe(no_mangle)]
extern "C" fn sentry_boot(info: &'static BootInfo) -> ! {
    super::boot::boot(info)
}

#[unsafe(no_mangle)]
extern "C" fn sentry_online() -> ! {
    smp::online();
    sched::start()
}

#[unsafe(no_mangle)]
extern "C" fn sentry_idle() -> ! {
    sched::finish_switch();
    sched::start()
}

#[unsafe(no_mangle)]
extern "C" fn sentry_new_task(frame: &mut TrapFrame) {
    traps::new_task(frame);
}

#[unsafe(no_mangle)]
extern "C" fn sentry_syscall(frame: &mut TrapFrame) {
    traps::syscall(frame);
}

#[unsafe(no_mangle)]
extern "C" fn sentry_exception(frame: &mut TrapFrame, vector: u64, error: u64, address: u64) {
    traps::exception(frame, vector, error, address);
}

#[unsafe(no_mangle)]
extern "C" fn sentry_bug(rip: u64, vector: u64, error: u64, address: u64, rsp: u64) -> ! {
    let task = sched::try_current_tid();
    debug::fatal(
        rip,
        format_args!(
            "exception {vector} in the sentry at {rip:#x}: error {error:#x}, cr2 {address:#x}, \
             rsp {rsp:#x}, task {task:?}"
        ),
    )
}
