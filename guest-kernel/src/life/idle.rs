//! Idling: what a vCPU waits for in the host when no task can run.

use super::events;
use crate::fs::devfs;
use crate::platform;
use crate::smp;
use crate::syscalls::strace;
use crate::task::{rest, sched};
use crate::time::timers;
use crate::tty;
use core::sync::atomic::{AtomicU64, Ordering};
use sprout_abi::hypercall::{event, wait_flags};

/// How often a vCPU had nothing to do.
static TURN: AtomicU64 = AtomicU64::new(1);

/// Waits in the host for something to do.
pub fn idle() {
    strace::before_idle();
    let deadlines = [timers::next_deadline(), rest::end_ns()];
    let deadline = deadlines.into_iter().flatten().min().unwrap_or(u64::MAX);
    let in_channel = !devfs::channel_queue().is_empty();
    let mut interest = event::TIMER | event::SIGNAL | event::RESTORED;
    if in_channel {
        interest |= event::REQUEST;
    }
    if !devfs::console_input_queue().is_empty() {
        interest |= event::INPUT;
    }
    if tty::console_is_watched() {
        interest |= event::TERMINAL;
    }
    if devfs::is_output_blocked() {
        interest |= event::OUTPUT;
    }
    // The other vCPUs don't run anything either.
    let ready = in_channel && smp::others_idle();
    let flags = if ready { wait_flags::READY } else { 0 };
    // vCPUs may get to the VMM in another order than they looked at the queues in.
    let turn = TURN.fetch_add(1, Ordering::Relaxed);
    let wait = || loop {
        let events = platform::wait(deadline, flags, interest, turn);
        if events & event::UNDO == 0 {
            return events;
        }
        // Nothing else may happen: this guest is not itself yet.
        crate::mm::undo_tables();
    };
    sched::kick_idle();
    if let Some(events) = smp::idle(wait) {
        events::handle(events);
    }
    rest::over();
}
