//! Open files: what every descriptor refers to.
//!
//! A [`File`] never blocks: an operation that would answers EAGAIN, [`File::poll`] says what is
//! ready, and [`File::wait_queue`] is woken when that may have changed. Blocking, O_NONBLOCK,
//! time-outs and signals are the system-call layer's.

use crate::errno::{Errno, Result};
use crate::fs::inode::{FileKind, Inode, InodeId, Metadata};
use crate::fs::inotify::{self, mask};
use crate::fs::locks;
use crate::fs::owner::Owner;
use crate::io::{Destination, Source};
use crate::mm::{AddressSpace, FileMapping};
use crate::sync::{Lock, LockGuard, Rank};
use crate::wait::{PollEvents, WaitQueue};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bitflags::bitflags;
use core::any::Any;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

bitflags! {
    /// Flags of `open(2)` with x86-64's values.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OpenFlags: u32 {
        #[allow(missing_docs)] const WRONLY = 0o1;
        #[allow(missing_docs)] const RDWR = 0o2;
        #[allow(missing_docs)] const CREAT = 0o100;
        #[allow(missing_docs)] const EXCL = 0o200;
        #[allow(missing_docs)] const NOCTTY = 0o400;
        #[allow(missing_docs)] const TRUNC = 0o1000;
        #[allow(missing_docs)] const APPEND = 0o2000;
        #[allow(missing_docs)] const NONBLOCK = 0o4000;
        #[allow(missing_docs)] const DSYNC = 0o10000;
        #[allow(missing_docs)] const ASYNC = 0o20000;
        #[allow(missing_docs)] const DIRECT = 0o40000;
        #[allow(missing_docs)] const LARGEFILE = 0o100000;
        #[allow(missing_docs)] const DIRECTORY = 0o200000;
        #[allow(missing_docs)] const NOFOLLOW = 0o400000;
        #[allow(missing_docs)] const NOATIME = 0o1000000;
        #[allow(missing_docs)] const CLOEXEC = 0o2000000;
        #[allow(missing_docs)] const PATH = 0o10000000;
        #[allow(missing_docs)] const TMPFILE = 0o20000000;
    }
}

impl OpenFlags {
    /// Whether reading is allowed.
    pub fn readable(self) -> bool {
        !self.contains(OpenFlags::WRONLY) && !self.contains(OpenFlags::PATH)
    }

    /// Whether writing is allowed.
    pub fn writable(self) -> bool {
        self.intersects(OpenFlags::WRONLY | OpenFlags::RDWR) && !self.contains(OpenFlags::PATH)
    }
}

/// What is behind an open file. Offsets are ignored by files that are not seekable.
pub trait File: Send + Sync {
    /// Reads at `offset`; 0 bytes: end of file; EAGAIN: nothing now.
    fn read_at(&self, dst: &mut Destination<'_>, offset: u64) -> Result<usize>;

    /// Writes at `offset`; EAGAIN: no room now.
    fn write_at(&self, src: &mut Source<'_>, offset: u64) -> Result<usize>;

    /// Whether the file has offsets (regular files, directories); others answer ESPIPE to lseek.
    fn seekable(&self) -> bool {
        false
    }

    /// Who signals about it go to, for files that send some of their own accord.
    fn owner(&self) -> Option<&Owner> {
        None
    }

    /// What is ready now.
    fn poll(&self) -> PollEvents;

    /// Woken when readiness may have grown; `None`: always ready (regular files).
    fn wait_queue(&self) -> Option<&WaitQueue>;

    /// For fstat.
    fn metadata(&self) -> Result<Metadata>;

    /// The inode behind it, if it has a place in a file system.
    fn inode(&self) -> Option<Arc<dyn Inode>> {
        None
    }

    /// `ioctl`: `arg` as passed, memory through `space`.
    fn ioctl(&self, space: &AddressSpace, command: u32, arg: u64) -> Result<u64> {
        let _ = (space, command, arg);
        Err(Errno::ENOTTY)
    }

    /// For mmap: the pages of the file. ENODEV: can't be mapped.
    fn mapping(&self) -> Result<Arc<dyn FileMapping>> {
        Err(Errno::ENODEV)
    }

    /// Called when O_NONBLOCK, O_APPEND, ... changed or were set first, for files that care.
    fn flags_changed(&self, flags: OpenFlags) {
        let _ = flags;
    }

    /// Monotonic moments at which a read and a write that wait now give up (SO_RCVTIMEO,
    /// SO_SNDTIMEO).
    fn deadlines(&self) -> [Option<u64>; 2] {
        [None, None]
    }

    /// A read begins, which may take several attempts.
    fn read_begins(&self) {}

    /// What `/proc/self/fd/N` shows when there is no path, e.g. `pipe:[12]`, `socket:[7]`,
    /// `anon_inode:[eventpoll]`.
    fn describe(&self) -> Vec<u8>;

    /// Appends what `/proc/self/fdinfo/N` shows beyond what all files have.
    fn describe_state(&self, out: &mut String) {
        let _ = out;
    }

    /// For calls that only one kind of file has (sockets, epoll, timerfd, directories).
    fn as_any(&self) -> &dyn Any;
}

/// An open file description (`struct file` in Linux): shared by descriptors that dup or fork made.
pub struct OpenFile {
    file: Arc<dyn File>,
    flags: AtomicU32,
    offset: Lock<()>,
    position: AtomicU64,
    path: Vec<u8>,
    directory: Option<InodeId>,
    /// The process that signals about it go to; 0: none.
    owner: AtomicU32,
    /// The signal that F_SETSIG chose; 0: SIGIO.
    signal: AtomicU32,
}

/// Flags fcntl(F_SETFL) can change.
const SETTABLE: OpenFlags = OpenFlags::APPEND
    .union(OpenFlags::NONBLOCK)
    .union(OpenFlags::ASYNC)
    .union(OpenFlags::NOATIME);

impl OpenFile {
    /// Opens `file` under absolute `path` (empty: none) with `flags`.
    pub fn new(file: Arc<dyn File>, flags: OpenFlags, path: Vec<u8>) -> Arc<OpenFile> {
        Self::opened_in(file, flags, path, None)
    }

    /// As [`OpenFile::new`], for an entry of `directory`, whose watchers are told what happens.
    pub fn opened_in(
        file: Arc<dyn File>,
        flags: OpenFlags,
        path: Vec<u8>,
        directory: Option<InodeId>,
    ) -> Arc<OpenFile> {
        let kept = flags
            - (OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::NOCTTY | OpenFlags::TRUNC)
            - OpenFlags::CLOEXEC;
        file.flags_changed(kept);
        let flags = AtomicU32::new(kept.bits());
        let open = OpenFile {
            file,
            flags,
            offset: Lock::new(Rank::OpenFile, ()),
            position: AtomicU64::new(0),
            path,
            directory,
            owner: AtomicU32::new(0),
            signal: AtomicU32::new(0),
        };
        open.notify(mask::OPEN);
        Arc::new(open)
    }

    /// Tells watchers of the file and its directory of an event. What O_PATH opens is not used.
    pub fn notify(&self, mask: u32) {
        if !inotify::active() || self.flags().contains(OpenFlags::PATH) {
            return;
        }
        let Some(inode) = self.file.inode() else {
            return;
        };
        let name = self.path.rsplit(|&byte| byte == b'/').next();
        let unlinked = inode.metadata().is_ok_and(|metadata| metadata.nlink == 0);
        let is_directory = inode.kind() == FileKind::Directory;
        let entry = self.directory.zip(name);
        inotify::notify_access(entry, inode.id(), mask, is_directory, unlinked);
    }

    /// Tells watchers of a transfer of `bytes`.
    fn notify_transfer(&self, bytes: usize, mask: u32) {
        if bytes > 0 {
            self.notify(mask);
        }
    }

    /// The process that signals about the file go to (F_GETOWN); 0: none.
    pub fn owner(&self) -> u32 {
        self.owner.load(Ordering::Relaxed)
    }

    /// Makes a process its owner.
    pub fn own(&self, pid: u32) {
        self.owner.store(pid, Ordering::Relaxed);
    }

    /// The signal of F_SETSIG; 0: SIGIO.
    pub fn signal(&self) -> u32 {
        self.signal.load(Ordering::Relaxed)
    }

    /// F_SETSIG.
    pub fn set_signal(&self, signal: u32) {
        self.signal.store(signal, Ordering::Relaxed);
    }

    /// Who locks of the open file description belong to.
    pub fn lock_owner(&self) -> locks::Owner {
        locks::Owner::File(core::ptr::from_ref(self).addr())
    }

    /// The file behind it.
    pub fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// The file as `T`, if that is its kind.
    pub fn downcast<T: 'static>(&self) -> Option<&T> {
        self.file.as_any().downcast_ref()
    }

    /// Absolute path it was opened under; empty if none.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Status flags, with access mode.
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// fcntl(F_SETFL).
    pub fn set_flags(&self, flags: OpenFlags) {
        let new = (self.flags() - SETTABLE) | (flags & SETTABLE);
        self.flags.store(new.bits(), Ordering::Relaxed);
        self.file.flags_changed(new);
    }

    /// read(2) without blocking.
    pub fn read(&self, dst: &mut Destination<'_>) -> Result<usize> {
        if !self.flags().readable() {
            return Err(Errno::EBADF);
        }
        if !self.file.seekable() {
            let n = self.file.read_at(dst, 0)?;
            self.notify_transfer(n, mask::ACCESS);
            return Ok(n);
        }
        let n = {
            let mut offset = self.offset();
            let n = self.file.read_at(dst, *offset)?;
            *offset += n as u64;
            n
        };
        self.notify_transfer(n, mask::ACCESS);
        Ok(n)
    }

    /// write(2) without blocking.
    pub fn write(&self, src: &mut Source<'_>) -> Result<usize> {
        if !self.flags().writable() {
            return Err(Errno::EBADF);
        }
        if !self.file.seekable() {
            let n = self.file.write_at(src, 0)?;
            self.notify_transfer(n, mask::MODIFY);
            return Ok(n);
        }
        let n = {
            let mut offset = self.offset();
            if self.flags().contains(OpenFlags::APPEND) {
                *offset = self.file.metadata()?.size;
            }
            let n = self.file.write_at(src, *offset)?;
            *offset += n as u64;
            n
        };
        self.notify_transfer(n, mask::MODIFY);
        Ok(n)
    }

    /// pread(2).
    pub fn pread(&self, dst: &mut Destination<'_>, offset: u64) -> Result<usize> {
        if !self.flags().readable() {
            return Err(Errno::EBADF);
        }
        if !self.file.seekable() {
            return Err(Errno::ESPIPE);
        }
        let n = self.file.read_at(dst, offset)?;
        self.notify_transfer(n, mask::ACCESS);
        Ok(n)
    }

    /// pwrite(2): as on Linux, O_APPEND wins over the offset.
    pub fn pwrite(&self, src: &mut Source<'_>, offset: u64) -> Result<usize> {
        match self.flags().contains(OpenFlags::APPEND) {
            true => self.pwrite_here(src, self.file.metadata()?.size),
            false => self.pwrite_here(src, offset),
        }
    }

    /// As [`OpenFile::pwrite`], at the offset in any case (RWF_NOAPPEND).
    pub fn pwrite_here(&self, src: &mut Source<'_>, offset: u64) -> Result<usize> {
        if !self.flags().writable() {
            return Err(Errno::EBADF);
        }
        if !self.file.seekable() {
            return Err(Errno::ESPIPE);
        }
        let n = self.file.write_at(src, offset)?;
        self.notify_transfer(n, mask::MODIFY);
        Ok(n)
    }

    /// The file offset, locked (lseek, getdents, sendfile).
    pub fn offset(&self) -> Offset<'_> {
        let held = self.offset.lock();
        Offset {
            value: self.position(),
            position: &self.position,
            _held: held,
        }
    }

    /// The file offset as it was before what may be going on now (/proc/PID/fdinfo, which can be
    /// the very file that is being read).
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }
}

/// The locked offset of an open file; changes take effect when it is dropped.
pub struct Offset<'a> {
    value: u64,
    position: &'a AtomicU64,
    _held: LockGuard<'a, ()>,
}

impl core::ops::Deref for Offset<'_> {
    type Target = u64;
    fn deref(&self) -> &u64 {
        &self.value
    }
}

impl core::ops::DerefMut for Offset<'_> {
    fn deref_mut(&mut self) -> &mut u64 {
        &mut self.value
    }
}

impl Drop for Offset<'_> {
    fn drop(&mut self) {
        self.position.store(self.value, Ordering::Relaxed);
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        let closed = match self.flags().writable() {
            true => mask::CLOSE_WRITE,
            false => mask::CLOSE_NOWRITE,
        };
        self.notify(closed);
        locks::release_owner(self.lock_owner());
    }
}
