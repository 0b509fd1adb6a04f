//! inotify: programs told of changes to files and directories.
//!
//! Watches name inodes by identity, so they cost nothing while there are none: one counter is looked
//! at before any event is made.

use crate::errno::{Errno, Result};
use crate::fs::dnotify;
use crate::fs::file::File;
use crate::fs::inode::{DeviceNumber, FileKind, InodeId, Metadata};
use crate::io::{Destination, Source};
use crate::mm::AddressSpace;
use crate::sync::{Lock, Rank};
use crate::wait::{PollEvents, WaitQueue};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::fmt::Write;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Events and flags of inotify(7).
#[allow(missing_docs)]
pub mod mask {
    pub const ACCESS: u32 = 0x1;
    pub const MODIFY: u32 = 0x2;
    pub const ATTRIB: u32 = 0x4;
    pub const CLOSE_WRITE: u32 = 0x8;
    pub const CLOSE_NOWRITE: u32 = 0x10;
    pub const OPEN: u32 = 0x20;
    pub const MOVED_FROM: u32 = 0x40;
    pub const MOVED_TO: u32 = 0x80;
    pub const CREATE: u32 = 0x100;
    pub const DELETE: u32 = 0x200;
    pub const DELETE_SELF: u32 = 0x400;
    pub const MOVE_SELF: u32 = 0x800;
    pub const ALL: u32 = 0xfff;
    pub const Q_OVERFLOW: u32 = 0x4000;
    pub const IGNORED: u32 = 0x8000;
    pub const ONLYDIR: u32 = 0x0100_0000;
    pub const DONT_FOLLOW: u32 = 0x0200_0000;
    pub const EXCL_UNLINK: u32 = 0x0400_0000;
    pub const MASK_CREATE: u32 = 0x1000_0000;
    pub const MASK_ADD: u32 = 0x2000_0000;
    pub const ISDIR: u32 = 0x4000_0000;
    pub const ONESHOT: u32 = 0x8000_0000;
    /// What Linux takes when it checks a wish (ALL_INOTIFY_BITS).
    pub const KNOWN: u32 = ALL
        | 0x2000
        | Q_OVERFLOW
        | IGNORED
        | ONLYDIR
        | DONT_FOLLOW
        | EXCL_UNLINK
        | MASK_CREATE
        | MASK_ADD
        | ISDIR
        | ONESHOT;
}

/// Events kept for a reader (`/proc/sys/fs/inotify/max_queued_events`).
const MAX_QUEUED: usize = 16_384;
/// Bytes of an event before its name; names are padded to multiples of it.
const EVENT_SIZE: usize = 16;
const FIONREAD: u32 = 0x541b;

static INSTANCES: Lock<Vec<Weak<Inotify>>> = Lock::new(Rank::Registry, Vec::new());
static WATCHES: AtomicUsize = AtomicUsize::new(0);

struct Watch {
    inode: InodeId,
    mask: u32,
}

struct Event {
    watch: i32,
    mask: u32,
    cookie: u32,
    name: Box<[u8]>,
}

/// An event, before it is known who wants it.
#[derive(Clone, Copy)]
struct Happened<'a> {
    inode: InodeId,
    mask: u32,
    cookie: u32,
    name: &'a [u8],
    /// To a file without a name: not for watches with IN_EXCL_UNLINK.
    unlinked: bool,
}

impl Event {
    /// Whether one of the two is enough. Linux does not compare the cookies.
    fn same(&self, other: &Event) -> bool {
        self.watch == other.watch && self.mask == other.mask && self.name == other.name
    }

    fn padded_name(&self) -> usize {
        match self.name.len() {
            0 => 0,
            len => (len + 1).next_multiple_of(EVENT_SIZE),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.watch.to_le_bytes());
        out.extend_from_slice(&self.mask.to_le_bytes());
        out.extend_from_slice(&self.cookie.to_le_bytes());
        out.extend_from_slice(&(self.padded_name() as u32).to_le_bytes());
        let end = out.len() + self.padded_name();
        out.extend_from_slice(&self.name);
        out.resize(end, 0);
    }
}

#[derive(Default)]
struct State {
    watches: BTreeMap<i32, Watch>,
    last_watch: i32,
    events: VecDeque<Event>,
}

impl State {
    fn push(&mut self, event: Event) {
        if event.mask & mask::IGNORED == 0
            && self.events.back().is_some_and(|last| last.same(&event))
        {
            return;
        }
        if self.events.len() >= MAX_QUEUED {
            let overflow = Event {
                watch: -1,
                mask: mask::Q_OVERFLOW,
                cookie: 0,
                name: Box::default(),
            };
            if !self
                .events
                .iter()
                .any(|event| event.mask & mask::Q_OVERFLOW != 0)
            {
                self.events.push_back(overflow);
            }
            return;
        }
        self.events.push_back(event);
    }

    fn remove(&mut self, watch: i32) -> bool {
        let found = self.watches.remove(&watch).is_some();
        if found {
            WATCHES.fetch_sub(1, Ordering::Relaxed);
            let name = Box::default();
            self.push(Event {
                watch,
                mask: mask::IGNORED,
                cookie: 0,
                name,
            });
        }
        found
    }

    /// Queues what the watches on `inode` want of an event. Whether there was one.
    fn tell(&mut self, happened: &Happened<'_>) -> bool {
        let Happened {
            inode,
            mask,
            cookie,
            name,
            unlinked,
        } = *happened;
        let wanted: Vec<(i32, bool)> = self
            .watches
            .iter()
            .filter(|(_, watch)| watch.inode == inode)
            .filter(|(_, watch)| !unlinked || watch.mask & mask::EXCL_UNLINK == 0)
            .filter(|(_, watch)| watch.mask & mask & mask::ALL != 0 || mask & DIES != 0)
            .map(|(id, watch)| (*id, watch.mask & mask & mask::ALL != 0))
            .collect();
        for (id, told) in &wanted {
            if *told {
                self.push(Event {
                    watch: *id,
                    mask,
                    cookie,
                    name: name.into(),
                });
            }
            let once = self
                .watches
                .get(id)
                .is_some_and(|w| w.mask & mask::ONESHOT != 0);
            if mask & DIES != 0 || once {
                self.remove(*id);
            }
        }
        !wanted.is_empty()
    }
}

/// After these the inode is no more, nor its watch.
const DIES: u32 = mask::DELETE_SELF;

/// An inotify instance: the open file.
pub struct Inotify {
    id: InodeId,
    state: Lock<State>,
    queue: WaitQueue,
}

impl Inotify {
    /// An instance without watches.
    pub fn new() -> Arc<Inotify> {
        let instance = Arc::new(Inotify {
            id: InodeId::anonymous(DeviceNumber::ANONYMOUS),
            state: Lock::new(Rank::File, Default::default()),
            queue: WaitQueue::new(),
        });
        INSTANCES.lock().push(Arc::downgrade(&instance));
        instance
    }

    /// inotify_add_watch: watches `inode` for `mask`; returns the watch's number.
    pub fn add_watch(&self, inode: InodeId, mask: u32) -> Result<i32> {
        let kept = mask & (mask::ALL | mask::ONESHOT | mask::EXCL_UNLINK);
        let mut state = self.state.lock();
        if let Some((id, watch)) = state.watches.iter_mut().find(|(_, w)| w.inode == inode) {
            if mask & mask::MASK_CREATE != 0 {
                return Err(Errno::EEXIST);
            }
            watch.mask = if mask & mask::MASK_ADD != 0 {
                watch.mask | kept
            } else {
                kept
            };
            return Ok(*id);
        }
        state.last_watch = state.last_watch.checked_add(1).ok_or(Errno::ENOSPC)?;
        let id = state.last_watch;
        state.watches.insert(id, Watch { inode, mask: kept });
        WATCHES.fetch_add(1, Ordering::Relaxed);
        Ok(id)
    }

    /// inotify_rm_watch.
    pub fn remove_watch(&self, watch: i32) -> Result<()> {
        if !self.state.lock().remove(watch) {
            return Err(Errno::EINVAL);
        }
        self.queue.wake(PollEvents::IN);
        Ok(())
    }

    fn unread(&self) -> usize {
        let state = self.state.lock();
        state
            .events
            .iter()
            .map(|event| EVENT_SIZE + event.padded_name())
            .sum()
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        WATCHES.fetch_sub(self.state.lock().watches.len(), Ordering::Relaxed);
        INSTANCES
            .lock()
            .retain(|instance| instance.strong_count() > 0);
    }
}

impl File for Inotify {
    fn read_at(&self, dst: &mut Destination<'_>, _: u64) -> Result<usize> {
        let mut bytes = Vec::new();
        {
            let mut state = self.state.lock();
            let Some(first) = state.events.front() else {
                return Err(Errno::EAGAIN);
            };
            if EVENT_SIZE + first.padded_name() > dst.remaining() {
                return Err(Errno::EINVAL);
            }
            let fits = |event: &Event, used: usize| {
                used + EVENT_SIZE + event.padded_name() <= dst.remaining()
            };
            while let Some(event) = state.events.pop_front_if(|event| fits(event, bytes.len())) {
                event.encode(&mut bytes);
            }
        }
        dst.put(&bytes)
    }

    fn write_at(&self, _: &mut Source<'_>, _: u64) -> Result<usize> {
        Err(Errno::EBADF)
    }

    fn poll(&self) -> PollEvents {
        match self.state.lock().events.is_empty() {
            true => PollEvents::empty(),
            false => PollEvents::IN | PollEvents::RDNORM,
        }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(Metadata::anonymous(self.id, FileKind::Anonymous, 0o600))
    }

    fn ioctl(&self, space: &AddressSpace, command: u32, arg: u64) -> Result<u64> {
        if command != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let bytes = (self.unread() as u32).to_le_bytes();
        match space.write_some(arg, &bytes) {
            4 => Ok(0),
            _ => Err(Errno::EFAULT),
        }
    }

    fn describe(&self) -> Vec<u8> {
        b"anon_inode:inotify".to_vec()
    }

    fn describe_state(&self, out: &mut String) {
        for (id, watch) in self.state.lock().watches.iter().rev() {
            let InodeId { dev, ino } = watch.inode;
            let device = dev.major << 20 | dev.minor;
            let _ = writeln!(
                out,
                "inotify wd:{id:x} ino:{ino:x} sdev:{device:x} mask:{:x} ignored_mask:0 ",
                watch.mask
            );
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A number that pairs MOVED_FROM with MOVED_TO.
pub fn fresh_cookie() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Whether there is any watch, of inotify or F_NOTIFY: if not, events need not be made.
pub fn active() -> bool {
    WATCHES.load(Ordering::Relaxed) > 0 || dnotify::active()
}

/// Something happened to entry `name` of directory `directory`.
pub fn notify_entry(directory: InodeId, mask: u32, cookie: u32, name: &[u8], is_directory: bool) {
    let happened = Happened {
        inode: directory,
        mask: with_kind(mask, is_directory),
        cookie,
        name,
        unlinked: false,
    };
    notify(&[happened]);
}

/// Something happened to `inode` itself.
pub fn notify_self(inode: InodeId, mask: u32, is_directory: bool) {
    let happened = Happened {
        inode,
        mask: with_kind(mask, is_directory),
        cookie: 0,
        name: &[],
        unlinked: false,
    };
    notify(&[happened]);
}

/// Something was done with `inode` through an entry of a directory: the directory's watches are
/// told first. `unlinked`: that entry is gone.
pub fn notify_access(
    entry: Option<(InodeId, &[u8])>,
    inode: InodeId,
    mask: u32,
    is_directory: bool,
    unlinked: bool,
) {
    let mask = with_kind(mask, is_directory);
    let to = |inode, name| Happened {
        inode,
        mask,
        cookie: 0,
        name,
        unlinked,
    };
    match entry {
        Some((directory, name)) => notify(&[to(directory, name), to(inode, &[])]),
        None => notify(&[to(inode, &[])]),
    }
}

/// IN_ISDIR for directories, but not for what happens to the inode as such.
fn with_kind(mask: u32, is_directory: bool) -> u32 {
    match is_directory && mask & (mask::DELETE_SELF | mask::MOVE_SELF) == 0 {
        true => mask | mask::ISDIR,
        false => mask,
    }
}

fn notify(events: &[Happened<'_>]) {
    if !active() {
        return;
    }
    for happened in events {
        dnotify::notify(happened.inode, happened.mask);
    }
    let instances: Vec<Arc<Inotify>> = INSTANCES.lock().iter().filter_map(Weak::upgrade).collect();
    for instance in instances {
        let mut told = false;
        {
            let mut state = instance.state.lock();
            for happened in events {
                told |= state.tell(happened);
            }
        }
        if told {
            instance.queue.wake(PollEvents::IN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inode() -> InodeId {
        InodeId::anonymous(DeviceNumber::new(0, 99))
    }

    fn read(instance: &Inotify) -> Vec<u8> {
        let mut buffer = [0; 512];
        let n = instance
            .read_at(&mut Destination::kernel(&mut buffer), 0)
            .unwrap_or(0);
        buffer[..n].to_vec()
    }

    #[test]
    fn events_come_with_padded_names_and_once() {
        let (instance, directory) = (Inotify::new(), inode());
        let watch = instance.add_watch(directory, mask::CREATE).unwrap();
        notify_entry(directory, mask::CREATE, 0, b"file", false);
        notify_entry(directory, mask::CREATE, 0, b"file", false);
        notify_entry(directory, mask::DELETE, 0, b"file", false);
        assert_eq!(instance.unread(), 32);
        let bytes = read(&instance);
        assert_eq!(bytes[..4], watch.to_le_bytes());
        assert_eq!(bytes[4..8], mask::CREATE.to_le_bytes());
        assert_eq!(bytes[12..16], 16u32.to_le_bytes());
        assert_eq!(&bytes[16..21], b"file\0");
        assert_eq!(bytes.len(), 32);
        assert_eq!(instance.poll(), PollEvents::empty());
    }

    #[test]
    fn a_watch_ends_with_its_inode() {
        let (instance, file) = (Inotify::new(), inode());
        let watch = instance.add_watch(file, mask::MODIFY).unwrap();
        assert_eq!(
            instance.add_watch(file, mask::ATTRIB | mask::MASK_ADD),
            Ok(watch)
        );
        assert_eq!(
            instance.add_watch(file, mask::ATTRIB | mask::MASK_CREATE),
            Err(Errno::EEXIST)
        );
        notify_self(file, mask::DELETE_SELF, false);
        let bytes = read(&instance);
        assert_eq!(bytes[4..8], mask::IGNORED.to_le_bytes());
        assert_eq!(instance.remove_watch(watch), Err(Errno::EINVAL));
    }

    #[test]
    fn the_directory_is_told_first_and_nobody_who_excludes_unlinked_files() {
        let (instance, directory, file) = (Inotify::new(), inode(), inode());
        let on_file = instance.add_watch(file, mask::ALL).unwrap();
        let on_directory = instance
            .add_watch(directory, mask::ALL | mask::EXCL_UNLINK)
            .unwrap();
        let entry = Some((directory, &b"f"[..]));
        notify_access(entry, file, mask::OPEN, false, false);
        let bytes = read(&instance);
        assert_eq!(bytes[..4], on_directory.to_le_bytes());
        assert_eq!(bytes[32..36], on_file.to_le_bytes());
        notify_access(entry, file, mask::MODIFY, false, true);
        let bytes = read(&instance);
        assert_eq!((bytes.len(), &bytes[..4]), (16, &on_file.to_le_bytes()[..]));
    }

    #[test]
    fn directories_are_marked_except_in_events_about_themselves() {
        let (instance, directory) = (Inotify::new(), inode());
        instance.add_watch(directory, mask::ALL).unwrap();
        notify_self(directory, mask::ATTRIB, true);
        notify_self(directory, mask::MOVE_SELF, true);
        let bytes = read(&instance);
        assert_eq!(bytes[4..8], (mask::ATTRIB | mask::ISDIR).to_le_bytes());
        assert_eq!(bytes[20..24], mask::MOVE_SELF.to_le_bytes());
    }

    #[test]
    fn a_full_queue_says_so_once() {
        let (instance, file) = (Inotify::new(), inode());
        instance.add_watch(file, mask::ALL).unwrap();
        for _ in 0..MAX_QUEUED {
            notify_self(file, mask::MODIFY, false);
            notify_self(file, mask::ACCESS, false);
        }
        let state = instance.state.lock();
        assert_eq!(state.events.len(), MAX_QUEUED + 1);
        let last = state.events.back().unwrap();
        assert_eq!((last.watch, last.mask), (-1, mask::Q_OVERFLOW));
    }

    #[test]
    fn a_buffer_too_small_for_one_event_is_refused() {
        let (instance, file) = (Inotify::new(), inode());
        instance.add_watch(file, mask::MODIFY).unwrap();
        notify_self(file, mask::MODIFY, false);
        let mut buffer = [0; 8];
        let result = instance.read_at(&mut Destination::kernel(&mut buffer), 0);
        assert_eq!(result, Err(Errno::EINVAL));
        assert_eq!(read(&instance).len(), 16);
    }
}
