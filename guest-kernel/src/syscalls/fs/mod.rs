//! System calls about names, inodes and descriptors.
//!
//! | file | calls |
//! |---|---|
//! | `open` | open and its kin, close, memfd_create |
//! | `processes` | what `/proc` shows of processes |
//! | `descriptors` | dup, fcntl, ioctl, flock |
//! | `status` | stat, statx, statfs, access |
//! | `names` | mkdir, unlink, rename, link, symlink, mknod, readlink |
//! | `attributes` | chmod, chown, utimes, truncate, fallocate |
//! | `xattr` | extended attributes |
//! | `directories` | getdents, getcwd, chdir, chroot, umask |
//! | `watch` | inotify |

mod attributes;
mod descriptors;
mod directories;
mod names;
mod open;
mod processes;
mod status;
mod watch;
mod xattr;

pub use attributes::*;
pub use descriptors::*;
pub use directories::*;
pub use names::*;
pub use open::*;
pub use processes::show_processes;
pub use status::*;
pub use watch::*;
pub use xattr::*;

use crate::errno::{Errno, Result};
use crate::fs::file::{File, OpenFile};
use crate::fs::inode::{FileKind, Inode, Metadata, SetAttributes};
use crate::fs::inotify::{self, mask};
use crate::fs::path::{self, Context, End, Entry, Follow, Found};
use crate::syscalls::args::{DirFd, Fd, UserCStr};
use crate::task::Ctx;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Flags of the at-calls.
mod at {
    pub const SYMLINK_NOFOLLOW: u32 = 0x100;
    pub const REMOVEDIR: u32 = 0x200;
    pub const EACCESS: u32 = 0x200;
    pub const SYMLINK_FOLLOW: u32 = 0x400;
    pub const NO_AUTOMOUNT: u32 = 0x800;
    pub const EMPTY_PATH: u32 = 0x1000;
    pub const STATX_SYNC_TYPE: u32 = 0x6000;
}

/// The open file of a descriptor.
pub fn open_file(ctx: &Ctx, fd: Fd) -> Result<Arc<OpenFile>> {
    ctx.files().lock().get(fd.0)
}

/// The open file of a descriptor that O_PATH did not open.
pub fn usable_file(ctx: &Ctx, fd: Fd) -> Result<Arc<OpenFile>> {
    ctx.files().lock().get_usable(fd.0)
}

/// Where resolution of a path of a call begins.
struct Place {
    root: Arc<dyn Inode>,
    start: Arc<dyn Inode>,
}

impl Place {
    /// For `path` relative to `dirfd`, which only matters if the path is relative.
    fn of(ctx: &Ctx, dirfd: DirFd, path: &[u8]) -> Result<Place> {
        let (root, cwd) = {
            let fs = ctx.fs().lock();
            (fs.root.clone(), fs.cwd.clone())
        };
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        if dirfd == DirFd::CWD || path.first() == Some(&b'/') {
            return Ok(Place { root, start: cwd });
        }
        let start = open_file(ctx, Fd(dirfd.0))?
            .file()
            .inode()
            .ok_or(Errno::ENOTDIR)?;
        match start.kind() {
            FileKind::Directory => Ok(Place { root, start }),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn context(&self) -> Context<'_> {
        Context {
            root: &self.root,
            start: &self.start,
        }
    }
}

/// The entry that a path of a call names.
fn entry(ctx: &Ctx, dirfd: DirFd, path: UserCStr, otherwise: Errno) -> Result<Entry> {
    let path = path.read_path(ctx)?;
    let place = Place::of(ctx, dirfd, &path)?;
    path::resolve_entry(&place.context(), &path, otherwise)
}

/// What a path of a call leads to.
enum Target {
    Found(Found),
    /// An open file, through a magic link.
    File(Arc<dyn File>),
    /// What a descriptor stands for.
    Open(Arc<OpenFile>),
}

impl Target {
    /// `path` from `dirfd`; with AT_EMPTY_PATH in `flags`, an empty path is the descriptor itself.
    fn find(ctx: &Ctx, dirfd: DirFd, path: UserCStr, flags: u32, follow: Follow) -> Result<Target> {
        let path = match path.0.is_null() && flags & at::EMPTY_PATH != 0 {
            true => Vec::new(),
            false => path.read_path(ctx)?,
        };
        if path.is_empty() && flags & at::EMPTY_PATH != 0 {
            if dirfd == DirFd::CWD {
                let inode = ctx.fs().lock().cwd.clone();
                return Ok(Target::Found(Found {
                    inode,
                    entry: None,
                    shown: None,
                }));
            }
            return Target::of_fd(ctx, Fd(dirfd.0));
        }
        let place = Place::of(ctx, dirfd, &path)?;
        Ok(match path::walk(&place.context(), &path, follow)? {
            End::Here(inode, shown) => Target::Found(Found {
                inode,
                entry: None,
                shown,
            }),
            End::Entry(entry) => Target::Found(entry.found()?),
            End::File(file) => Target::File(file),
        })
    }

    fn of_fd(ctx: &Ctx, fd: Fd) -> Result<Target> {
        Ok(Target::Open(open_file(ctx, fd)?))
    }

    fn metadata(&self) -> Result<Metadata> {
        match self {
            Target::Found(found) => found.inode.metadata(),
            Target::File(file) => file.metadata(),
            Target::Open(open) => open.file().metadata(),
        }
    }

    /// The inode; EINVAL for a file that is none (pipe, socket).
    fn inode(&self) -> Result<Arc<dyn Inode>> {
        match self {
            Target::Found(found) => Ok(found.inode.clone()),
            Target::File(file) => file.inode().ok_or(Errno::EINVAL),
            Target::Open(open) => open.file().inode().ok_or(Errno::EINVAL),
        }
    }

    /// Changes attributes, and tells watchers: of one time alone as of an access or a change.
    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        let inode = self.inode()?;
        inode.clone().set_attributes(change)?;
        let attributes = change.mode.is_some() || change.uid.is_some() || change.gid.is_some();
        let attributes = if attributes { mask::ATTRIB } else { 0 };
        let times = match (change.atime, change.mtime) {
            (Some(_), Some(_)) => mask::ATTRIB,
            (Some(_), None) => mask::ACCESS,
            (None, Some(_)) => mask::MODIFY,
            (None, None) => 0,
        };
        if attributes | times != 0 {
            self.notify(&inode, attributes | times);
        }
        Ok(())
    }

    /// Tells the watchers of the inode, and of the directory it was found in, of an event.
    fn notify(&self, inode: &Arc<dyn Inode>, mask: u32) {
        if !inotify::active() {
            return;
        }
        let entry = match self {
            Target::Open(open) => return open.notify(mask),
            Target::Found(Found {
                entry: Some((dir, name)),
                ..
            }) => Some((dir.id(), &name[..])),
            _ => None,
        };
        let is_directory = inode.kind() == FileKind::Directory;
        inotify::notify_access(entry, inode.id(), mask, is_directory, false);
    }
}

/// `Follow` of a call with AT_SYMLINK_NOFOLLOW among its `flags`.
fn follow_unless(flags: u32) -> Follow {
    match flags & at::SYMLINK_NOFOLLOW {
        0 => Follow::Always,
        _ => Follow::IfSlash,
    }
}

/// EINVAL if `flags` has bits other than `known`.
fn only(flags: u32, known: u32) -> Result<()> {
    match flags & !known {
        0 => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}
