//! F_NOTIFY: a signal when something happens in a directory, the elder of inotify.
//!
//! A watch belongs to an open directory and the descriptor table it was asked through, and ends with
//! the descriptor. The signal is SIGIO, or what F_SETSIG chose, to the process that asked.

use crate::errno::{Errno, Result};
use crate::fs::fd::TableId;
use crate::fs::file::OpenFile;
use crate::fs::inode::{FileKind, InodeId};
use crate::fs::inotify::mask;
use crate::sync::{Lock, Rank};
use crate::task::signal::send_to_process;
use crate::task::{Process, SigInfo};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Events of F_NOTIFY.
mod dn {
    pub const ACCESS: u32 = 0x1;
    pub const MODIFY: u32 = 0x2;
    pub const CREATE: u32 = 0x4;
    pub const DELETE: u32 = 0x8;
    pub const RENAME: u32 = 0x10;
    pub const ATTRIB: u32 = 0x20;
    /// Again and again, not once.
    pub const MULTISHOT: u32 = 0x8000_0000;
}

const SIGIO: u32 = 29;
/// `si_code` and `si_band` of what F_SETSIG chose.
const POLL_MSG: i32 = 3;
const BAND: u64 = 0x1 | 0x40 | 0x400;

struct Watch {
    directory: InodeId,
    file: Weak<OpenFile>,
    table: TableId,
    fd: i32,
    mask: u32,
    process: Weak<Process>,
}

static WATCHES: Lock<Vec<Watch>> = Lock::new(Rank::Registry, Vec::new());
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Whether anybody watches.
pub fn active() -> bool {
    COUNT.load(Ordering::Relaxed) > 0
}

/// `fcntl(F_NOTIFY)`: more events to tell `process` of; none at all ends the watch. The argument is
/// a long, of which DN_MULTISHOT is a bit of its own and the upper half means nothing.
pub fn watch(
    file: &Arc<OpenFile>,
    fd: i32,
    table: TableId,
    process: &Arc<Process>,
    events: u64,
) -> Result<()> {
    let events = events as u32;
    if events & !dn::MULTISHOT == 0 {
        end(file, table);
        return Ok(());
    }
    let inode = file.file().inode().ok_or(Errno::ENOTDIR)?;
    if inode.kind() != FileKind::Directory {
        return Err(Errno::ENOTDIR);
    }
    file.own(process.pid());
    let mut watches = WATCHES.lock();
    let mine = |watch: &&mut Watch| watch.is_of(file) && watch.table == table;
    match watches.iter_mut().find(mine) {
        Some(watch) => {
            watch.mask |= events;
            watch.fd = fd;
        }
        None => watches.push(Watch {
            directory: inode.id(),
            file: Arc::downgrade(file),
            table,
            fd,
            mask: events,
            process: Arc::downgrade(process),
        }),
    }
    COUNT.store(watches.len(), Ordering::Relaxed);
    Ok(())
}

/// A descriptor of a table is closed.
pub fn end(file: &Arc<OpenFile>, table: TableId) {
    if active() {
        retain(|watch| !(watch.is_of(file) && watch.table == table));
    }
}

fn retain(keep: impl FnMut(&Watch) -> bool) {
    let mut watches = WATCHES.lock();
    watches.retain(keep);
    COUNT.store(watches.len(), Ordering::Relaxed);
}

impl Watch {
    fn is_of(&self, file: &Arc<OpenFile>) -> bool {
        core::ptr::eq(self.file.as_ptr(), Arc::as_ptr(file))
    }
}

/// What a watch must ask for to be told of an event of inotify.
fn wanted_by(event: u32) -> u32 {
    [
        (mask::ACCESS, dn::ACCESS),
        (mask::MODIFY, dn::MODIFY),
        (mask::ATTRIB, dn::ATTRIB),
        (mask::CREATE | mask::MOVED_TO, dn::CREATE),
        (mask::DELETE | mask::MOVED_FROM, dn::DELETE),
    ]
    .iter()
    .filter(|(events, _)| event & events != 0)
    .fold(0, |all, (_, wanted)| all | wanted)
}

/// An event (as of inotify) of a directory or what is in it.
pub fn notify(directory: InodeId, event: u32) {
    let wanted = wanted_by(event);
    if active() && wanted != 0 {
        tell(directory, wanted);
    }
}

/// An entry got another name in the same directory.
pub fn renamed(directory: InodeId) {
    if active() {
        tell(directory, dn::RENAME);
    }
}

fn tell(directory: InodeId, wanted: u32) {
    let mut signals = Vec::new();
    // What is upgraded is dropped when the list is free again: it may be the last reference.
    retain(|watch| {
        if watch.directory != directory || watch.mask & wanted == 0 {
            return watch.file.strong_count() > 0;
        }
        if let (Some(process), Some(file)) = (watch.process.upgrade(), watch.file.upgrade()) {
            signals.push((process, file, watch.fd));
        }
        watch.mask & dn::MULTISHOT != 0
    });
    for (process, file, fd) in signals {
        let info = match file.signal() {
            0 => SigInfo::kernel(SIGIO),
            signal => {
                let mut info = SigInfo::new(signal, POLL_MSG);
                info.fields[0] = BAND;
                info.fields[1] = fd as u32 as u64;
                info
            }
        };
        // A process that is gone, or has no room for it, is not told.
        let _ = send_to_process(&process, info);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_are_creations_and_deletions() {
        assert_eq!(wanted_by(mask::MOVED_TO), dn::CREATE);
        assert_eq!(wanted_by(mask::MOVED_FROM | mask::ISDIR), dn::DELETE);
        assert_eq!(wanted_by(mask::OPEN | mask::CLOSE_WRITE), 0);
    }
}
