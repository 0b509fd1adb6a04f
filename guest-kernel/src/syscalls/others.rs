//! Looking into other processes: their memory, and what they share.

use crate::errno::{Errno, Result};
use crate::io::UserRange;
use crate::mm::AddressSpace;
use crate::syscalls::args::{UserAddr, UserPtr};
use crate::syscalls::io::read_iovecs;
use crate::task::{Ctx, process};
use alloc::sync::Arc;
use core::cmp::Ordering as Order;
use core::sync::atomic::Ordering;

/// What is compared (include/uapi/linux/kcmp.h).
mod kind {
    pub const FILE: i32 = 0;
    pub const VM: i32 = 1;
    pub const FILES: i32 = 2;
    pub const FS: i32 = 3;
    pub const SIGHAND: i32 = 4;
    pub const IO: i32 = 5;
    pub const SYSVSEM: i32 = 6;
    pub const EPOLL_TFD: i32 = 7;
}

/// kcmp(2): 0 if the two are one, else an order among all.
pub fn kcmp(ctx: &Ctx, first: i32, second: i32, what: i32, a: u64, b: u64) -> Result<u64> {
    let find = |id: i32| match id {
        1.. => process::find_thread(id as u32).ok_or(Errno::ESRCH),
        _ => Err(Errno::ESRCH),
    };
    let (first, second) = (find(first)?, find(second)?);
    let (one, other) = (first.process(), second.process());
    let order = match what {
        kind::FILE => {
            let a = first.files().lock().get(a as i32)?;
            let b = second.files().lock().get(b as i32)?;
            Arc::as_ptr(&a).addr().cmp(&Arc::as_ptr(&b).addr())
        }
        kind::VM => one.space().id().cmp(&other.space().id()),
        kind::FILES => compare(&first.files(), &second.files()),
        kind::FS => compare(&first.fs(), &second.fs()),
        kind::SIGHAND => {
            let actions = one.signals.lock().actions.clone();
            compare(&actions, &other.signals.lock().actions)
        }
        kind::IO => {
            let a = first.policy.lock().io.clone();
            let b = second.policy.lock().io.clone();
            // Who never set a priority has nothing of the kind.
            match a.load(Ordering::Relaxed) | b.load(Ordering::Relaxed) {
                0 => Order::Equal,
                _ => compare(&a, &b),
            }
        }
        // There are no semaphores to undo.
        kind::SYSVSEM => Order::Equal,
        kind::EPOLL_TFD => {
            ctx.read(UserPtr::<[u32; 3]>::new(b))?;
            return Err(Errno::EOPNOTSUPP);
        }
        _ => return Err(Errno::EINVAL),
    };
    Ok(match order {
        Order::Equal => 0,
        Order::Less => 1,
        Order::Greater => 2,
    })
}

fn compare<T>(a: &Arc<T>, b: &Arc<T>) -> Order {
    Arc::as_ptr(a).addr().cmp(&Arc::as_ptr(b).addr())
}

/// Where a walk through ranges stands.
struct Walk<'a> {
    ranges: &'a [UserRange],
    done: u64,
}

impl Walk<'_> {
    /// The next bytes in one piece.
    fn next(&mut self) -> Option<UserRange> {
        while let Some(range) = self.ranges.first() {
            if self.done < range.len {
                return Some(UserRange {
                    addr: range.addr.wrapping_add(self.done),
                    len: range.len - self.done,
                });
            }
            self.ranges = &self.ranges[1..];
            self.done = 0;
        }
        None
    }
}

/// Copies from range to range; how far it came.
fn copy(
    (source, from): (&AddressSpace, &[UserRange]),
    (target, to): (&AddressSpace, &[UserRange]),
) -> u64 {
    let mut from = Walk {
        ranges: from,
        done: 0,
    };
    let mut to = Walk {
        ranges: to,
        done: 0,
    };
    let mut bytes = [0; 1024];
    let mut total = 0;
    while let (Some(read), Some(write)) = (from.next(), to.next()) {
        let wanted = bytes.len().min(read.len.min(write.len) as usize);
        let got = source.read_some(read.addr, &mut bytes[..wanted]);
        let put = target.write_some(write.addr, &bytes[..got]);
        total += put as u64;
        from.done += put as u64;
        to.done += put as u64;
        if put < wanted {
            break;
        }
    }
    total
}

/// What process_vm_readv and _writev are given: a process, ranges of ours, ranges of its.
struct Transfer {
    pid: i32,
    own: (UserAddr, usize),
    theirs: (UserAddr, usize),
    flags: u64,
}

fn transfer(ctx: &Ctx, args: Transfer, write: bool) -> Result<u64> {
    if args.flags != 0 {
        return Err(Errno::EINVAL);
    }
    let own = read_iovecs(ctx, args.own.0, args.own.1)?;
    if own.iter().all(|range| range.len == 0) {
        return Ok(0);
    }
    let theirs = read_iovecs(ctx, args.theirs.0, args.theirs.1)?;
    if theirs.iter().all(|range| range.len == 0) {
        return Ok(0);
    }
    let other = match args.pid {
        1.. => process::find_by_any(args.pid as u32).ok_or(Errno::ESRCH)?,
        _ => return Err(Errno::ESRCH),
    };
    let space = other.space();
    let done = match write {
        true => copy((ctx.space(), &own), (&space, &theirs)),
        false => copy((&space, &theirs), (ctx.space(), &own)),
    };
    if done == 0 {
        Err(Errno::EFAULT)
    } else {
        Ok(done)
    }
}

/// process_vm_readv(2).
pub fn process_vm_readv(
    ctx: &Ctx,
    pid: i32,
    own: UserAddr,
    own_count: usize,
    theirs: UserAddr,
    their_count: usize,
    flags: u64,
) -> Result<u64> {
    let args = Transfer {
        pid,
        own: (own, own_count),
        theirs: (theirs, their_count),
        flags,
    };
    transfer(ctx, args, false)
}

/// process_vm_writev(2).
pub fn process_vm_writev(
    ctx: &Ctx,
    pid: i32,
    own: UserAddr,
    own_count: usize,
    theirs: UserAddr,
    their_count: usize,
    flags: u64,
) -> Result<u64> {
    let args = Transfer {
        pid,
        own: (own, own_count),
        theirs: (theirs, their_count),
        flags,
    };
    transfer(ctx, args, true)
}
