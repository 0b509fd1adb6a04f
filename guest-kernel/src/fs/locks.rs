//! Advisory file locks: flock(2), and record locks of fcntl(2), both kinds (POSIX and OFD).
//!
//! Locks are kept by inode in one table; there are few, and nobody waits often, so all who wait
//! share one queue and look again.

use crate::errno::{Errno, Result};
use crate::fs::fd::TableId;
use crate::fs::inode::InodeId;
use crate::sync::{Lock, Rank};
use crate::wait::{PollEvents, WaitQueue};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A descriptor table (POSIX record locks).
    Table(TableId),
    /// An open file description (flock, OFD locks).
    File(usize),
}

/// flock and record locks don't see each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// flock(2).
    Whole,
    /// fcntl(2).
    Record,
}

/// A lock, held or asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLock {
    /// Who.
    pub owner: Owner,
    /// Which kind.
    pub kind: Kind,
    /// Whether nobody else may have one.
    pub exclusive: bool,
    /// First byte.
    pub start: u64,
    /// Last byte; `u64::MAX`: to the end of the file, wherever that is.
    pub end: u64,
    /// Process to tell F_GETLK; 0 for OFD locks.
    pub pid: u32,
}

impl FileLock {
    fn conflicts(&self, other: &FileLock) -> bool {
        self.kind == other.kind
            && self.owner != other.owner
            && (self.exclusive || other.exclusive)
            && self.start <= other.end
            && other.start <= self.end
    }
}

static LOCKS: Lock<BTreeMap<InodeId, Vec<FileLock>>> = Lock::new(Rank::FileLocks, BTreeMap::new());
static INODES: AtomicUsize = AtomicUsize::new(0);
static QUEUE: WaitQueue = WaitQueue::new();

/// Woken when a lock was given up or weakened.
pub fn queue() -> &'static WaitQueue {
    &QUEUE
}

/// A lock that stands in the way of `wanted`.
pub fn conflicting(inode: InodeId, wanted: &FileLock) -> Option<FileLock> {
    LOCKS
        .lock()
        .get(&inode)?
        .iter()
        .find(|held| held.conflicts(wanted))
        .copied()
}

/// Takes a lock, in place of what its owner has there; EAGAIN if another's is in the way.
pub fn acquire(inode: InodeId, wanted: FileLock) -> Result<()> {
    let weakened = {
        let mut table = LOCKS.lock();
        let held = table.entry(inode).or_default();
        if held.iter().any(|held| held.conflicts(&wanted)) {
            return Err(Errno::EAGAIN);
        }
        let weakened = cut(held, &wanted);
        held.push(wanted);
        INODES.store(table.len(), Ordering::Relaxed);
        weakened
    };
    if weakened {
        QUEUE.wake(PollEvents::all());
    }
    Ok(())
}

/// Gives up what `range.owner` has in a range.
pub fn release(inode: InodeId, range: &FileLock) {
    let removed = {
        let mut table = LOCKS.lock();
        let Some(held) = table.get_mut(&inode) else {
            return;
        };
        let removed = cut(held, range);
        if held.is_empty() {
            table.remove(&inode);
            INODES.store(table.len(), Ordering::Relaxed);
        }
        removed
    };
    if removed {
        QUEUE.wake(PollEvents::all());
    }
}

/// Takes a range out of the locks that its owner has. Whether there were any.
fn cut(held: &mut Vec<FileLock>, range: &FileLock) -> bool {
    let mut rest = Vec::new();
    let mut any = false;
    held.retain(|lock| {
        let inside = lock.owner == range.owner
            && lock.kind == range.kind
            && lock.start <= range.end
            && range.start <= lock.end;
        if inside {
            any = true;
            if lock.start < range.start {
                rest.push(FileLock {
                    end: range.start - 1,
                    ..*lock
                });
            }
            if lock.end > range.end {
                rest.push(FileLock {
                    start: range.end + 1,
                    ..*lock
                });
            }
        }
        !inside
    });
    held.append(&mut rest);
    any
}

/// A descriptor of `inode` was closed: its table's record locks on it are gone (`fcntl(2)`).
pub fn release_table(inode: InodeId, table: TableId) {
    release_if(|id, lock| id == inode && lock.owner == Owner::Table(table));
}

/// An open file or descriptor table is gone, and with it all its locks.
pub fn release_owner(owner: Owner) {
    release_if(|_, lock| lock.owner == owner);
}

fn release_if(condition: impl Fn(InodeId, &FileLock) -> bool) {
    if INODES.load(Ordering::Relaxed) == 0 {
        return;
    }
    let mut any = false;
    {
        let mut table = LOCKS.lock();
        table.retain(|inode, held| {
            let before = held.len();
            held.retain(|lock| !condition(*inode, lock));
            any |= held.len() < before;
            !held.is_empty()
        });
        INODES.store(table.len(), Ordering::Relaxed);
    }
    if any {
        QUEUE.wake(PollEvents::all());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::inode::DeviceNumber;

    fn inode() -> InodeId {
        InodeId::anonymous(DeviceNumber::new(0, 98))
    }

    fn record(owner: u64, exclusive: bool, start: u64, end: u64) -> FileLock {
        // Owners no real table has.
        let owner = Owner::Table(TableId(u64::MAX - owner));
        FileLock {
            owner,
            kind: Kind::Record,
            exclusive,
            start,
            end,
            pid: 1,
        }
    }

    #[test]
    fn shared_locks_share_and_exclusive_ones_do_not() {
        let file = inode();
        acquire(file, record(1, false, 0, 9)).unwrap();
        acquire(file, record(2, false, 5, 20)).unwrap();
        assert_eq!(acquire(file, record(3, true, 20, 30)), Err(Errno::EAGAIN));
        acquire(file, record(3, true, 21, 30)).unwrap();
        assert_eq!(acquire(file, record(1, true, 0, 9)), Err(Errno::EAGAIN));
        let flock = FileLock {
            kind: Kind::Whole,
            ..record(4, true, 0, u64::MAX)
        };
        acquire(file, flock).unwrap();
        for owner in 1..5 {
            release_owner(record(owner, false, 0, 0).owner);
        }
        assert_eq!(conflicting(file, &record(9, true, 0, u64::MAX)), None);
    }

    #[test]
    fn unlocking_the_middle_leaves_both_ends() {
        let file = inode();
        acquire(file, record(11, true, 0, 99)).unwrap();
        release(file, &record(11, true, 40, 59));
        assert_eq!(conflicting(file, &record(12, false, 40, 59)), None);
        assert_eq!(
            conflicting(file, &record(12, false, 0, 40)).unwrap().end,
            39
        );
        assert_eq!(
            conflicting(file, &record(12, false, 60, 60)).unwrap().start,
            60
        );
        // A lock is replaced, not stacked: exclusive becomes shared.
        acquire(file, record(11, false, 0, u64::MAX)).unwrap();
        acquire(file, record(12, false, 0, u64::MAX)).unwrap();
        release_table(file, TableId(u64::MAX - 11));
        assert_eq!(
            conflicting(file, &record(13, true, 0, 0)).unwrap().owner,
            record(12, true, 0, 0).owner
        );
        release_table(file, TableId(u64::MAX - 12));
    }
}
