//! Timers of a process that send signals: setitimer, alarm, timer_create.

use crate::errno::{Errno, Result};
use crate::task::process::{self, Process};
use crate::task::signal::{self, SigInfo, number::*};
use crate::time::timers::{self, TimerId, TimerTarget};
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};

/// Which clock an interval timer counts (ITIMER_REAL and the two CPU-time ones).
pub const ITIMERS: usize = 3;

/// What an expiry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    /// SIGEV_NONE.
    None,
    /// Signal to the process.
    Process {
        /// Signal number.
        signal: u32,
        /// sigev_value.
        value: u64,
    },
    /// SIGEV_THREAD_ID.
    Thread {
        /// Signal number.
        signal: u32,
        /// sigev_value.
        value: u64,
        /// Thread id.
        tid: u32,
    },
}

#[derive(Clone, Copy, Debug, Default)]
struct Setting {
    armed: Option<TimerId>,
    deadline: u64,
    interval: u64,
    overrun: u32,
}

struct PosixTimer {
    clock: u32,
    notify: Notify,
    setting: Setting,
}

/// All timers of a process.
#[derive(Default)]
pub struct ProcessTimers {
    itimers: [Setting; ITIMERS],
    posix: BTreeMap<u32, PosixTimer>,
    next_id: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Interval(usize),
    Posix(u32),
}

struct Expiry {
    process: Weak<Process>,
    which: Which,
}

/// Remaining time and interval, in ns; (0, 0): disarmed.
pub type Remaining = (u64, u64);

impl TimerTarget for Expiry {
    fn expired(&self, now_ns: u64) {
        let Some(process) = self.process.upgrade() else {
            return;
        };
        let mut timers = process.timers.lock();
        let (notify, id) = match self.which {
            Which::Interval(which) => {
                let signal = [SIGALRM, SIGVTALRM, SIGPROF][which];
                (Notify::Process { signal, value: 0 }, None)
            }
            Which::Posix(id) => match timers.posix.get(&id) {
                Some(timer) => (timer.notify, Some(id)),
                None => return,
            },
        };
        let Some(setting) = timers.setting(self.which) else {
            return;
        };
        setting.armed = None;
        let mut overrun = 0;
        let late = now_ns.saturating_sub(setting.deadline);
        if let Some(missed) = late.checked_div(setting.interval) {
            overrun = u32::try_from(missed).unwrap_or(u32::MAX);
            setting.deadline += (missed + 1) * setting.interval;
            setting.overrun = overrun;
            let again = Arc::new(Expiry {
                process: self.process.clone(),
                which: self.which,
            });
            setting.armed = Some(timers::arm(setting.deadline, again));
        }
        drop(timers);
        let info = |signal, value| match id {
            Some(id) => SigInfo::timer(signal, id, overrun, value),
            None => SigInfo::kernel(signal),
        };
        match notify {
            Notify::None => {}
            Notify::Process { signal, value } => {
                let _ = signal::send_to_process(&process, info(signal, value));
            }
            Notify::Thread { signal, value, tid } => {
                if let Some(task) = process::find_task(tid) {
                    signal::send_to_task(&task, info(signal, value));
                }
            }
        }
    }
}

impl Setting {
    fn remaining(&self, now: u64) -> Remaining {
        match self.armed {
            Some(_) => (self.deadline.saturating_sub(now).max(1), self.interval),
            None => (0, self.interval),
        }
    }
}

impl ProcessTimers {
    fn setting(&mut self, which: Which) -> Option<&mut Setting> {
        match which {
            Which::Interval(which) => self.itimers.get_mut(which),
            Which::Posix(id) => self.posix.get_mut(&id).map(|timer| &mut timer.setting),
        }
    }

    fn set(
        &mut self,
        process: Weak<Process>,
        which: Which,
        deadline: Option<u64>,
        interval: u64,
    ) -> Remaining {
        let now = crate::time::monotonic_ns();
        let Some(setting) = self.setting(which) else {
            return (0, 0);
        };
        let old = setting.remaining(now);
        if let Some(armed) = setting.armed.take() {
            timers::cancel(armed);
        }
        *setting = Setting {
            interval,
            ..Setting::default()
        };
        if let Some(deadline) = deadline {
            setting.deadline = deadline;
            setting.armed = Some(timers::arm(deadline, Arc::new(Expiry { process, which })));
        }
        old
    }

    /// setitimer: first expiry in `after` ns (0: disarm), then every `interval`. Returns the old.
    pub fn set_interval(
        &mut self,
        process: Weak<Process>,
        which: usize,
        after: u64,
        interval: u64,
    ) -> Remaining {
        let deadline = (after > 0).then(|| crate::time::monotonic_ns().saturating_add(after));
        self.set(process, Which::Interval(which), deadline, interval)
    }

    /// getitimer.
    pub fn interval(&self, which: usize) -> Remaining {
        self.itimers
            .get(which)
            .map_or((0, 0), |set| set.remaining(crate::time::monotonic_ns()))
    }

    /// timer_create: its id.
    pub fn create(&mut self, clock: u32, notify: impl FnOnce(u32) -> Notify) -> Result<u32> {
        if self.posix.len() >= 1024 {
            return Err(Errno::EAGAIN);
        }
        let id = self.next_id;
        self.next_id += 1;
        let timer = PosixTimer {
            clock,
            notify: notify(id),
            setting: Setting::default(),
        };
        self.posix.insert(id, timer);
        Ok(id)
    }

    /// Clock of a POSIX timer; EINVAL: no such timer.
    pub fn clock(&self, id: u32) -> Result<u32> {
        self.posix
            .get(&id)
            .map(|timer| timer.clock)
            .ok_or(Errno::EINVAL)
    }

    /// timer_settime with a monotonic deadline.
    pub fn set_posix(
        &mut self,
        process: Weak<Process>,
        id: u32,
        deadline: Option<u64>,
        interval: u64,
    ) -> Result<Remaining> {
        self.clock(id)?;
        Ok(self.set(process, Which::Posix(id), deadline, interval))
    }

    /// timer_gettime.
    pub fn posix(&self, id: u32) -> Result<Remaining> {
        let timer = self.posix.get(&id).ok_or(Errno::EINVAL)?;
        Ok(timer.setting.remaining(crate::time::monotonic_ns()))
    }

    /// timer_getoverrun.
    pub fn overrun(&self, id: u32) -> Result<u32> {
        self.posix
            .get(&id)
            .map(|timer| timer.setting.overrun)
            .ok_or(Errno::EINVAL)
    }

    /// timer_delete.
    pub fn delete(&mut self, id: u32) -> Result<()> {
        let timer = self.posix.remove(&id).ok_or(Errno::EINVAL)?;
        if let Some(armed) = timer.setting.armed {
            timers::cancel(armed);
        }
        Ok(())
    }

    /// exec deletes POSIX timers and keeps interval timers.
    pub fn exec(&mut self) {
        for (_, timer) in core::mem::take(&mut self.posix) {
            if let Some(armed) = timer.setting.armed {
                timers::cancel(armed);
            }
        }
    }

    /// Exit: nothing fires any more.
    pub fn disarm_all(&mut self) {
        self.exec();
        for setting in &mut self.itimers {
            if let Some(armed) = setting.armed.take() {
                timers::cancel(armed);
            }
        }
    }
}
