//! Signals that wait to be taken, and the account of them.
//!
//! Linux first: everything queued is charged to its user, up to RLIMIT_SIGPENDING of the process it
//! is for. What the kernel or kill sends is not lost beyond that: it is still pending, only what
//! there was to tell of it is gone. sigqueue of a real-time signal answers EAGAIN.

use crate::errno::{Errno, Result};
use crate::task::process::{Process, limit};
use crate::task::signal::{SigInfo, SigSet, code, number::*};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

/// How many are charged, of all processes: there is one user.
static CHARGED: AtomicU64 = AtomicU64::new(0);

/// How many signals and timers are charged.
pub fn charged() -> u64 {
    CHARGED.load(Ordering::Relaxed)
}

/// One place in the account, given back when it is dropped.
#[derive(Debug)]
pub struct Charge(());

impl Charge {
    /// A place if there is one within `limit`.
    pub fn within(limit: u64) -> Option<Charge> {
        if CHARGED.fetch_add(1, Ordering::Relaxed) < limit {
            return Some(Charge(()));
        }
        CHARGED.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        CHARGED.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Which setting of which POSIX timer a signal is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerMark {
    /// Its id.
    pub id: u32,
    /// Which setting of it.
    pub generation: u64,
}

/// A signal on its way into a queue, or in one.
#[derive(Debug)]
pub struct Queued {
    /// What it tells.
    pub info: SigInfo,
    /// The timer it is of.
    pub timer: Option<TimerMark>,
    charge: Option<Charge>,
}

impl Queued {
    /// One that is charged to nobody.
    pub fn free(info: SigInfo) -> Queued {
        Queued {
            info,
            timer: None,
            charge: None,
        }
    }

    /// A timer's: that was charged when it was made.
    pub fn of_timer(info: SigInfo, mark: TimerMark) -> Queued {
        Queued {
            timer: Some(mark),
            ..Queued::free(info)
        }
    }

    /// One for `process`; EAGAIN where it must not be sent without what it tells.
    pub fn charged(info: SigInfo, process: &Process) -> Result<Queued> {
        let signal = info.signal();
        // A standard signal of the kernel's or of kill's is pending once and needs no permission.
        let always = signal < SIGRTMIN && info.code >= 0;
        let limit = match always {
            true => u64::MAX,
            false => process.rlimit(limit::SIGPENDING),
        };
        match Charge::within(limit) {
            Some(charge) => Ok(Queued {
                charge: Some(charge),
                ..Queued::free(info)
            }),
            None if signal >= SIGRTMIN && info.code != code::SI_USER => Err(Errno::EAGAIN),
            None => Ok(Queued::free(SigInfo::user(signal, code::SI_USER, 0))),
        }
    }

    /// The signal.
    pub fn signal(&self) -> u32 {
        self.info.signal()
    }
}

/// Signals that wait to be taken. Standard ones are remembered once, real-time ones queue.
#[derive(Debug, Default)]
pub struct Pending {
    queue: Vec<Queued>,
}

impl Pending {
    /// Which are pending.
    pub fn set(&self) -> SigSet {
        self.queue.iter().fold(SigSet::EMPTY, |set, queued| {
            set | SigSet::of(queued.signal())
        })
    }

    /// Adds one.
    pub fn add(&mut self, queued: Queued) {
        let once = queued.signal() < SIGRTMIN || queued.charge.is_none() && queued.timer.is_none();
        if !(once && self.set().has(queued.signal())) {
            self.queue.push(queued);
        }
    }

    /// Takes the most urgent one outside `mask`: faults first, then the lowest number.
    pub fn take(&mut self, mask: SigSet) -> Option<Queued> {
        let synchronous = |signal| {
            !matches!(
                signal,
                SIGSEGV | SIGBUS | SIGILL | SIGTRAP | SIGFPE | SIGSYS
            ) as u32
        };
        let (index, _) = self
            .queue
            .iter()
            .enumerate()
            .filter(|(_, queued)| !mask.has(queued.signal()))
            .min_by_key(|(index, queued)| {
                (synchronous(queued.signal()), queued.signal(), *index)
            })?;
        Some(self.queue.remove(index))
    }

    /// Forgets the signals of `set`.
    pub fn discard(&mut self, set: SigSet) {
        self.queue.retain(|queued| !set.has(queued.signal()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_signals_are_pending_once_and_faults_come_first() {
        let mut pending = Pending::default();
        for signal in [
            SIGUSR1,
            SIGUSR1,
            SIGRTMIN + 2,
            SIGRTMIN + 2,
            SIGHUP,
            SIGSEGV,
        ] {
            let charge = Charge::within(u64::MAX);
            pending.add(Queued {
                charge,
                ..Queued::free(SigInfo::kernel(signal))
            });
        }
        let mut taken = Vec::new();
        while let Some(queued) = pending.take(SigSet::of(SIGHUP)) {
            taken.push(queued.signal());
        }
        assert_eq!(taken, [SIGSEGV, SIGUSR1, SIGRTMIN + 2, SIGRTMIN + 2]);
        assert_eq!(pending.set(), SigSet::of(SIGHUP));
    }

    #[test]
    fn what_was_not_charged_is_pending_once() {
        let mut pending = Pending::default();
        for _ in 0..3 {
            pending.add(Queued::free(SigInfo::user(SIGRTMIN, code::SI_USER, 0)));
        }
        assert!(pending.take(SigSet::EMPTY).is_some());
        assert!(pending.take(SigSet::EMPTY).is_none());
        assert!(Charge::within(0).is_none());
    }
}
