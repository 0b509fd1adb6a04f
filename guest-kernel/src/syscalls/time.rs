//! Clocks, sleeping, interval and POSIX timers.

use crate::errno::{Errno, Result};
use crate::ipc::timerfd::realtime_was_set;
use crate::syscalls::args::{Flags, UserPtr};
use crate::task::Ctx;
use crate::task::pending::Charge;
use crate::task::process::{self, limit};
use crate::task::process_timers::{Base, ITIMERS, Notify, ProcessTimers, Remaining};
use crate::time::{self, NSEC_PER_SEC};
use alloc::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `struct timespec`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct TimeSpec {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds.
    pub nsec: i64,
}

impl TimeSpec {
    /// From nanoseconds.
    pub fn from_ns(ns: u64) -> TimeSpec {
        TimeSpec {
            sec: (ns / NSEC_PER_SEC) as i64,
            nsec: (ns % NSEC_PER_SEC) as i64,
        }
    }

    /// In nanoseconds, saturating; EINVAL for negative or denormal values.
    pub fn to_ns(self) -> Result<u64> {
        match (u64::try_from(self.sec), u64::try_from(self.nsec)) {
            (Ok(sec), Ok(nsec)) if nsec < NSEC_PER_SEC => {
                Ok(sec.saturating_mul(NSEC_PER_SEC).saturating_add(nsec))
            }
            _ => Err(Errno::EINVAL),
        }
    }
}

/// `struct timeval`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct TimeVal {
    /// Seconds.
    pub sec: i64,
    /// Microseconds.
    pub usec: i64,
}

impl TimeVal {
    fn from_ns(ns: u64) -> TimeVal {
        TimeVal {
            sec: (ns / NSEC_PER_SEC) as i64,
            usec: (ns % NSEC_PER_SEC / 1000) as i64,
        }
    }

    fn to_ns(self) -> Result<u64> {
        if !(0..1_000_000).contains(&self.usec) {
            return Err(Errno::EINVAL);
        }
        TimeSpec {
            sec: self.sec,
            nsec: self.usec * 1000,
        }
        .to_ns()
    }
}

const CLOCK_REALTIME: i32 = 0;
const CLOCK_MONOTONIC: i32 = 1;
const CLOCK_PROCESS_CPUTIME_ID: i32 = 2;
const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
const CLOCK_MONOTONIC_RAW: i32 = 4;
const CLOCK_REALTIME_COARSE: i32 = 5;
const CLOCK_MONOTONIC_COARSE: i32 = 6;
const CLOCK_BOOTTIME: i32 = 7;
const CLOCK_REALTIME_ALARM: i32 = 8;
const CLOCK_BOOTTIME_ALARM: i32 = 9;
const CLOCK_TAI: i32 = 11;

/// A clock's time; EINVAL: no such clock. Negative ids are CPU clocks of processes and threads.
fn now(ctx: &Ctx, clock: i32) -> Result<u64> {
    match clock {
        CLOCK_REALTIME | CLOCK_REALTIME_COARSE | CLOCK_REALTIME_ALARM | CLOCK_TAI => {
            Ok(time::realtime_ns())
        }
        CLOCK_MONOTONIC
        | CLOCK_MONOTONIC_RAW
        | CLOCK_MONOTONIC_COARSE
        | CLOCK_BOOTTIME
        | CLOCK_BOOTTIME_ALARM => Ok(time::monotonic_ns()),
        _ => Ok(cpu_clock(ctx, clock)?.now(ctx.process())),
    }
}

/// What a CPU clock counts (include/linux/posix-timers_types.h): any process's time, but only the
/// threads of one's own.
fn cpu_clock(ctx: &Ctx, clock: i32) -> Result<Base> {
    let id = !(clock >> 3) as u32;
    match clock {
        CLOCK_PROCESS_CPUTIME_ID => Ok(Base::ProcessCpu),
        CLOCK_THREAD_CPUTIME_ID => Ok(Base::ThreadCpu(ctx.task().tid())),
        0.. => Err(Errno::EINVAL),
        _ if clock & 3 > 2 => Err(Errno::EINVAL),
        _ if clock & 4 != 0 && id == 0 => Ok(Base::ThreadCpu(ctx.task().tid())),
        _ if clock & 4 != 0 => {
            let task = process::find_task(id).ok_or(Errno::EINVAL)?;
            match Arc::ptr_eq(task.process(), ctx.process()) {
                true => Ok(Base::ThreadCpu(id)),
                false => Err(Errno::EINVAL),
            }
        }
        _ if id == 0 || ctx.process().is_called(id) => Ok(Base::ProcessCpu),
        _ => {
            process::find(id).ok_or(Errno::EINVAL)?;
            Ok(Base::OtherCpu(id))
        }
    }
}

/// clock_gettime(2).
pub fn clock_gettime(ctx: &Ctx, clock: i32, out: UserPtr<TimeSpec>) -> Result<u64> {
    let now = match now(ctx, clock) {
        // To read it, a thread may name its process by itself.
        Err(_) if clock < 0 && clock & 7 == 2 && !(clock >> 3) as u32 == ctx.task().tid() => {
            ctx.process().cpu_time_ns()
        }
        other => other?,
    };
    ctx.write(out, &TimeSpec::from_ns(now))?;
    Ok(0)
}

/// clock_getres(2).
pub fn clock_getres(ctx: &Ctx, clock: i32, out: UserPtr<TimeSpec>) -> Result<u64> {
    now(ctx, clock)?;
    let resolution = match clock {
        CLOCK_REALTIME_COARSE | CLOCK_MONOTONIC_COARSE => 4_000_000,
        _ => 1,
    };
    ctx.write_if(out, &TimeSpec::from_ns(resolution))?;
    Ok(0)
}

/// clock_settime(2): CLOCK_REALTIME of this VM.
pub fn clock_settime(ctx: &Ctx, clock: i32, value: UserPtr<TimeSpec>) -> Result<u64> {
    if clock != CLOCK_REALTIME && clock >= 0 {
        return Err(Errno::EINVAL);
    }
    let value = ctx.read(value)?;
    if clock < 0 {
        cpu_clock(ctx, clock)?;
        return Err(Errno::EPERM);
    }
    set_realtime(value.to_ns()?)
}

/// Sets the clock; EINVAL for a time that was before the machine started.
fn set_realtime(ns: u64) -> Result<u64> {
    /// 30 years before what 64 bits of nanoseconds can count (include/linux/time64.h).
    const LAST: u64 = i64::MAX as u64 - 30 * 365 * 86_400 * NSEC_PER_SEC;
    if ns < time::monotonic_ns() || ns > LAST {
        return Err(Errno::EINVAL);
    }
    time::set_realtime_ns(ns);
    realtime_was_set();
    Ok(0)
}

/// gettimeofday(2).
pub fn gettimeofday(ctx: &Ctx, out: UserPtr<TimeVal>, zone: UserPtr<[i32; 2]>) -> Result<u64> {
    ctx.write_if(out, &TimeVal::from_ns(time::realtime_ns()))?;
    ctx.write_if(zone, &[0, 0])?;
    Ok(0)
}

/// settimeofday(2). The kernel's time zone is UTC whatever it is told.
pub fn settimeofday(ctx: &Ctx, value: UserPtr<TimeVal>, zone: UserPtr<[i32; 2]>) -> Result<u64> {
    let value = match value.non_null() {
        Some(ptr) => Some(ctx.read(ptr)?.to_ns()?),
        None => None,
    };
    if let Some(ptr) = zone.non_null() {
        let [west, _] = ctx.read(ptr)?;
        if !(-15 * 60..=15 * 60).contains(&west) {
            return Err(Errno::EINVAL);
        }
    }
    match value {
        Some(ns) => set_realtime(ns),
        None => Ok(0),
    }
}

/// `struct timex` (include/uapi/linux/timex.h), 208 bytes as words.
pub type Timex = [u64; 26];

/// clock_adjtime(2): what is known of CLOCK_REALTIME, which the host steers.
pub fn clock_adjtime(ctx: &Ctx, clock: i32, values: UserPtr<Timex>) -> Result<u64> {
    let [modes, ..] = ctx.read(values)?;
    if clock != CLOCK_REALTIME {
        now(ctx, clock)?;
        return Err(Errno::EOPNOTSUPP);
    }
    if modes as u32 != 0 {
        return Err(Errno::EPERM);
    }
    /// `TIME_ERROR`: the clock is not known to be right.
    const NOT_SYNCHRONIZED: u64 = 5;
    const STA_UNSYNC: u64 = 64;
    /// `NTP_PHASE_LIMIT`, in µs: nobody has said how far off it is.
    const FAR: u64 = 16_000_000;
    let now = TimeVal::from_ns(time::realtime_ns());
    let mut words = [0; 26];
    (words[3], words[4]) = (FAR, FAR); // maxerror, esterror
    (words[5], words[6]) = (STA_UNSYNC, 2); // status, constant
    (words[7], words[8]) = (1, 500 << 16); // precision, tolerance
    (words[9], words[10]) = (now.sec as u64, now.usec as u64);
    words[11] = 10_000; // tick
    ctx.write(values, &words)?;
    Ok(NOT_SYNCHRONIZED)
}

/// adjtimex(2).
pub fn adjtimex(ctx: &Ctx, values: UserPtr<Timex>) -> Result<u64> {
    clock_adjtime(ctx, CLOCK_REALTIME, values)
}

/// time(2).
pub fn time(ctx: &Ctx, out: UserPtr<i64>) -> Result<u64> {
    let seconds = time::realtime_ns() / NSEC_PER_SEC;
    ctx.write_if(out, &(seconds as i64))?;
    Ok(seconds)
}

/// nanosleep(2).
pub fn nanosleep(ctx: &Ctx, wanted: UserPtr<TimeSpec>, left: UserPtr<TimeSpec>) -> Result<u64> {
    let ns = ctx.read(wanted)?.to_ns()?;
    sleep_for(ctx, ns, left)
}

fn sleep_for(ctx: &Ctx, ns: u64, left: UserPtr<TimeSpec>) -> Result<u64> {
    let deadline = time::monotonic_ns().saturating_add(ns);
    match sleep_until(ctx, deadline) {
        Err(Errno::ERESTARTSYS) => {
            let rest = deadline.saturating_sub(time::monotonic_ns());
            ctx.write_if(left, &TimeSpec::from_ns(rest))?;
            Err(Errno::ERESTARTNOHAND)
        }
        other => other,
    }
}

fn sleep_until(ctx: &Ctx, deadline: u64) -> Result<u64> {
    match ctx.block(&[], Some(deadline), || Ok(None)) {
        Err(Errno::ETIMEDOUT) => Ok(0),
        other => other,
    }
}

const TIMER_ABSTIME: u32 = 1;

/// clock_nanosleep(2).
pub fn clock_nanosleep(
    ctx: &Ctx,
    clock: i32,
    flags: Flags,
    wanted: UserPtr<TimeSpec>,
    left: UserPtr<TimeSpec>,
) -> Result<u64> {
    match clock {
        // Nobody can sleep until this clock reads something, or these are not made for it.
        CLOCK_THREAD_CPUTIME_ID
        | CLOCK_MONOTONIC_RAW
        | CLOCK_REALTIME_COARSE
        | CLOCK_MONOTONIC_COARSE => return Err(Errno::EOPNOTSUPP),
        0.. => {
            now(ctx, clock)?;
        }
        // Which process's or thread's it is comes after what to wait for.
        _ => {}
    }
    let ns = ctx.read(wanted)?.to_ns()?;
    now(ctx, clock)?;
    let thread = !(clock >> 3) as u32;
    if clock < 0 && clock & 4 != 0 && (thread == 0 || thread == ctx.task().tid()) {
        return Err(Errno::EINVAL);
    }
    if flags.0 & TIMER_ABSTIME == 0 {
        return sleep_for(ctx, ns, left);
    }
    let deadline = absolute_deadline(ctx, clock, ns)?;
    match sleep_until(ctx, deadline) {
        Err(Errno::ERESTARTSYS) => Err(Errno::ERESTARTNOHAND),
        other => other,
    }
}

/// The monotonic moment at which `clock` reads `ns`.
fn absolute_deadline(ctx: &Ctx, clock: i32, ns: u64) -> Result<u64> {
    match clock {
        CLOCK_REALTIME | CLOCK_REALTIME_ALARM | CLOCK_TAI => Ok(time::monotonic_of_realtime(ns)),
        CLOCK_MONOTONIC | CLOCK_BOOTTIME | CLOCK_BOOTTIME_ALARM => Ok(ns),
        _ => Ok(time::monotonic_ns().saturating_add(ns.saturating_sub(now(ctx, clock)?))),
    }
}

type ItimerVal = [TimeVal; 2];

fn itimer_value((after, interval): Remaining) -> ItimerVal {
    // A remainder below a microsecond must not read as disarmed.
    let after = if after == 0 { 0 } else { after.max(1000) };
    [TimeVal::from_ns(interval), TimeVal::from_ns(after)]
}

/// getitimer(2).
pub fn getitimer(ctx: &Ctx, which: u32, out: UserPtr<ItimerVal>) -> Result<u64> {
    let which = which as usize;
    if which >= ITIMERS {
        return Err(Errno::EINVAL);
    }
    let now = ProcessTimers::interval_base(which).now(ctx.process());
    let remaining = ctx.process().timers.lock().interval(which, now);
    ctx.write(out, &itimer_value(remaining))?;
    Ok(0)
}

/// setitimer(2).
pub fn setitimer(
    ctx: &Ctx,
    which: u32,
    new: UserPtr<ItimerVal>,
    old: UserPtr<ItimerVal>,
) -> Result<u64> {
    let [interval, after] = if new.is_null() {
        Default::default()
    } else {
        ctx.read(new)?
    };
    let which = which as usize;
    if which >= ITIMERS {
        return Err(Errno::EINVAL);
    }
    let (after, interval) = (after.to_ns()?, interval.to_ns()?);
    let now = ProcessTimers::interval_base(which).now(ctx.process());
    let process = Arc::downgrade(ctx.process());
    let before = ctx
        .process()
        .timers
        .lock()
        .set_interval(process, which, now, after, interval);
    ctx.write_if(old, &itimer_value(before))?;
    Ok(0)
}

/// alarm(2).
pub fn alarm(ctx: &Ctx, seconds: u32) -> Result<u64> {
    let process = Arc::downgrade(ctx.process());
    let after = u64::from(seconds) * NSEC_PER_SEC;
    let (left, _) =
        ctx.process()
            .timers
            .lock()
            .set_interval(process, 0, time::monotonic_ns(), after, 0);
    // Rounded, but never to 0 while one was pending.
    Ok(if left == 0 {
        0
    } else {
        ((left + NSEC_PER_SEC / 2) / NSEC_PER_SEC).max(1)
    })
}

/// `struct sigevent`, the part the kernel reads.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SigEvent {
    value: u64,
    signo: i32,
    notify: i32,
    tid: i32,
    pad: [u32; 11],
}

/// timer_create(2).
pub fn timer_create(
    ctx: &Ctx,
    clock: i32,
    event: UserPtr<SigEvent>,
    id: UserPtr<u32>,
) -> Result<u64> {
    let event = match event.non_null() {
        Some(ptr) => Some(ctx.read(ptr)?),
        None => None,
    };
    let base = timer_base(ctx, clock)?;
    let charge = Charge::within(ctx.process().rlimit(limit::SIGPENDING)).ok_or(Errno::EAGAIN)?;
    if let Some(event) = &event {
        let signal_ok = (1..=64).contains(&event.signo);
        let target_ok = event.notify != 4
            || process::find_task(event.tid as u32)
                .is_some_and(|task| Arc::ptr_eq(task.process(), ctx.process()));
        let kind_ok = matches!(event.notify, 0 | 1 | 2 | 4);
        if !kind_ok || event.notify != 1 && !signal_ok || !target_ok {
            return Err(Errno::EINVAL);
        }
    }
    let notify = |id| match event {
        None => Notify::Process {
            signal: 14,
            value: u64::from(id),
        },
        Some(SigEvent { notify: 1, .. }) => Notify::None,
        Some(SigEvent {
            notify: 4,
            signo,
            value,
            tid,
            ..
        }) => Notify::Thread {
            signal: signo as u32,
            value,
            tid: tid as u32,
        },
        Some(SigEvent { signo, value, .. }) => Notify::Process {
            signal: signo as u32,
            value,
        },
    };
    let clock = (clock as u32, base);
    let made = (ctx.process().timers.lock()).create(clock, notify, charge)?;
    if let Err(error) = ctx.write(id, &made) {
        ctx.process().timers.lock().delete(made)?;
        return Err(error);
    }
    Ok(0)
}

/// What a timer of `clock` counts; EOPNOTSUPP: that clock has no timers.
fn timer_base(ctx: &Ctx, clock: i32) -> Result<Base> {
    match clock {
        CLOCK_MONOTONIC_RAW | CLOCK_REALTIME_COARSE | CLOCK_MONOTONIC_COARSE => {
            Err(Errno::EOPNOTSUPP)
        }
        CLOCK_REALTIME | CLOCK_MONOTONIC | CLOCK_BOOTTIME | CLOCK_REALTIME_ALARM
        | CLOCK_BOOTTIME_ALARM | CLOCK_TAI => Ok(Base::Wall),
        _ => cpu_clock(ctx, clock),
    }
}

type ItimerSpec = [TimeSpec; 2];

fn itimer_spec((after, interval): Remaining) -> ItimerSpec {
    [TimeSpec::from_ns(interval), TimeSpec::from_ns(after)]
}

/// timer_settime(2).
pub fn timer_settime(
    ctx: &Ctx,
    id: u32,
    flags: Flags,
    new: UserPtr<ItimerSpec>,
    old: UserPtr<ItimerSpec>,
) -> Result<u64> {
    if new.is_null() {
        return Err(Errno::EINVAL);
    }
    let [interval, value] = ctx.read(new)?;
    let (interval, value) = (interval.to_ns()?, value.to_ns()?);
    let (clock, base) = {
        let timers = ctx.process().timers.lock();
        (timers.clock(id)? as i32, timers.posix_base(id)?)
    };
    let absolute = flags.0 & TIMER_ABSTIME != 0;
    let base = match (clock, base) {
        (CLOCK_REALTIME | CLOCK_REALTIME_ALARM | CLOCK_TAI, _) if absolute => Base::Realtime,
        (_, Base::Realtime) => Base::Wall,
        _ => base,
    };
    let now = base.now(ctx.process());
    let deadline = match value {
        0 => None,
        _ if absolute => Some(value),
        _ => Some(now.saturating_add(value)),
    };
    let process = Arc::downgrade(ctx.process());
    let before =
        ctx.process()
            .timers
            .lock()
            .set_posix(process, id, (base, now), deadline, interval)?;
    ctx.write_if(old, &itimer_spec(before))?;
    Ok(0)
}

/// timer_gettime(2).
pub fn timer_gettime(ctx: &Ctx, id: u32, out: UserPtr<ItimerSpec>) -> Result<u64> {
    let base = ctx.process().timers.lock().posix_base(id)?;
    let now = base.now(ctx.process());
    let remaining = ctx.process().timers.lock().posix(id, now)?;
    ctx.write(out, &itimer_spec(remaining))?;
    Ok(0)
}

/// timer_getoverrun(2).
pub fn timer_getoverrun(ctx: &Ctx, id: u32) -> Result<u64> {
    Ok(ctx.process().timers.lock().overrun(id)?.into())
}

/// timer_delete(2).
pub fn timer_delete(ctx: &Ctx, id: u32) -> Result<u64> {
    ctx.process().timers.lock().delete(id)?;
    Ok(0)
}
