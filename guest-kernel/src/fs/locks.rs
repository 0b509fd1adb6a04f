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

/// The last byte a file can have: where a lock without end ends.
pub const TO_END: u64 = i64::MAX as u64;

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
    /// Last byte; [`TO_END`]: to the end of the file, wherever that is.
    pub end: u64,
    /// Process to tell F_GETLK; 0 for OFD locks.
    pub pid: u32,
}

impl FileLock {
    fn conflicts(&self, other: &FileLock) -> bool {
        self.kind == other.kind
            && self.owner != other.owner
            && (self.exclusive || other.exclusive)
            && self.overlaps(other)
    }

    fn overlaps(&self, other: &FileLock) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

struct Table {
    locks: BTreeMap<InodeId, Vec<FileLock>>,
    /// Who waits for which lock.
    waiting: Vec<(InodeId, FileLock)>,
}

static LOCKS: Lock<Table> = Lock::new(
    Rank::FileLocks,
    Table {
        locks: BTreeMap::new(),
        waiting: Vec::new(),
    },
);
static INODES: AtomicUsize = AtomicUsize::new(0);
static QUEUE: WaitQueue = WaitQueue::new();

/// Woken when a lock was given up or weakened.
pub fn queue() -> &'static WaitQueue {
    &QUEUE
}

/// Of the locks that stand in the way of `wanted`, the one that starts first.
pub fn conflicting(inode: InodeId, wanted: &FileLock) -> Option<FileLock> {
    first(inode, |held| held.conflicts(wanted))
}

/// The first of its owner's own locks in a range (F_OFD_GETLK with F_UNLCK).
pub fn own(inode: InodeId, range: &FileLock) -> Option<FileLock> {
    first(inode, |held| {
        held.kind == range.kind && held.owner == range.owner && held.overlaps(range)
    })
}

fn first(inode: InodeId, condition: impl Fn(&FileLock) -> bool) -> Option<FileLock> {
    let table = LOCKS.lock();
    let held = table.locks.get(&inode)?.iter();
    held.filter(|held| condition(held))
        .min_by_key(|held| held.start)
        .copied()
}

/// Takes a lock, in place of what its owner has there; EAGAIN if another's is in the way.
pub fn acquire(inode: InodeId, wanted: FileLock) -> Result<()> {
    let (taken, weakened) = LOCKS.lock().acquire(inode, wanted);
    if weakened {
        QUEUE.wake(PollEvents::all());
    }
    taken
}

/// As [`acquire`], for who waits until it succeeds: EDEADLK if that would be for ever. Whoever got
/// EAGAIN counts as waiting until [`stop_waiting`].
pub fn acquire_or_wait(inode: InodeId, wanted: FileLock) -> Result<()> {
    let (taken, weakened) = {
        let mut table = LOCKS.lock();
        let (mut taken, weakened) = table.acquire(inode, wanted);
        let waiting = (inode, wanted);
        match taken {
            Err(Errno::EAGAIN) if table.would_deadlock(inode, &wanted) => {
                taken = Err(Errno::EDEADLK);
            }
            Err(Errno::EAGAIN) if !table.waiting.contains(&waiting) => table.waiting.push(waiting),
            _ => {}
        }
        (taken, weakened)
    };
    if weakened {
        QUEUE.wake(PollEvents::all());
    }
    taken
}

/// The end of what [`acquire_or_wait`] began.
pub fn stop_waiting(inode: InodeId, wanted: FileLock) {
    let mut table = LOCKS.lock();
    let waits = |waiting: &(InodeId, FileLock)| *waiting == (inode, wanted);
    if let Some(place) = table.waiting.iter().position(waits) {
        table.waiting.swap_remove(place);
    }
}

impl Table {
    /// Takes a lock if nothing is in the way. Also tells whether others may have come closer to
    /// theirs.
    fn acquire(&mut self, inode: InodeId, wanted: FileLock) -> (Result<()>, bool) {
        let held = self.locks.entry(inode).or_default();
        let mut weakened = false;
        if wanted.kind == Kind::Whole {
            // flock(2): another kind of lock is given up before the new one is asked for.
            let own = held
                .iter()
                .position(|lock| lock.kind == Kind::Whole && lock.owner == wanted.owner);
            match own.map(|place| (place, held[place].exclusive)) {
                Some((_, exclusive)) if exclusive == wanted.exclusive => return (Ok(()), false),
                Some((place, _)) => {
                    held.swap_remove(place);
                    weakened = true;
                }
                None => {}
            }
        }
        let taken = match held.iter().any(|held| held.conflicts(&wanted)) {
            true => Err(Errno::EAGAIN),
            false => {
                weakened |= cut(held, &wanted);
                insert(held, wanted);
                Ok(())
            }
        };
        INODES.store(self.locks.len(), Ordering::Relaxed);
        (taken, weakened)
    }

    /// Whether `wanted` waits, over any number of others, for its own owner. As on Linux this is
    /// looked for among the record locks of processes only: an open file has no process that waits.
    fn would_deadlock(&self, inode: InodeId, wanted: &FileLock) -> bool {
        if wanted.kind != Kind::Record || !matches!(wanted.owner, Owner::Table(_)) {
            return false;
        }
        let mut seen = Vec::new();
        let mut open = Vec::from([(inode, *wanted)]);
        while let Some((inode, wanted_by_one)) = open.pop() {
            let held = self.locks.get(&inode).into_iter().flatten();
            for lock in held.filter(|held| held.conflicts(&wanted_by_one)) {
                if lock.owner == wanted.owner {
                    return true;
                }
                if !seen.contains(&lock.owner) {
                    seen.push(lock.owner);
                    let theirs = self.waiting.iter().filter(|(_, w)| w.owner == lock.owner);
                    open.extend(theirs.copied());
                }
            }
        }
        false
    }
}

/// Adds a lock to those of an inode, where its owner has none in its range; it becomes one with
/// those of its sort that touch it.
fn insert(held: &mut Vec<FileLock>, mut new: FileLock) {
    held.retain(|lock| {
        let touches = lock.owner == new.owner
            && lock.kind == new.kind
            && lock.exclusive == new.exclusive
            && (lock.end.checked_add(1) == Some(new.start)
                || new.end.checked_add(1) == Some(lock.start));
        if touches {
            new.start = new.start.min(lock.start);
            new.end = new.end.max(lock.end);
        }
        !touches
    });
    held.push(new);
}

/// Gives up what `range.owner` has in a range.
pub fn release(inode: InodeId, range: &FileLock) {
    let removed = {
        let locks = &mut LOCKS.lock().locks;
        let Some(held) = locks.get_mut(&inode) else {
            return;
        };
        let removed = cut(held, range);
        if held.is_empty() {
            locks.remove(&inode);
            INODES.store(locks.len(), Ordering::Relaxed);
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
        let locks = &mut LOCKS.lock().locks;
        locks.retain(|inode, held| {
            let before = held.len();
            held.retain(|lock| !condition(*inode, lock));
            any |= held.len() < before;
            !held.is_empty()
        });
        INODES.store(locks.len(), Ordering::Relaxed);
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
            ..record(4, true, 0, TO_END)
        };
        acquire(file, flock).unwrap();
        for owner in 1..5 {
            release_owner(record(owner, false, 0, 0).owner);
        }
        assert_eq!(conflicting(file, &record(9, true, 0, TO_END)), None);
    }

    #[test]
    fn the_lowest_of_the_conflicting_locks_is_told() {
        let file = inode();
        for start in [60, 20, 40] {
            acquire(file, record(21, true, start, start + 9)).unwrap();
        }
        let found = conflicting(file, &record(22, false, 0, TO_END)).unwrap();
        assert_eq!((found.start, found.end), (20, 29));
        let found = conflicting(file, &record(22, false, 30, 45)).unwrap();
        assert_eq!((found.start, found.end), (40, 49));
        assert_eq!(own(file, &record(22, false, 0, TO_END)), None);
        release_owner(record(21, true, 0, 0).owner);
    }

    #[test]
    fn neighbours_of_one_sort_become_one_lock() {
        let file = inode();
        acquire(file, record(31, true, 0, 9)).unwrap();
        acquire(file, record(31, true, 20, 29)).unwrap();
        acquire(file, record(31, false, 30, 39)).unwrap();
        acquire(file, record(31, true, 10, 19)).unwrap();
        let found = conflicting(file, &record(32, false, 0, TO_END)).unwrap();
        assert_eq!((found.start, found.end), (0, 29));
        acquire(file, record(31, false, 0, 29)).unwrap();
        let found = conflicting(file, &record(32, true, 5, 5)).unwrap();
        assert_eq!((found.start, found.end), (0, 39));
        release_owner(record(31, true, 0, 0).owner);
    }

    #[test]
    fn who_would_wait_for_itself_is_told() {
        let (a, b, c) = (inode(), inode(), inode());
        for (file, owner) in [(a, 41), (b, 42), (c, 43)] {
            acquire(file, record(owner, true, 0, 9)).unwrap();
        }
        let wants = |file, owner| acquire_or_wait(file, record(owner, true, 0, 9));
        assert_eq!(wants(b, 41), Err(Errno::EAGAIN));
        assert_eq!(wants(c, 42), Err(Errno::EAGAIN));
        assert_eq!(wants(a, 43), Err(Errno::EDEADLK));
        // Who gives up waiting breaks the circle.
        stop_waiting(b, record(41, true, 0, 9));
        assert_eq!(wants(a, 43), Err(Errno::EAGAIN));
        assert_eq!(wants(b, 41), Err(Errno::EDEADLK));
        stop_waiting(c, record(42, true, 0, 9));
        stop_waiting(a, record(43, true, 0, 9));
        for owner in 41..44 {
            release_owner(record(owner, true, 0, 0).owner);
        }
    }

    #[test]
    fn a_change_of_flock_loses_the_old_lock() {
        let file = inode();
        let flock = |owner, exclusive| FileLock {
            kind: Kind::Whole,
            ..record(owner, exclusive, 0, TO_END)
        };
        acquire(file, flock(51, false)).unwrap();
        acquire(file, flock(52, false)).unwrap();
        assert_eq!(acquire(file, flock(51, true)), Err(Errno::EAGAIN));
        acquire(file, flock(52, true)).unwrap();
        release_owner(flock(52, true).owner);
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
        acquire(file, record(11, false, 0, TO_END)).unwrap();
        acquire(file, record(12, false, 0, TO_END)).unwrap();
        release_table(file, TableId(u64::MAX - 11));
        assert_eq!(
            conflicting(file, &record(13, true, 0, 0)).unwrap().owner,
            record(12, true, 0, 0).owner
        );
        release_table(file, TableId(u64::MAX - 12));
    }
}
