//! The timer service: callbacks at monotonic times.

use crate::sync::{Lock, Rank};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;

/// Called when a timer expires, outside any lock of this module.
pub trait TimerTarget: Send + Sync {
    /// `now_ns`: the monotonic time. May arm timers again; must not block.
    fn expired(&self, now_ns: u64);
}

/// Names an armed timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerId {
    deadline: u64,
    serial: u64,
}

struct Timers {
    serial: u64,
    armed: BTreeMap<TimerId, Arc<dyn TimerTarget>>,
}

static TIMERS: Lock<Timers> = Lock::new(
    Rank::Timers,
    Timers {
        serial: 0,
        armed: BTreeMap::new(),
    },
);

/// Boot: tells the VMM that there are none.
pub fn start() {
    publish(&TIMERS.lock());
}

/// Arms a one-shot timer at monotonic `deadline_ns`.
pub fn arm(deadline_ns: u64, target: Arc<dyn TimerTarget>) -> TimerId {
    let mut timers = TIMERS.lock();
    timers.serial += 1;
    let id = TimerId {
        deadline: deadline_ns,
        serial: timers.serial,
    };
    timers.armed.insert(id, target);
    publish(&timers);
    id
}

/// Disarms a timer. Whether it was still armed.
pub fn cancel(id: TimerId) -> bool {
    let mut timers = TIMERS.lock();
    let removed = timers.armed.remove(&id);
    publish(&timers);
    // The target may own files or tasks: let it go without the lock.
    drop(timers);
    removed.is_some()
}

/// Deadline of the earliest timer.
pub fn next_deadline() -> Option<u64> {
    TIMERS.lock().armed.keys().next().map(|id| id.deadline)
}

/// Runs what has expired by `now_ns`.
pub fn run_expired(now_ns: u64) {
    loop {
        let target = {
            let mut timers = TIMERS.lock();
            match timers.armed.first_key_value() {
                Some((id, _)) if id.deadline <= now_ns => {}
                _ => return,
            }
            let first = timers.armed.pop_first();
            publish(&timers);
            first
        };
        if let Some((_, target)) = target {
            target.expired(now_ns);
        }
    }
}

fn publish(timers: &Timers) {
    let next = timers
        .armed
        .keys()
        .next()
        .map_or(u64::MAX, |id| id.deadline);
    crate::platform::set_next_timer(next);
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU64, Ordering};

    struct Note(AtomicU64);
    impl TimerTarget for Note {
        fn expired(&self, now_ns: u64) {
            self.0.store(now_ns, Ordering::Relaxed);
        }
    }

    #[test]
    fn expired_timers_run_and_cancelled_ones_do_not() {
        // Far in the past, so that timers of tests running beside this one are untouched.
        let (run, not) = (
            Arc::new(Note(AtomicU64::new(0))),
            Arc::new(Note(AtomicU64::new(0))),
        );
        arm(5, run.clone());
        let id = arm(4, not.clone());
        assert!(cancel(id));
        assert!(!cancel(id));
        run_expired(5);
        assert_eq!(run.0.load(Ordering::Relaxed), 5);
        assert_eq!(not.0.load(Ordering::Relaxed), 0);
    }
}
