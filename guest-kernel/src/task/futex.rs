//! Futexes: sleeping until another task says that a word in memory changed.
//!
//! Waiters are kept by key. A private futex is an address in one address space; a shared one is the
//! physical word behind it, so that processes that map it at different addresses meet.

use crate::errno::{Errno, Result};
use crate::mm::{Access, AddressSpace};
use crate::sync::{Lock, Rank};
use crate::task::thread::Task;
use crate::task::{Ctx, sched};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use sprout_abi::layout::USER_END;

/// Which word a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Private { space: u64, addr: u64 },
    Shared { phys: u64 },
}

struct Waiter {
    task: Arc<Task>,
    bits: u32,
    woken: AtomicBool,
    key: Lock<Key>,
}

static WAITERS: Lock<BTreeMap<Key, VecDeque<Arc<Waiter>>>> =
    Lock::new(Rank::Futexes, BTreeMap::new());

/// Every bit of a bitset: plain WAIT and WAKE.
pub const MATCH_ANY: u32 = !0;

fn key(space: &AddressSpace, addr: u64, private: bool) -> Result<Key> {
    if !addr.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    if addr >= USER_END {
        return Err(Errno::EFAULT);
    }
    if !private {
        // A private page that can't be written never changes, so nobody can wait for it.
        let shared = space.is_shared(addr)?;
        let access = if shared { Access::Read } else { Access::Write };
        let phys = space.translate(addr, access).map_err(|_| Errno::EFAULT)?;
        if shared {
            return Ok(Key::Shared { phys });
        }
    }
    Ok(Key::Private {
        space: space.id(),
        addr,
    })
}

/// Waits until woken if the word still holds `expected`; EAGAIN if not, ETIMEDOUT at `deadline`
/// (monotonic), ERESTARTSYS on a signal.
pub fn wait(
    ctx: &Ctx,
    addr: u64,
    private: bool,
    expected: u32,
    bits: u32,
    deadline: Option<u64>,
) -> Result<u64> {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let key = key(ctx.space(), addr, private)?;
    if ctx.space().load_u32(addr)? != expected {
        return Err(Errno::EAGAIN);
    }
    let task = ctx.task();
    let waiter = Arc::new(Waiter {
        task: task.clone(),
        bits,
        woken: AtomicBool::new(false),
        key: Lock::new(Rank::FutexKey, key),
    });
    WAITERS
        .lock()
        .entry(key)
        .or_default()
        .push_back(waiter.clone());
    loop {
        if waiter.woken.load(Ordering::Relaxed) {
            return Ok(0);
        }
        let error = if task.signal_pending() {
            Some(Errno::ERESTARTSYS)
        } else if deadline.is_some_and(|deadline| crate::time::monotonic_ns() >= deadline) {
            Some(Errno::ETIMEDOUT)
        } else {
            None
        };
        if let Some(error) = error {
            remove(&waiter);
            return Err(error);
        }
        sched::block_current(task, deadline);
    }
}

fn remove(waiter: &Arc<Waiter>) {
    let mut waiters = WAITERS.lock();
    let key = *waiter.key.lock();
    if let Some(queue) = waiters.get_mut(&key) {
        queue.retain(|other| !Arc::ptr_eq(other, waiter));
        if queue.is_empty() {
            waiters.remove(&key);
        }
    }
}

/// Wakes up to `count` waiters whose bits match; returns how many.
pub fn wake(space: &AddressSpace, addr: u64, private: bool, count: u32, bits: u32) -> Result<u64> {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    Ok(wake_key(key(space, addr, private)?, count, bits))
}

fn wake_key(key: Key, count: u32, bits: u32) -> u64 {
    let mut waiters = WAITERS.lock();
    let Some(queue) = waiters.get_mut(&key) else {
        return 0;
    };
    let mut woken = 0;
    queue.retain(|waiter| {
        let wake = woken < u64::from(count) && waiter.bits & bits != 0;
        if wake {
            woken += 1;
            waiter.woken.store(true, Ordering::Relaxed);
            waiter.task.wake_up();
        }
        !wake
    });
    if queue.is_empty() {
        waiters.remove(&key);
    }
    woken
}

/// Wakes `wake_count` waiters of one word and moves up to `move_count` others to another. With
/// `expected`: EAGAIN if the word differs. Returns woken + moved.
pub fn requeue(
    ctx: &Ctx,
    [from, to]: [u64; 2],
    private: bool,
    wake_count: u32,
    move_count: u32,
    expected: Option<u32>,
) -> Result<u64> {
    let space = ctx.space();
    let (from_key, to_key) = (key(space, from, private)?, key(space, to, private)?);
    if let Some(expected) = expected
        && space.load_u32(from)? != expected
    {
        return Err(Errno::EAGAIN);
    }
    let woken = wake_key(from_key, wake_count, MATCH_ANY);
    let mut waiters = WAITERS.lock();
    let mut moved = 0;
    if from_key != to_key
        && let Some(mut queue) = waiters.remove(&from_key)
    {
        while moved < u64::from(move_count)
            && let Some(waiter) = queue.pop_front()
        {
            *waiter.key.lock() = to_key;
            waiters.entry(to_key).or_default().push_back(waiter);
            moved += 1;
        }
        if !queue.is_empty() {
            waiters.insert(from_key, queue);
        }
    }
    Ok(woken + moved)
}

/// FUTEX_WAKE_OP: changes the second word atomically, wakes the first, and the second if its old
/// value compares as asked (futex(2)).
pub fn wake_op(
    ctx: &Ctx,
    [first, second]: [u64; 2],
    private: bool,
    [first_count, second_count]: [u32; 2],
    operation: u32,
) -> Result<u64> {
    let space = ctx.space();
    let keys = [key(space, first, private)?, key(space, second, private)?];
    let sign_extend = |value: u32| ((value << 20) as i32 >> 20) as u32;
    let (argument, compared) = (sign_extend(operation >> 12), sign_extend(operation));
    let argument = if operation & 1 << 31 != 0 {
        1 << (argument & 31)
    } else {
        argument
    };
    let old = loop {
        let old = space.load_u32(second)?;
        let new = match operation >> 28 & 7 {
            0 => argument,
            1 => old.wrapping_add(argument),
            2 => old | argument,
            3 => old & !argument,
            4 => old ^ argument,
            _ => return Err(Errno::ENOSYS),
        };
        if space.compare_exchange_u32(second, old, new)? == old {
            break old;
        }
    };
    let (old, compared) = (old as i32, compared as i32);
    let holds = match operation >> 24 & 15 {
        0 => old == compared,
        1 => old != compared,
        2 => old < compared,
        3 => old <= compared,
        4 => old > compared,
        5 => old >= compared,
        _ => return Err(Errno::ENOSYS),
    };
    let woken = wake_key(keys[0], first_count, MATCH_ANY);
    Ok(if holds {
        woken + wake_key(keys[1], second_count, MATCH_ANY)
    } else {
        woken
    })
}

/// A futex word says: it has waiters, its owner died, and who owns it (uapi/linux/futex.h).
const WAITERS_BIT: u32 = 0x8000_0000;
const OWNER_DIED: u32 = 0x4000_0000;
const TID_MASK: u32 = 0x3fff_ffff;
/// Longest robust list followed, as Linux: ROBUST_LIST_LIMIT.
const ROBUST_LIMIT: usize = 2048;

/// At thread exit: marks the robust futexes it held as ownerless and wakes a waiter of each.
pub fn exit_robust_list(space: &AddressSpace, head: u64, tid: u32) {
    let Ok([first, offset, pending]) = read_words(space, head) else {
        return;
    };
    let mut entry = first;
    for _ in 0..ROBUST_LIMIT {
        // Bit 0 marks priority-inheritance futexes.
        let address = entry & !1;
        if address == head || address == 0 {
            break;
        }
        let next = read_words::<1>(space, address);
        if address != pending & !1 {
            owner_died(space, address.wrapping_add(offset), tid);
        }
        match next {
            Ok([next]) => entry = next,
            Err(_) => break,
        }
    }
    if pending != 0 {
        owner_died(space, (pending & !1).wrapping_add(offset), tid);
    }
}

fn owner_died(space: &AddressSpace, addr: u64, tid: u32) {
    loop {
        let Ok(old) = space.load_u32(addr) else {
            return;
        };
        if old & TID_MASK != tid {
            return;
        }
        match space.compare_exchange_u32(addr, old, old & WAITERS_BIT | OWNER_DIED) {
            Ok(seen) if seen == old => {
                if old & WAITERS_BIT != 0 {
                    let _ = wake(space, addr, false, 1, MATCH_ANY);
                    let _ = wake(space, addr, true, 1, MATCH_ANY);
                }
                return;
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

fn read_words<const N: usize>(space: &AddressSpace, addr: u64) -> Result<[u64; N]> {
    let mut words = [0; N];
    for (index, word) in words.iter_mut().enumerate() {
        let mut bytes = [0; 8];
        if space.read_some(addr.wrapping_add(index as u64 * 8), &mut bytes) != 8 {
            return Err(Errno::EFAULT);
        }
        *word = u64::from_le_bytes(bytes);
    }
    Ok(words)
}
