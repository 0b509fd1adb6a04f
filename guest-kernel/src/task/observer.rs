//! Who is told what happens to tasks: traces and counts, which stand above them.

use super::{SigInfo, Task};
use crate::sync::{Lock, Rank};

/// What it is told of.
#[derive(Clone, Copy)]
pub struct Observer {
    /// A signal is delivered.
    pub signal: fn(&Task, &SigInfo),
    /// A signal stops the process.
    pub stopped: fn(&Task, u32),
    /// A thread ends.
    pub exited: fn(&Task),
    /// The first process has ended, and the VM is about to.
    pub ends: fn(),
}

static OBSERVER: Lock<Option<Observer>> = Lock::new(Rank::Leaf, None);

/// Boot, before the first task.
pub fn observe(observer: Observer) {
    *OBSERVER.lock() = Some(observer);
}

/// Tells the observer, if there is one.
pub(super) fn tell(what: impl FnOnce(Observer)) {
    let observer = *OBSERVER.lock();
    if let Some(observer) = observer {
        what(observer);
    }
}
