//! Signals: actions, masks, sending, waiting, returning from handlers.

use crate::arch::{self, TrapFrame};
use crate::errno::{Errno, Result};
use crate::syscalls::args::UserPtr;
use crate::syscalls::time::TimeSpec;
use crate::task::process::{self, Process};
use crate::task::signal::{
    self, AltStack, SS_AUTODISARM, SigAction, SigInfo, SigSet, code, number::*,
};
use crate::task::{Ctx, Task};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use zerocopy::{FromBytes, Immutable, IntoBytes};

fn check_set_size(size: usize) -> Result<()> {
    if size == 8 {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

fn check_signal(signal: i32) -> Result<u32> {
    match u32::try_from(signal) {
        Ok(signal) if signal <= NSIG => Ok(signal),
        _ => Err(Errno::EINVAL),
    }
}

/// rt_sigaction(2).
pub fn rt_sigaction(
    ctx: &Ctx,
    signal: i32,
    new: UserPtr<SigAction>,
    old: UserPtr<SigAction>,
    set_size: usize,
) -> Result<u64> {
    check_set_size(set_size)?;
    let new = match new.non_null() {
        Some(ptr) => Some(ctx.read(ptr)?),
        None => None,
    };
    let signal = check_signal(signal)?;
    let unchangeable = SigSet::UNBLOCKABLE.has(signal);
    if signal == 0 || unchangeable && new.is_some() {
        return Err(Errno::EINVAL);
    }
    let mut discard = false;
    let before = {
        let mut signals = ctx.process().signals.lock();
        let before = signals.action(signal);
        if let Some(mut action) = new {
            action.mask &= !SigSet::UNBLOCKABLE.0;
            action.flags &= signal::sa::KNOWN;
            signals.set_action(signal, action);
            if signal::ignored_by(action, signal) {
                signals.pending.discard(SigSet::of(signal));
                discard = true;
            }
        }
        before
    };
    if discard {
        for task in ctx.process().tasks() {
            task.signals.lock().pending.discard(SigSet::of(signal));
        }
    }
    ctx.write_if(old, &before)?;
    Ok(0)
}

/// rt_sigprocmask(2).
pub fn rt_sigprocmask(
    ctx: &Ctx,
    how: i32,
    new: UserPtr<u64>,
    old: UserPtr<u64>,
    set_size: usize,
) -> Result<u64> {
    check_set_size(set_size)?;
    let before = ctx.task().signals.lock().mask;
    if let Some(ptr) = new.non_null() {
        let set = SigSet(ctx.read(ptr)?);
        let mask = match how {
            0 => before | set,
            1 => before - set,
            2 => set,
            _ => return Err(Errno::EINVAL),
        };
        ctx.task().signals.lock().mask = mask - SigSet::UNBLOCKABLE;
    }
    ctx.write_if(old, &before.0)?;
    Ok(0)
}

/// rt_sigpending(2).
pub fn rt_sigpending(ctx: &Ctx, set: UserPtr<u64>, set_size: usize) -> Result<u64> {
    // Alone of its kind it also takes less than a whole set.
    let Some(bytes) = (set_size <= 8).then_some(set_size) else {
        return Err(Errno::EINVAL);
    };
    let shared = ctx.process().signals.lock().pending.set();
    let own = ctx.task().signals.lock();
    let pending = (shared | own.pending.set()) & own.mask;
    drop(own);
    ctx.write_bytes(set.addr(), &pending.0.to_le_bytes()[..bytes])?;
    Ok(0)
}

/// Puts a temporary mask in force until the system call's handler was set up or it returned.
pub fn set_temporary_mask(task: &Task, mask: SigSet) {
    let mut own = task.signals.lock();
    own.saved_mask = Some(own.mask);
    own.mask = mask - SigSet::UNBLOCKABLE;
}

/// rt_sigsuspend(2).
pub fn rt_sigsuspend(ctx: &Ctx, set: UserPtr<u64>, set_size: usize) -> Result<u64> {
    check_set_size(set_size)?;
    let mask = SigSet(ctx.read(set)?);
    set_temporary_mask(ctx.task(), mask);
    pause(ctx)
}

/// pause(2).
pub fn pause(ctx: &Ctx) -> Result<u64> {
    match ctx.block(&[], None, || Ok(None::<u64>)) {
        Err(Errno::ERESTARTSYS) => Err(Errno::ERESTARTNOHAND),
        other => other,
    }
}

/// rt_sigtimedwait(2).
pub fn rt_sigtimedwait(
    ctx: &Ctx,
    set: UserPtr<u64>,
    info: UserPtr<SigInfo>,
    timeout: UserPtr<TimeSpec>,
    set_size: usize,
) -> Result<u64> {
    check_set_size(set_size)?;
    let set = SigSet(ctx.read(set)?) - SigSet::UNBLOCKABLE;
    let deadline = match timeout.non_null() {
        Some(ptr) => Some(crate::time::monotonic_ns().saturating_add(ctx.read(ptr)?.to_ns()?)),
        None => None,
    };
    // The signals waited for must wake this thread though they are blocked.
    let mask = {
        let mut own = ctx.task().signals.lock();
        let mask = own.mask;
        own.waiting_mask = mask;
        own.mask = mask - set;
        mask
    };
    let found = loop {
        if let Some(found) = signal::take_from(ctx.task(), set) {
            break Ok(found);
        }
        match ctx.block(&[], deadline, || Ok(None::<u64>)) {
            Err(Errno::ERESTARTSYS) => match signal::take_from(ctx.task(), set) {
                Some(found) => break Ok(found),
                None => break Err(Errno::EINTR),
            },
            Err(Errno::ETIMEDOUT) => break Err(Errno::EAGAIN),
            Err(error) => break Err(error),
            Ok(_) => {}
        }
    };
    {
        let mut own = ctx.task().signals.lock();
        own.mask = mask;
        own.waiting_mask = SigSet::EMPTY;
    }
    let found = found?;
    ctx.write_if(info, &found)?;
    Ok(found.signal().into())
}

/// kill(2). Whom it is for is looked up before the signal is found to be none.
pub fn kill(ctx: &Ctx, pid: i32, signal: i32) -> Result<u64> {
    let own = ctx.process();
    let targets: Vec<Arc<Process>> = match pid {
        1.. => Vec::from_iter(process::find_by_any(pid as u32)),
        0 => {
            let group = own.pgid.load(Ordering::Relaxed);
            process::in_group(group)
        }
        -1 => process::all()
            .into_iter()
            .filter(|p| p.pid() != process::init_pid() && p.pid() != own.pid())
            .collect(),
        _ => process::in_group(pid.unsigned_abs()),
    };
    if targets.is_empty() {
        return Err(Errno::ESRCH);
    }
    let signal = check_signal(signal)?;
    if signal != 0 {
        let info = SigInfo::user(signal, code::SI_USER, own.pid());
        for target in targets {
            signal::send_to_process(&target, info)?;
        }
    }
    Ok(0)
}

/// The thread that `tgid` and `tid` name: tgkill and its kin refuse what is not positive.
fn thread(tgid: Option<i32>, tid: i32) -> Result<Arc<Task>> {
    let task = process::find_task(tid as u32).ok_or(Errno::ESRCH)?;
    if tgid.is_some_and(|tgid| !task.process().is_called(tgid as u32)) {
        return Err(Errno::ESRCH);
    }
    Ok(task)
}

fn send_to_thread(ctx: &Ctx, tgid: Option<i32>, tid: i32, signal: i32) -> Result<u64> {
    if tid <= 0 || tgid.is_some_and(|tgid| tgid <= 0) {
        return Err(Errno::EINVAL);
    }
    let task = thread(tgid, tid)?;
    let signal = check_signal(signal)?;
    if signal != 0 {
        let info = SigInfo::user(signal, code::SI_TKILL, ctx.process().pid());
        signal::try_send_to_task(&task, info)?;
    }
    Ok(0)
}

/// tgkill(2).
pub fn tgkill(ctx: &Ctx, tgid: i32, tid: i32, signal: i32) -> Result<u64> {
    send_to_thread(ctx, Some(tgid), tid, signal)
}

/// tkill(2).
pub fn tkill(ctx: &Ctx, tid: i32, signal: i32) -> Result<u64> {
    send_to_thread(ctx, None, tid, signal)
}

/// The `siginfo_t` a program sends. E2BIG: of a kind nobody knows, and with more than the known kinds
/// have.
fn read_info(ctx: &Ctx, ptr: UserPtr<SigInfo>, signal: i32) -> Result<SigInfo> {
    /// What the kernel keeps of one.
    const KEPT: usize = 48;
    let mut info = SigInfo::none();
    ctx.read_bytes(ptr.addr(), &mut info.as_mut_bytes()[..KEPT])?;
    info.signo = signal;
    if !signal::is_known_kind(signal, info.code) {
        let mut rest = [0; size_of::<SigInfo>() - KEPT];
        ctx.read_bytes(ptr.addr().wrapping_add(KEPT as u64), &mut rest)?;
        if rest.iter().any(|byte| *byte != 0) {
            return Err(Errno::E2BIG);
        }
    }
    Ok(info)
}

/// Only the kernel may say that a signal came from the kernel, kill or tgkill; but a thread may tell
/// itself what it likes.
fn check_origin(ctx: &Ctx, info: &SigInfo, id: i32) -> Result<()> {
    let claims_kernel = info.code >= 0 || info.code == code::SI_TKILL;
    let tasks = ctx.process().tasks();
    let first = tasks
        .first()
        .is_some_and(|first| Arc::ptr_eq(first, ctx.task()));
    let own = id as u32 == ctx.task().tid() || first && ctx.process().is_called(id as u32);
    if claims_kernel && !own {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// rt_sigqueueinfo(2).
pub fn rt_sigqueueinfo(ctx: &Ctx, pid: i32, signal: i32, info: UserPtr<SigInfo>) -> Result<u64> {
    let info = read_info(ctx, info, signal)?;
    check_origin(ctx, &info, pid)?;
    let target = match pid {
        1.. => process::find_by_any(pid as u32).ok_or(Errno::ESRCH)?,
        _ => return Err(Errno::ESRCH),
    };
    if check_signal(signal)? != 0 {
        signal::send_to_process(&target, info)?;
    }
    Ok(0)
}

/// rt_tgsigqueueinfo(2).
pub fn rt_tgsigqueueinfo(
    ctx: &Ctx,
    tgid: i32,
    tid: i32,
    signal: i32,
    info: UserPtr<SigInfo>,
) -> Result<u64> {
    let info = read_info(ctx, info, signal)?;
    if tid <= 0 || tgid <= 0 {
        return Err(Errno::EINVAL);
    }
    check_origin(ctx, &info, tid)?;
    let task = thread(Some(tgid), tid)?;
    if check_signal(signal)? != 0 {
        signal::try_send_to_task(&task, info)?;
    }
    Ok(0)
}

/// `stack_t`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct StackT {
    base: u64,
    flags: u32,
    pad: u32,
    size: u64,
}

const SS_ONSTACK: u32 = 1;
const SS_DISABLE: u32 = 2;
const MINSIGSTKSZ: u64 = 2048;

/// sigaltstack(2).
pub fn sigaltstack(
    ctx: &Ctx,
    frame: &mut TrapFrame,
    new: UserPtr<StackT>,
    old: UserPtr<StackT>,
) -> Result<u64> {
    let current = ctx.task().signals.lock().alt_stack;
    let on_it = current.contains(frame.sp());
    if let Some(ptr) = new.non_null() {
        let new = ctx.read(ptr)?;
        if on_it {
            return Err(Errno::EPERM);
        }
        let given = AltStack {
            base: new.base,
            size: new.size,
            flags: new.flags & SS_AUTODISARM,
        };
        let stack = match new.flags & !SS_AUTODISARM {
            SS_DISABLE => AltStack {
                base: 0,
                size: 0,
                ..given
            },
            0 | SS_ONSTACK if new.size < MINSIGSTKSZ && given != current => {
                return Err(Errno::ENOMEM);
            }
            0 | SS_ONSTACK => given,
            _ => return Err(Errno::EINVAL),
        };
        ctx.task().signals.lock().alt_stack = stack;
    }
    let flags = match (current.size, on_it) {
        (0, _) => SS_DISABLE | current.flags,
        (_, true) => SS_ONSTACK | current.flags,
        _ => current.flags,
    };
    let value = StackT {
        base: current.base,
        flags,
        pad: 0,
        size: current.size,
    };
    ctx.write_if(old, &value)?;
    Ok(0)
}

/// rt_sigreturn(2): back to what the handler interrupted.
pub fn rt_sigreturn(ctx: &Ctx, frame: &mut TrapFrame) -> Result<u64> {
    match arch::signal_frame::pop(ctx.task(), frame) {
        Ok(_) if frame.sp() >= sprout_abi::layout::USER_END => {
            // As for a new thread's stack: the program ends before it runs there.
            frame.set_sp(0);
            signal::force(ctx.task(), SigInfo::kernel(SIGSEGV));
        }
        Ok(restored) => {
            let mut own = ctx.task().signals.lock();
            own.mask = restored.mask - SigSet::UNBLOCKABLE;
            own.alt_stack = restored.alt_stack;
        }
        Err(_) => signal::force(ctx.task(), SigInfo::kernel(SIGSEGV)),
    }
    Ok(frame.return_value())
}

/// restart_syscall(2): nothing of ours asks for it.
pub fn restart_syscall(_: &Ctx) -> Result<u64> {
    Err(Errno::EINTR)
}
