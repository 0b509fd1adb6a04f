//! Rest: how a guest comes to its snapshot though some of its threads never stop.
//!
//! A snapshot is taken while the guest waits in the host and a program waits for a request. A thread
//! that computes without end, as samplers and spinning workers do, would never let it come to that.
//! So once a program has waited for a request for [`AFTER_NS`] while others ran, all vCPUs rest for
//! [`FOR_NS`]: tasks stay runnable, none is run, and the VMM is told that the guest is ready. If it
//! takes no snapshot, they go on. In a restored guest they go on where they were.

use crate::fs::devfs;
use crate::smp;
use crate::sync::{Lock, Rank};
use crate::task::sched;
use crate::time;
use crate::time::timers::{self, TimerTarget};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

/// So long a program waits for a request before the others are stopped: longer than what is only
/// finishing its work.
const AFTER_NS: u64 = 200_000_000;
/// So long the VMM has for its decision.
const FOR_NS: u64 = 20_000_000;

static ARMED: AtomicBool = AtomicBool::new(false);
static RESTING: AtomicBool = AtomicBool::new(false);
/// When the present rest ends.
static END_NS: Lock<u64> = Lock::new(Rank::Leaf, 0);

struct Begin;

impl TimerTarget for Begin {
    fn expired(&self, now_ns: u64) {
        ARMED.store(false, Ordering::Relaxed);
        // A guest in which nothing runs is ready anyway.
        if devfs::channel_queue().is_empty() || !sched::is_busy() {
            return;
        }
        *END_NS.lock() = now_ns + FOR_NS;
        RESTING.store(true, Ordering::Relaxed);
        sched::publish();
        (0..smp::count()).for_each(smp::interrupt);
    }
}

/// A program found no request and is going to wait for one.
pub fn channel_waits() {
    if !ARMED.swap(true, Ordering::Relaxed) {
        timers::arm(time::monotonic_ns() + AFTER_NS, Arc::new(Begin));
    }
}

/// Whether no task is to run now.
#[inline]
pub fn is_now() -> bool {
    RESTING.load(Ordering::Relaxed)
}

/// When the rest ends, if it is now.
pub fn end_ns() -> Option<u64> {
    is_now().then(|| *END_NS.lock())
}

/// A vCPU comes back from the host: tasks run again.
pub fn over() {
    if !RESTING.swap(false, Ordering::Relaxed) {
        return;
    }
    sched::publish();
    if !devfs::channel_queue().is_empty() {
        channel_waits();
    }
}
