//! Calls that make, remove and read names.

use super::{Place, Target, at, entry, only};
use crate::errno::{Errno, Result};
use crate::fs::inode::{DeviceNumber, FileKind, Inode, Mode, NewInode, RenameMode};
use crate::fs::mount;
use crate::fs::path::{self, Entry, Follow};
use crate::syscalls::args::{DirFd, Flags, ModeArg, UserAddr, UserCStr};
use crate::task::Ctx;
use alloc::sync::Arc;

/// `mkdir(2)`.
pub fn mkdir(ctx: &Ctx, path: UserCStr, mode: ModeArg) -> Result<u64> {
    mkdirat(ctx, DirFd::CWD, path, mode)
}

/// `mkdirat(2)`.
pub fn mkdirat(ctx: &Ctx, dirfd: DirFd, path: UserCStr, mode: ModeArg) -> Result<u64> {
    let entry = entry(ctx, dirfd, path, Errno::EEXIST)?;
    let mode = Mode::new(mode.0 & 0o1777).masked(ctx.fs().lock().umask);
    create(&entry, &NewInode::of(FileKind::Directory, mode))
}

/// Creates an entry that must not exist yet.
fn create(entry: &Entry, new: &NewInode<'_>) -> Result<u64> {
    if entry.inode.is_some() {
        return Err(Errno::EEXIST);
    }
    // Only a directory can be asked for with a slash after its name.
    if entry.slash && new.kind != FileKind::Directory {
        return Err(Errno::ENOENT);
    }
    entry.dir.clone().create(&entry.name, new)?;
    Ok(0)
}

/// `mknod(2)`.
pub fn mknod(ctx: &Ctx, path: UserCStr, mode: ModeArg, device: u64) -> Result<u64> {
    mknodat(ctx, DirFd::CWD, path, mode, device)
}

/// `mknodat(2)`.
pub fn mknodat(ctx: &Ctx, dirfd: DirFd, path: UserCStr, mode: ModeArg, device: u64) -> Result<u64> {
    let kind = match (FileKind::from_mode(mode.0), mode.0 & 0o170000) {
        (Some(FileKind::Directory), _) => return Err(Errno::EPERM),
        (Some(FileKind::Symlink), _) => return Err(Errno::EINVAL),
        (Some(kind), _) => kind,
        // No type at all: a regular file.
        (None, 0) => FileKind::Regular,
        (None, _) => return Err(Errno::EINVAL),
    };
    let entry = entry(ctx, dirfd, path, Errno::EEXIST)?;
    let mode = Mode::new(mode.0).masked(ctx.fs().lock().umask);
    let rdev = DeviceNumber::decode(device & 0xffff_ffff);
    create(
        &entry,
        &NewInode {
            rdev,
            ..NewInode::of(kind, mode)
        },
    )
}

/// `symlink(2)`.
pub fn symlink(ctx: &Ctx, target: UserCStr, path: UserCStr) -> Result<u64> {
    symlinkat(ctx, target, DirFd::CWD, path)
}

/// `symlinkat(2)`.
pub fn symlinkat(ctx: &Ctx, target: UserCStr, dirfd: DirFd, path: UserCStr) -> Result<u64> {
    let target = target.read_path(ctx)?;
    if target.is_empty() {
        return Err(Errno::ENOENT);
    }
    let entry = entry(ctx, dirfd, path, Errno::EEXIST)?;
    let new = NewInode::of(FileKind::Symlink, Mode::new(0o777));
    create(
        &entry,
        &NewInode {
            target: &target,
            ..new
        },
    )
}

/// `link(2)`.
pub fn link(ctx: &Ctx, old: UserCStr, new: UserCStr) -> Result<u64> {
    linkat(ctx, DirFd::CWD, old, DirFd::CWD, new, Flags(0))
}

/// `linkat(2)`.
pub fn linkat(
    ctx: &Ctx,
    old_dirfd: DirFd,
    old: UserCStr,
    new_dirfd: DirFd,
    new: UserCStr,
    flags: Flags,
) -> Result<u64> {
    only(flags.0, at::SYMLINK_FOLLOW | at::EMPTY_PATH)?;
    let follow = match flags.0 & at::SYMLINK_FOLLOW {
        0 => Follow::IfSlash,
        _ => Follow::Always,
    };
    let inode = match Target::find(ctx, old_dirfd, old, flags.0, follow)? {
        Target::Found(found) => found.inode,
        target => target.inode().map_err(|_| Errno::EXDEV)?,
    };
    let entry = entry(ctx, new_dirfd, new, Errno::EEXIST)?;
    if entry.inode.is_some() {
        return Err(Errno::EEXIST);
    }
    if entry.slash {
        return Err(Errno::ENOENT);
    }
    entry.dir.link(&entry.name, &inode)?;
    Ok(0)
}

/// `unlink(2)`.
pub fn unlink(ctx: &Ctx, path: UserCStr) -> Result<u64> {
    unlinkat(ctx, DirFd::CWD, path, Flags(0))
}

/// `rmdir(2)`.
pub fn rmdir(ctx: &Ctx, path: UserCStr) -> Result<u64> {
    unlinkat(ctx, DirFd::CWD, path, Flags(at::REMOVEDIR))
}

/// `unlinkat(2)`.
pub fn unlinkat(ctx: &Ctx, dirfd: DirFd, path: UserCStr, flags: Flags) -> Result<u64> {
    only(flags.0, at::REMOVEDIR)?;
    let path = path.read_path(ctx)?;
    let place = Place::of(ctx, dirfd, &path)?;
    if flags.0 & at::REMOVEDIR != 0 {
        let entry = path::resolve_entry(&place.context(), &path, not_removable(&path))?;
        let inode = entry.inode.ok_or(Errno::ENOENT)?;
        check_not_mount(&inode)?;
        // It ends with its last user, who must not be this call.
        drop(inode);
        entry.dir.rmdir(&entry.name)?;
        return Ok(0);
    }
    let entry = path::resolve_entry(&place.context(), &path, Errno::EISDIR)?;
    let inode = entry.inode.ok_or(Errno::ENOENT)?;
    if entry.slash {
        return Err(match inode.kind() {
            FileKind::Directory => Errno::EISDIR,
            _ => Errno::ENOTDIR,
        });
    }
    drop(inode);
    entry.dir.unlink(&entry.name)?;
    Ok(0)
}

/// What rmdir says of a path that ends in `.`, `..` or is the root.
fn not_removable(path: &[u8]) -> Errno {
    let trimmed = path
        .iter()
        .rposition(|&byte| byte != b'/')
        .map_or(0, |last| last + 1);
    match path[..trimmed].rsplit(|&byte| byte == b'/').next() {
        Some(b".") => Errno::EINVAL,
        Some(b"..") => Errno::ENOTEMPTY,
        _ => Errno::EBUSY,
    }
}

fn check_not_mount(inode: &Arc<dyn Inode>) -> Result<()> {
    match inode.kind() == FileKind::Directory && mount::is_mount(inode.id()) {
        true => Err(Errno::EBUSY),
        false => Ok(()),
    }
}

/// `rename(2)`.
pub fn rename(ctx: &Ctx, old: UserCStr, new: UserCStr) -> Result<u64> {
    renameat2(ctx, DirFd::CWD, old, DirFd::CWD, new, Flags(0))
}

/// `renameat(2)`.
pub fn renameat(
    ctx: &Ctx,
    old_dirfd: DirFd,
    old: UserCStr,
    new_dirfd: DirFd,
    new: UserCStr,
) -> Result<u64> {
    renameat2(ctx, old_dirfd, old, new_dirfd, new, Flags(0))
}

/// `renameat2(2)`.
pub fn renameat2(
    ctx: &Ctx,
    old_dirfd: DirFd,
    old: UserCStr,
    new_dirfd: DirFd,
    new: UserCStr,
    flags: Flags,
) -> Result<u64> {
    let mode = match flags.0 {
        0 => RenameMode::Replace,
        1 => RenameMode::NoReplace,
        2 => RenameMode::Exchange,
        // RENAME_WHITEOUT is for overlay file systems made of others.
        _ => return Err(Errno::EINVAL),
    };
    let busy = match mode {
        RenameMode::NoReplace => Errno::EEXIST,
        _ => Errno::EBUSY,
    };
    let from = entry(ctx, old_dirfd, old, Errno::EBUSY)?;
    let to = entry(ctx, new_dirfd, new, busy)?;
    let inode = from.inode.ok_or(Errno::ENOENT)?;
    if let (RenameMode::NoReplace, Some(_)) = (mode, &to.inode) {
        return Err(Errno::EEXIST);
    }
    let wants_directory = from.slash || to.slash && mode != RenameMode::Exchange;
    if wants_directory && inode.kind() != FileKind::Directory {
        return Err(Errno::ENOTDIR);
    }
    check_not_mount(&inode)?;
    if let Some(other) = &to.inode {
        if to.slash && other.kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        check_not_mount(other)?;
    }
    from.dir.rename(&from.name, &to.dir, &to.name, mode)?;
    Ok(0)
}

/// `readlink(2)`.
pub fn readlink(ctx: &Ctx, path: UserCStr, buffer: UserAddr, size: usize) -> Result<u64> {
    readlinkat(ctx, DirFd::CWD, path, buffer, size)
}

/// `readlinkat(2)`.
pub fn readlinkat(
    ctx: &Ctx,
    dirfd: DirFd,
    path: UserCStr,
    buffer: UserAddr,
    size: usize,
) -> Result<u64> {
    let size = match size as i32 {
        ..=0 => return Err(Errno::EINVAL),
        size => size as usize,
    };
    // An empty path is the link that O_PATH|O_NOFOLLOW opened.
    let flags = if dirfd == DirFd::CWD {
        0
    } else {
        at::EMPTY_PATH
    };
    let target = Target::find(ctx, dirfd, path, flags, Follow::IfSlash)?;
    let text = match target.inode()? {
        inode if inode.kind() == FileKind::Symlink => inode.readlink()?,
        _ => return Err(Errno::EINVAL),
    };
    let shown = &text[..text.len().min(size)];
    ctx.write_bytes(buffer.0, shown)?;
    Ok(shown.len() as u64)
}
