//! getdents, getcwd, chdir, chroot, umask.

use super::{Target, usable_file};
use crate::errno::{Errno, Result};
use crate::fs::inode::{DirEntry, FileKind, Inode, Mode};
use crate::fs::inotify::mask;
use crate::fs::path::{self, Follow};
use crate::syscalls::args::{DirFd, Fd, ModeArg, UserAddr, UserCStr};
use crate::task::Ctx;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Most bytes of a listing built at once.
const MAX_LISTING: usize = 64 << 10;

/// How an entry is laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    /// `struct linux_dirent`: the type is in the last byte.
    Old,
    /// `struct linux_dirent64`: the type is before the name.
    New,
}

impl Format {
    /// Bytes of `entry`.
    fn size(self, entry: &DirEntry<'_>) -> usize {
        // Inode number, cookie, size; type; name and its NUL.
        (18 + 1 + entry.name.len() + 1).next_multiple_of(8)
    }

    fn put(self, entry: &DirEntry<'_>, out: &mut Vec<u8>) {
        let end = out.len() + self.size(entry);
        out.extend_from_slice(&entry.ino.to_le_bytes());
        out.extend_from_slice(&entry.next.to_le_bytes());
        out.extend_from_slice(&(self.size(entry) as u16).to_le_bytes());
        let kind = entry.kind.dirent_type();
        if self == Format::New {
            out.push(kind);
        }
        out.extend_from_slice(entry.name);
        out.resize(end, 0);
        if let (Format::Old, Some(last)) = (self, out.last_mut()) {
            *last = kind;
        }
    }
}

/// `getdents(2)`.
pub fn getdents(ctx: &Ctx, fd: Fd, buffer: UserAddr, size: u32) -> Result<u64> {
    list(ctx, fd, buffer, size, Format::Old)
}

/// `getdents64(2)`.
pub fn getdents64(ctx: &Ctx, fd: Fd, buffer: UserAddr, size: u32) -> Result<u64> {
    list(ctx, fd, buffer, size, Format::New)
}

fn list(ctx: &Ctx, fd: Fd, buffer: UserAddr, size: u32, format: Format) -> Result<u64> {
    let file = usable_file(ctx, fd)?;
    let directory = file.file().inode().ok_or(Errno::ENOTDIR)?;
    let metadata = directory.metadata()?;
    if metadata.kind != FileKind::Directory {
        return Err(Errno::ENOTDIR);
    }
    if metadata.nlink == 0 {
        return Err(Errno::ENOENT);
    }
    let start = *file.offset();
    let room = (size as usize).min(MAX_LISTING);
    let (bytes, cookie) = listing(ctx, &directory, start, room, format)?;
    ctx.write_bytes(buffer.0, &bytes)?;
    *file.offset() = cookie;
    file.notify(mask::ACCESS);
    Ok(bytes.len() as u64)
}

/// The entries after cookie `start` that fit in `room`, and the cookie after them. EINVAL if there
/// are some but not even one fits.
fn listing(
    ctx: &Ctx,
    directory: &Arc<dyn Inode>,
    start: u64,
    room: usize,
    format: Format,
) -> Result<(Vec<u8>, u64)> {
    let mut bytes = Vec::new();
    let mut cookie = start;
    let mut full = false;
    let mut put = |entry: DirEntry<'_>| {
        full |= bytes.len() + format.size(&entry) > room;
        if full {
            return false;
        }
        format.put(&entry, &mut bytes);
        cookie = entry.next;
        true
    };
    let dots = [
        (&b"."[..], directory.id().ino),
        (b"..", parent_ino(ctx, directory)),
    ];
    for (index, (name, ino)) in dots.into_iter().enumerate().skip(start.min(2) as usize) {
        put(DirEntry {
            name,
            ino,
            kind: FileKind::Directory,
            next: index as u64 + 1,
        });
    }
    directory.clone().read_dir(start, &mut put)?;
    if full && bytes.is_empty() {
        return Err(Errno::EINVAL);
    }
    Ok((bytes, cookie))
}

fn parent_ino(ctx: &Ctx, directory: &Arc<dyn Inode>) -> u64 {
    let root = ctx.fs().lock().root.clone();
    path::parent(&root, directory).id().ino
}

/// `getcwd(2)`: returns the length with the NUL.
pub fn getcwd(ctx: &Ctx, buffer: UserAddr, size: usize) -> Result<u64> {
    let (root, cwd) = {
        let fs = ctx.fs().lock();
        (fs.root.clone(), fs.cwd.clone())
    };
    let mut path = path::directory_path(&root, &cwd)?;
    path.push(0);
    if path.len() > size {
        return Err(Errno::ERANGE);
    }
    ctx.write_bytes(buffer.0, &path)?;
    Ok(path.len() as u64)
}

fn directory_of(target: &Target) -> Result<Arc<dyn Inode>> {
    let inode = target.inode().map_err(|_| Errno::ENOTDIR)?;
    match inode.kind() {
        FileKind::Directory => Ok(inode),
        _ => Err(Errno::ENOTDIR),
    }
}

/// `chdir(2)`.
pub fn chdir(ctx: &Ctx, path: UserCStr) -> Result<u64> {
    let target = Target::find(ctx, DirFd::CWD, path, 0, Follow::Always)?;
    set_cwd(ctx, directory_of(&target)?)
}

/// `fchdir(2)`.
pub fn fchdir(ctx: &Ctx, fd: Fd) -> Result<u64> {
    set_cwd(ctx, directory_of(&Target::of_fd(ctx, fd)?)?)
}

fn set_cwd(ctx: &Ctx, directory: Arc<dyn Inode>) -> Result<u64> {
    let old = core::mem::replace(&mut ctx.fs().lock().cwd, directory);
    drop(old);
    Ok(0)
}

/// `chroot(2)`.
pub fn chroot(ctx: &Ctx, path: UserCStr) -> Result<u64> {
    let target = Target::find(ctx, DirFd::CWD, path, 0, Follow::Always)?;
    let directory = directory_of(&target)?;
    let old = core::mem::replace(&mut ctx.fs().lock().root, directory);
    drop(old);
    Ok(0)
}

/// `umask(2)`.
pub fn umask(ctx: &Ctx, mask: ModeArg) -> Result<u64> {
    let mask = Mode::new(mask.0 & 0o777);
    let old = core::mem::replace(&mut ctx.fs().lock().umask, mask);
    Ok(old.bits().into())
}
