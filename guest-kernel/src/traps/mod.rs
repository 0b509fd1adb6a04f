//! What is done about what the processor reports: system calls, exceptions of the program, ticks; and
//! all that has to happen before the program goes on.

pub mod vsyscall;

use crate::arch::{self, TrapFrame};
use crate::mm::{Access, FaultError};
use crate::task::signal::{SigInfo, code, number::*};
use crate::task::{Task, TrapInfo, rest, sched, signal};
use crate::{platform, smp, syscalls};
use alloc::sync::Arc;
use sprout_abi::layout::{PREEMPT_VECTOR, USER_END};

fn current() -> Arc<Task> {
    match sched::current() {
        Some(task) => task,
        None => panic!("a program trapped while none runs"),
    }
}

/// The program made a system call.
pub fn syscall(frame: &mut TrapFrame) {
    let entered = arch::tsc();
    smp::enter();
    let task = current();
    task.enter_system(entered);
    let task = if arch::is_strict() && !came_by_syscall(&task, frame) {
        jumped_to_entry(&task, frame);
        task
    } else {
        syscalls::dispatch(task, frame)
    };
    before_return(task, frame);
}

/// Strict mode: whether the instruction before the program's RIP is a SYSCALL. In strict mode the
/// processor's trace of it is a fetch at LSTAR, and a jump there leaves the same. One with RCX behind
/// some SYSCALL instruction passes, and gets what that instruction would have given it.
fn came_by_syscall(task: &Task, frame: &TrapFrame) -> bool {
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    let mut code = [0; 2];
    let at = frame.rip.wrapping_sub(2);
    task.process().space().read_some(at, &mut code) == 2 && code == SYSCALL
}

/// Strict mode: the program jumped to LSTAR. What SYSCALL would have saved as RIP and RFLAGS was in
/// its RCX and R11.
fn jumped_to_entry(task: &Arc<Task>, frame: &mut TrapFrame) {
    const FETCH_BY_PROGRAM: u64 = 0x15;
    frame.rax = frame.orig_rax;
    frame.orig_rax = u64::MAX;
    frame.rip = arch::syscall_entry_address();
    page_fault(task, frame, FETCH_BY_PROGRAM, arch::syscall_entry_address());
}

/// A new task's first moment on its own stack, with the kernel lock of who switched to it.
pub fn new_task(frame: &mut TrapFrame) {
    sched::finish_switch();
    before_return(current(), frame);
}

/// An exception or tick came while the program ran; of a page fault, with the address.
pub fn exception(frame: &mut TrapFrame, vector: u64, error: u64, address: u64) {
    let entered = arch::tsc();
    smp::enter();
    let task = current();
    task.enter_system(entered);
    match vector {
        14 => page_fault(&task, frame, error, address),
        v if v == u64::from(PREEMPT_VECTOR) => sched::yield_current(&task),
        _ => {
            let address = task.trap.lock().address;
            // #DE and the like have no error code; what #GP says of the sentry's tables is not the
            // program's business.
            *task.trap.lock() = TrapInfo {
                number: vector,
                error: 0,
                address,
            };
            let floating = || {
                let mut state = task.fpu.lock();
                state.save();
                fpu_code(state.bytes(), vector)
            };
            signal::force(&task, exception_signal(vector, frame.rip, floating));
        }
    }
    before_return(task, frame);
}

/// What the program did, from a page fault's error code.
fn access_of(error: u64) -> Access {
    if error & 0x10 != 0 {
        Access::Execute
    } else if error & 2 != 0 {
        Access::Write
    } else {
        Access::Read
    }
}

fn page_fault(task: &Arc<Task>, frame: &mut TrapFrame, error: u64, cr2: u64) {
    let access = access_of(error);
    syscalls::counters::count_fault();
    if access == Access::Execute && cr2 == frame.rip && vsyscall::contains(cr2) {
        return vsyscall::emulate(task, frame);
    }
    let outcome = if cr2 < USER_END {
        task.process().space().fault(cr2, access)
    } else {
        Err(FaultError::NotMapped)
    };
    let info = match outcome {
        Ok(()) => return,
        Err(FaultError::OutOfMemory) => {
            // The access is tried again, unless this process is the one that went.
            crate::task::oom::make_room(task);
            return;
        }
        Err(FaultError::NotMapped) => SigInfo::fault(SIGSEGV, code::SEGV_MAPERR, cr2),
        Err(FaultError::NotAllowed) => SigInfo::fault(SIGSEGV, code::SEGV_ACCERR, cr2),
        Err(FaultError::BeyondFile) => SigInfo::fault(SIGBUS, code::BUS_ADRERR, cr2),
    };
    // As on Linux (sanitize_error_code), the sentry's addresses all look alike.
    let error = if cr2 < USER_END { error } else { error | 1 };
    *task.trap.lock() = TrapInfo {
        number: 14,
        error: error | 4,
        address: cr2,
    };
    signal::force(task, info);
}

/// The signal Linux sends for an exception (arch/x86/kernel/traps.c); `floating` tells which
/// floating-point exception it is.
fn exception_signal(vector: u64, rip: u64, floating: impl FnOnce() -> i32) -> SigInfo {
    match vector {
        0 => SigInfo::fault(SIGFPE, code::FPE_INTDIV, rip),
        1 => SigInfo::fault(SIGTRAP, code::TRAP_TRACE, rip),
        3 => SigInfo::kernel(SIGTRAP),
        6 => SigInfo::fault(SIGILL, code::ILL_ILLOPN, rip),
        11 | 12 => SigInfo::kernel(SIGBUS),
        16 | 19 => SigInfo::fault(SIGFPE, floating(), rip),
        17 => SigInfo::fault(SIGBUS, code::BUS_ADRALN, 0),
        _ => SigInfo::kernel(SIGSEGV),
    }
}

/// Which unmasked floating-point exception is pending, as a si_code.
fn fpu_code(area: &[u8], vector: u64) -> i32 {
    let word = |at: usize| u32::from(area[at]) | u32::from(area[at + 1]) << 8;
    let pending = if vector == 16 {
        // x87: status word at 2, control word at 0.
        word(2) & !word(0) & 0x3f
    } else {
        let mxcsr = word(24);
        !(mxcsr >> 7) & mxcsr & 0x3f
    };
    match pending.trailing_zeros() {
        0 => code::FPE_FLTINV,
        1 => code::FPE_FLTUND,
        2 => code::FPE_FLTDIV,
        3 => code::FPE_FLTOVF,
        4 => code::FPE_FLTUND,
        _ => code::FPE_FLTRES,
    }
}

/// Everything that has to happen before the program goes on: ticks, signals, exit.
fn before_return(task: Arc<Task>, frame: &mut TrapFrame) {
    loop {
        if task.is_killed() {
            crate::task::exit::exit_thread(task);
        }
        if crate::mm::frame::is_scarce() {
            crate::task::oom::make_room(&task);
            continue;
        }
        if platform::take_preempt_pending() {
            sched::yield_current(&task);
            continue;
        }
        if rest::is_now() {
            sched::yield_current(&task);
            continue;
        }
        if sched::leave_wrong_cpu(&task) {
            continue;
        }
        if task.process().signals.lock().stopped.is_some() {
            signal::wait_while_stopped(&task);
            continue;
        }
        if task.signal_pending() || task.signals.lock().saved_mask.is_some() {
            signal::deliver(&task, frame);
            if task.is_killed() {
                continue;
            }
        }
        signal::finish_interrupted(frame);
        if frame.rip < USER_END {
            task.leave_system(arch::tsc());
            drop(task);
            sched::kick_idle();
            smp::leave();
            return;
        }
        // A handler or entry point that is none. The processor's own fault would come when it is
        // half back in the program.
        bad_return(&task, frame);
    }
}

/// What Linux makes of an IRET to an address that is not the program's.
fn bad_return(task: &Arc<Task>, frame: &mut TrapFrame) {
    const GENERAL_PROTECTION: u64 = 13;
    const CANONICAL_BITS: u32 = 48;
    let (unused, rip) = (u64::BITS - CANONICAL_BITS, frame.rip);
    if (rip << unused).cast_signed() >> unused == rip.cast_signed() {
        page_fault(task, frame, 0x14, rip);
    } else {
        let address = task.trap.lock().address;
        *task.trap.lock() = TrapInfo {
            number: GENERAL_PROTECTION,
            error: 0,
            address,
        };
        signal::force(task, SigInfo::kernel(SIGSEGV));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_code_says_what_the_program_did() {
        let access = [4, 5, 6, 7, 0x14, 0x15].map(access_of);
        use Access::{Execute, Read, Write};
        assert_eq!(access, [Read, Read, Write, Write, Execute, Execute]);
    }

    #[test]
    fn exceptions_become_the_signals_of_linux() {
        let of = |vector| {
            let info = exception_signal(vector, 0x4000, || code::FPE_FLTOVF);
            (info.signo as u32, info.code, info.fields[0])
        };
        assert_eq!(of(0), (SIGFPE, code::FPE_INTDIV, 0x4000));
        assert_eq!(of(1), (SIGTRAP, code::TRAP_TRACE, 0x4000));
        assert_eq!(of(6), (SIGILL, code::ILL_ILLOPN, 0x4000));
        assert_eq!(of(19), (SIGFPE, code::FPE_FLTOVF, 0x4000));
        assert_eq!(of(17), (SIGBUS, code::BUS_ADRALN, 0));
        for (vector, signal) in [
            (3, SIGTRAP),
            (11, SIGBUS),
            (12, SIGBUS),
            (4, SIGSEGV),
            (13, SIGSEGV),
        ] {
            let expected = SigInfo::kernel(signal);
            assert_eq!(of(vector), (signal, expected.code, expected.fields[0]));
        }
    }

    #[test]
    fn of_floating_point_exceptions_the_first_unmasked_one_counts() {
        let mut area = [0; 512];
        // x87: zero divide and overflow are pending, the former masked.
        (area[0], area[2]) = (0b0100, 0b1100);
        assert_eq!(fpu_code(&area, 16), code::FPE_FLTOVF);
        // SSE: all masked but underflow; invalid and underflow are pending.
        let mxcsr: u32 = (0b10_1111 << 7) | 0b01_0001;
        area[24..28].copy_from_slice(&mxcsr.to_le_bytes());
        assert_eq!(fpu_code(&area, 19), code::FPE_FLTUND);
        area[24..28].copy_from_slice(&(0b01_0001u32).to_le_bytes());
        assert_eq!(fpu_code(&area, 19), code::FPE_FLTINV);
    }
}
