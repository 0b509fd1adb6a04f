//! What entry code calls: it adds what only registers tell, and goes to the kernel.

use super::{is_strict, ring0};
use crate::arch::{TrapFrame, kernel};

/// An exception or tick that came while the program ran.
pub(super) extern "C" fn exception_trap(frame: &mut TrapFrame, vector: u64, error: u64, cr2: u64) {
    const PAGE_FAULT: u64 = 14;
    let address = if vector == PAGE_FAULT {
        fault_address(cr2)
    } else {
        0
    };
    kernel::sentry_exception(frame, vector, error, address);
}

/// CR2, which in strict mode the entry code leaves where it is: most of its page faults are system
/// calls.
fn fault_address(saved: u64) -> u64 {
    if is_strict() {
        // SAFETY: ring-3 mode; reads a register.
        unsafe { ring0::call(ring0::READ_CR2, 0, 0) }
    } else {
        saved
    }
}

/// An exception in the sentry: a bug. Reports and ends the VM.
pub(super) extern "C" fn sentry_fault(vector: u64, error: u64, cr2: u64, rip: u64, rsp: u64) -> ! {
    let cr2 = fault_address(cr2);
    kernel::sentry_bug(rip, vector, error, cr2, rsp)
}
