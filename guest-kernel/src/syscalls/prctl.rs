//! prctl(2): what a program may set of itself that has no call of its own.

use crate::errno::{Errno, Result};
use crate::syscalls::args::{UserAddr, UserCStr, UserPtr};
use crate::task::Ctx;
use crate::task::attributes::{Attributes, CAP_SETPCAP, KEEP_CAPABILITIES};
use crate::task::signal::number::NSIG;
use core::sync::atomic::Ordering;

/// Options (include/uapi/linux/prctl.h).
mod option {
    pub const SET_PDEATHSIG: i32 = 1;
    pub const GET_PDEATHSIG: i32 = 2;
    pub const GET_DUMPABLE: i32 = 3;
    pub const SET_DUMPABLE: i32 = 4;
    pub const GET_KEEPCAPS: i32 = 7;
    pub const SET_KEEPCAPS: i32 = 8;
    pub const GET_TIMING: i32 = 13;
    pub const SET_TIMING: i32 = 14;
    pub const SET_NAME: i32 = 15;
    pub const GET_NAME: i32 = 16;
    pub const GET_SECCOMP: i32 = 21;
    pub const CAPBSET_READ: i32 = 23;
    pub const CAPBSET_DROP: i32 = 24;
    pub const GET_TSC: i32 = 25;
    pub const SET_TSC: i32 = 26;
    pub const GET_SECUREBITS: i32 = 27;
    pub const SET_SECUREBITS: i32 = 28;
    pub const SET_TIMERSLACK: i32 = 29;
    pub const GET_TIMERSLACK: i32 = 30;
    pub const TASK_PERF_EVENTS_DISABLE: i32 = 31;
    pub const TASK_PERF_EVENTS_ENABLE: i32 = 32;
    pub const MCE_KILL: i32 = 33;
    pub const MCE_KILL_GET: i32 = 34;
    pub const SET_CHILD_SUBREAPER: i32 = 36;
    pub const GET_CHILD_SUBREAPER: i32 = 37;
    pub const SET_NO_NEW_PRIVS: i32 = 38;
    pub const GET_NO_NEW_PRIVS: i32 = 39;
    pub const GET_TID_ADDRESS: i32 = 40;
    pub const SET_THP_DISABLE: i32 = 41;
    pub const GET_THP_DISABLE: i32 = 42;
    pub const CAP_AMBIENT: i32 = 47;
    pub const GET_SPECULATION_CTRL: i32 = 52;
    pub const SET_SPECULATION_CTRL: i32 = 53;
    pub const SET_IO_FLUSHER: i32 = 57;
    pub const GET_IO_FLUSHER: i32 = 58;
    pub const GET_MDWE: i32 = 66;
    pub const SET_VMA: i32 = 0x5356_4d41;
}
use option::*;

/// The number of capabilities.
const CAPABILITIES: u64 = 41;

/// prctl(2). EINVAL where an argument that Linux wants to be 0 is not, and for options that only
/// other architectures, or kernels with what there is not here, have.
pub fn prctl(ctx: &Ctx, operation: i32, arg2: u64, arg3: u64, arg4: u64, arg5: u64) -> Result<u64> {
    let unused = |rest: u64| match rest {
        0 => Ok(()),
        _ => Err(Errno::EINVAL),
    };
    let process = ctx.process();
    match operation {
        SET_PDEATHSIG if arg2 > NSIG.into() => Err(Errno::EINVAL),
        SET_PDEATHSIG => {
            process.death_signal.store(arg2 as u32, Ordering::Relaxed);
            Ok(0)
        }
        GET_PDEATHSIG => put(ctx, arg2, process.death_signal.load(Ordering::Relaxed)),
        GET_DUMPABLE => Ok(process.dumpable.load(Ordering::Relaxed).into()),
        SET_DUMPABLE if arg2 > 1 => Err(Errno::EINVAL),
        SET_DUMPABLE => {
            process.dumpable.store(arg2 as u32, Ordering::Relaxed);
            Ok(0)
        }
        GET_TIMING => Ok(0),
        SET_TIMING => unused(arg2).map(|()| 0),
        SET_NAME => set_name(ctx, arg2),
        GET_NAME => {
            let name = *ctx.task().name.lock();
            ctx.write_bytes(arg2, &name)?;
            Ok(0)
        }
        GET_SECCOMP => Ok(0),
        // The time stamp counter can be read, and that can't be forbidden.
        GET_TSC => put(ctx, arg2, 1),
        SET_TSC if arg2 == 1 => Ok(0),
        // There are no events to count.
        TASK_PERF_EVENTS_DISABLE | TASK_PERF_EVENTS_ENABLE => Ok(0),
        MCE_KILL => unused(arg4 | arg5).and_then(|()| machine_check(ctx, arg2, arg3)),
        MCE_KILL_GET => {
            unused(arg2 | arg3 | arg4 | arg5)?;
            Ok(ctx.task().attributes.lock().machine_check_kill.into())
        }
        SET_CHILD_SUBREAPER => {
            process.subreaper.store(arg2 != 0, Ordering::Relaxed);
            Ok(0)
        }
        GET_CHILD_SUBREAPER => put(ctx, arg2, process.subreaper.load(Ordering::Relaxed).into()),
        SET_NO_NEW_PRIVS if arg2 != 1 => Err(Errno::EINVAL),
        SET_NO_NEW_PRIVS => {
            unused(arg3 | arg4 | arg5)?;
            ctx.task().attributes.lock().no_new_privileges = true;
            Ok(0)
        }
        GET_NO_NEW_PRIVS => {
            unused(arg2 | arg3 | arg4 | arg5)?;
            Ok(ctx.task().attributes.lock().no_new_privileges.into())
        }
        GET_TID_ADDRESS => {
            let address = ctx.task().clear_child_tid.load(Ordering::Relaxed);
            ctx.write(UserPtr::new(arg2), &address)?;
            Ok(0)
        }
        SET_THP_DISABLE => {
            unused(arg3 | arg4 | arg5)?;
            let disabled = u32::from(arg2 != 0);
            process.no_huge_pages.store(disabled, Ordering::Relaxed);
            Ok(0)
        }
        GET_THP_DISABLE => {
            unused(arg2 | arg3 | arg4 | arg5)?;
            Ok(process.no_huge_pages.load(Ordering::Relaxed).into())
        }
        GET_SPECULATION_CTRL => {
            unused(arg3 | arg4 | arg5)?;
            // Of the kinds there are, none can be switched by a program.
            if arg2 <= 2 { Ok(0) } else { Err(Errno::ENODEV) }
        }
        SET_SPECULATION_CTRL => {
            unused(arg4 | arg5)?;
            Err(if arg2 <= 2 {
                Errno::ENXIO
            } else {
                Errno::ENODEV
            })
        }
        SET_IO_FLUSHER => {
            unused(arg3 | arg4 | arg5)?;
            if arg2 > 1 {
                return Err(Errno::EINVAL);
            }
            ctx.task().attributes.lock().io_flusher = arg2 == 1;
            Ok(0)
        }
        GET_IO_FLUSHER => {
            unused(arg2 | arg3 | arg4 | arg5)?;
            Ok(ctx.task().attributes.lock().io_flusher.into())
        }
        GET_MDWE => unused(arg2 | arg3 | arg4 | arg5).map(|()| 0),
        SET_VMA if arg2 == 0 => name_area(ctx, arg3, arg4, arg5),
        CAP_AMBIENT => ambient(arg2, arg3, arg4, arg5),
        SET_TIMERSLACK | GET_TIMERSLACK => timer_slack(ctx, operation, arg2),
        _ => capabilities(&mut ctx.task().attributes.lock(), operation, arg2),
    }
}

fn put(ctx: &Ctx, address: u64, value: u32) -> Result<u64> {
    ctx.write(UserPtr::new(address), &value)?;
    Ok(0)
}

fn set_name(ctx: &Ctx, address: u64) -> Result<u64> {
    let mut name = [0; 16];
    for (index, byte) in name.iter_mut().take(15).enumerate() {
        let mut one = [0];
        ctx.read_bytes(address.wrapping_add(index as u64), &mut one)?;
        if one[0] == 0 {
            break;
        }
        *byte = one[0];
    }
    *ctx.task().name.lock() = name;
    Ok(0)
}

/// PR_MCE_KILL: clear, or set to one of three.
fn machine_check(ctx: &Ctx, what: u64, how: u64) -> Result<u64> {
    const DEFAULT: u8 = 2;
    ctx.task().attributes.lock().machine_check_kill = match (what, how) {
        (0, 0) => DEFAULT,
        (1, 0..=2) => how as u8,
        _ => return Err(Errno::EINVAL),
    };
    Ok(0)
}

fn timer_slack(ctx: &Ctx, operation: i32, value: u64) -> Result<u64> {
    let policy = ctx.task().policy.lock().clone();
    // Threads with deadlines have none.
    let exact = policy.is_real_time() || policy.class == crate::task::policy::class::DEADLINE;
    let mut own = ctx.task().attributes.lock();
    match operation {
        GET_TIMERSLACK if exact => Ok(0),
        GET_TIMERSLACK => Ok(own.timer_slack),
        _ if exact => Ok(0),
        _ => {
            own.timer_slack = match value as i64 {
                ..=0 => own.default_timer_slack,
                _ => value,
            };
            Ok(0)
        }
    }
}

/// Nobody has inheritable capabilities, so none can become ambient.
fn ambient(operation: u64, capability: u64, arg4: u64, arg5: u64) -> Result<u64> {
    const IS_SET: u64 = 1;
    const RAISE: u64 = 2;
    const LOWER: u64 = 3;
    const CLEAR_ALL: u64 = 4;
    if operation == CLEAR_ALL {
        return match capability | arg4 | arg5 {
            0 => Ok(0),
            _ => Err(Errno::EINVAL),
        };
    }
    if capability >= CAPABILITIES || arg4 | arg5 != 0 {
        return Err(Errno::EINVAL);
    }
    match operation {
        IS_SET | LOWER => Ok(0),
        RAISE => Err(Errno::EPERM),
        _ => Err(Errno::EINVAL),
    }
}

/// The bounding set and the secure bits, which are kept.
fn capabilities(own: &mut Attributes, operation: i32, value: u64) -> Result<u64> {
    const KEEP_LOCKED: u32 = 1 << 5;
    /// Four bits, each with a lock in the next one up; the last two pairs came later.
    const ALL: u64 = 0xfff;
    const LOCKS: u32 = 0xaaa;
    match operation {
        CAPBSET_READ if value >= CAPABILITIES => Err(Errno::EINVAL),
        CAPBSET_READ => Ok(own.bounding >> value & 1),
        CAPBSET_DROP | SET_SECUREBITS if !own.has(CAP_SETPCAP) => Err(Errno::EPERM),
        CAPBSET_DROP if value >= CAPABILITIES => Err(Errno::EINVAL),
        CAPBSET_DROP => {
            own.bounding &= !(1 << value);
            Ok(0)
        }
        GET_KEEPCAPS => Ok(u64::from(own.secure_bits & KEEP_CAPABILITIES != 0)),
        SET_KEEPCAPS if value > 1 => Err(Errno::EINVAL),
        SET_KEEPCAPS if own.secure_bits & KEEP_LOCKED != 0 => Err(Errno::EPERM),
        SET_KEEPCAPS => {
            own.secure_bits &= !KEEP_CAPABILITIES;
            own.secure_bits |= KEEP_CAPABILITIES * value as u32;
            Ok(0)
        }
        GET_SECUREBITS => Ok(own.secure_bits.into()),
        SET_SECUREBITS => {
            let old = own.secure_bits;
            let locked = old & LOCKS;
            let changed = u64::from(old) ^ value;
            // Locks stay, with what they lock.
            let fixed = u64::from(locked | locked >> 1);
            if value & !ALL != 0 || changed & fixed != 0 {
                return Err(Errno::EPERM);
            }
            own.secure_bits = value as u32;
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// PR_SET_VMA_ANON_NAME: the name is checked, not shown.
fn name_area(ctx: &Ctx, start: u64, len: u64, name: u64) -> Result<u64> {
    const LONGEST: usize = 80;
    if name != 0 {
        let name = UserCStr(UserAddr(name)).read(ctx, LONGEST);
        let name = name.map_err(|error| match error {
            Errno::E2BIG => Errno::EINVAL,
            other => other,
        })?;
        let fits = |byte: &u8| matches!(byte, 0x20..0x7f) && !b"\\`$[]".contains(byte);
        if !name.iter().all(fits) {
            return Err(Errno::EINVAL);
        }
    }
    let end = start.checked_add(len.next_multiple_of(4096));
    if !start.is_multiple_of(4096) || end.is_none() {
        return Err(Errno::EINVAL);
    }
    Ok(0)
}
