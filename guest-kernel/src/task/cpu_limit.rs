//! RLIMIT_CPU: SIGXCPU at the soft limit and every second after it, SIGKILL at the hard one.

use crate::task::exit;
use crate::task::process::{ExitStatus, Process, RLIM_INFINITY, limit};
use crate::task::process_timers::Base;
use crate::task::signal::{self, SigInfo, number::*};
use crate::time::NSEC_PER_SEC;
use crate::time::timers::{self, TimerTarget};
use alloc::sync::{Arc, Weak};

struct Look(Weak<Process>);

impl TimerTarget for Look {
    fn expired(&self, _: u64) {
        if let Some(process) = self.0.upgrade() {
            process.timers.lock().cpu_limit = None;
            watch(&process);
        }
    }
}

/// Holds a process to its limit from now on. To be called for a new process, and whenever the limit
/// changed.
pub fn watch(process: &Arc<Process>) {
    let used = Base::ProcessCpu.now(process);
    let due = {
        let mut limits = process.rlimits.lock();
        let limit = &mut limits[limit::CPU];
        let ns = |seconds: u64| seconds.saturating_mul(NSEC_PER_SEC);
        // As Linux: without a soft limit nobody looks at the hard one.
        if limit.soft == RLIM_INFINITY {
            None
        } else if limit.hard != RLIM_INFINITY && used >= ns(limit.hard) {
            Some(Err(SIGKILL))
        } else if used >= ns(limit.soft) {
            limit.soft += 1;
            Some(Err(SIGXCPU))
        } else {
            Some(Ok(ns(limit.soft)))
        }
    };
    match due {
        Some(Err(SIGKILL)) => {
            return exit::exit_process(process, ExitStatus::Signaled(SIGKILL as u8, false));
        }
        Some(Err(signal)) => {
            let _ = signal::send_to_process(process, SigInfo::kernel(signal));
        }
        _ => {}
    }
    let next = match due {
        None => None,
        Some(Ok(deadline)) => Some(deadline),
        Some(Err(_)) => Some(used),
    };
    let mut timers = process.timers.lock();
    if let Some(armed) = timers.cpu_limit.take() {
        timers::cancel(armed);
    }
    if let Some(deadline) = next {
        let look = Base::ProcessCpu.look_at(used, deadline);
        timers.cpu_limit = Some(timers::arm(look, Arc::new(Look(Arc::downgrade(process)))));
    }
}
