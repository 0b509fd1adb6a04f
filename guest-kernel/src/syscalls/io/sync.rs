//! fsync and its kin, advice.
//!
//! Files are in memory and vanish with the VM: what is written is as safe as it will ever be.

use crate::errno::{Errno, Result};
use crate::fs::inode::FileKind;
use crate::syscalls::args::{Fd, Flags};
use crate::syscalls::fs::usable_file;
use crate::task::Ctx;

/// `sync(2)`.
pub fn sync(_: &Ctx) -> Result<u64> {
    Ok(0)
}

/// `syncfs(2)`.
pub fn syncfs(ctx: &Ctx, fd: Fd) -> Result<u64> {
    usable_file(ctx, fd).map(|_| 0)
}

/// `fsync(2)`.
pub fn fsync(ctx: &Ctx, fd: Fd) -> Result<u64> {
    let file = usable_file(ctx, fd)?;
    match file.file().metadata()?.kind {
        FileKind::Regular | FileKind::Directory => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// `fdatasync(2)`.
pub fn fdatasync(ctx: &Ctx, fd: Fd) -> Result<u64> {
    fsync(ctx, fd)
}

/// `sync_file_range(2)`.
pub fn sync_file_range(ctx: &Ctx, fd: Fd, offset: i64, len: i64, flags: Flags) -> Result<u64> {
    const KNOWN: u32 = 7;
    let file = usable_file(ctx, fd)?;
    if flags.0 & !KNOWN != 0 || offset < 0 || len < 0 || offset.checked_add(len).is_none() {
        return Err(Errno::EINVAL);
    }
    match file.file().metadata()?.kind {
        FileKind::Regular | FileKind::Directory => Ok(0),
        _ => Err(Errno::ESPIPE),
    }
}

/// `fadvise64(2)`: everything is in memory already, so there is nothing to do.
pub fn fadvise64(ctx: &Ctx, fd: Fd, _: i64, len: i64, advice: i32) -> Result<u64> {
    let file = usable_file(ctx, fd)?;
    if file.file().metadata()?.kind == FileKind::Fifo {
        return Err(Errno::ESPIPE);
    }
    match len >= 0 && (0..=5).contains(&advice) {
        true => Ok(0),
        false => Err(Errno::EINVAL),
    }
}

/// `readahead(2)`.
pub fn readahead(ctx: &Ctx, fd: Fd, _: i64, count: usize) -> Result<u64> {
    let file = usable_file(ctx, fd)?;
    if !file.flags().readable() {
        return Err(Errno::EBADF);
    }
    match file.file().metadata()?.kind {
        FileKind::Regular if i64::try_from(count).is_ok() => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}
