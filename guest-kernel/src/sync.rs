//! Locks of the sentry.
//!
//! The kernel is not preemptible and never blocks (switches tasks) while it holds a [`Lock`], and of
//! several vCPUs one at a time is in it (`smp`), so a lock that is found taken can only be taken by
//! this very control flow: a bug, reported as a panic instead of a hang. The order in which locks may
//! be taken is the order of [`Rank`]; debug builds check it.

#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

mod order;

pub use order::Rank;

/// Mutual exclusion around a value.
pub struct Lock<T: ?Sized> {
    taken: AtomicBool,
    #[cfg(debug_assertions)]
    holder: order::Holder,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only through a guard, and `taken` admits one guard at a time.
unsafe impl<T: ?Sized + Send> Send for Lock<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    /// A free lock around `value`, taken in the order of `rank`.
    #[cfg_attr(not(debug_assertions), allow(unused_variables))]
    pub const fn new(rank: Rank, value: T) -> Self {
        Lock {
            taken: AtomicBool::new(false),
            #[cfg(debug_assertions)]
            holder: order::Holder::new(rank),
            value: UnsafeCell::new(value),
        }
    }

    /// The value, when nobody else can have the lock.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Lock<T> {
    /// Takes the lock.
    #[track_caller]
    pub fn lock(&self) -> LockGuard<'_, T> {
        #[cfg(debug_assertions)]
        self.holder.check(core::panic::Location::caller());
        match self.try_lock() {
            Some(guard) => guard,
            None => self.contended(),
        }
    }

    /// Takes the lock if it is free; never waits, so in any order.
    #[track_caller]
    pub fn try_lock(&self) -> Option<LockGuard<'_, T>> {
        if self.take() {
            return None;
        }
        #[cfg(debug_assertions)]
        self.holder
            .taken(self.address(), core::panic::Location::caller());
        Some(LockGuard { lock: self })
    }

    /// Marks it as taken; whether it was.
    #[cfg(target_os = "none")]
    fn take(&self) -> bool {
        // No other vCPU is in the kernel, and nothing interrupts it: two plain accesses do, at a
        // tenth of an exchange's price. What others wrote the kernel lock has made visible.
        let was = self.taken.load(Ordering::Relaxed);
        self.taken.store(true, Ordering::Relaxed);
        was
    }

    /// Marks it as taken; whether it was.
    #[cfg(not(target_os = "none"))]
    fn take(&self) -> bool {
        self.taken.swap(true, Ordering::Acquire)
    }

    #[cfg(debug_assertions)]
    fn address(&self) -> usize {
        (&raw const self.taken).addr()
    }

    #[cold]
    #[track_caller]
    #[cfg(target_os = "none")]
    fn contended(&self) -> LockGuard<'_, T> {
        panic!("lock taken twice by one control flow")
    }

    #[cold]
    #[track_caller]
    #[cfg(not(target_os = "none"))]
    fn contended(&self) -> LockGuard<'_, T> {
        // Host unit tests run in parallel threads: wait, but not for ever.
        for _ in 0..20_000 {
            std::thread::sleep(std::time::Duration::from_micros(500));
            if let Some(guard) = self.try_lock() {
                return guard;
            }
        }
        panic!("lock taken for ten seconds: taken twice by one control flow?")
    }
}

/// Access to a locked value; frees the lock when dropped.
pub struct LockGuard<'a, T: ?Sized> {
    lock: &'a Lock<T>,
}

impl<T: ?Sized> Deref for LockGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: this guard is the only one (see `try_lock`).
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for LockGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard is the only one (see `try_lock`).
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for LockGuard<'_, T> {
    fn drop(&mut self) {
        #[cfg(debug_assertions)]
        self.lock.holder.freed(self.lock.address());
        self.lock.taken.store(false, Ordering::Release);
    }
}
