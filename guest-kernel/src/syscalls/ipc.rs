//! pipe, eventfd, timerfd and signalfd.

use crate::errno::{Errno, Result};
use crate::fs::file::{File, OpenFile, OpenFlags};
use crate::ipc::eventfd::EventFd;
use crate::ipc::pipe::Pipe;
use crate::ipc::signalfd::{SignalFd, SignalRecord, SignalSource};
use crate::ipc::timerfd::{Clock, Setting, TimerFd};
use crate::syscalls::args::{Fd, Flags, UserPtr};
use crate::syscalls::time::TimeSpec;
use crate::task::signal::take_from;
use crate::task::{Ctx, Process, SigSet, sched};
use crate::wait::WaitQueue;
use alloc::sync::Arc;
use alloc::vec::Vec;

const CLOEXEC: u32 = OpenFlags::CLOEXEC.bits();
const NONBLOCK: u32 = OpenFlags::NONBLOCK.bits();

/// Opens `file` as the lowest free descriptor, with O_NONBLOCK and O_CLOEXEC as in `flags`.
pub fn install(ctx: &Ctx, file: Arc<dyn File>, access: OpenFlags, flags: OpenFlags) -> Result<i32> {
    let kept = flags & (OpenFlags::NONBLOCK | OpenFlags::DIRECT);
    let open = OpenFile::new(file, access | kept, Vec::new());
    ctx.files()
        .lock()
        .insert(open, flags.contains(OpenFlags::CLOEXEC))
}

/// Installs two files and stores their descriptors at `fds`; none if either fails.
pub fn install_pair(
    ctx: &Ctx,
    first: (Arc<dyn File>, OpenFlags),
    second: (Arc<dyn File>, OpenFlags),
    flags: OpenFlags,
    fds: UserPtr<[i32; 2]>,
) -> Result<u64> {
    let a = install(ctx, first.0, first.1, flags)?;
    let stored = install(ctx, second.0, second.1, flags).and_then(|b| {
        ctx.write(fds, &[a, b]).inspect_err(|_| {
            let removed = ctx.files().lock().remove(b);
            drop(removed);
        })
    });
    if let Err(error) = stored {
        let removed = ctx.files().lock().remove(a);
        drop(removed);
        return Err(error);
    }
    Ok(0)
}

/// pipe(2).
pub fn pipe(ctx: &Ctx, fds: UserPtr<[i32; 2]>) -> Result<u64> {
    pipe2(ctx, fds, Flags(0))
}

/// pipe2(2).
pub fn pipe2(ctx: &Ctx, fds: UserPtr<[i32; 2]>, flags: Flags) -> Result<u64> {
    let flags = OpenFlags::from_bits_retain(flags.0);
    if !(OpenFlags::CLOEXEC | OpenFlags::NONBLOCK | OpenFlags::DIRECT).contains(flags) {
        return Err(Errno::EINVAL);
    }
    let (read, write) = Pipe::pair();
    install_pair(
        ctx,
        (read, OpenFlags::empty()),
        (write, OpenFlags::WRONLY),
        flags,
        fds,
    )
}

/// eventfd(2).
pub fn eventfd(ctx: &Ctx, initial: u32) -> Result<u64> {
    eventfd2(ctx, initial, Flags(0))
}

/// eventfd2(2).
pub fn eventfd2(ctx: &Ctx, initial: u32, flags: Flags) -> Result<u64> {
    const EFD_SEMAPHORE: u32 = 1;
    let semaphore = flags.0 & EFD_SEMAPHORE != 0;
    let flags = fd_flags(flags.0 & !EFD_SEMAPHORE)?;
    let fd = install(
        ctx,
        Arc::new(EventFd::new(initial, semaphore)),
        OpenFlags::RDWR,
        flags,
    )?;
    Ok(fd as u64)
}

/// O_CLOEXEC and O_NONBLOCK, which every call that makes a descriptor spells the same; EINVAL for
/// anything else.
fn fd_flags(flags: u32) -> Result<OpenFlags> {
    if flags & !(CLOEXEC | NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(OpenFlags::from_bits_retain(flags))
}

/// timerfd_create(2).
pub fn timerfd_create(ctx: &Ctx, clock: i32, flags: Flags) -> Result<u64> {
    let flags = fd_flags(flags.0)?;
    let clock = match clock {
        // CLOCK_REALTIME, CLOCK_REALTIME_ALARM.
        0 | 8 => Clock::Realtime,
        // CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM.
        1 | 7 | 9 => Clock::Monotonic,
        _ => return Err(Errno::EINVAL),
    };
    let fd = install(ctx, TimerFd::new(clock), OpenFlags::RDWR, flags)?;
    Ok(fd as u64)
}

/// `struct itimerspec`: interval, then value.
pub type ItimerSpec = [TimeSpec; 2];

fn setting_of([interval, value]: ItimerSpec) -> Result<Setting> {
    Ok(Setting {
        value: value.to_ns()?,
        interval: interval.to_ns()?,
    })
}

fn spec_of(setting: Setting) -> ItimerSpec {
    [
        TimeSpec::from_ns(setting.interval),
        TimeSpec::from_ns(setting.value),
    ]
}

/// timerfd_settime(2).
pub fn timerfd_settime(
    ctx: &Ctx,
    fd: Fd,
    flags: Flags,
    new: UserPtr<ItimerSpec>,
    old: UserPtr<ItimerSpec>,
) -> Result<u64> {
    const TFD_TIMER_ABSTIME: u32 = 1;
    const TFD_TIMER_CANCEL_ON_SET: u32 = 2;
    let setting = ctx.read(new)?;
    if flags.0 & !(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL);
    }
    let setting = setting_of(setting)?;
    let file = ctx.files().lock().get_open(fd.0)?;
    let timer = file.downcast::<TimerFd>().ok_or(Errno::EINVAL)?;
    let absolute = flags.0 & TFD_TIMER_ABSTIME != 0;
    let before = timer.set(setting, absolute, flags.0 & TFD_TIMER_CANCEL_ON_SET != 0);
    ctx.write_if(old, &spec_of(before))?;
    Ok(0)
}

/// timerfd_gettime(2).
pub fn timerfd_gettime(ctx: &Ctx, fd: Fd, current: UserPtr<ItimerSpec>) -> Result<u64> {
    let file = ctx.files().lock().get_open(fd.0)?;
    let timer = file.downcast::<TimerFd>().ok_or(Errno::EINVAL)?;
    ctx.write(current, &spec_of(timer.get()))?;
    Ok(0)
}

/// The signals of a process, and of whichever of its tasks asks.
struct Signals(Arc<Process>);

impl SignalSource for Signals {
    fn take(&self, set: u64) -> Option<SignalRecord> {
        let info = take_from(&sched::current()?, SigSet(set))?;
        let (signo, errno, code, fields) = (info.signo, info.errno, info.code, info.fields);
        Some(SignalRecord {
            signo,
            errno,
            code,
            fields,
        })
    }

    fn pending(&self, set: u64) -> bool {
        let own = sched::current().map(|task| task.signals.lock().pending.set());
        let shared = self.0.signals.lock().pending.set();
        (own.unwrap_or_default() | shared) & SigSet(set) != SigSet::EMPTY
    }

    fn queue(&self) -> &WaitQueue {
        &self.0.signal_queue
    }
}

/// signalfd(2).
pub fn signalfd(ctx: &Ctx, fd: i32, mask: UserPtr<u64>, size: usize) -> Result<u64> {
    signalfd4(ctx, fd, mask, size, Flags(0))
}

/// signalfd4(2).
pub fn signalfd4(ctx: &Ctx, fd: i32, mask: UserPtr<u64>, size: usize, flags: Flags) -> Result<u64> {
    if size != size_of::<u64>() {
        return Err(Errno::EINVAL);
    }
    let mask = ctx.read(mask)?;
    let flags = fd_flags(flags.0)?;
    if fd == -1 {
        let source = Arc::new(Signals(ctx.process().clone()));
        let fd = install(
            ctx,
            Arc::new(SignalFd::new(mask, source)),
            OpenFlags::RDWR,
            flags,
        )?;
        return Ok(fd as u64);
    }
    let file = ctx.files().lock().get_open(fd)?;
    file.downcast::<SignalFd>()
        .ok_or(Errno::EINVAL)?
        .set_mask(mask);
    Ok(fd as u64)
}
