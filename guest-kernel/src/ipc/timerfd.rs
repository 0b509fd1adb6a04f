//! timerfd: a timer as a file.
//!
//! The next expiry is kept as a moment of CLOCK_MONOTONIC; expiries of an interval timer since then
//! are counted when somebody reads. So a timer nobody reads wakes the system once, not every
//! interval. Timers at an absolute CLOCK_REALTIME are moved when that clock is set
//! ([`realtime_was_set`]), which also happens when a snapshot is restored.

use crate::errno::{Errno, Result};
use crate::fs::file::File;
use crate::fs::inode::Metadata;
use crate::io::{Destination, Source};
use crate::ipc::anon;
use crate::sync::{Lock, Rank};
use crate::time::timers::{self, TimerId, TimerTarget};
use crate::time::{monotonic_ns, monotonic_of_realtime, realtime_ns};
use crate::wait::{PollEvents, WaitQueue};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

/// Which clock a timer follows. CLOCK_BOOTTIME is CLOCK_MONOTONIC here: a VM never suspends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// CLOCK_REALTIME.
    Realtime,
    /// CLOCK_MONOTONIC, CLOCK_BOOTTIME.
    Monotonic,
}

/// Value and interval of a timer in ns, as `struct itimerspec`; a value of 0: not armed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// Until, or of, the next expiry.
    pub value: u64,
    /// Between expiries; 0: expires once.
    pub interval: u64,
}

#[derive(Default)]
struct State {
    /// Next expiry not yet read, in monotonic ns.
    next: Option<u64>,
    interval: u64,
    /// Expiries before `next` that nobody read: their time is before that of CLOCK_MONOTONIC.
    missed: u64,
    timer: Option<TimerId>,
    /// The absolute CLOCK_REALTIME of `next`, if it was set as one.
    realtime: Option<u64>,
    cancel_on_set: bool,
    /// The clock was set since the last read, and the program wants to know.
    canceled: bool,
}

/// A timer file.
pub struct TimerFd {
    me: Weak<TimerFd>,
    clock: Clock,
    state: Lock<State>,
    queue: WaitQueue,
}

/// What the timer service holds: not the file itself, which must end with its last descriptor.
struct Alarm(Weak<TimerFd>);

impl TimerTarget for Alarm {
    fn expired(&self, _now_ns: u64) {
        if let Some(timer) = self.0.upgrade() {
            timer.queue.wake(PollEvents::IN | PollEvents::RDNORM);
        }
    }
}

/// Timers to move when CLOCK_REALTIME is set.
static ON_REALTIME: Lock<Vec<Weak<TimerFd>>> = Lock::new(Rank::Registry, Vec::new());

/// To be called after CLOCK_REALTIME jumped (clock_settime, restore).
pub fn realtime_was_set() {
    let timers: Vec<Arc<TimerFd>> = {
        let mut all = ON_REALTIME.lock();
        all.retain(|timer| timer.strong_count() > 0);
        all.iter().filter_map(Weak::upgrade).collect()
    };
    for timer in timers {
        timer.clock_was_set();
    }
}

impl TimerFd {
    /// A timer that is not armed.
    pub fn new(clock: Clock) -> Arc<TimerFd> {
        let timer = Arc::new_cyclic(|me| TimerFd {
            me: me.clone(),
            clock,
            state: Lock::new(Rank::File, Default::default()),
            queue: WaitQueue::new(),
        });
        if clock == Clock::Realtime {
            let mut all = ON_REALTIME.lock();
            all.retain(|timer| timer.strong_count() > 0);
            all.push(Arc::downgrade(&timer));
        }
        timer
    }

    /// timerfd_settime: returns the previous setting. `cancel_on_set`: reads fail with ECANCELED
    /// after the clock was set.
    pub fn set(&self, setting: Setting, absolute: bool, cancel_on_set: bool) -> Setting {
        let now = monotonic_ns();
        let mut state = self.state.lock();
        let old = state.remaining(now);
        let on_realtime = absolute && self.clock == Clock::Realtime;
        state.interval = setting.interval;
        state.missed = 0;
        state.realtime = (on_realtime && setting.value > 0).then_some(setting.value);
        state.cancel_on_set = on_realtime && cancel_on_set;
        state.canceled = false;
        let next = match setting.value {
            0 => None,
            value if on_realtime => {
                // The moment at which CLOCK_MONOTONIC began.
                let start = realtime_ns().saturating_sub(now);
                let early = start.saturating_sub(value);
                state.missed = match setting.interval {
                    0 => 0,
                    interval => early.div_ceil(interval),
                };
                let passed = state.missed.saturating_mul(setting.interval);
                Some(monotonic_of_realtime(value.saturating_add(passed)))
            }
            value if absolute => Some(value),
            value => Some(now.saturating_add(value)),
        };
        self.arm(&mut state, next);
        old
    }

    /// timerfd_gettime.
    pub fn get(&self) -> Setting {
        self.state.lock().remaining(monotonic_ns())
    }

    fn arm(&self, state: &mut State, next: Option<u64>) {
        if let Some(id) = state.timer.take() {
            timers::cancel(id);
        }
        state.next = next;
        state.timer = next.map(|at| timers::arm(at, Arc::new(Alarm(self.me.clone()))));
    }

    fn clock_was_set(&self) {
        {
            let mut state = self.state.lock();
            if let Some(realtime) = state.realtime {
                let next = monotonic_of_realtime(realtime);
                self.arm(&mut state, Some(next));
            }
            state.canceled = state.cancel_on_set;
            if !state.canceled {
                return;
            }
        }
        self.queue.wake(PollEvents::IN | PollEvents::RDNORM);
    }

    /// Expiries not read yet; the timer goes on from now.
    fn take_expiries(&self, now: u64) -> Option<u64> {
        let mut state = self.state.lock();
        let next = state.next.filter(|next| *next <= now)?;
        let missed = core::mem::take(&mut state.missed);
        let Some(more) = (now - next).checked_div(state.interval) else {
            self.arm(&mut state, None);
            state.realtime = None;
            return Some(1);
        };
        let advance = (more + 1).saturating_mul(state.interval);
        state.realtime = state.realtime.map(|at| at.saturating_add(advance));
        self.arm(&mut state, Some(next.saturating_add(advance)));
        Some(missed.saturating_add(more + 1))
    }
}

impl State {
    fn remaining(&self, now: u64) -> Setting {
        let value = match self.next {
            None => 0,
            Some(next) if next > now => next - now,
            // Expired and not read: what is left of the interval that runs now.
            Some(next) => match (now - next).checked_rem(self.interval) {
                Some(into) => self.interval - into,
                None => 0,
            },
        };
        Setting {
            value,
            interval: self.interval,
        }
    }
}

impl Drop for TimerFd {
    fn drop(&mut self) {
        if let Some(id) = self.state.lock().timer.take() {
            timers::cancel(id);
        }
    }
}

impl File for TimerFd {
    fn read_at(&self, dst: &mut Destination<'_>, _offset: u64) -> Result<usize> {
        if dst.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        if core::mem::take(&mut self.state.lock().canceled) {
            return Err(Errno::ECANCELED);
        }
        let expiries = self.take_expiries(monotonic_ns()).ok_or(Errno::EAGAIN)?;
        dst.put(&expiries.to_ne_bytes())?;
        Ok(8)
    }

    fn write_at(&self, _src: &mut Source<'_>, _offset: u64) -> Result<usize> {
        Err(Errno::EINVAL)
    }

    fn poll(&self) -> PollEvents {
        let now = monotonic_ns();
        let state = self.state.lock();
        if state.canceled || state.next.is_some_and(|next| next <= now) {
            PollEvents::IN | PollEvents::RDNORM
        } else {
            PollEvents::empty()
        }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(anon::metadata())
    }

    fn describe(&self) -> Vec<u8> {
        b"anon_inode:[timerfd]".to_vec()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn read(timer: &TimerFd) -> Result<u64> {
        let mut bytes = [0; 8];
        timer.read_at(&mut Destination::kernel(&mut bytes), 0)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn pass(ns: u64) {
        let until = monotonic_ns() + ns;
        while monotonic_ns() < until {
            core::hint::spin_loop();
        }
    }

    #[test]
    fn a_timer_expires_once() {
        let timer = TimerFd::new(Clock::Monotonic);
        assert_eq!(timer.get(), Setting::default());
        timer.set(
            Setting {
                value: 2 * MS,
                interval: 0,
            },
            false,
            false,
        );
        assert_eq!(read(&timer), Err(Errno::EAGAIN));
        let left = timer.get().value;
        assert!(left > 0 && left <= 2 * MS);
        pass(2 * MS);
        assert!(timer.poll().contains(PollEvents::IN));
        assert_eq!(read(&timer), Ok(1));
        assert_eq!(read(&timer), Err(Errno::EAGAIN));
        assert_eq!(timer.get(), Setting::default());
    }

    #[test]
    fn missed_intervals_are_counted() {
        let timer = TimerFd::new(Clock::Monotonic);
        timer.set(
            Setting {
                value: MS,
                interval: MS,
            },
            false,
            false,
        );
        pass(5 * MS);
        let left = timer.get();
        assert!(left.value > 0 && left.value <= MS && left.interval == MS);
        assert!(read(&timer).unwrap() >= 5);
        assert!(timer.state.lock().next.unwrap() > monotonic_ns() - MS);
    }

    #[test]
    fn an_absolute_time_in_the_past_expires_at_once() {
        for clock in [Clock::Monotonic, Clock::Realtime] {
            pass(10);
            let timer = TimerFd::new(clock);
            timer.set(
                Setting {
                    value: 1,
                    interval: 0,
                },
                true,
                false,
            );
            assert_eq!(read(&timer), Ok(1));
        }
    }

    #[test]
    fn setting_the_clock_cancels_who_asked_for_it() {
        let timer = TimerFd::new(Clock::Realtime);
        let at = crate::time::realtime_ns() + 3_600_000 * MS;
        timer.set(
            Setting {
                value: at,
                interval: 0,
            },
            true,
            true,
        );
        timer.clock_was_set();
        assert!(timer.poll().contains(PollEvents::IN));
        assert_eq!(read(&timer), Err(Errno::ECANCELED));
        assert_eq!(read(&timer), Err(Errno::EAGAIN));
        assert!(timer.get().value > 3_599_000 * MS);
    }

    #[test]
    fn a_closed_timer_is_disarmed() {
        let timer = TimerFd::new(Clock::Monotonic);
        timer.set(
            Setting {
                value: 1000 * MS,
                interval: 0,
            },
            false,
            false,
        );
        let id = timer.state.lock().timer.unwrap();
        drop(timer);
        assert!(!timers::cancel(id));
    }
}
