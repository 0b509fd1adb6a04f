//! Wait queues: who is to be told when something becomes ready.
//!
//! A file (pipe, socket, eventfd, ...) has one [`WaitQueue`] and calls [`WaitQueue::wake`] whenever
//! its readiness may have grown. Tasks wait by being a [`Wake`] in the queue; epoll instances are
//! in the queues of the files they watch in the same way. Wake-ups may be spurious: whoever is woken
//! looks again.

use crate::sync::{Lock, Rank};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bitflags::bitflags;

bitflags! {
    /// Readiness, with the values of `poll(2)` and `epoll(7)`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct PollEvents: u32 {
        /// Data to read, or end of file.
        const IN = 0x001;
        /// Urgent data.
        const PRI = 0x002;
        /// Room to write.
        const OUT = 0x004;
        /// Error (always reported).
        const ERR = 0x008;
        /// Hang-up (always reported).
        const HUP = 0x010;
        /// Not open (poll only).
        const NVAL = 0x020;
        /// As IN.
        const RDNORM = 0x040;
        /// Out-of-band data.
        const RDBAND = 0x080;
        /// As OUT.
        const WRNORM = 0x100;
        /// Room for out-of-band data.
        const WRBAND = 0x200;
        /// The peer shut down writing.
        const RDHUP = 0x2000;
    }
}

/// Something that can be woken.
pub trait Wake: Send + Sync {
    /// Called with the events that may have become true. Must not block, and must not call back
    /// into the queue that wakes it.
    fn wake(&self, events: PollEvents);

    /// Whether no wake-up will ever interest it again: the queue may forget it.
    fn expired(&self) -> bool {
        false
    }
}

/// Names one entry of a queue, for its removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitToken(u64);

struct Entry {
    token: WaitToken,
    interest: PollEvents,
    exclusive: bool,
    waker: Arc<dyn Wake>,
}

/// The wakers interested in one object.
pub struct WaitQueue {
    inner: Lock<Inner>,
}

struct Inner {
    next: u64,
    entries: Vec<Entry>,
}

impl Default for WaitQueue {
    fn default() -> Self {
        WaitQueue::new()
    }
}

impl WaitQueue {
    /// An empty queue.
    pub const fn new() -> Self {
        WaitQueue {
            inner: Lock::new(
                Rank::WaitQueue,
                Inner {
                    next: 0,
                    entries: Vec::new(),
                },
            ),
        }
    }

    /// Adds a waker that is told of `interest`, ERR and HUP. Remove it with the token.
    pub fn add(&self, waker: Arc<dyn Wake>, interest: PollEvents) -> WaitToken {
        self.insert(waker, interest, false)
    }

    /// As [`WaitQueue::add`], but at most one exclusive waker is told by each wake.
    pub fn add_exclusive(&self, waker: Arc<dyn Wake>, interest: PollEvents) -> WaitToken {
        self.insert(waker, interest, true)
    }

    fn insert(&self, waker: Arc<dyn Wake>, interest: PollEvents, exclusive: bool) -> WaitToken {
        let mut inner = self.inner.lock();
        // Looked at whenever the queue doubles, so that forgotten watches do not pile up.
        if inner.entries.len() >= 8 && inner.entries.len().is_power_of_two() {
            inner.entries.retain(|entry| !entry.waker.expired());
        }
        inner.next += 1;
        let token = WaitToken(inner.next);
        let interest = interest | PollEvents::ERR | PollEvents::HUP;
        inner.entries.push(Entry {
            token,
            interest,
            exclusive,
            waker,
        });
        token
    }

    /// Removes an entry; one that is gone is ignored.
    pub fn remove(&self, token: WaitToken) {
        self.inner
            .lock()
            .entries
            .retain(|entry| entry.token != token);
    }

    /// Wakes every entry interested in `events` (of exclusive ones the oldest). Returns how many.
    pub fn wake(&self, events: PollEvents) -> usize {
        let mut exclusive_done = false;
        // The wakers run without the queue's lock: they may take others.
        let woken: Vec<Arc<dyn Wake>> = {
            let inner = self.inner.lock();
            inner
                .entries
                .iter()
                .filter(|entry| entry.interest.intersects(events))
                .filter(|entry| !entry.exclusive || !core::mem::replace(&mut exclusive_done, true))
                .map(|entry| entry.waker.clone())
                .collect()
        };
        for waker in &woken {
            waker.wake(events);
        }
        woken.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.inner.lock().entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Default)]
    struct Counter(AtomicUsize);
    impl Wake for Counter {
        fn wake(&self, _: PollEvents) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn wakes_only_the_interested_and_one_exclusive() {
        let queue = WaitQueue::new();
        let (reader, writer) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
        let exclusive = Arc::new(Counter::default());
        let token = queue.add(reader.clone(), PollEvents::IN);
        queue.add(writer.clone(), PollEvents::OUT);
        queue.add_exclusive(exclusive.clone(), PollEvents::IN);
        queue.add_exclusive(exclusive.clone(), PollEvents::IN);
        assert_eq!(queue.wake(PollEvents::IN), 2);
        queue.remove(token);
        queue.wake(PollEvents::IN);
        assert_eq!(reader.0.load(Ordering::Relaxed), 1);
        assert_eq!(writer.0.load(Ordering::Relaxed), 0);
        assert_eq!(exclusive.0.load(Ordering::Relaxed), 2);
        assert_eq!(queue.wake(PollEvents::HUP), 2);
    }
}
