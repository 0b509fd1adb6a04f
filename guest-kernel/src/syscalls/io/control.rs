//! ioctl: what concerns descriptors, or any file; the rest is the file's.

use crate::errno::{Errno, Result};
use crate::fs::file::OpenFlags;
use crate::fs::inode::FileKind;
use crate::syscalls::args::{Fd, Flags, UserPtr};
use crate::syscalls::fs::open_file;
use crate::task::Ctx;

/// Requests of `ioctl(2)` that are about descriptors, or any file.
mod request {
    pub const FIONREAD: u32 = 0x541b;
    pub const FIONBIO: u32 = 0x5421;
    pub const FIONCLEX: u32 = 0x5450;
    pub const FIOCLEX: u32 = 0x5451;
    pub const FIGETBSZ: u32 = 2;
    pub const FICLONE: u32 = 0x4004_9409;
    pub const FICLONERANGE: u32 = 0x4020_940d;
}

/// `ioctl(2)`.
pub fn ioctl(ctx: &Ctx, fd: Fd, request: Flags, arg: u64) -> Result<u64> {
    let file = open_file(ctx, fd)?;
    if file.flags().contains(OpenFlags::PATH) {
        return Err(Errno::EBADF);
    }
    let request = request.0;
    match request {
        request::FIOCLEX | request::FIONCLEX => {
            let close = request == request::FIOCLEX;
            ctx.files().lock().set_close_on_exec(fd.0, close)?;
            Ok(0)
        }
        request::FIONBIO => {
            let on: u32 = ctx.read(UserPtr::new(arg))?;
            let mut flags = file.flags();
            flags.set(OpenFlags::NONBLOCK, on != 0);
            file.set_flags(flags);
            Ok(0)
        }
        request::FIONREAD if file.file().metadata()?.kind == FileKind::Regular => {
            let size = file.file().metadata()?.size;
            let unread = size.saturating_sub(*file.offset()).min(i32::MAX as u64);
            ctx.write(UserPtr::new(arg), &(unread as u32))?;
            Ok(0)
        }
        request::FIGETBSZ if file.file().inode().is_some() => {
            ctx.write(UserPtr::new(arg), &4096u32)?;
            Ok(0)
        }
        // Files that share blocks: not on tmpfs either.
        request::FICLONE | request::FICLONERANGE => {
            open_file(ctx, Fd(source_of_clone(ctx, request, arg)?))?;
            Err(Errno::EOPNOTSUPP)
        }
        _ => file.file().ioctl(ctx.space(), request, arg),
    }
}

/// The descriptor to clone from: the argument, or the first field of what it points to.
fn source_of_clone(ctx: &Ctx, request: u32, arg: u64) -> Result<i32> {
    match request {
        request::FICLONE => Ok(arg as i32),
        _ => Ok(ctx.read::<i64>(UserPtr::new(arg))? as i32),
    }
}
