//! What entry code calls: system calls, exceptions of the program, faults of the sentry itself.

use super::{fpu, is_strict, ring0, vsyscall};
use crate::arch::TrapFrame;
use crate::mm::{Access, FaultError};
use crate::platform;
use crate::smp;
use crate::task::signal::{SigInfo, code, number::*};
use crate::task::{Task, TrapInfo, rest, sched, signal};
use alloc::sync::Arc;
use sprout_abi::layout::{PREEMPT_VECTOR, USER_END};

fn current() -> Arc<Task> {
    match sched::current() {
        Some(task) => task,
        None => panic!("a program trapped while none runs"),
    }
}

/// First thing on every way from a program into the sentry.
#[inline]
fn enter() {
    platform::entered();
    smp::enter();
}

/// SYSCALL.
pub(super) extern "C" fn syscall_trap(frame: &mut TrapFrame) {
    let entered = super::tsc();
    enter();
    let task = current();
    task.enter_system(entered);
    let task = if is_strict() && !came_by_syscall(&task, frame) {
        jumped_to_entry(&task, frame);
        task
    } else {
        crate::syscalls::dispatch(task, frame)
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
    frame.rip = super::syscall_entry_address();
    page_fault(
        task,
        frame,
        FETCH_BY_PROGRAM,
        super::syscall_entry_address(),
    );
}

/// A new task's first moment on its own stack, with the kernel lock of who switched to it.
pub(super) extern "C" fn new_task(frame: &mut TrapFrame) {
    sched::finish_switch();
    before_return(current(), frame);
}

/// An exception or tick that came while the program ran.
pub(super) extern "C" fn exception_trap(frame: &mut TrapFrame, vector: u64, error: u64, cr2: u64) {
    let entered = super::tsc();
    enter();
    let task = current();
    task.enter_system(entered);
    match vector {
        14 => page_fault(&task, frame, error, fault_address(cr2)),
        v if v == u64::from(PREEMPT_VECTOR) => sched::tick(&task),
        _ => {
            let address = task.trap.lock().address;
            // #DE and the like have no error code; what #GP says of the sentry's tables is not the
            // program's business.
            *task.trap.lock() = TrapInfo {
                number: vector,
                error: 0,
                address,
            };
            signal::force(&task, exception_signal(&task, frame, vector));
        }
    }
    before_return(task, frame);
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

fn page_fault(task: &Arc<Task>, frame: &mut TrapFrame, error: u64, cr2: u64) {
    let access = if error & 0x10 != 0 {
        Access::Execute
    } else if error & 2 != 0 {
        Access::Write
    } else {
        Access::Read
    };
    crate::syscalls::counters::count_fault();
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
        Err(FaultError::NotMapped) => SigInfo::fault(SIGSEGV, code::SEGV_MAPERR, cr2),
        Err(FaultError::NotAllowed) => SigInfo::fault(SIGSEGV, code::SEGV_ACCERR, cr2),
        Err(FaultError::BeyondFile) => SigInfo::fault(SIGBUS, code::BUS_ADRERR, cr2),
        Err(FaultError::OutOfMemory) => {
            // The access is tried again, unless this process is the one that went.
            crate::task::oom::make_room(task);
            return;
        }
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

/// The signal Linux sends for an exception (arch/x86/kernel/traps.c).
fn exception_signal(task: &Arc<Task>, frame: &TrapFrame, vector: u64) -> SigInfo {
    match vector {
        0 => SigInfo::fault(SIGFPE, code::FPE_INTDIV, frame.rip),
        1 => SigInfo::fault(SIGTRAP, code::TRAP_TRACE, frame.rip),
        3 => SigInfo::kernel(SIGTRAP),
        6 => SigInfo::fault(SIGILL, code::ILL_ILLOPN, frame.rip),
        11 | 12 => SigInfo::kernel(SIGBUS),
        16 | 19 => {
            let mut state = task.fpu.lock();
            state.save();
            SigInfo::fault(SIGFPE, fpu_code(state.bytes(), vector), frame.rip)
        }
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
fn before_return(mut task: Arc<Task>, frame: &mut TrapFrame) {
    // Whether other tasks have run or timers were looked at: once on a way back, so that the program
    // gets on however many want its place, and however short the intervals of its timers are.
    let mut looked = false;
    loop {
        if task.is_killed() {
            crate::task::exit::exit_thread(task);
        }
        if crate::mm::frame::is_scarce() {
            crate::task::oom::make_room(&task);
            continue;
        }
        if platform::take_preempt_pending() {
            if core::mem::replace(&mut looked, true) {
                sched::poll_world();
            } else {
                sched::tick(&task);
            }
            continue;
        }
        if rest::is_now() {
            sched::yield_current(&task);
            continue;
        }
        if sched::leave_wrong_cpu(&task) {
            continue;
        }
        if !looked && sched::give_way(&task) {
            looked = true;
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
            if !looked && is_timer_due() {
                looked = true;
                sched::tick(&task);
                continue;
            }
            task.leave_system(super::tsc());
            drop(task);
            if smp::leave(looked) {
                return;
            }
            task = current();
            task.enter_system(super::tsc());
            continue;
        }
        // A handler or entry point that is none. The processor's own fault would come when it is
        // half back in the program.
        bad_return(&task, frame);
    }
}

/// Whether a timer is due for which no tick came.
#[inline]
fn is_timer_due() -> bool {
    platform::near_timer().is_some_and(|due| due <= crate::time::monotonic_ns())
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

/// An exception in the sentry: a bug. Reports and ends the VM.
pub(super) extern "C" fn sentry_fault(vector: u64, error: u64, cr2: u64, rip: u64, rsp: u64) -> ! {
    let task = sched::try_current_tid();
    let cr2 = fault_address(cr2);
    super::debug::fatal(
        rip,
        format_args!(
            "exception {vector} in the sentry at {rip:#x}: error {error:#x}, cr2 {cr2:#x}, \
             rsp {rsp:#x}, task {task:?}"
        ),
    )
}

/// Reads processor features; before the first task.
pub fn init() {
    fpu::init();
}
