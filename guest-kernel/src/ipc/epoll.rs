//! epoll: one file that tells which of many files are ready.
//!
//! Each watched file has an [`Item`], which sits as a waker in the file's wait queue and puts
//! itself into the ready list of its epoll instance when the file wakes it. Waiting looks only at
//! that list: an item whose file turns out not to be ready leaves it (until woken again), a
//! level-triggered one that is ready goes back to its end, an edge-triggered one waits for the next
//! wake-up.
//!
//! Items hold their open file weakly, so a descriptor's last close ends the watch, as on Linux.
//! The lock of an instance is never held while a file is polled or a waker runs: instances nest.

use crate::errno::{Errno, Result};
use crate::fs::file::{File, OpenFile};
use crate::fs::inode::Metadata;
use crate::io::{Destination, Source};
use crate::ipc::anon;
use crate::sync::{Lock, Rank};
use crate::wait::{PollEvents, WaitQueue, WaitToken, Wake};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use bitflags::bitflags;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

bitflags! {
    /// How an item is watched, beside the events it is watched for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Mode: u32 {
        /// EPOLLEXCLUSIVE: wake one of the instances that watch the file.
        const EXCLUSIVE = 1 << 28;
        /// EPOLLWAKEUP: accepted; there is no system sleep to hold off.
        const WAKEUP = 1 << 29;
        /// EPOLLONESHOT: disabled after one report.
        const ONESHOT = 1 << 30;
        /// EPOLLET: report changes, not states.
        const EDGE = 1 << 31;
    }
}

/// What may go with EPOLLEXCLUSIVE.
const EXCLUSIVE_OK: u32 = (PollEvents::IN.bits() | PollEvents::OUT.bits())
    | (PollEvents::ERR.bits() | PollEvents::HUP.bits())
    | (Mode::EXCLUSIVE.bits() | Mode::WAKEUP.bits() | Mode::EDGE.bits());

/// Longest chain of instances that watch each other (Linux: `EP_MAX_NESTS` + 1).
const MAX_DEPTH: usize = 5;

/// Most watches of one instance; Linux's default for a machine with 1 GiB.
const MAX_ITEMS: usize = 200_000;

/// What is reported, and what epoll_ctl sets: `struct epoll_event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Events and, when set, [`Mode`] bits.
    pub events: u32,
    /// The program's own.
    pub data: u64,
}

/// A watch is known by descriptor number and open file: the same file may be watched under two.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    fd: i32,
    file: usize,
}

impl Key {
    fn new(fd: i32, file: &Arc<OpenFile>) -> Key {
        Key {
            fd,
            file: Arc::as_ptr(file).addr(),
        }
    }
}

struct Item {
    epoll: Weak<Epoll>,
    key: Key,
    file: Weak<OpenFile>,
    events: AtomicU32,
    data: AtomicU64,
    /// Whether it is in the ready list.
    queued: AtomicBool,
    token: Lock<Option<WaitToken>>,
}

impl Item {
    /// The events asked for; empty when ONESHOT has disabled it.
    fn interest(&self) -> PollEvents {
        PollEvents::from_bits_truncate(self.events.load(Ordering::Relaxed))
    }

    fn mode(&self) -> Mode {
        Mode::from_bits_truncate(self.events.load(Ordering::Relaxed))
    }

    fn set(&self, event: Event) {
        let always = (PollEvents::ERR | PollEvents::HUP).bits();
        self.data.store(event.data, Ordering::Relaxed);
        self.events.store(event.events | always, Ordering::Relaxed);
    }

    fn disable(&self) {
        self.events.store(self.mode().bits(), Ordering::Relaxed);
    }

    /// What the file is ready for, of what was asked.
    fn ready(&self, file: &OpenFile) -> PollEvents {
        let interest = self.interest();
        if interest.is_empty() {
            interest
        } else {
            file.file().poll() & interest
        }
    }
}

impl Wake for Item {
    fn wake(&self, events: PollEvents) {
        if self.interest().intersects(events)
            && let Some(epoll) = self.epoll.upgrade()
        {
            epoll.item_ready(self.key);
        }
    }

    fn expired(&self) -> bool {
        self.file.strong_count() == 0 || self.epoll.strong_count() == 0
    }
}

#[derive(Default)]
struct State {
    items: BTreeMap<Key, Arc<Item>>,
    ready: VecDeque<Arc<Item>>,
    /// Instances that watch this one.
    watchers: Vec<Weak<Epoll>>,
    /// When so many are watched, look for those whose file is gone.
    sweep_at: usize,
}

/// An epoll instance.
pub struct Epoll {
    me: Weak<Epoll>,
    state: Lock<State>,
    /// Tasks in epoll_wait.
    waiting: WaitQueue,
    /// Who polls the instance itself.
    polling: WaitQueue,
}

impl Epoll {
    /// An instance that watches nothing.
    pub fn new() -> Arc<Epoll> {
        Arc::new_cyclic(|me| Epoll {
            me: me.clone(),
            state: Lock::new(
                Rank::Epoll,
                State {
                    sweep_at: 64,
                    ..State::default()
                },
            ),
            waiting: WaitQueue::new(),
            polling: WaitQueue::new(),
        })
    }

    /// The queue for tasks that wait until [`Epoll::collect`] has something for them.
    pub fn waiters(&self) -> &WaitQueue {
        &self.waiting
    }

    /// EPOLL_CTL_ADD: watches `file`, known as descriptor `fd`.
    pub fn add(&self, fd: i32, file: &Arc<OpenFile>, event: Event) -> Result<()> {
        let nested = self.check_target(file)?;
        let mode = Mode::from_bits_truncate(event.events);
        let exclusive = mode.contains(Mode::EXCLUSIVE);
        if exclusive && (nested.is_some() || event.events & !EXCLUSIVE_OK != 0) {
            return Err(Errno::EINVAL);
        }
        let key = Key::new(fd, file);
        if self.state.lock().items.contains_key(&key) {
            return Err(Errno::EEXIST);
        }
        if let Some(inner) = nested {
            self.check_nesting(inner)?;
        }
        self.sweep();
        let item = Arc::new(Item {
            epoll: self.me.clone(),
            key,
            file: Arc::downgrade(file),
            events: AtomicU32::new(0),
            data: AtomicU64::new(0),
            queued: AtomicBool::new(false),
            token: Lock::new(Rank::WatchToken, None),
        });
        item.set(event);
        {
            let mut state = self.state.lock();
            if state.items.len() >= MAX_ITEMS {
                return Err(Errno::ENOSPC);
            }
            state.items.insert(key, item.clone());
        }
        if let Some(inner) = nested {
            inner.state.lock().watchers.push(self.me.clone());
        }
        if let Some(queue) = file.file().wait_queue() {
            // The interest of a shared watch may change later; the item itself filters.
            *item.token.lock() = Some(if exclusive {
                queue.add_exclusive(item.clone(), item.interest())
            } else {
                queue.add(item.clone(), PollEvents::all())
            });
        }
        self.look(&item, file);
        Ok(())
    }

    /// EPOLL_CTL_MOD.
    pub fn modify(&self, fd: i32, file: &Arc<OpenFile>, event: Event) -> Result<()> {
        self.check_target(file)?;
        if event.events & Mode::EXCLUSIVE.bits() != 0 {
            return Err(Errno::EINVAL);
        }
        let key = Key::new(fd, file);
        let item = self
            .state
            .lock()
            .items
            .get(&key)
            .cloned()
            .ok_or(Errno::ENOENT)?;
        if item.mode().contains(Mode::EXCLUSIVE) {
            return Err(Errno::EINVAL);
        }
        item.set(event);
        self.look(&item, file);
        Ok(())
    }

    /// EPOLL_CTL_DEL.
    pub fn delete(&self, fd: i32, file: &Arc<OpenFile>) -> Result<()> {
        self.check_target(file)?;
        let key = Key::new(fd, file);
        let item = self.state.lock().items.remove(&key).ok_or(Errno::ENOENT)?;
        self.forget(&item);
        Ok(())
    }

    /// Reports what is ready, at most `max` events, through `report`; returns how many. If `report`
    /// fails, its event stays ready, and the error is returned unless something was reported.
    pub fn collect(
        &self,
        max: usize,
        mut report: impl FnMut(usize, Event) -> Result<()>,
    ) -> Result<usize> {
        let mut reported = 0;
        // Each item is looked at once, though level-triggered ones go back into the list.
        let mut to_look_at = self.state.lock().ready.len();
        while reported < max && to_look_at > 0 {
            to_look_at -= 1;
            let Some(item) = self.pop_ready() else { break };
            let Some(file) = item.file.upgrade() else {
                self.drop_dead(&item);
                continue;
            };
            let ready = item.ready(&file);
            if ready.is_empty() {
                continue;
            }
            let event = Event {
                events: ready.bits(),
                data: item.data.load(Ordering::Relaxed),
            };
            if let Err(error) = report(reported, event) {
                self.push_ready(item, true);
                if reported == 0 {
                    return Err(error);
                }
                break;
            }
            reported += 1;
            if item.mode().contains(Mode::ONESHOT) {
                item.disable();
            } else if !item.mode().contains(Mode::EDGE) {
                self.push_ready(item, false);
            }
        }
        if !self.waiting.is_empty() && !self.state.lock().ready.is_empty() {
            self.waiting.wake(PollEvents::IN);
        }
        Ok(reported)
    }

    /// Errors common to all three operations; the instance behind `file`, if it is one.
    fn check_target<'a>(&self, file: &'a Arc<OpenFile>) -> Result<Option<&'a Epoll>> {
        if file.file().wait_queue().is_none() {
            return Err(Errno::EPERM);
        }
        match file.downcast::<Epoll>() {
            Some(inner) if core::ptr::eq(inner, self) => Err(Errno::EINVAL),
            nested => Ok(nested),
        }
    }

    /// ELOOP if watching `inner` made a cycle or too long a chain.
    fn check_nesting(&self, inner: &Epoll) -> Result<()> {
        let below = inner.depth_below(self, MAX_DEPTH)?;
        let above = self.depth_above(MAX_DEPTH)?;
        if below + above > MAX_DEPTH {
            Err(Errno::ELOOP)
        } else {
            Ok(())
        }
    }

    /// Instances in the longest chain from this one down. ELOOP if `target` is among them or the
    /// chain is longer than `limit`.
    fn depth_below(&self, target: &Epoll, limit: usize) -> Result<usize> {
        if core::ptr::eq(self, target) || limit == 0 {
            return Err(Errno::ELOOP);
        }
        let files: Vec<Arc<OpenFile>> = {
            let state = self.state.lock();
            state
                .items
                .values()
                .filter_map(|item| item.file.upgrade())
                .collect()
        };
        let mut deepest = 0;
        for file in &files {
            if let Some(inner) = file.downcast::<Epoll>() {
                deepest = deepest.max(inner.depth_below(target, limit - 1)?);
            }
        }
        Ok(deepest + 1)
    }

    /// Instances in the longest chain from this one up.
    fn depth_above(&self, limit: usize) -> Result<usize> {
        if limit == 0 {
            return Err(Errno::ELOOP);
        }
        let watchers: Vec<Arc<Epoll>> = self
            .state
            .lock()
            .watchers
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        let mut deepest = 0;
        for outer in &watchers {
            deepest = deepest.max(outer.depth_above(limit - 1)?);
        }
        Ok(deepest + 1)
    }

    /// Puts `item` into the ready list if its file is ready now.
    fn look(&self, item: &Arc<Item>, file: &OpenFile) {
        if !item.ready(file).is_empty() {
            self.push_ready(item.clone(), false);
            self.wake();
        }
    }

    fn item_ready(&self, key: Key) {
        let item = self.state.lock().items.get(&key).cloned();
        if let Some(item) = item {
            self.push_ready(item, false);
            self.wake();
        }
    }

    fn wake(&self) {
        let events = PollEvents::IN | PollEvents::RDNORM;
        self.waiting.wake(events);
        self.polling.wake(events);
    }

    fn push_ready(&self, item: Arc<Item>, front: bool) {
        let mut state = self.state.lock();
        if item.queued.swap(true, Ordering::Relaxed) {
            return;
        }
        if front {
            state.ready.push_front(item);
        } else {
            state.ready.push_back(item);
        }
    }

    fn pop_ready(&self) -> Option<Arc<Item>> {
        let mut state = self.state.lock();
        let item = state.ready.pop_front()?;
        item.queued.store(false, Ordering::Relaxed);
        Some(item)
    }

    /// Undoes what adding `item`, which is no longer among the items, did elsewhere.
    fn forget(&self, item: &Item) {
        item.disable();
        if item.queued.load(Ordering::Relaxed) {
            let mut state = self.state.lock();
            state
                .ready
                .retain(|other| !core::ptr::eq(Arc::as_ptr(other), item));
            item.queued.store(false, Ordering::Relaxed);
        }
        let Some(file) = item.file.upgrade() else {
            return;
        };
        let token = item.token.lock().take();
        if let (Some(token), Some(queue)) = (token, file.file().wait_queue()) {
            queue.remove(token);
        }
        if let Some(inner) = file.downcast::<Epoll>() {
            let mut state = inner.state.lock();
            let mine = state
                .watchers
                .iter()
                .position(|outer| outer.ptr_eq(&self.me));
            if let Some(index) = mine {
                state.watchers.swap_remove(index);
            }
        }
    }

    /// Removes an item whose file is closed.
    fn drop_dead(&self, item: &Arc<Item>) {
        self.state.lock().items.remove(&item.key);
    }

    /// Removes all items whose files are closed, when enough were added since the last time for it
    /// to cost nothing much.
    fn sweep(&self) {
        let mut state = self.state.lock();
        if state.items.len() < state.sweep_at {
            return;
        }
        let mut dead = Vec::new();
        state.items.retain(|_, item| {
            let alive = item.file.strong_count() > 0;
            if !alive {
                dead.push(item.clone());
            }
            alive
        });
        state.ready.retain(|item| item.file.strong_count() > 0);
        state.sweep_at = (state.items.len() * 2).max(64);
        // Dropping an item can drop what it refers to: not under the lock.
        drop(state);
        drop(dead);
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        let (items, _ready) = {
            let mut state = self.state.lock();
            (
                core::mem::take(&mut state.items),
                core::mem::take(&mut state.ready),
            )
        };
        for item in items.values() {
            self.forget(item);
        }
    }
}

impl File for Epoll {
    fn read_at(&self, _dst: &mut Destination<'_>, _offset: u64) -> Result<usize> {
        Err(Errno::EINVAL)
    }

    fn write_at(&self, _src: &mut Source<'_>, _offset: u64) -> Result<usize> {
        Err(Errno::EINVAL)
    }

    fn poll(&self) -> PollEvents {
        let mut to_look_at = self.state.lock().ready.len();
        while to_look_at > 0 {
            to_look_at -= 1;
            let Some(item) = self.pop_ready() else { break };
            let Some(file) = item.file.upgrade() else {
                self.drop_dead(&item);
                continue;
            };
            if !item.ready(&file).is_empty() {
                self.push_ready(item, true);
                return PollEvents::IN | PollEvents::RDNORM;
            }
        }
        PollEvents::empty()
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.polling)
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(anon::metadata())
    }

    fn describe(&self) -> Vec<u8> {
        b"anon_inode:[eventpoll]".to_vec()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
#[path = "epoll_tests.rs"]
mod tests;
