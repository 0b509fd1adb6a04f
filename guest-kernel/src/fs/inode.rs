//! Inodes: what a name in a directory stands for, in any file system.

use crate::errno::{Errno, Result};
use crate::fs::file::{File, OpenFlags};
use crate::sync::Lock;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};

/// Longest name in a directory.
pub const NAME_MAX: usize = 255;

/// Identity of an inode: stable, and unique while the inode exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InodeId {
    /// The file system's device number.
    pub dev: DeviceNumber,
    /// Number within it.
    pub ino: u64,
}

impl InodeId {
    /// A fresh identity for an inode without a name (pipe, socket, epoll, memfd, ...).
    pub fn anonymous(dev: DeviceNumber) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        InodeId {
            dev,
            ino: NEXT.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// A device number: major and minor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceNumber {
    /// Major number; 0 for file systems without a block device.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

impl DeviceNumber {
    /// Pipes without a name.
    pub const PIPES: DeviceNumber = DeviceNumber::new(0, 8);
    /// Sockets.
    pub const SOCKETS: DeviceNumber = DeviceNumber::new(0, 9);
    /// eventfd, epoll, timerfd, inotify, ...
    pub const ANONYMOUS: DeviceNumber = DeviceNumber::new(0, 10);
    /// The console streams the host gave.
    pub const CONSOLE: DeviceNumber = DeviceNumber::new(0, 11);
    /// `/proc`.
    pub const PROC: DeviceNumber = DeviceNumber::new(0, 20);
    /// `/sys`.
    pub const SYS: DeviceNumber = DeviceNumber::new(0, 21);

    /// From its two parts.
    pub const fn new(major: u32, minor: u32) -> Self {
        DeviceNumber { major, minor }
    }

    /// From `dev_t` as system calls carry it.
    pub const fn decode(dev: u64) -> Self {
        DeviceNumber {
            major: ((dev >> 8) & 0xfff) as u32 | ((dev >> 32) as u32 & !0xfff),
            minor: (dev & 0xff) as u32 | ((dev >> 12) as u32 & !0xff),
        }
    }

    /// As `dev_t`.
    pub const fn encode(self) -> u64 {
        let (major, minor) = (self.major as u64, self.minor as u64);
        (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12 | (major & !0xfff) << 32
    }
}

/// The type of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Regular file.
    Regular,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
    /// Named or unnamed pipe.
    Fifo,
    /// Socket.
    Socket,
    /// eventfd, epoll, ...: no type bits at all.
    Anonymous,
}

impl FileKind {
    /// The `S_IFMT` bits of `st_mode`.
    pub const fn mode_bits(self) -> u32 {
        match self {
            FileKind::Regular => 0o100000,
            FileKind::Directory => 0o040000,
            FileKind::Symlink => 0o120000,
            FileKind::CharDevice => 0o020000,
            FileKind::BlockDevice => 0o060000,
            FileKind::Fifo => 0o010000,
            FileKind::Socket => 0o140000,
            FileKind::Anonymous => 0,
        }
    }

    /// From the `S_IFMT` bits of a mode.
    pub const fn from_mode(mode: u32) -> Option<FileKind> {
        Some(match mode & 0o170000 {
            0o100000 => FileKind::Regular,
            0o040000 => FileKind::Directory,
            0o120000 => FileKind::Symlink,
            0o020000 => FileKind::CharDevice,
            0o060000 => FileKind::BlockDevice,
            0o010000 => FileKind::Fifo,
            0o140000 => FileKind::Socket,
            _ => return None,
        })
    }

    /// `d_type` of getdents64.
    pub const fn dirent_type(self) -> u8 {
        (self.mode_bits() >> 12) as u8
    }
}

/// Permission bits, with set-user-id, set-group-id and sticky: `0o7777`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode(u16);

impl Mode {
    /// The permission part of `bits`.
    pub const fn new(bits: u32) -> Self {
        Mode((bits & 0o7777) as u16)
    }

    /// The bits.
    pub const fn bits(self) -> u32 {
        self.0 as u32
    }

    /// Without the bits of `umask`.
    pub const fn masked(self, umask: Mode) -> Self {
        Mode(self.0 & !(umask.0 & 0o777))
    }

    /// What chown leaves of it on anything but a directory: no set-user-id, and no set-group-id
    /// where that bit means what it says, which is where the group may execute.
    pub const fn after_chown(self) -> Self {
        match self.0 & 0o010 {
            0 => Mode(self.0 & !0o4000),
            _ => Mode(self.0 & !0o6000),
        }
    }

    /// Whether anybody may execute.
    pub const fn executable(self) -> bool {
        self.0 & 0o111 != 0
    }
}

/// A point in time of an inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970.
    pub sec: i64,
    /// Nanoseconds, below 1e9.
    pub nsec: u32,
}

impl Time {
    /// Now, of the realtime clock.
    pub fn now() -> Self {
        let ns = crate::time::realtime_ns();
        Time {
            sec: (ns / 1_000_000_000) as i64,
            nsec: (ns % 1_000_000_000) as u32,
        }
    }
}

/// What `stat` tells about an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Identity.
    pub id: InodeId,
    /// Type.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: Mode,
    /// Number of names.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node.
    pub rdev: DeviceNumber,
    /// Bytes.
    pub size: u64,
    /// Allocated, in units of 512 bytes.
    pub blocks: u64,
    /// Last access.
    pub atime: Time,
    /// Last change of the data.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// Creation.
    pub btime: Time,
}

/// Preferred transfer size (`st_blksize`).
const BLOCK_SIZE: u32 = 4096;

impl Metadata {
    /// Of an inode without a name: owned by root, one link, all times the epoch of the guest.
    pub fn anonymous(id: InodeId, kind: FileKind, mode: u32) -> Self {
        Metadata {
            id,
            kind,
            mode: Mode::new(mode),
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: DeviceNumber::default(),
            size: 0,
            blocks: 0,
            atime: Time::default(),
            mtime: Time::default(),
            ctime: Time::default(),
            btime: Time::default(),
        }
    }

    /// `st_mode`: type and permissions.
    pub fn st_mode(&self) -> u32 {
        self.kind.mode_bits() | self.mode.bits()
    }

    /// As x86-64's `struct stat`.
    pub fn to_stat(&self) -> [u8; 144] {
        let mut out = [0; 144];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.id.dev.encode().to_le_bytes());
        put(8, &self.id.ino.to_le_bytes());
        put(16, &u64::from(self.nlink).to_le_bytes());
        put(24, &self.st_mode().to_le_bytes());
        put(28, &self.uid.to_le_bytes());
        put(32, &self.gid.to_le_bytes());
        put(40, &self.rdev.encode().to_le_bytes());
        put(48, &self.size.to_le_bytes());
        put(56, &u64::from(BLOCK_SIZE).to_le_bytes());
        put(64, &self.blocks.to_le_bytes());
        for (at, time) in [(72, self.atime), (88, self.mtime), (104, self.ctime)] {
            put(at, &time.sec.to_le_bytes());
            put(at + 8, &u64::from(time.nsec).to_le_bytes());
        }
        out
    }

    /// As `struct statx`: the basic fields, the birth time and the mount id.
    pub fn to_statx(&self, attributes: u64, mount_id: u64) -> [u8; 256] {
        /// STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID.
        const MASK: u32 = 0x7ff | 0x800 | 0x1000;
        /// STATX_ATTR_MOUNT_ROOT: the one attribute told.
        const ATTRIBUTES_MASK: u64 = 0x2000;
        let mut out = [0; 256];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MASK.to_le_bytes());
        put(4, &BLOCK_SIZE.to_le_bytes());
        put(8, &attributes.to_le_bytes());
        put(16, &self.nlink.to_le_bytes());
        put(20, &self.uid.to_le_bytes());
        put(24, &self.gid.to_le_bytes());
        put(28, &(self.st_mode() as u16).to_le_bytes());
        put(32, &self.id.ino.to_le_bytes());
        put(40, &self.size.to_le_bytes());
        put(48, &self.blocks.to_le_bytes());
        put(56, &ATTRIBUTES_MASK.to_le_bytes());
        for (at, time) in [
            (64, self.atime),
            (80, self.btime),
            (96, self.ctime),
            (112, self.mtime),
        ] {
            put(at, &time.sec.to_le_bytes());
            put(at + 8, &time.nsec.to_le_bytes());
        }
        put(128, &self.rdev.major.to_le_bytes());
        put(132, &self.rdev.minor.to_le_bytes());
        put(136, &self.id.dev.major.to_le_bytes());
        put(140, &self.id.dev.minor.to_le_bytes());
        put(144, &mount_id.to_le_bytes());
        out
    }
}

/// Changes of an inode's attributes; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetAttributes {
    /// chmod.
    pub mode: Option<Mode>,
    /// chown.
    pub uid: Option<u32>,
    /// chgrp.
    pub gid: Option<u32>,
    /// utimensat.
    pub atime: Option<Time>,
    /// utimensat.
    pub mtime: Option<Time>,
}

/// What to create in a directory.
#[derive(Clone, Copy, Debug)]
pub struct NewInode<'a> {
    /// Type.
    pub kind: FileKind,
    /// Permission bits, umask applied.
    pub mode: Mode,
    /// Owner.
    pub uid: u32,
    /// Group (a set-group-id directory overrides it).
    pub gid: u32,
    /// For devices.
    pub rdev: DeviceNumber,
    /// For symbolic links.
    pub target: &'a [u8],
}

impl NewInode<'_> {
    /// A file, directory, fifo or socket owned by root.
    pub fn of(kind: FileKind, mode: Mode) -> Self {
        NewInode {
            kind,
            mode,
            uid: 0,
            gid: 0,
            rdev: DeviceNumber::default(),
            target: &[],
        }
    }
}

/// How `renameat2` renames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameMode {
    /// Replace what is there.
    Replace,
    /// RENAME_NOREPLACE: EEXIST when something is there.
    NoReplace,
    /// RENAME_EXCHANGE: swap the two.
    Exchange,
}

/// One entry of a directory listing.
#[derive(Clone, Copy, Debug)]
pub struct DirEntry<'a> {
    /// The name.
    pub name: &'a [u8],
    /// Inode number.
    pub ino: u64,
    /// Type.
    pub kind: FileKind,
    /// Cookie that continues the listing after this entry.
    pub next: u64,
}

/// What statfs tells about a file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileSystemInfo {
    /// `f_type`.
    pub magic: u64,
    /// Blocks of 4096 bytes.
    pub blocks: u64,
    /// Of these, free.
    pub free_blocks: u64,
    /// Inodes.
    pub files: u64,
    /// Of these, free.
    pub free_files: u64,
    /// ST_* flags.
    pub flags: u64,
}

/// Where following a symbolic link leads.
pub enum LinkTarget {
    /// To a path, resolved as any other.
    Path(Vec<u8>),
    /// Straight to an inode (`/proc/self/fd/N`, `exe`, `cwd`), with the path to show for it.
    Inode(Arc<dyn Inode>, Vec<u8>),
    /// To an open file that has no inode (pipe, socket): opening it opens it again.
    File(Arc<dyn File>),
}

/// A slot where a fifo or bound socket inode keeps its live object.
pub type Attachment = Lock<Option<Arc<dyn Any + Send + Sync>>>;

/// An inode. The defaults are those of something that is not a directory and can't be changed.
///
/// Names given to directory operations are single components, never empty, `.` or `..`, and at most
/// [`NAME_MAX`] bytes.
pub trait Inode: Send + Sync {
    /// Identity.
    fn id(&self) -> InodeId;

    /// Type.
    fn kind(&self) -> FileKind;

    /// Everything stat tells.
    fn metadata(&self) -> Result<Metadata>;

    /// Changes attributes; the change time becomes now.
    fn set_attributes(self: Arc<Self>, change: &SetAttributes) -> Result<()> {
        let _ = change;
        Err(Errno::EPERM)
    }

    /// truncate(2) of a regular file.
    fn set_size(self: Arc<Self>, size: u64) -> Result<()> {
        let _ = size;
        Err(Errno::EINVAL)
    }

    /// Opens it, found at absolute `path` (for `/proc/self/maps`). O_CREAT, O_EXCL and O_DIRECTORY
    /// are the caller's; O_TRUNC is done here.
    fn open(self: Arc<Self>, flags: OpenFlags, path: &[u8]) -> Result<Arc<dyn File>>;

    /// The entry `name`, or ENOENT.
    fn lookup(self: Arc<Self>, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let _ = name;
        Err(Errno::ENOTDIR)
    }

    /// For a directory that is not its file system's root: the directory it is in, and its name
    /// there. `None` also for a removed directory.
    fn parent(&self) -> Option<(Arc<dyn Inode>, Vec<u8>)> {
        None
    }

    /// Creates entry `name`; EEXIST if there is one.
    fn create(self: Arc<Self>, name: &[u8], new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        let _ = (name, new);
        Err(Errno::EPERM)
    }

    /// Creates a regular file without a name (O_TMPFILE).
    fn create_unnamed(self: Arc<Self>, new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        let _ = new;
        Err(Errno::EOPNOTSUPP)
    }

    /// Makes `name` another name of `inode`.
    fn link(self: Arc<Self>, name: &[u8], inode: &Arc<dyn Inode>) -> Result<()> {
        let _ = (name, inode);
        Err(Errno::EPERM)
    }

    /// Removes entry `name`, which must not be a directory (EISDIR).
    fn unlink(self: Arc<Self>, name: &[u8]) -> Result<()> {
        let _ = name;
        Err(Errno::EPERM)
    }

    /// Removes the empty directory `name`.
    fn rmdir(self: Arc<Self>, name: &[u8]) -> Result<()> {
        let _ = name;
        Err(Errno::EPERM)
    }

    /// Moves entry `name` to `new_name` in `new_dir` of the same file system.
    fn rename(
        self: Arc<Self>,
        name: &[u8],
        new_dir: &Arc<dyn Inode>,
        new_name: &[u8],
        mode: RenameMode,
    ) -> Result<()> {
        let _ = (name, new_dir, new_name, mode);
        Err(Errno::EPERM)
    }

    /// Tells the entries after `cookie` (0: all) to `sink` until it answers false. `.` and `..` are
    /// not among them; cookies of entries are 3 and up.
    fn read_dir(
        self: Arc<Self>,
        cookie: u64,
        sink: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<()> {
        let _ = (cookie, sink);
        Err(Errno::ENOTDIR)
    }

    /// What a symbolic link says.
    fn readlink(&self) -> Result<Vec<u8>> {
        Err(Errno::EINVAL)
    }

    /// Where a symbolic link leads: as it says, unless it is a magic one.
    fn follow(&self) -> Result<LinkTarget> {
        self.readlink().map(LinkTarget::Path)
    }

    /// What statfs tells.
    fn file_system(&self) -> FileSystemInfo;

    /// The live object of a fifo or socket inode.
    fn attachment(&self) -> Option<&Attachment> {
        None
    }

    /// For operations between inodes of one file system.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_survive_encoding() {
        for (major, minor) in [(0, 5), (1, 3), (136, 0), (0xfffff, 0xfffff), (8, 0x12345)] {
            let dev = DeviceNumber::new(major, minor);
            assert_eq!(DeviceNumber::decode(dev.encode()), dev);
        }
        assert_eq!(DeviceNumber::new(1, 3).encode(), 0x103);
    }

    #[test]
    fn stat_has_the_fields_where_x86_64_wants_them() {
        let id = InodeId {
            dev: DeviceNumber::new(0, 5),
            ino: 7,
        };
        let mut meta = Metadata::anonymous(id, FileKind::Regular, 0o644);
        meta.size = 0x1234;
        meta.mtime = Time { sec: -2, nsec: 9 };
        let stat = meta.to_stat();
        assert_eq!(stat[24..28], 0o100644u32.to_le_bytes());
        assert_eq!(stat[48..56], 0x1234u64.to_le_bytes());
        assert_eq!(stat[88..96], (-2i64).to_le_bytes());
        let statx = meta.to_statx(0, 1);
        assert_eq!(statx[28..30], 0o100644u16.to_le_bytes());
        assert_eq!(statx[40..48], 0x1234u64.to_le_bytes());
        assert_eq!(statx[112..120], (-2i64).to_le_bytes());
    }

    #[test]
    fn kinds_and_modes_agree() {
        assert_eq!(FileKind::from_mode(0o100755), Some(FileKind::Regular));
        assert_eq!(FileKind::Directory.dirent_type(), 4);
        assert_eq!(FileKind::from_mode(0o777), None);
        assert_eq!(Mode::new(0o6777).masked(Mode::new(0o022)).bits(), 0o6755);
    }
}
