//! What the operator learns at exit: counts of calls that are not implemented, and of faults.

use crate::sync::{Lock, Rank};
use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt::Write;
use core::sync::atomic::{AtomicU64, Ordering};

static SYSCALLS: AtomicU64 = AtomicU64::new(0);
static FAULTS: AtomicU64 = AtomicU64::new(0);
static UNIMPLEMENTED: Lock<BTreeMap<u64, u64>> = Lock::new(Rank::Counters, BTreeMap::new());
static PROGRAM_START: AtomicU64 = AtomicU64::new(0);

/// Counts a system call.
pub fn count_syscall() {
    add_one(&SYSCALLS);
}

/// Under the kernel lock nobody else counts: a locked addition would only cost time.
fn add_one(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// The first program is about to run.
pub fn program_starts() {
    PROGRAM_START.store(crate::time::monotonic_ns(), Ordering::Relaxed);
}

/// Counts a page fault of the program.
pub fn count_fault() {
    add_one(&FAULTS);
}

/// Counts a call that answered ENOSYS.
pub fn count_unimplemented(number: u64) {
    *UNIMPLEMENTED.lock().entry(number).or_default() += 1;
}

/// A restored guest counts its own run.
pub fn restored() {
    SYSCALLS.store(0, Ordering::Relaxed);
    FAULTS.store(0, Ordering::Relaxed);
    PROGRAM_START.store(0, Ordering::Relaxed);
    UNIMPLEMENTED.lock().clear();
}

/// The counters as `name value` lines.
pub fn lines() -> String {
    let mut out = String::new();
    let _ = writeln!(out, "syscalls {}", SYSCALLS.load(Ordering::Relaxed));
    let _ = writeln!(out, "guest_page_faults {}", FAULTS.load(Ordering::Relaxed));
    let start = PROGRAM_START.load(Ordering::Relaxed);
    let _ = writeln!(out, "program_start_ns {start}");
    let memory = crate::mm::frame::stats();
    let _ = writeln!(
        out,
        "memory_used_bytes {}",
        (memory.total - memory.free) * 4096
    );
    let given_back = crate::mm::reclaim::given_back();
    let _ = writeln!(out, "memory_given_back_bytes {given_back}");
    for (number, count) in UNIMPLEMENTED.lock().iter() {
        let name = super::table::name(*number).unwrap_or("unknown");
        let _ = writeln!(out, "unimplemented_syscall_{number}_{name} {count}");
    }
    out
}

/// Hands the counters to the VMM if it asked for them.
#[cfg(target_os = "none")]
pub fn report() {
    use sprout_abi::boot::boot_flags;
    if crate::platform::boot_info().flags & boot_flags::STATS != 0 {
        crate::platform::stats(lines().as_bytes());
    }
}
