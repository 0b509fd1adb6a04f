//! Locks of the sentry.
//!
//! The kernel is not preemptible and never blocks (switches tasks) while it holds a [`Lock`], so on
//! one vCPU a lock that is found taken can only be taken by this very control flow: a bug, reported
//! as a panic instead of a hang. Several vCPUs will spin here.

#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

/// Mutual exclusion around a value.
pub struct Lock<T: ?Sized> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only through a guard, and `taken` admits one guard at a time.
unsafe impl<T: ?Sized + Send> Send for Lock<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    /// A free lock around `value`.
    pub const fn new(value: T) -> Self {
        Lock {
            taken: AtomicBool::new(false),
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
        match self.try_lock() {
            Some(guard) => guard,
            None => self.contended(),
        }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<LockGuard<'_, T>> {
        self.taken
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .ok()
            .map(|_| LockGuard { lock: self })
    }

    #[cold]
    #[track_caller]
    #[cfg(target_os = "none")]
    fn contended(&self) -> LockGuard<'_, T> {
        panic!("lock taken twice by one control flow")
    }

    #[cold]
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

impl<T: Default> Default for Lock<T> {
    fn default() -> Self {
        Lock::new(T::default())
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
        self.lock.taken.store(false, Ordering::Release);
    }
}
