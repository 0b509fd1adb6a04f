//! stat, statx, statfs, access.

use super::{Target, at, follow_unless, only};
use crate::errno::{Errno, Result};
use crate::fs::inode::{FileKind, FileSystemInfo, NAME_MAX};
use crate::fs::mount;
use crate::fs::path::Follow;
use crate::syscalls::args::{DirFd, Fd, Flags, UserAddr, UserCStr};
use crate::task::Ctx;

/// `stat(2)`.
pub fn stat(ctx: &Ctx, path: UserCStr, out: UserAddr) -> Result<u64> {
    newfstatat(ctx, DirFd::CWD, path, out, Flags(0))
}

/// `lstat(2)`.
pub fn lstat(ctx: &Ctx, path: UserCStr, out: UserAddr) -> Result<u64> {
    newfstatat(ctx, DirFd::CWD, path, out, Flags(at::SYMLINK_NOFOLLOW))
}

/// `fstat(2)`.
pub fn fstat(ctx: &Ctx, fd: Fd, out: UserAddr) -> Result<u64> {
    let metadata = Target::of_fd(ctx, fd)?.metadata()?;
    ctx.write_bytes(out.0, &metadata.to_stat())?;
    Ok(0)
}

/// `newfstatat(2)`.
pub fn newfstatat(
    ctx: &Ctx,
    dirfd: DirFd,
    path: UserCStr,
    out: UserAddr,
    flags: Flags,
) -> Result<u64> {
    only(
        flags.0,
        at::SYMLINK_NOFOLLOW | at::NO_AUTOMOUNT | at::EMPTY_PATH | at::STATX_SYNC_TYPE,
    )?;
    let target = Target::find(ctx, dirfd, path, flags.0, follow_unless(flags.0))?;
    ctx.write_bytes(out.0, &target.metadata()?.to_stat())?;
    Ok(0)
}

/// `statx(2)`. All basic fields are filled in, whatever is asked for.
pub fn statx(
    ctx: &Ctx,
    dirfd: DirFd,
    path: UserCStr,
    flags: Flags,
    mask: Flags,
    out: UserAddr,
) -> Result<u64> {
    const RESERVED: u32 = 0x8000_0000;
    const ATTRIBUTE_MOUNT_ROOT: u64 = 0x2000;
    let known = at::SYMLINK_NOFOLLOW | at::NO_AUTOMOUNT | at::EMPTY_PATH | at::STATX_SYNC_TYPE;
    only(flags.0, known)?;
    if mask.0 & RESERVED != 0 || flags.0 & at::STATX_SYNC_TYPE == at::STATX_SYNC_TYPE {
        return Err(Errno::EINVAL);
    }
    let target = Target::find(ctx, dirfd, path, flags.0, follow_unless(flags.0))?;
    let metadata = target.metadata()?;
    let (mount, is_root) = mount::of(metadata.id);
    let attributes = if is_root { ATTRIBUTE_MOUNT_ROOT } else { 0 };
    ctx.write_bytes(out.0, &metadata.to_statx(attributes, mount.into()))?;
    Ok(0)
}

/// `statfs(2)`.
pub fn statfs(ctx: &Ctx, path: UserCStr, out: UserAddr) -> Result<u64> {
    let target = Target::find(ctx, DirFd::CWD, path, 0, Follow::Always)?;
    write_statfs(ctx, &target, out)
}

/// `umount2(2)`: what is wrong with the call comes before that nobody may.
pub fn umount2(ctx: &Ctx, path: UserCStr, flags: Flags) -> Result<u64> {
    const MNT_FORCE: u32 = 1;
    const MNT_DETACH: u32 = 2;
    const MNT_EXPIRE: u32 = 4;
    const UMOUNT_NOFOLLOW: u32 = 8;
    only(
        flags.0,
        MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW,
    )?;
    let follow = match flags.0 & UMOUNT_NOFOLLOW {
        0 => Follow::Always,
        _ => Follow::IfSlash,
    };
    Target::find(ctx, DirFd::CWD, path, 0, follow)?;
    Err(Errno::EPERM)
}

/// `fstatfs(2)`.
pub fn fstatfs(ctx: &Ctx, fd: Fd, out: UserAddr) -> Result<u64> {
    write_statfs(ctx, &Target::of_fd(ctx, fd)?, out)
}

fn write_statfs(ctx: &Ctx, target: &Target, out: UserAddr) -> Result<u64> {
    /// `f_type` of files that are in no file system a path leads to (PIPEFS_MAGIC).
    const PIPEFS: u64 = 0x5049_5045;
    const BLOCK: u64 = 4096;
    let info = match target.inode() {
        Ok(inode) => inode.file_system(),
        Err(_) => FileSystemInfo {
            magic: PIPEFS,
            ..FileSystemInfo::default()
        },
    };
    let fsid = target.metadata()?.id.dev.encode();
    let words = [
        info.magic,
        BLOCK,
        info.blocks,
        info.free_blocks,
        info.free_blocks,
        info.files,
        info.free_files,
        fsid,
        NAME_MAX as u64,
        BLOCK,
        // ST_VALID: the flags are meant.
        info.flags | 0x20,
        0,
        0,
        0,
        0,
    ];
    ctx.write_bytes(out.0, words.map(u64::to_le_bytes).as_flattened())?;
    Ok(0)
}

/// `access(2)`.
pub fn access(ctx: &Ctx, path: UserCStr, mode: Flags) -> Result<u64> {
    faccessat2(ctx, DirFd::CWD, path, mode, Flags(0))
}

/// `faccessat(2)`, the system call without flags.
pub fn faccessat(ctx: &Ctx, dirfd: DirFd, path: UserCStr, mode: Flags) -> Result<u64> {
    faccessat2(ctx, dirfd, path, mode, Flags(0))
}

/// `faccessat2(2)`. Programs run as root: only execution can be denied.
pub fn faccessat2(
    ctx: &Ctx,
    dirfd: DirFd,
    path: UserCStr,
    mode: Flags,
    flags: Flags,
) -> Result<u64> {
    const EXECUTE: u32 = 1;
    only(mode.0, 7)?;
    only(flags.0, at::EACCESS | at::SYMLINK_NOFOLLOW | at::EMPTY_PATH)?;
    let target = Target::find(ctx, dirfd, path, flags.0, follow_unless(flags.0))?;
    let metadata = target.metadata()?;
    let executable = metadata.kind == FileKind::Directory || metadata.mode.executable();
    match mode.0 & EXECUTE != 0 && !executable {
        true => Err(Errno::EACCES),
        false => Ok(0),
    }
}
