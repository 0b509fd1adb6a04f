//! Calls that change attributes: chmod, chown, utimes, truncate, fallocate.

use super::{Target, at, follow_unless, only, usable_file};
use crate::errno::{Errno, Result};
use crate::fs::inode::{FileKind, Mode, SetAttributes, Time};
use crate::fs::inotify::mask;
use crate::fs::path::Follow;
use crate::fs::rootfs::{Allocate, RegularFile};
use crate::syscalls::args::{DirFd, Fd, Flags, ModeArg, UserAddr, UserCStr, UserPtr};
use crate::syscalls::io::check_new_size;
use crate::task::Ctx;

/// `chmod(2)`.
pub fn chmod(ctx: &Ctx, path: UserCStr, mode: ModeArg) -> Result<u64> {
    fchmodat2(ctx, DirFd::CWD, path, mode, Flags(0))
}

/// `fchmodat(2)`, the system call without flags.
pub fn fchmodat(ctx: &Ctx, dirfd: DirFd, path: UserCStr, mode: ModeArg) -> Result<u64> {
    fchmodat2(ctx, dirfd, path, mode, Flags(0))
}

/// `fchmodat2(2)`.
pub fn fchmodat2(
    ctx: &Ctx,
    dirfd: DirFd,
    path: UserCStr,
    mode: ModeArg,
    flags: Flags,
) -> Result<u64> {
    only(flags.0, at::SYMLINK_NOFOLLOW | at::EMPTY_PATH)?;
    let target = Target::find(ctx, dirfd, path, flags.0, follow_unless(flags.0))?;
    set_mode(&target, mode)
}

/// `fchmod(2)`.
pub fn fchmod(ctx: &Ctx, fd: Fd, mode: ModeArg) -> Result<u64> {
    set_mode(&writable_target(ctx, fd)?, mode)
}

fn set_mode(target: &Target, mode: ModeArg) -> Result<u64> {
    if target.metadata()?.kind == FileKind::Symlink {
        return Err(Errno::EOPNOTSUPP);
    }
    let mode = Some(Mode::new(mode.0));
    target.set_attributes(&SetAttributes {
        mode,
        ..SetAttributes::default()
    })?;
    Ok(0)
}

/// The file of `fd`, which O_PATH did not open.
fn writable_target(ctx: &Ctx, fd: Fd) -> Result<Target> {
    Ok(Target::Open(usable_file(ctx, fd)?))
}

/// `chown(2)`.
pub fn chown(ctx: &Ctx, path: UserCStr, uid: u32, gid: u32) -> Result<u64> {
    fchownat(ctx, DirFd::CWD, path, uid, gid, Flags(0))
}

/// `lchown(2)`.
pub fn lchown(ctx: &Ctx, path: UserCStr, uid: u32, gid: u32) -> Result<u64> {
    fchownat(ctx, DirFd::CWD, path, uid, gid, Flags(at::SYMLINK_NOFOLLOW))
}

/// `fchown(2)`.
pub fn fchown(ctx: &Ctx, fd: Fd, uid: u32, gid: u32) -> Result<u64> {
    set_owner(&writable_target(ctx, fd)?, uid, gid)
}

/// `fchownat(2)`.
pub fn fchownat(
    ctx: &Ctx,
    dirfd: DirFd,
    path: UserCStr,
    uid: u32,
    gid: u32,
    flags: Flags,
) -> Result<u64> {
    only(flags.0, at::SYMLINK_NOFOLLOW | at::EMPTY_PATH)?;
    let target = Target::find(ctx, dirfd, path, flags.0, follow_unless(flags.0))?;
    set_owner(&target, uid, gid)
}

fn set_owner(target: &Target, uid: u32, gid: u32) -> Result<u64> {
    // -1: as it is.
    let given = |id: u32| (id != u32::MAX).then_some(id);
    let (uid, gid) = (given(uid), given(gid));
    let metadata = target.metadata()?;
    let kept = metadata.mode.after_chown();
    let mode = (metadata.kind != FileKind::Directory && kept != metadata.mode).then_some(kept);
    target.set_attributes(&SetAttributes {
        mode,
        uid,
        gid,
        ..SetAttributes::default()
    })?;
    Ok(0)
}

const UTIME_NOW: i64 = (1 << 30) - 1;
const UTIME_OMIT: i64 = (1 << 30) - 2;

/// `utimensat(2)`; a NULL path means the descriptor.
pub fn utimensat(
    ctx: &Ctx,
    dirfd: DirFd,
    path: UserCStr,
    times: UserAddr,
    flags: Flags,
) -> Result<u64> {
    let change = match UserPtr::<[i64; 4]>::new(times.0).non_null() {
        None => touch_now(),
        Some(times) => {
            let [atime_sec, atime_nsec, mtime_sec, mtime_nsec] = ctx.read(times)?;
            SetAttributes {
                atime: time_to_set(atime_sec, atime_nsec)?,
                mtime: time_to_set(mtime_sec, mtime_nsec)?,
                ..SetAttributes::default()
            }
        }
    };
    if change.atime.is_none() && change.mtime.is_none() {
        return Ok(0);
    }
    only(flags.0, at::SYMLINK_NOFOLLOW | at::EMPTY_PATH)?;
    let target = match path.0.is_null() {
        true if dirfd == DirFd::CWD => return Err(Errno::EFAULT),
        true if flags.0 != 0 => return Err(Errno::EINVAL),
        true => writable_target(ctx, Fd(dirfd.0))?,
        false => Target::find(ctx, dirfd, path, flags.0, follow_unless(flags.0))?,
    };
    target.set_attributes(&change)?;
    Ok(0)
}

fn touch_now() -> SetAttributes {
    let now = Some(Time::now());
    SetAttributes {
        atime: now,
        mtime: now,
        ..SetAttributes::default()
    }
}

/// A `struct timespec` of utimensat; `None`: leave the time as it is.
fn time_to_set(sec: i64, nsec: i64) -> Result<Option<Time>> {
    match nsec {
        UTIME_OMIT => Ok(None),
        UTIME_NOW => Ok(Some(Time::now())),
        0..1_000_000_000 => Ok(Some(Time {
            sec,
            nsec: nsec as u32,
        })),
        _ => Err(Errno::EINVAL),
    }
}

/// `utimes(2)`: microseconds.
pub fn utimes(ctx: &Ctx, path: UserCStr, times: UserAddr) -> Result<u64> {
    futimesat(ctx, DirFd::CWD, path, times)
}

/// `futimesat(2)`.
pub fn futimesat(ctx: &Ctx, dirfd: DirFd, path: UserCStr, times: UserAddr) -> Result<u64> {
    let change = match UserPtr::<[i64; 4]>::new(times.0).non_null() {
        None => touch_now(),
        Some(times) => {
            let [atime_sec, atime_usec, mtime_sec, mtime_usec] = ctx.read(times)?;
            let time = |sec, usec: i64| match usec {
                0..1_000_000 => Ok(Some(Time {
                    sec,
                    nsec: usec as u32 * 1000,
                })),
                _ => Err(Errno::EINVAL),
            };
            SetAttributes {
                atime: time(atime_sec, atime_usec)?,
                mtime: time(mtime_sec, mtime_usec)?,
                ..SetAttributes::default()
            }
        }
    };
    let target = match path.0.is_null() && dirfd != DirFd::CWD {
        true => writable_target(ctx, Fd(dirfd.0))?,
        false => Target::find(ctx, dirfd, path, 0, Follow::Always)?,
    };
    target.set_attributes(&change)?;
    Ok(0)
}

/// `utime(2)`: seconds.
pub fn utime(ctx: &Ctx, path: UserCStr, times: UserAddr) -> Result<u64> {
    let change = match UserPtr::<[i64; 2]>::new(times.0).non_null() {
        None => touch_now(),
        Some(times) => {
            let [atime, mtime] = ctx.read(times)?.map(|sec| Some(Time { sec, nsec: 0 }));
            SetAttributes {
                atime,
                mtime,
                ..SetAttributes::default()
            }
        }
    };
    Target::find(ctx, DirFd::CWD, path, 0, Follow::Always)?.set_attributes(&change)?;
    Ok(0)
}

/// `truncate(2)`.
pub fn truncate(ctx: &Ctx, path: UserCStr, size: i64) -> Result<u64> {
    let size = u64::try_from(size).map_err(|_| Errno::EINVAL)?;
    let target = Target::find(ctx, DirFd::CWD, path, 0, Follow::Always)?;
    let inode = target.inode()?;
    check_new_size(ctx, inode.metadata()?.size, size)?;
    inode.clone().set_size(size)?;
    target.notify(&inode, mask::MODIFY);
    Ok(0)
}

/// `ftruncate(2)`.
pub fn ftruncate(ctx: &Ctx, fd: Fd, size: i64) -> Result<u64> {
    let size = u64::try_from(size).map_err(|_| Errno::EINVAL)?;
    let file = usable_file(ctx, fd)?;
    let inode = file.file().inode().ok_or(Errno::EINVAL)?;
    if !file.flags().writable() || inode.kind() != FileKind::Regular {
        return Err(Errno::EINVAL);
    }
    check_new_size(ctx, inode.metadata()?.size, size)?;
    inode.set_size(size)?;
    file.notify(mask::MODIFY);
    Ok(0)
}

/// Modes of fallocate.
mod fallocate_mode {
    pub const KEEP_SIZE: u32 = 0x1;
    pub const PUNCH_HOLE: u32 = 0x2;
    pub const ZERO_RANGE: u32 = 0x10;
}

/// `fallocate(2)`.
pub fn fallocate(ctx: &Ctx, fd: Fd, mode: Flags, offset: i64, len: i64) -> Result<u64> {
    use fallocate_mode::{KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE};
    let file = usable_file(ctx, fd)?;
    let start = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    let len = u64::try_from(len)
        .ok()
        .filter(|&len| len > 0)
        .ok_or(Errno::EINVAL)?;
    let keep_size = mode.0 & KEEP_SIZE != 0;
    let how = match mode.0 & !KEEP_SIZE {
        0 => Allocate::Reserve { keep_size },
        PUNCH_HOLE if keep_size => Allocate::PunchHole,
        ZERO_RANGE => Allocate::Zero { keep_size },
        _ => return Err(Errno::EOPNOTSUPP),
    };
    if !file.flags().writable() {
        return Err(Errno::EBADF);
    }
    let regular = match file.file().metadata()?.kind {
        FileKind::Regular => file.downcast::<RegularFile>().ok_or(Errno::EOPNOTSUPP)?,
        FileKind::Fifo => return Err(Errno::ESPIPE),
        FileKind::Directory => return Err(Errno::EISDIR),
        _ => return Err(Errno::ENODEV),
    };
    regular.allocate(how, start, len)?;
    file.notify(mask::MODIFY);
    Ok(0)
}
