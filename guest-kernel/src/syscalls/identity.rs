//! Who a program is: users, groups, process groups, sessions, capabilities.

use crate::errno::{Errno, Result};
use crate::syscalls::args::UserPtr;
use crate::syscalls::task::{process_of, thread_of};
use crate::task::attributes::ALL_CAPABILITIES;
use crate::task::{Ctx, process};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use zerocopy::IntoBytes;

/// getuid, geteuid, getgid, getegid: everything in the VM is root's.
pub fn get_id(_: &Ctx) -> Result<u64> {
    Ok(0)
}

/// setuid and its kin: only to what is already so.
pub fn set_id(_: &Ctx, id: u32) -> Result<u64> {
    if id == 0 || id == u32::MAX {
        Ok(0)
    } else {
        Err(Errno::EPERM)
    }
}

/// setreuid, setregid.
pub fn set_id2(ctx: &Ctx, real: u32, effective: u32) -> Result<u64> {
    set_id(ctx, real)?;
    set_id(ctx, effective)
}

/// setresuid, setresgid.
pub fn set_id3(ctx: &Ctx, real: u32, effective: u32, saved: u32) -> Result<u64> {
    set_id2(ctx, real, effective)?;
    set_id(ctx, saved)
}

/// getresuid, getresgid.
pub fn get_id3(
    ctx: &Ctx,
    real: UserPtr<u32>,
    effective: UserPtr<u32>,
    saved: UserPtr<u32>,
) -> Result<u64> {
    for ptr in [real, effective, saved] {
        ctx.write(ptr, &0)?;
    }
    Ok(0)
}

/// getgroups(2).
pub fn getgroups(ctx: &Ctx, size: i32, list: UserPtr<u32>) -> Result<u64> {
    let groups = ctx.task().attributes.lock().groups.clone();
    let size = usize::try_from(size).map_err(|_| Errno::EINVAL)?;
    if size > 0 {
        if groups.len() > size {
            return Err(Errno::EINVAL);
        }
        ctx.write_bytes(list.addr(), groups.as_bytes())?;
    }
    Ok(groups.len() as u64)
}

/// setgroups(2): of the calling thread, as Linux; C libraries do it for all.
pub fn setgroups(ctx: &Ctx, size: u32, list: UserPtr<u32>) -> Result<u64> {
    /// `NGROUPS_MAX`.
    const MOST: usize = 65_536;
    let size = size as usize;
    if size > MOST {
        return Err(Errno::EINVAL);
    }
    let mut groups = alloc::vec![0u32; size];
    ctx.read_bytes(list.addr(), groups.as_mut_bytes())?;
    // -1 is no group's id.
    if groups.contains(&u32::MAX) {
        return Err(Errno::EINVAL);
    }
    groups.sort_unstable();
    ctx.task().attributes.lock().groups = groups.into();
    Ok(0)
}

/// getpgid(2).
pub fn getpgid(ctx: &Ctx, pid: i32) -> Result<u64> {
    Ok(process_of(ctx, pid)?.pgid.load(Ordering::Relaxed).into())
}

/// getpgrp(2).
pub fn getpgrp(ctx: &Ctx) -> Result<u64> {
    getpgid(ctx, 0)
}

/// setpgid(2).
pub fn setpgid(ctx: &Ctx, pid: i32, pgid: i32) -> Result<u64> {
    if pgid < 0 || pid < 0 && pgid == 0 {
        return Err(Errno::EINVAL);
    }
    let target = process_of(ctx, pid)?;
    let own = ctx.process();
    // A thread's id will do for other calls.
    if pid > 0 && process::find(pid as u32).is_none() && pid as u32 != own.pid() {
        return Err(Errno::EINVAL);
    }
    let is_child = target.parent.load(Ordering::Relaxed) == own.pid();
    if !Arc::ptr_eq(&target, own) {
        if !is_child {
            return Err(Errno::ESRCH);
        }
        if target.sid.load(Ordering::Relaxed) != own.sid.load(Ordering::Relaxed) {
            return Err(Errno::EPERM);
        }
        if target.has_execed.load(Ordering::Relaxed) {
            return Err(Errno::EACCES);
        }
    }
    if target.sid.load(Ordering::Relaxed) == target.pid() {
        return Err(Errno::EPERM);
    }
    let pgid = if pgid == 0 { target.pid() } else { pgid as u32 };
    let session = target.sid.load(Ordering::Relaxed);
    let exists = pgid == target.pid()
        || process::all().iter().any(|other| {
            other.pgid.load(Ordering::Relaxed) == pgid
                && other.sid.load(Ordering::Relaxed) == session
        });
    if !exists {
        return Err(Errno::EPERM);
    }
    target.pgid.store(pgid, Ordering::Relaxed);
    Ok(0)
}

/// getsid(2).
pub fn getsid(ctx: &Ctx, pid: i32) -> Result<u64> {
    Ok(process_of(ctx, pid)?.sid.load(Ordering::Relaxed).into())
}

/// setsid(2).
pub fn setsid(ctx: &Ctx) -> Result<u64> {
    let own = ctx.process();
    let pid = own.pid();
    if process::all()
        .iter()
        .any(|other| other.pgid.load(Ordering::Relaxed) == pid)
    {
        return Err(Errno::EPERM);
    }
    own.sid.store(pid, Ordering::Relaxed);
    own.pgid.store(pid, Ordering::Relaxed);
    let terminal = own.terminal.lock().take();
    drop(terminal);
    Ok(pid.into())
}

const VERSION_1: u32 = 0x1998_0330;
const VERSION_2: u32 = 0x2007_1026;
const VERSION_3: u32 = 0x2008_0522;

/// How many words each set has in a version of the calls; a version nobody knows is answered with
/// the newest.
fn capability_words(ctx: &Ctx, header: UserPtr<[u32; 2]>) -> Result<usize> {
    match ctx.read(header.cast::<u32>())? {
        VERSION_1 => Ok(1),
        VERSION_2 | VERSION_3 => Ok(2),
        _ => {
            ctx.write(header.cast::<u32>(), &VERSION_3)?;
            Err(Errno::EINVAL)
        }
    }
}

/// capget(2).
pub fn capget(ctx: &Ctx, header: UserPtr<[u32; 2]>, data: UserPtr<[u32; 3]>) -> Result<u64> {
    let words = match capability_words(ctx, header) {
        // So programs ask for the newest version.
        Err(Errno::EINVAL) if data.is_null() => return Ok(0),
        other => other?,
    };
    let [_, pid] = ctx.read(header)?;
    if (pid as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let own = thread_of(ctx, pid as i32)?.attributes.lock().clone();
    if data.is_null() {
        return Ok(0);
    }
    for index in 0..words {
        let word = |set: u64| (set >> (32 * index)) as u32;
        let value = [own.effective, own.permitted, own.inheritable].map(word);
        ctx.write(data.at(index), &value)?;
    }
    Ok(0)
}

/// capset(2): of the calling thread.
pub fn capset(ctx: &Ctx, header: UserPtr<[u32; 2]>, data: UserPtr<[u32; 3]>) -> Result<u64> {
    let words = capability_words(ctx, header)?;
    let [_, pid] = ctx.read(header)?;
    let own = pid == 0 || pid == ctx.task().tid() || ctx.process().is_called(pid);
    if !own {
        return Err(Errno::EPERM);
    }
    let mut sets = [0u64; 3];
    for index in 0..words {
        let value = ctx.read(data.at(index))?;
        for (set, word) in sets.iter_mut().zip(value) {
            *set |= u64::from(word) << (32 * index);
        }
    }
    let [effective, permitted, inheritable] = sets.map(|set| set & ALL_CAPABILITIES);
    let mut attributes = ctx.task().attributes.lock();
    attributes.set_capabilities(effective, permitted, inheritable)?;
    Ok(0)
}
