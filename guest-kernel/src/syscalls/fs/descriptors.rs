//! dup, fcntl, flock.

use super::{open_file, release};
use crate::errno::{Errno, Result};
use crate::fs::dnotify;
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::inode::InodeId;
use crate::fs::locks::{self, FileLock, Kind, Owner};
use crate::fs::owner::OwnerKind;
use crate::fs::rootfs::RegularFile;
use crate::ipc::pipe::PipeEnd;
use crate::syscalls::args::{Fd, UserPtr};
use crate::task::Ctx;
use crate::wait::PollEvents;

const RLIMIT_NOFILE: usize = 7;

/// `dup(2)`.
pub fn dup(ctx: &Ctx, fd: Fd) -> Result<u64> {
    let mut files = ctx.files().lock();
    let file = files.get(fd.0)?;
    Ok(files.insert(file, false)? as u64)
}

/// `dup2(2)`.
pub fn dup2(ctx: &Ctx, old: Fd, new: Fd) -> Result<u64> {
    if old == new {
        open_file(ctx, old)?;
        return Ok(new.0 as u64);
    }
    replace(ctx, old, new, false)
}

/// `dup3(2)`.
pub fn dup3(ctx: &Ctx, old: Fd, new: Fd, flags: OpenFlags) -> Result<u64> {
    if !OpenFlags::CLOEXEC.contains(flags) || old == new {
        return Err(Errno::EINVAL);
    }
    replace(ctx, old, new, flags.contains(OpenFlags::CLOEXEC))
}

fn replace(ctx: &Ctx, old: Fd, new: Fd, close_on_exec: bool) -> Result<u64> {
    let replaced = {
        let mut files = ctx.files().lock();
        let file = files.get(old.0)?;
        files.replace(new.0, file, close_on_exec)?
    };
    if let Some(replaced) = replaced {
        release(ctx, replaced);
    }
    Ok(new.0 as u64)
}

/// Commands of `fcntl(2)`.
mod command {
    pub const DUPFD: i32 = 0;
    pub const GETFD: i32 = 1;
    pub const SETFD: i32 = 2;
    pub const GETFL: i32 = 3;
    pub const SETFL: i32 = 4;
    pub const GETLK: i32 = 5;
    pub const SETLK: i32 = 6;
    pub const SETLKW: i32 = 7;
    pub const SETOWN: i32 = 8;
    pub const GETOWN: i32 = 9;
    pub const SETSIG: i32 = 10;
    pub const GETSIG: i32 = 11;
    pub const SETOWN_EX: i32 = 15;
    pub const GETOWN_EX: i32 = 16;
    pub const OFD_GETLK: i32 = 36;
    pub const OFD_SETLK: i32 = 37;
    pub const OFD_SETLKW: i32 = 38;
    pub const GETLEASE: i32 = 1025;
    pub const NOTIFY: i32 = 1026;
    pub const DUPFD_CLOEXEC: i32 = 1030;
    pub const SETPIPE_SZ: i32 = 1031;
    pub const GETPIPE_SZ: i32 = 1032;
    pub const ADD_SEALS: i32 = 1033;
    pub const GET_SEALS: i32 = 1034;

    /// What works on an O_PATH descriptor.
    pub const ON_PATHS: [i32; 5] = [DUPFD, DUPFD_CLOEXEC, GETFD, SETFD, GETFL];
}

/// `fcntl(2)`.
pub fn fcntl(ctx: &Ctx, fd: Fd, command: i32, arg: u64) -> Result<u64> {
    const FD_CLOEXEC: u64 = 1;
    /// The last signal.
    const SIGNALS: u64 = 64;
    const UNLOCKED: u64 = lock_type::UNLOCK as u64;
    let file = open_file(ctx, fd)?;
    if file.flags().contains(OpenFlags::PATH) && !command::ON_PATHS.contains(&command) {
        return Err(Errno::EBADF);
    }
    match command {
        command::DUPFD | command::DUPFD_CLOEXEC => {
            // The argument is an int.
            let min = arg as u32;
            if u64::from(min) >= ctx.process().rlimit(RLIMIT_NOFILE) {
                return Err(Errno::EINVAL);
            }
            let close_on_exec = command == command::DUPFD_CLOEXEC;
            let fd = ctx
                .files()
                .lock()
                .insert_from(min.into(), file, close_on_exec)?;
            Ok(fd as u64)
        }
        command::GETFD => Ok(ctx.files().lock().close_on_exec(fd.0)?.into()),
        command::SETFD => {
            ctx.files()
                .lock()
                .set_close_on_exec(fd.0, arg & FD_CLOEXEC != 0)?;
            Ok(0)
        }
        command::GETFL => Ok(file.flags().bits().into()),
        command::SETFL => {
            file.set_flags(OpenFlags::from_bits_truncate(arg as u32));
            Ok(0)
        }
        command::GETLK | command::OFD_GETLK => {
            get_lock(ctx, &file, UserPtr::new(arg), command == command::OFD_GETLK)
        }
        command::SETLK | command::SETLKW => set_lock(
            ctx,
            &file,
            UserPtr::new(arg),
            false,
            command == command::SETLKW,
        ),
        command::OFD_SETLK | command::OFD_SETLKW => set_lock(
            ctx,
            &file,
            UserPtr::new(arg),
            true,
            command == command::OFD_SETLKW,
        ),
        // Only F_NOTIFY and urgent data send signals: F_SETOWN is refused where there is neither, and
        // with it O_ASYNC's.
        command::SETOWN => {
            let owner = file.file().owner().ok_or(Errno::EINVAL)?;
            owner.set_signed(arg as i32).map(|()| 0)
        }
        command::SETOWN_EX => {
            let owner = file.file().owner().ok_or(Errno::EINVAL)?;
            let [kind, id]: [i32; 2] = ctx.read(UserPtr::new(arg))?;
            owner.set(OwnerKind::from_raw(kind)?, id).map(|()| 0)
        }
        command::GETOWN => Ok(match file.file().owner() {
            // A group is a negative number.
            Some(owner) => i64::from(owner.get_signed()) as u64,
            None => file.owner().into(),
        }),
        command::GETOWN_EX => {
            let (kind, id) = match file.file().owner() {
                Some(owner) => owner.get(),
                None if file.owner() == 0 => (OwnerKind::Thread, 0),
                None => (OwnerKind::Process, file.owner()),
            };
            ctx.write(UserPtr::new(arg), &[kind as u32, id])?;
            Ok(0)
        }
        command::GETSIG => Ok(file.signal().into()),
        command::SETSIG if arg > SIGNALS => Err(Errno::EINVAL),
        command::SETSIG => {
            file.set_signal(arg as u32);
            Ok(0)
        }
        command::NOTIFY => {
            let table = ctx.files().lock().id();
            dnotify::watch(&file, fd.0, table, ctx.process(), arg)?;
            Ok(0)
        }
        command::GETLEASE => Ok(UNLOCKED),
        command::GETPIPE_SZ => pipe(&file).map(|pipe| pipe.capacity() as u64),
        command::SETPIPE_SZ => pipe(&file)?
            .set_capacity(arg & 0xffff_ffff)
            .map(|n| n as u64),
        command::GET_SEALS => regular(&file)?.seals().map(u64::from),
        command::ADD_SEALS => regular(&file)?.add_seals(arg as u32).map(|()| 0),
        _ => Err(Errno::EINVAL),
    }
}

fn pipe(file: &OpenFile) -> Result<&PipeEnd> {
    file.downcast().ok_or(Errno::EBADF)
}

fn regular(file: &OpenFile) -> Result<&RegularFile> {
    file.downcast().ok_or(Errno::EINVAL)
}

mod lock_type {
    pub const READ: u16 = 0;
    pub const WRITE: u16 = 1;
    pub const UNLOCK: u16 = 2;
}

/// `struct flock`: type and whence in the first word, start, length, process.
type Flock = [u64; 4];

/// The lock that a `struct flock` describes, and its type.
fn described_lock(
    ctx: &Ctx,
    file: &OpenFile,
    description: &Flock,
    by_file: bool,
) -> Result<(FileLock, u16)> {
    let (kind, whence) = (description[0] as u16, (description[0] >> 16) as u16);
    let base = match whence {
        0 => 0,
        1 => *file.offset(),
        2 => file.file().metadata()?.size,
        _ => return Err(Errno::EINVAL),
    };
    let length = description[2] as i64;
    let start = i64::try_from(base)
        .ok()
        .and_then(|base| base.checked_add(description[1] as i64))
        .ok_or(Errno::EOVERFLOW)?;
    let start = u64::try_from(start).map_err(|_| Errno::EINVAL)?;
    // A negative length means the bytes before the start.
    let (start, end) = match length {
        0 => (start, locks::TO_END),
        1.. => {
            let end = start.checked_add_signed(length - 1);
            let end = end.filter(|end| *end <= locks::TO_END);
            (start, end.ok_or(Errno::EOVERFLOW)?)
        }
        _ => (
            start.checked_add_signed(length).ok_or(Errno::EINVAL)?,
            start.checked_sub(1).ok_or(Errno::EINVAL)?,
        ),
    };
    if kind > lock_type::UNLOCK {
        return Err(Errno::EINVAL);
    }
    let (owner, pid) = match by_file {
        true => (file.lock_owner(), 0),
        false => (Owner::Table(ctx.files().lock().id()), ctx.process().pid()),
    };
    let exclusive = kind == lock_type::WRITE;
    Ok((
        FileLock {
            owner,
            kind: Kind::Record,
            exclusive,
            start,
            end,
            pid,
        },
        kind,
    ))
}

fn locked_inode(file: &OpenFile) -> Result<InodeId> {
    Ok(file.file().metadata()?.id)
}

fn get_lock(ctx: &Ctx, file: &OpenFile, at: UserPtr<Flock>, by_file: bool) -> Result<u64> {
    let mut description = ctx.read(at)?;
    // An open file may ask for its own locks by F_UNLCK.
    if !by_file && description[0] as u16 >= lock_type::UNLOCK {
        return Err(Errno::EINVAL);
    }
    let (wanted, kind) = described_lock(ctx, file, &description, by_file)?;
    if by_file && description[3] as u32 != 0 {
        return Err(Errno::EINVAL);
    }
    let inode = locked_inode(file)?;
    let found = match kind {
        lock_type::UNLOCK => locks::own(inode, &wanted),
        _ => locks::conflicting(inode, &wanted),
    };
    match found {
        None => {
            description[0] = description[0] & !0xffff | u64::from(lock_type::UNLOCK);
        }
        Some(held) => {
            let kind = if held.exclusive {
                lock_type::WRITE
            } else {
                lock_type::READ
            };
            let length = if held.end == locks::TO_END {
                0
            } else {
                held.end - held.start + 1
            };
            // OFD locks belong to no process: -1.
            let pid = if held.pid == 0 { u32::MAX } else { held.pid };
            description = [kind.into(), held.start, length, pid.into()];
        }
    }
    ctx.write(at, &description)?;
    Ok(0)
}

fn set_lock(
    ctx: &Ctx,
    file: &OpenFile,
    at: UserPtr<Flock>,
    by_file: bool,
    wait: bool,
) -> Result<u64> {
    let description = ctx.read(at)?;
    let (wanted, kind) = described_lock(ctx, file, &description, by_file)?;
    let allowed = match kind {
        lock_type::READ => file.flags().readable(),
        lock_type::WRITE => file.flags().writable(),
        _ => true,
    };
    if !allowed {
        return Err(Errno::EBADF);
    }
    if by_file && description[3] as u32 != 0 {
        return Err(Errno::EINVAL);
    }
    let inode = locked_inode(file)?;
    if kind == lock_type::UNLOCK {
        locks::release(inode, &wanted);
        return Ok(0);
    }
    acquire(ctx, inode, wanted, wait)
}

fn acquire(ctx: &Ctx, inode: InodeId, wanted: FileLock, wait: bool) -> Result<u64> {
    if !wait {
        return locks::acquire(inode, wanted).map(|()| 0);
    }
    let attempt = || locks::acquire_or_wait(inode, wanted).map(|()| 0);
    let queue = Some(locks::queue());
    let taken = ctx.retry(queue, PollEvents::all(), false, None, attempt);
    locks::stop_waiting(inode, wanted);
    taken
}

/// `flock(2)`.
pub fn flock(ctx: &Ctx, fd: Fd, operation: i32) -> Result<u64> {
    const SHARED: i32 = 1;
    const EXCLUSIVE: i32 = 2;
    const NONBLOCK: i32 = 4;
    const UNLOCK: i32 = 8;
    /// Mandatory locks, which Linux no longer has: asking for one does nothing.
    const MANDATORY: i32 = 32;
    if operation & MANDATORY != 0 {
        return Ok(0);
    }
    if !matches!(operation & !NONBLOCK, SHARED | EXCLUSIVE | UNLOCK) {
        return Err(Errno::EINVAL);
    }
    let file = open_file(ctx, fd)?;
    if file.flags().contains(OpenFlags::PATH) {
        return Err(Errno::EBADF);
    }
    let inode = locked_inode(&file)?;
    let mut lock = FileLock {
        owner: file.lock_owner(),
        kind: Kind::Whole,
        exclusive: false,
        start: 0,
        end: locks::TO_END,
        pid: ctx.process().pid(),
    };
    match operation & !NONBLOCK {
        UNLOCK => {
            locks::release(inode, &lock);
            return Ok(0);
        }
        SHARED => {}
        EXCLUSIVE => lock.exclusive = true,
        _ => return Err(Errno::EINVAL),
    }
    acquire(ctx, inode, lock, operation & NONBLOCK == 0)
}
