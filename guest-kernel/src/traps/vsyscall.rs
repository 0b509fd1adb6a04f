//! The vsyscall page: calls at fixed addresses, which programs of C libraries before 2014 make.
//!
//! Nothing is mapped there. As Linux does by default (arch/x86/entry/vsyscall, `xonly`), a jump to
//! one of the three entries is taken for the call, and everything else is a fault like any other.

use crate::arch::TrapFrame;
use crate::errno::Errno;
use crate::task::signal::{SigInfo, code, number::SIGSEGV};
use crate::task::{Task, TrapInfo, signal};
use alloc::sync::Arc;
use sprout_abi::layout::{PAGE_SIZE, USER_END};

const BASE: u64 = 0xffff_ffff_ff60_0000;

/// The entries, at multiples of 1 KiB: the system call, and how many pointers it takes.
const ENTRIES: [(u64, usize); 3] = [
    (96, 2),  // gettimeofday
    (201, 1), // time
    (309, 2), // getcpu
];
const DISTANCE: u64 = 1024;

/// Whether an address is of the page.
pub fn contains(addr: u64) -> bool {
    addr & !(PAGE_SIZE - 1) == BASE
}

/// The program jumped to `frame.rip`, in the page.
pub fn emulate(task: &Arc<Task>, frame: &mut TrapFrame) {
    let offset = frame.rip - BASE;
    let entry = ENTRIES.get((offset / DISTANCE) as usize);
    let Some(&(number, pointers)) = entry.filter(|_| offset.is_multiple_of(DISTANCE)) else {
        return signal::force(task, SigInfo::kernel(SIGSEGV));
    };
    let mut caller = [0; 8];
    if task.process().space().read_some(frame.rsp, &mut caller) != caller.len() {
        return signal::force(task, SigInfo::kernel(SIGSEGV));
    }
    for pointer in [frame.rdi, frame.rsi].into_iter().take(pointers) {
        if pointer > USER_END {
            *task.trap.lock() = TrapInfo {
                number: 14,
                error: 6, // a write by the program
                address: pointer,
            };
            return signal::force(task, SigInfo::fault(SIGSEGV, code::SEGV_MAPERR, pointer));
        }
    }
    let before = frame.rax;
    frame.orig_rax = number;
    crate::syscalls::dispatch(task.clone(), frame);
    frame.orig_rax = u64::MAX;
    let result = frame.rax;
    if result == Errno::ERESTARTNOINTR.to_return() {
        // Out of memory for a moment: the jump is made again.
        frame.rax = before;
    } else if result == Errno::EFAULT.to_return() {
        signal::force(task, SigInfo::kernel(SIGSEGV));
    } else {
        frame.rip = u64::from_le_bytes(caller);
        frame.rsp = frame.rsp.wrapping_add(8);
    }
}
