//! inotify.

use super::{Target, only, usable_file};
use crate::errno::{Errno, Result};
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::inode::FileKind;
use crate::fs::inotify::{Inotify, mask};
use crate::fs::path::Follow;
use crate::syscalls::args::{DirFd, Fd, Flags, UserCStr};
use crate::task::Ctx;
use alloc::vec::Vec;

/// `inotify_init(2)`.
pub fn inotify_init(ctx: &Ctx) -> Result<u64> {
    inotify_init1(ctx, Flags(0))
}

/// `inotify_init1(2)`.
pub fn inotify_init1(ctx: &Ctx, flags: Flags) -> Result<u64> {
    only(flags.0, (OpenFlags::CLOEXEC | OpenFlags::NONBLOCK).bits())?;
    let flags = OpenFlags::from_bits_truncate(flags.0);
    let open = OpenFile::new(Inotify::new(), flags, Vec::new());
    let fd = ctx
        .files()
        .lock()
        .insert(open, flags.contains(OpenFlags::CLOEXEC))?;
    Ok(fd as u64)
}

/// `inotify_add_watch(2)`.
pub fn inotify_add_watch(ctx: &Ctx, fd: Fd, path: UserCStr, events: Flags) -> Result<u64> {
    let wanted = events.0;
    if wanted & !mask::KNOWN != 0 || wanted & mask::KNOWN == 0 {
        return Err(Errno::EINVAL);
    }
    let file = usable_file(ctx, fd)?;
    if wanted & mask::MASK_ADD != 0 && wanted & mask::MASK_CREATE != 0 {
        return Err(Errno::EINVAL);
    }
    let instance = file.downcast::<Inotify>().ok_or(Errno::EINVAL)?;
    let follow = match events.0 & mask::DONT_FOLLOW {
        0 => Follow::Always,
        _ => Follow::IfSlash,
    };
    let inode = Target::find(ctx, DirFd::CWD, path, 0, follow)?.inode()?;
    if events.0 & mask::ONLYDIR != 0 && inode.kind() != FileKind::Directory {
        return Err(Errno::ENOTDIR);
    }
    instance
        .add_watch(inode.id(), events.0)
        .map(|watch| watch as u64)
}

/// `inotify_rm_watch(2)`.
pub fn inotify_rm_watch(ctx: &Ctx, fd: Fd, watch: i32) -> Result<u64> {
    let file = usable_file(ctx, fd)?;
    file.downcast::<Inotify>()
        .ok_or(Errno::EINVAL)?
        .remove_watch(watch)?;
    Ok(0)
}
