//! Timers of a process that send signals: setitimer, alarm, timer_create.
//!
//! A POSIX timer whose signal waits to be taken stands still: the expiries it misses meanwhile are
//! counted when the signal is taken ([`delivered`]), and then it goes on. So however short its
//! interval and however long ago its time, it costs one signal.

use crate::errno::{Errno, Result};
use crate::task::pending::Charge;
use crate::task::process::{self, Process};
use crate::task::sched;
use crate::task::signal::{self, Queued, SigInfo, TimerMark, number::*};
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
    /// The time of day.
    Realtime,
    /// CPU time of the process.
    ProcessCpu,
    /// That of it that its programs ran.
    ProcessUser,
    /// CPU time of this thread of it.
    ThreadCpu(u32),
    /// CPU time of another process.
    OtherCpu(u32),
}

impl Base {
    /// What it reads now, in ns. Takes the process's locks.
    pub fn now(self, process: &Process) -> u64 {
        match self {
            Base::Wall => crate::time::monotonic_ns(),
            Base::Realtime => crate::time::realtime_ns(),
            Base::ProcessCpu => process.cpu_time_ns(),
            Base::ProcessUser => process.cpu_time().user_ns(),
            Base::OtherCpu(pid) => process::find(pid).map_or(u64::MAX, |other| other.cpu_time_ns()),
            Base::ThreadCpu(tid) => {
                process::find_task(tid).map_or(u64::MAX, |task| sched::cpu_time_ns(&task))
            }
        }
    }

    /// When to look whether `deadline` is reached. CPU time passes no faster than time does on all
    /// vCPUs together; whoever looks early looks again.
    pub(super) fn look_at(self, now: u64, deadline: u64) -> u64 {
        /// Between looks at a program that sleeps.
        const SHORTEST: u64 = 1_000_000;
        match self {
            Base::Wall => deadline,
            Base::Realtime => crate::time::monotonic_of_realtime(deadline),
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
    /// Of the last signal that was taken.
    overrun: u32,
    /// It counts on without being armed: its signal waits to be taken, or it sends none.
    waiting: bool,
    /// Which setting of the timer this is.
    generation: u64,
}

struct PosixTimer {
    clock: u32,
    notify: Notify,
    setting: Setting,
    /// For its signal.
    _charge: Charge,
}

/// All timers of a process.
#[derive(Default)]
pub struct ProcessTimers {
    itimers: [Setting; ITIMERS],
    posix: BTreeMap<u32, PosixTimer>,
    next_id: u32,
    /// When to look at RLIMIT_CPU ([`super::cpu_limit`]).
    pub(super) cpu_limit: Option<TimerId>,
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
        if now_ns < setting.deadline {
            setting.arm(now_ns, self.again());
            return;
        }
        let generation = setting.generation;
        if id.is_some() {
            setting.waiting = true;
        } else if setting.interval > 0 {
            setting.advance(now_ns);
            setting.arm(now_ns, self.again());
        }
        drop(timers);
        let queued = |signal, value| match id {
            Some(id) => {
                let info = SigInfo::timer(signal, id, 0, value);
                Queued::of_timer(info, TimerMark { id, generation })
            }
            None => Queued::free(SigInfo::kernel(signal)),
        };
        let sent = match notify {
            Notify::None => Ok(true),
            Notify::Process { signal, value } => {
                signal::queue_for_process(&process, queued(signal, value))
            }
            Notify::Thread { signal, value, tid } => match process::find_task(tid) {
                Some(task) => signal::queue_for_task(&task, queued(signal, value)),
                None => Ok(false),
            },
        };
        if sent != Ok(true) {
            self.go_on(&process, now_ns, generation);
        }
    }
}

impl Expiry {
    fn again(&self) -> Arc<Expiry> {
        Arc::new(Expiry {
            process: self.process.clone(),
            which: self.which,
        })
    }

    /// A timer whose signal is ignored expires again, but not more often than is of use.
    fn go_on(&self, process: &Arc<Process>, now_ns: u64, generation: u64) {
        const SHORTEST: u64 = 4_000_000;
        let mut timers = process.timers.lock();
        let Some(setting) = timers.setting(self.which) else {
            return;
        };
        if !setting.waiting || setting.generation != generation {
            return;
        }
        setting.waiting = false;
        if setting.interval > 0 {
            let late = SHORTEST.saturating_sub(setting.interval);
            setting.advance(now_ns.saturating_add(late));
            setting.arm(now_ns, self.again());
        }
    }
}

/// The signal of a timer is taken: says in `info` how many expiries it stands for, and lets the timer
/// go on. False: the signal is of a setting that is no more.
pub fn delivered(process: &Arc<Process>, mark: TimerMark, info: &mut SigInfo) -> bool {
    let Ok(base) = process.timers.lock().posix_base(mark.id) else {
        return false;
    };
    // By that clock: a timer that is set anew meanwhile has another generation.
    let now = base.now(process);
    let mut timers = process.timers.lock();
    let which = Which::Posix(mark.id);
    let Some(setting) = timers.setting(which) else {
        return false;
    };
    if !setting.waiting || setting.generation != mark.generation {
        return false;
    }
    setting.waiting = false;
    setting.overrun = 0;
    if setting.interval > 0 {
        setting.overrun = setting.advance(now);
        let process = Arc::downgrade(process);
        setting.arm(now, Arc::new(Expiry { process, which }));
    }
    info.set_overrun(mark.id, setting.overrun);
    true
}

impl Setting {
    fn remaining(&self, now: u64) -> Remaining {
        let left = match self.armed {
            _ if self.armed.is_none() && !self.waiting => 0,
            _ if self.deadline > now => self.deadline - now,
            Some(_) => 1,
            // Expiries that nobody is told of, or not yet.
            None => match (now - self.deadline).checked_rem(self.interval) {
                Some(into) => self.interval - into,
                None => 0,
            },
        };
        (left, self.interval)
    }

    /// Moves the deadline to the first expiry after `now`. How many there were after that one.
    fn advance(&mut self, now: u64) -> u32 {
        let late = now.saturating_sub(self.deadline);
        let missed = late.checked_div(self.interval).unwrap_or(0);
        let step = missed.saturating_add(1).saturating_mul(self.interval);
        self.deadline = self.deadline.saturating_add(step);
        missed.min(i32::MAX as u64) as u32
    }

    fn arm(&mut self, now: u64, expiry: Arc<Expiry>) {
        let look = self.base.look_at(now, self.deadline);
        self.armed = Some(timers::arm(look, expiry));
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
        let silent = match which {
            Which::Posix(id) => (self.posix.get(&id)).is_some_and(|t| t.notify == Notify::None),
            Which::Interval(_) => false,
        };
        let Some(setting) = self.setting(which) else {
            return (0, 0);
        };
        let old = setting.remaining(now);
        if let Some(armed) = setting.armed.take() {
            timers::cancel(armed);
        }
        let wall = matches!(base, Base::Wall | Base::Realtime);
        let disarmed = deadline.is_none() && wall;
        *setting = Setting {
            base,
            interval: if disarmed { 0 } else { interval },
            generation: setting.generation + 1,
            ..Setting::default()
        };
        if let Some(deadline) = deadline {
            setting.deadline = deadline;
            if silent {
                setting.waiting = true;
            } else {
                setting.arm(now, Arc::new(Expiry { process, which }));
            }
        }
        old
    }

    /// What an interval timer counts.
    pub fn interval_base(which: usize) -> Base {
        match which {
            0 => Base::Wall,
            1 => Base::ProcessUser,
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
    pub fn create(
        &mut self,
        (clock, base): (u32, Base),
        notify: impl FnOnce(u32) -> Notify,
        charge: Charge,
    ) -> Result<u32> {
        // Each is charged, so there are not that many.
        while self.posix.contains_key(&self.next_id) {
            self.next_id = (self.next_id + 1) & i32::MAX as u32;
        }
        let id = self.next_id;
        self.next_id = (id + 1) & i32::MAX as u32;
        let timer = PosixTimer {
            clock,
            notify: notify(id),
            setting: Setting {
                base,
                ..Setting::default()
            },
            _charge: charge,
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

    /// What a POSIX timer counts as it is set.
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
        if let Some(armed) = self.cpu_limit.take() {
            timers::cancel(armed);
        }
        for setting in &mut self.itimers {
            if let Some(armed) = setting.armed.take() {
                timers::cancel(armed);
            }
        }
    }
}
