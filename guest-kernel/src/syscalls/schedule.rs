//! Scheduling: policies, nice values, priorities of input and output, the vCPUs a thread may run on.

use crate::errno::{Errno, Result};
use crate::smp;
use crate::syscalls::args::{Flags, UserAddr, UserPtr};
use crate::syscalls::task::{read_sized, thread_of};
use crate::syscalls::time::TimeSpec;
use crate::task::policy::{Deadline, Policy, class};
use crate::task::{Ctx, Task, process, sched};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// In a policy argument: children start with the default.
const RESET_ON_FORK: i32 = 0x4000_0000;

/// sched_yield(2).
pub fn sched_yield(ctx: &Ctx) -> Result<u64> {
    sched::yield_current(ctx.task());
    Ok(0)
}

/// sched_getaffinity(2).
pub fn sched_getaffinity(ctx: &Ctx, tid: i32, size: u32, mask: UserAddr) -> Result<u64> {
    if size < 8 || !size.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    let task = thread_of(ctx, tid)?;
    let allowed = task.affinity() & smp::all_cpus();
    ctx.write_bytes(mask.0, &allowed.to_le_bytes())?;
    Ok(8)
}

/// sched_setaffinity(2): the mask must contain a vCPU.
pub fn sched_setaffinity(ctx: &Ctx, tid: i32, size: u32, mask: UserAddr) -> Result<u64> {
    let mut bytes = [0; 8];
    let size = bytes.len().min(size as usize);
    if size > 0 {
        ctx.read_bytes(mask.0, &mut bytes[..size])?;
    }
    let allowed = u64::from_le_bytes(bytes) & smp::all_cpus();
    let task = thread_of(ctx, tid)?;
    if allowed == 0 {
        return Err(Errno::EINVAL);
    }
    sched::set_affinity(&task, allowed);
    Ok(0)
}

/// The thread a call is about: a negative id is wrong in itself here.
fn target(ctx: &Ctx, tid: i32) -> Result<Arc<Task>> {
    if tid < 0 {
        return Err(Errno::EINVAL);
    }
    thread_of(ctx, tid)
}

/// sched_getscheduler(2).
pub fn sched_getscheduler(ctx: &Ctx, tid: i32) -> Result<u64> {
    let policy = target(ctx, tid)?.policy.lock().clone();
    let flag = if policy.reset_on_fork {
        RESET_ON_FORK as u64
    } else {
        0
    };
    Ok(u64::from(policy.class) | flag)
}

/// `struct sched_attr` (include/uapi/linux/sched/types.h).
#[derive(FromBytes, IntoBytes, Immutable, Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

/// `SCHED_ATTR_SIZE_VER0`.
const FIRST: u32 = 48;
const WHOLE: u32 = size_of::<Attributes>() as u32;

/// Flags of `struct sched_attr`.
mod flag {
    pub const RESET_ON_FORK: u64 = 1;
    pub const RECLAIM: u64 = 2;
    pub const DL_OVERRUN: u64 = 4;
    pub const KEEP_POLICY: u64 = 8;
    pub const KEEP_PARAMS: u64 = 16;
    pub const UTIL_CLAMP: u64 = 32 | 64;
    pub const ALL: u64 = 127;
}

/// sched_getattr(2).
pub fn sched_getattr(
    ctx: &Ctx,
    tid: i32,
    attributes: UserAddr,
    size: u32,
    flags: Flags,
) -> Result<u64> {
    if attributes.is_null() || !(FIRST..=4096).contains(&size) || flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    let policy = target(ctx, tid)?.policy.lock().clone();
    let mut value = Attributes {
        size: size.min(WHOLE),
        policy: policy.class,
        ..Attributes::default()
    };
    if policy.reset_on_fork {
        value.flags = flag::RESET_ON_FORK;
    }
    match policy.class {
        class::DEADLINE => {
            value.flags |= policy.deadline_flags;
            value.runtime = policy.deadline.runtime;
            value.deadline = policy.deadline.deadline;
            value.period = policy.deadline.period;
        }
        class::FIFO | class::RR => value.priority = policy.priority,
        _ => value.nice = policy.nice,
    }
    ctx.write_bytes(attributes.0, &value.as_bytes()[..value.size as usize])?;
    Ok(0)
}

/// sched_setattr(2).
pub fn sched_setattr(ctx: &Ctx, tid: i32, attributes: UserAddr, flags: Flags) -> Result<u64> {
    if attributes.is_null() || tid < 0 || flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    let size = match ctx.read(UserPtr::<u32>::new(attributes.0))? {
        0 => FIRST,
        size => size,
    };
    let value = match size {
        FIRST..=4096 => read_sized::<Attributes>(ctx, attributes.0, size as usize),
        _ => Err(Errno::E2BIG),
    };
    let value = match value {
        // What size would do.
        Err(Errno::E2BIG) => {
            ctx.write(UserPtr::new(attributes.0), &WHOLE)?;
            return Err(Errno::E2BIG);
        }
        other => other?,
    };
    if value.flags & flag::UTIL_CLAMP != 0 && size < WHOLE || (value.policy as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let task = target(ctx, tid)?;
    if value.flags & !flag::ALL != 0 {
        return Err(Errno::EINVAL);
    }
    let mut own = task.policy.lock();
    let mut new = own.clone();
    if value.flags & flag::KEEP_POLICY == 0 {
        new.class = value.policy;
        new.reset_on_fork = value.flags & flag::RESET_ON_FORK != 0;
    }
    if value.flags & flag::KEEP_PARAMS == 0 {
        new.priority = value.priority;
        match new.class {
            class::DEADLINE => {
                new.deadline = Deadline {
                    runtime: value.runtime,
                    deadline: value.deadline,
                    period: value.period,
                };
                new.deadline_flags = value.flags & (flag::RECLAIM | flag::DL_OVERRUN);
            }
            class::NORMAL | class::BATCH => new.nice = value.nice.clamp(-20, 19),
            _ => {}
        }
    }
    new.check()?;
    if value.flags & flag::UTIL_CLAMP != 0 {
        // Nobody clamps how fast a vCPU is.
        return Err(Errno::EOPNOTSUPP);
    }
    *own = new;
    Ok(0)
}

/// Sets policy and priority, as the calls from before sched_setattr do; `None`: the same policy.
fn set(ctx: &Ctx, tid: i32, policy: Option<i32>, param: UserPtr<i32>) -> Result<u64> {
    if param.is_null() || tid < 0 {
        return Err(Errno::EINVAL);
    }
    let priority = ctx.read(param)?;
    let task = target(ctx, tid)?;
    let mut own = task.policy.lock();
    let mut new = Policy {
        priority: priority as u32,
        ..own.clone()
    };
    if let Some(policy) = policy {
        new.class = (policy & !RESET_ON_FORK) as u32;
        new.reset_on_fork = policy & RESET_ON_FORK != 0;
        new.deadline = Deadline::default();
    }
    new.check()?;
    *own = new;
    Ok(0)
}

/// sched_setscheduler(2).
pub fn sched_setscheduler(ctx: &Ctx, tid: i32, policy: i32, param: UserPtr<i32>) -> Result<u64> {
    if policy < 0 {
        return Err(Errno::EINVAL);
    }
    set(ctx, tid, Some(policy), param)
}

/// sched_setparam(2).
pub fn sched_setparam(ctx: &Ctx, tid: i32, param: UserPtr<i32>) -> Result<u64> {
    set(ctx, tid, None, param)
}

/// sched_getparam(2).
pub fn sched_getparam(ctx: &Ctx, tid: i32, param: UserPtr<u32>) -> Result<u64> {
    if param.is_null() {
        return Err(Errno::EINVAL);
    }
    let priority = target(ctx, tid)?.policy.lock().priority;
    ctx.write(param, &priority)?;
    Ok(0)
}

/// sched_get_priority_max(2).
pub fn sched_priority_max(_: &Ctx, policy: i32) -> Result<u64> {
    match policy {
        1 | 2 => Ok(99),
        0 | 3 | 5..=7 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// sched_get_priority_min(2).
pub fn sched_priority_min(_: &Ctx, policy: i32) -> Result<u64> {
    match policy {
        1 | 2 => Ok(1),
        0 | 3 | 5..=7 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// sched_rr_get_interval(2).
pub fn sched_rr_get_interval(ctx: &Ctx, tid: i32, interval: UserPtr<TimeSpec>) -> Result<u64> {
    const ROUND_ROBIN_NS: u64 = 100_000_000;
    let policy = target(ctx, tid)?.policy.lock().class;
    let ns = match policy {
        class::RR => ROUND_ROBIN_NS,
        class::FIFO | class::DEADLINE => 0,
        _ => 5_000_000,
    };
    ctx.write(interval, &TimeSpec::from_ns(ns))?;
    Ok(0)
}

/// Who a priority is of: one thread, those of a process group, or those of a user.
#[derive(Clone, Copy)]
enum Whose {
    Thread,
    Group,
    User,
}

/// The threads that `who` names; ESRCH: none.
fn threads(ctx: &Ctx, whose: Whose, who: i32) -> Result<Vec<Arc<Task>>> {
    let processes = match whose {
        Whose::Thread => return Ok(alloc::vec![thread_of(ctx, who)?]),
        Whose::Group => {
            let group = match who {
                0 => ctx.process().pgid.load(Ordering::Relaxed),
                _ => who as u32,
            };
            process::in_group(group)
        }
        // Everything is root's.
        Whose::User if who != 0 => Vec::new(),
        Whose::User => process::all(),
    };
    let all: Vec<_> = processes.iter().flat_map(|one| one.tasks()).collect();
    match all.is_empty() {
        true => Err(Errno::ESRCH),
        false => Ok(all),
    }
}

fn whose_priority(which: i32) -> Result<Whose> {
    match which {
        0 => Ok(Whose::Thread),
        1 => Ok(Whose::Group),
        2 => Ok(Whose::User),
        _ => Err(Errno::EINVAL),
    }
}

/// getpriority(2): the best of the nice values, as Linux returns it (20 - nice).
pub fn getpriority(ctx: &Ctx, which: i32, who: i32) -> Result<u64> {
    let tasks = threads(ctx, whose_priority(which)?, who)?;
    let nice = tasks.iter().map(|task| task.policy.lock().nice).min();
    Ok((20 - nice.unwrap_or(0)) as u64)
}

/// setpriority(2).
pub fn setpriority(ctx: &Ctx, which: i32, who: i32, nice: i32) -> Result<u64> {
    for task in threads(ctx, whose_priority(which)?, who)? {
        task.policy.lock().nice = nice.clamp(-20, 19);
    }
    Ok(0)
}

fn whose_io(which: i32) -> Result<Whose> {
    match which {
        1 => Ok(Whose::Thread),
        2 => Ok(Whose::Group),
        3 => Ok(Whose::User),
        _ => Err(Errno::EINVAL),
    }
}

/// Class and level in one: the class is in the bits from here on.
const IO_CLASS_SHIFT: u16 = 13;

/// ioprio_set(2).
pub fn ioprio_set(ctx: &Ctx, which: i32, who: i32, priority: i32) -> Result<u64> {
    let value = priority as u16;
    let (class, level) = (priority >> IO_CLASS_SHIFT, value & 0x1fff);
    let valid = match class {
        0 => level == 0,
        // Real time and best effort have levels; the bits above those are hints.
        1 | 2 => true,
        3 => true,
        _ => false,
    };
    if !valid {
        return Err(Errno::EINVAL);
    }
    for task in threads(ctx, whose_io(which)?, who)? {
        task.policy.lock().io.store(value, Ordering::Relaxed);
    }
    Ok(0)
}

/// ioprio_get(2): the best one, which is the one with the lowest class and level.
pub fn ioprio_get(ctx: &Ctx, which: i32, who: i32) -> Result<u64> {
    let tasks = threads(ctx, whose_io(which)?, who)?;
    let all = tasks.iter().map(|task| {
        let policy = task.policy.lock();
        policy.io.load(Ordering::Relaxed)
    });
    // No class of its own: as best effort in the middle.
    let rank = |value: &u16| match value >> IO_CLASS_SHIFT {
        0 => 2 << IO_CLASS_SHIFT | 4,
        _ => *value,
    };
    Ok(all.min_by_key(rank).unwrap_or(0).into())
}
