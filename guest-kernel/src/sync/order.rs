//! The order in which locks are taken, and its check in debug builds.
//!
//! Every [`Lock`](super::Lock) has a [`Rank`]. A lock may be taken only while all that are held have
//! a lower one; so no two control flows can wait for each other. Builds with debug assertions (host
//! unit tests, a sentry of the dev profile) keep the list of held locks and panic at the first lock
//! taken out of order, whether or not it would have dead-locked this time. Release builds keep
//! neither ranks nor lists.

/// The class of a lock. Those declared first are taken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Rank {
    /// The offset of an open file description: held through reads and writes of any file.
    OpenFile,
    /// The text of an open /proc file.
    ProcText,
    /// The table of processes and threads.
    ProcessTable,
    /// What a process refers to, and its limits.
    ProcessPart,
    /// A process's timers.
    ProcessTimers,
    /// Signal actions and pending signals of a process.
    ProcessSignals,
    /// Mask and pending signals of a thread.
    TaskSignals,
    /// What processes want done with signals.
    SignalActions,
    /// The threads of a process.
    Threads,
    /// How a process ends.
    ExitStatus,
    /// Saved registers and the last exception of a thread.
    TaskState,
    /// The futex wait lists.
    Futexes,
    /// Where a futex waiter is listed.
    FutexKey,
    /// A descriptor table.
    Descriptors,
    /// Root, working directory and umask.
    FsContext,
    /// Locks on files.
    FileLocks,
    /// An address space.
    AddressSpace,
    /// The list of mounts.
    Mounts,
    /// Renames in one tree.
    Names,
    /// A directory, then what it holds.
    Inode,
    /// The inodes of a tree by number.
    Inodes,
    /// What a fifo's or socket's inode keeps.
    Attachment,
    /// The pages of shared memory.
    FilePages,
    /// An epoll instance.
    Epoll,
    /// The place of an epoll watch in its file's queue.
    WatchToken,
    /// Sockets that nothing but sockets in transit refers to.
    Grave,
    /// The state of a pipe, socket, timer, inotify instance or the like.
    File,
    /// A socket's options.
    Options,
    /// Lists of sockets or timers by name or kind.
    Registry,
    /// A wait queue.
    WaitQueue,
    /// Armed timers.
    Timers,
    /// The run queue.
    RunQueue,
    /// The random generator.
    Random,
    /// Clock parameters.
    Clock,
    /// What the vDSO's data page holds.
    VdsoData,
    /// The vDSO's pages.
    VdsoPages,
    /// Counters for `--stats`.
    Counters,
    /// A value nothing else is locked under but memory.
    Leaf,
    /// The sentry's heap.
    Heap,
    /// The frame allocator.
    Frames,
}

/// Classes of which several may be held, in an order of their own.
#[cfg(debug_assertions)]
impl Rank {
    fn nests(self) -> bool {
        // Of registers and address spaces: the parent's, then the new child's, which nobody else
        // knows yet. Inodes: a directory, then what is in it (renames hold `Names` besides).
        matches!(self, Rank::TaskState | Rank::AddressSpace | Rank::Inode)
    }
}

#[cfg(debug_assertions)]
pub(super) use checked::{Held, Holder};

#[cfg(debug_assertions)]
mod checked {
    use super::Rank;
    use core::panic::Location;

    /// Most locks one control flow holds at a time.
    const DEPTH: usize = 16;

    /// A lock held: its class, its address, and where it was taken.
    #[derive(Clone, Copy)]
    struct Entry {
        rank: Rank,
        lock: usize,
        place: &'static Location<'static>,
    }

    /// The locks one control flow holds.
    pub struct Held {
        entries: [Option<Entry>; DEPTH],
        len: usize,
    }

    impl Held {
        pub const fn new() -> Held {
            Held {
                entries: [None; DEPTH],
                len: 0,
            }
        }

        /// What is wrong with taking a lock now.
        pub fn conflict(&self, rank: Rank) -> Option<(Rank, &'static Location<'static>)> {
            let held = self.entries[..self.len].iter().flatten();
            held.filter(|held| held.rank > rank || held.rank == rank && !rank.nests())
                .map(|held| (held.rank, held.place))
                .next()
        }

        pub fn push(&mut self, rank: Rank, lock: usize, place: &'static Location<'static>) {
            assert!(self.len < DEPTH, "more locks held than the check can list");
            self.entries[self.len] = Some(Entry { rank, lock, place });
            self.len += 1;
        }

        /// Forgets a lock; guards are not always dropped in the opposite order. One that was taken
        /// by another control flow is not here.
        pub fn pop(&mut self, lock: usize) {
            let entries = &mut self.entries[..self.len];
            let at = |entry: &Option<Entry>| entry.is_some_and(|entry| entry.lock == lock);
            if let Some(index) = entries.iter().rposition(at) {
                entries[index..].rotate_left(1);
                self.len -= 1;
            }
        }
    }

    /// A lock's rank and what is done with it.
    pub struct Holder(Rank);

    impl Holder {
        pub const fn new(rank: Rank) -> Holder {
            Holder(rank)
        }

        /// Before a lock is waited for.
        pub fn check(&self, place: &'static Location<'static>) {
            let rank = self.0;
            let conflict = super::with_held(|held| held.conflict(rank));
            if let Some((other, where_taken)) = conflict {
                panic!(
                    "lock order: {rank:?} taken at {place} while {other:?} is held, \
                     taken at {where_taken}"
                );
            }
        }

        /// After it was taken.
        pub fn taken(&self, lock: usize, place: &'static Location<'static>) {
            super::with_held(|held| held.push(self.0, lock, place));
        }

        /// Before it is freed.
        pub fn freed(&self, lock: usize) {
            super::with_held(|held| held.pop(lock));
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn here() -> &'static Location<'static> {
            Location::caller()
        }

        #[test]
        fn only_higher_ranks_may_follow() {
            let mut held = Held::new();
            assert!(held.conflict(Rank::Frames).is_none());
            held.push(Rank::AddressSpace, 1, here());
            assert!(held.conflict(Rank::Heap).is_none());
            assert!(held.conflict(Rank::FileLocks).is_some());
            assert!(held.conflict(Rank::Descriptors).is_some());
            held.push(Rank::Inode, 2, here());
            assert!(held.conflict(Rank::Inode).is_none(), "a directory's inode");
            // The outer one goes first: the inner one still counts.
            held.pop(1);
            assert!(held.conflict(Rank::Names).is_some());
            held.pop(2);
            assert!(held.conflict(Rank::ProcessTable).is_none());
        }

        #[test]
        #[should_panic(expected = "lock order: Descriptors taken at")]
        fn taking_locks_in_the_wrong_order_panics() {
            let (space, files) = (
                crate::sync::Lock::new(Rank::AddressSpace, ()),
                crate::sync::Lock::new(Rank::Descriptors, ()),
            );
            let _space = space.lock();
            let _files = files.lock();
        }

        #[test]
        fn a_lock_that_was_freed_does_not_count() {
            let (space, files) = (
                crate::sync::Lock::new(Rank::AddressSpace, ()),
                crate::sync::Lock::new(Rank::Descriptors, ()),
            );
            drop(space.lock());
            let _files = files.lock();
            let _space = space.lock();
        }
    }
}

#[cfg(all(debug_assertions, not(target_os = "none")))]
fn with_held<R>(f: impl FnOnce(&mut Held) -> R) -> R {
    std::thread_local! {
        static HELD: core::cell::RefCell<Held> = const { core::cell::RefCell::new(Held::new()) };
    }
    HELD.with(|held| f(&mut held.borrow_mut()))
}

#[cfg(all(debug_assertions, target_os = "none"))]
fn with_held<R>(f: impl FnOnce(&mut Held) -> R) -> R {
    struct Shared(core::cell::UnsafeCell<Held>);
    // SAFETY: locks are taken under the kernel lock (`smp`), and nothing interrupts the sentry.
    unsafe impl Sync for Shared {}
    static HELD: Shared = Shared(core::cell::UnsafeCell::new(Held::new()));
    // SAFETY: as above; `f` takes no lock, so this is the only reference.
    f(unsafe { &mut *HELD.0.get() })
}
