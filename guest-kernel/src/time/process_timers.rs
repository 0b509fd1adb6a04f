//! Timers of a process that send signals: setitimer, alarm, timer_create.

use crate::errno::{Errno, Result};
use crate::task::process::{self, Process};
use crate::task::sched;
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

/// What a timer counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Base {
    /// Time.
    #[default]
    Wall,
    /// CPU time of the process.
    ProcessCpu,
    /// CPU time of this thread of it.
    ThreadCpu(u32),
}

impl Base {
    /// What it reads now, in ns. Takes the process's locks.
    pub fn now(self, process: &Process) -> u64 {
        match self {
            Base::Wall => crate::time::monotonic_ns(),
            Base::ProcessCpu => process.cpu_time_ns(),
            Base::ThreadCpu(tid) => {
                process::find_task(tid).map_or(u64::MAX, |task| sched::cpu_time_ns(&task))
            }
        }
    }

    /// When to look whether `deadline` is reached. CPU time passes no faster than time does on all
    /// vCPUs together; whoever looks early looks again.
    fn look_at(self, now: u64, deadline: u64) -> u64 {
        /// Between looks at a program that sleeps.
        const SHORTEST: u64 = 1_000_000;
        match self {
            Base::Wall => deadline,
            _ => {
                let left = deadline.saturating_sub(now) / crate::smp::count() as u64;
                crate::time::monotonic_ns().saturating_add(left.max(SHORTEST))
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Setting {
    armed: Option<TimerId>,
    base: Base,
    /// By the clock of `base`.
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
        let base = match process.timers.lock().setting(self.which) {
            Some(setting) => setting.base,
            None => return,
        };
        let now_ns = match base {
            Base::Wall => now_ns,
            _ => base.now(&process),
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
        let again = || {
            Arc::new(Expiry {
                process: self.process.clone(),
                which: self.which,
            })
        };
        if now_ns < setting.deadline {
            let look = setting.base.look_at(now_ns, setting.deadline);
            setting.armed = Some(timers::arm(look, again()));
            return;
        }
        let mut overrun = 0;
        let late = now_ns.saturating_sub(setting.deadline);
        if let Some(missed) = late.checked_div(setting.interval) {
            overrun = u32::try_from(missed).unwrap_or(u32::MAX);
            setting.deadline += (missed + 1) * setting.interval;
            setting.overrun = overrun;
            let look = setting.base.look_at(now_ns, setting.deadline);
            setting.armed = Some(timers::arm(look, again()));
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
        (base, now): (Base, u64),
        deadline: Option<u64>,
        interval: u64,
    ) -> Remaining {
        let Some(setting) = self.setting(which) else {
            return (0, 0);
        };
        let old = setting.remaining(now);
        if let Some(armed) = setting.armed.take() {
            timers::cancel(armed);
        }
        *setting = Setting {
            base,
            interval,
            ..Setting::default()
        };
        if let Some(deadline) = deadline {
            setting.deadline = deadline;
            let look = base.look_at(now, deadline);
            setting.armed = Some(timers::arm(look, Arc::new(Expiry { process, which })));
        }
        old
    }

    /// What an interval timer counts.
    pub fn interval_base(which: usize) -> Base {
        match which {
            0 => Base::Wall,
            // All CPU time is the program's: the sentry's own is not told apart.
            _ => Base::ProcessCpu,
        }
    }

    /// setitimer: first expiry in `after` ns (0: disarm), then every `interval`; `now` is what the
    /// timer's clock reads. Returns the old.
    pub fn set_interval(
        &mut self,
        process: Weak<Process>,
        which: usize,
        now: u64,
        after: u64,
        interval: u64,
    ) -> Remaining {
        let deadline = (after > 0).then(|| now.saturating_add(after));
        let clock = (Self::interval_base(which), now);
        self.set(process, Which::Interval(which), clock, deadline, interval)
    }

    /// getitimer; `now` is what the timer's clock reads.
    pub fn interval(&self, which: usize, now: u64) -> Remaining {
        self.itimers
            .get(which)
            .map_or((0, 0), |set| set.remaining(now))
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

    /// timer_settime, with a deadline by the clock given beside what it reads.
    pub fn set_posix(
        &mut self,
        process: Weak<Process>,
        id: u32,
        clock: (Base, u64),
        deadline: Option<u64>,
        interval: u64,
    ) -> Result<Remaining> {
        self.clock(id)?;
        Ok(self.set(process, Which::Posix(id), clock, deadline, interval))
    }

    /// What a POSIX timer counts while it is set.
    pub fn posix_base(&self, id: u32) -> Result<Base> {
        let timer = self.posix.get(&id).ok_or(Errno::EINVAL)?;
        Ok(timer.setting.base)
    }

    /// timer_gettime; `now` is what the timer's clock reads.
    pub fn posix(&self, id: u32, now: u64) -> Result<Remaining> {
        let timer = self.posix.get(&id).ok_or(Errno::EINVAL)?;
        Ok(timer.setting.remaining(now))
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
