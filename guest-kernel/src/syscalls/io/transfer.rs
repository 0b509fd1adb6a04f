//! read, write and their vector and positioned forms, lseek.

use crate::errno::{Errno, Result};
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::inode::FileKind;
use crate::fs::rootfs::RegularFile;
use crate::io::{Destination, Source, UserRange};
use crate::syscalls::args::{Fd, Flags, UserAddr};
use crate::syscalls::fs::usable_file;
use crate::task::Ctx;
use crate::wait::PollEvents;
use alloc::sync::Arc;
use alloc::vec::Vec;

pub(super) const SIGPIPE: u32 = 13;
const SIGXFSZ: u32 = 25;
const RLIMIT_FSIZE: usize = 1;
/// Most buffers of one call (UIO_MAXIOV).
const MAX_BUFFERS: usize = 1024;
/// `sizeof(struct iovec)`: address and length.
const IOVEC_SIZE: usize = 16;

fn one(buffer: UserAddr, len: usize) -> Result<Vec<UserRange>> {
    check_range(buffer.0, len as u64)?;
    Ok(Vec::from([UserRange {
        addr: buffer.0,
        len: len as u64,
    }]))
}

/// EFAULT for a buffer that runs out of the program's half of the address space, as access_ok.
fn check_range(addr: u64, len: u64) -> Result<()> {
    match addr.checked_add(len) {
        Some(end) if end <= sprout_abi::layout::USER_END => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}

/// Reads an array of iovecs: EINVAL for too many or for lengths beyond what a call can return.
/// Of the count, as on Linux, the low half matters.
pub fn read_iovecs(ctx: &Ctx, vector: UserAddr, count: usize) -> Result<Vec<UserRange>> {
    let count = count as u32 as usize;
    if count > MAX_BUFFERS {
        return Err(Errno::EINVAL);
    }
    let mut bytes = alloc::vec![0; count * IOVEC_SIZE];
    ctx.read_bytes(vector.0, &mut bytes)?;
    let mut total = 0u64;
    let mut ranges = Vec::with_capacity(count);
    let (words, _) = bytes.as_chunks::<8>();
    for pair in words.chunks_exact(2) {
        let (addr, len) = (u64::from_le_bytes(pair[0]), u64::from_le_bytes(pair[1]));
        total = total
            .checked_add(len)
            .filter(|&t| t <= i64::MAX as u64)
            .ok_or(Errno::EINVAL)?;
        check_range(addr, len)?;
        ranges.push(UserRange { addr, len });
    }
    Ok(ranges)
}

/// Whether a transfer waits for the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wait {
    /// As O_NONBLOCK says.
    #[default]
    AsOpened,
    /// No (RWF_NOWAIT, SPLICE_F_NONBLOCK).
    Never,
    /// Yes.
    Always,
}

impl Wait {
    fn nonblocking(self, file: &OpenFile) -> bool {
        match self {
            Wait::AsOpened => file.flags().contains(OpenFlags::NONBLOCK),
            Wait::Never => true,
            Wait::Always => false,
        }
    }
}

/// How a transfer waits, and where in the file it is.
#[derive(Clone, Copy, Default)]
struct How {
    /// A position other than the file's own.
    offset: Option<u64>,
    /// Whether it waits.
    wait: Wait,
    /// Write at the end (RWF_APPEND).
    append: bool,
    /// Write at the position, whatever O_APPEND says (RWF_NOAPPEND).
    no_append: bool,
}

fn position(offset: i64) -> Result<How> {
    let offset = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
    Ok(How {
        offset: Some(offset),
        ..How::default()
    })
}

/// Refuses a transfer that would go beyond the last position there is.
fn check_end(ranges: &[UserRange], how: How) -> Result<()> {
    let length: u64 = ranges.iter().map(|range| range.len).sum();
    let end = how.offset.unwrap_or(0).checked_add(length);
    match end.is_some_and(|end| end <= i64::MAX as u64) {
        true => Ok(()),
        false => Err(Errno::EINVAL),
    }
}

fn read_ranges(ctx: &Ctx, file: &OpenFile, ranges: Vec<UserRange>, how: How) -> Result<u64> {
    check_end(&ranges, how)?;
    let mut dst = Destination::user(ctx.space(), ranges);
    read_into(ctx, file, &mut dst, how).map(|n| n as u64)
}

/// Reads, waiting until there is something.
fn read_into(ctx: &Ctx, file: &OpenFile, dst: &mut Destination<'_>, how: How) -> Result<usize> {
    let nonblocking = how.wait.nonblocking(file);
    let operation = || match how.offset {
        Some(offset) => file.pread(dst, offset),
        None => file.read(dst),
    };
    let [deadline, _] = file.file().deadlines();
    file.file().read_begins();
    ctx.retry(
        file.file().wait_queue(),
        PollEvents::IN,
        nonblocking,
        deadline,
        operation,
    )
}

fn write_ranges(ctx: &Ctx, file: &OpenFile, ranges: Vec<UserRange>, how: How) -> Result<u64> {
    check_end(&ranges, how)?;
    let mut src = Source::user(ctx.space(), ranges);
    write_from(ctx, file, &mut src, how)
}

/// Writes everything, waiting for room; less only after a signal or an error.
fn write_from(ctx: &Ctx, file: &OpenFile, src: &mut Source<'_>, mut how: How) -> Result<u64> {
    let nonblocking = how.wait.nonblocking(file);
    if how.append && file.file().seekable() {
        how.offset = Some(file.file().metadata()?.size);
    }
    if let Some(room) = room_in_file(ctx, file, src.remaining() as u64, how)? {
        src.limit(room);
    }
    let total = src.remaining();
    let mut done = 0;
    loop {
        let operation = || match how.offset {
            Some(offset) if how.no_append => file.pwrite_here(src, offset),
            Some(offset) => file.pwrite(src, offset),
            None => file.write(src),
        };
        let [_, deadline] = file.file().deadlines();
        let queue = file.file().wait_queue();
        match ctx.retry(queue, PollEvents::OUT, nonblocking, deadline, operation) {
            Ok(n) => {
                done += n;
                if let Some(offset) = &mut how.offset {
                    *offset += n as u64;
                }
                if n == 0 || done >= total || nonblocking {
                    return Ok(done as u64);
                }
            }
            Err(_) if done > 0 => return Ok(done as u64),
            Err(Errno::EPIPE) => {
                ctx.send_signal_self(SIGPIPE);
                return Err(Errno::EPIPE);
            }
            Err(error) => return Err(error),
        }
    }
}

/// RLIMIT_FSIZE: how many bytes a regular file may still take; SIGXFSZ and EFBIG when it is at the
/// limit already.
fn room_in_file(ctx: &Ctx, file: &OpenFile, len: u64, how: How) -> Result<Option<usize>> {
    let limit = ctx.process().rlimit(RLIMIT_FSIZE);
    if limit == u64::MAX || len == 0 || file.downcast::<RegularFile>().is_none() {
        return Ok(None);
    }
    let append = file.flags().contains(OpenFlags::APPEND) && !how.no_append;
    let at = match how.offset {
        _ if append => file.file().metadata()?.size,
        Some(offset) => offset,
        None => *file.offset(),
    };
    let room = check_write_limit(ctx, at, len)?;
    Ok(Some(usize::try_from(room).unwrap_or(usize::MAX)))
}

/// How many of `len` bytes RLIMIT_FSIZE lets a file take at `at`; SIGXFSZ and EFBIG: none.
pub(super) fn check_write_limit(ctx: &Ctx, at: u64, len: u64) -> Result<u64> {
    let limit = ctx.process().rlimit(RLIMIT_FSIZE);
    if limit == u64::MAX || len == 0 {
        return Ok(len);
    }
    match limit.checked_sub(at) {
        None | Some(0) => {
            ctx.send_signal_self(SIGXFSZ);
            Err(Errno::EFBIG)
        }
        Some(room) => Ok(room.min(len)),
    }
}

/// RLIMIT_FSIZE for truncate: a file may not grow beyond it.
pub(crate) fn check_new_size(ctx: &Ctx, old: u64, new: u64) -> Result<()> {
    if new > old && new > ctx.process().rlimit(RLIMIT_FSIZE) {
        ctx.send_signal_self(SIGXFSZ);
        return Err(Errno::EFBIG);
    }
    Ok(())
}

/// The file of a descriptor that is to be read. As on Linux, buffers are looked at later.
fn to_read(ctx: &Ctx, fd: Fd, how: How) -> Result<Arc<OpenFile>> {
    let file = usable_file(ctx, fd)?;
    match (how.offset, file.flags().readable()) {
        (Some(_), _) if !file.file().seekable() => Err(Errno::ESPIPE),
        (_, false) => Err(Errno::EBADF),
        (_, true) => Ok(file),
    }
}

/// The file of a descriptor that is to be written.
fn to_write(ctx: &Ctx, fd: Fd, how: How) -> Result<Arc<OpenFile>> {
    let file = usable_file(ctx, fd)?;
    match (how.offset, file.flags().writable()) {
        (Some(_), _) if !file.file().seekable() => Err(Errno::ESPIPE),
        (_, false) => Err(Errno::EBADF),
        (_, true) => Ok(file),
    }
}

/// `read(2)`.
pub fn read(ctx: &Ctx, fd: Fd, buffer: UserAddr, len: usize) -> Result<u64> {
    let how = How::default();
    let file = to_read(ctx, fd, how)?;
    read_ranges(ctx, &file, one(buffer, len)?, how)
}

/// `write(2)`.
pub fn write(ctx: &Ctx, fd: Fd, buffer: UserAddr, len: usize) -> Result<u64> {
    let how = How::default();
    let file = to_write(ctx, fd, how)?;
    write_ranges(ctx, &file, one(buffer, len)?, how)
}

/// `pread64(2)`.
pub fn pread64(ctx: &Ctx, fd: Fd, buffer: UserAddr, len: usize, offset: i64) -> Result<u64> {
    let how = position(offset)?;
    let file = to_read(ctx, fd, how)?;
    read_ranges(ctx, &file, one(buffer, len)?, how)
}

/// `pwrite64(2)`.
pub fn pwrite64(ctx: &Ctx, fd: Fd, buffer: UserAddr, len: usize, offset: i64) -> Result<u64> {
    let how = position(offset)?;
    let file = to_write(ctx, fd, how)?;
    write_ranges(ctx, &file, one(buffer, len)?, how)
}

/// `readv(2)`.
pub fn readv(ctx: &Ctx, fd: Fd, vector: UserAddr, count: usize) -> Result<u64> {
    read_vector(ctx, fd, vector, count, How::default())
}

/// `writev(2)`.
pub fn writev(ctx: &Ctx, fd: Fd, vector: UserAddr, count: usize) -> Result<u64> {
    write_vector(ctx, fd, vector, count, How::default())
}

/// `preadv(2)`. On 64-bit the low word of the position has all of it.
pub fn preadv(ctx: &Ctx, fd: Fd, vector: UserAddr, count: usize, offset: i64) -> Result<u64> {
    read_vector(ctx, fd, vector, count, position(offset)?)
}

/// `pwritev(2)`.
pub fn pwritev(ctx: &Ctx, fd: Fd, vector: UserAddr, count: usize, offset: i64) -> Result<u64> {
    write_vector(ctx, fd, vector, count, position(offset)?)
}

fn read_vector(ctx: &Ctx, fd: Fd, vector: UserAddr, count: usize, how: How) -> Result<u64> {
    let file = to_read(ctx, fd, how)?;
    let ranges = read_iovecs(ctx, vector, count)?;
    read_ranges(ctx, &file, ranges, how)
}

fn write_vector(ctx: &Ctx, fd: Fd, vector: UserAddr, count: usize, how: How) -> Result<u64> {
    let file = to_write(ctx, fd, how)?;
    let ranges = read_iovecs(ctx, vector, count)?;
    write_ranges(ctx, &file, ranges, how)
}

/// Flags of preadv2 and pwritev2.
mod rwf {
    pub const HIPRI: u32 = 0x1;
    pub const DSYNC: u32 = 0x2;
    pub const SYNC: u32 = 0x4;
    pub const NOWAIT: u32 = 0x8;
    pub const APPEND: u32 = 0x10;
    pub const NOAPPEND: u32 = 0x20;
    /// What has a meaning here. RWF_ATOMIC, RWF_DONTCACHE and RWF_NOSIGNAL are for files and
    /// devices that offer them.
    pub const KNOWN: u32 = HIPRI | DSYNC | SYNC | NOWAIT | APPEND | NOAPPEND;
}

/// -1: at the file's own position.
fn position_v2(offset: i64) -> Result<How> {
    if offset == -1 {
        Ok(How::default())
    } else {
        position(offset)
    }
}

fn with_flags(how: How, flags: Flags) -> Result<How> {
    if flags.0 & !rwf::KNOWN != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if flags.0 & rwf::APPEND != 0 && flags.0 & rwf::NOAPPEND != 0 {
        return Err(Errno::EINVAL);
    }
    let wait = match flags.0 & rwf::NOWAIT {
        0 => Wait::AsOpened,
        _ => Wait::Never,
    };
    Ok(How {
        wait,
        append: flags.0 & rwf::APPEND != 0,
        no_append: flags.0 & rwf::NOAPPEND != 0,
        ..how
    })
}

/// Whether a vector has no bytes: then Linux does not look at the flags.
fn is_empty(ranges: &[UserRange]) -> bool {
    ranges.iter().all(|range| range.len == 0)
}

/// `preadv2(2)`. The fifth argument is the unused high word of the position.
pub fn preadv2(
    ctx: &Ctx,
    fd: Fd,
    vector: UserAddr,
    count: usize,
    offset: i64,
    _: u64,
    flags: Flags,
) -> Result<u64> {
    let how = position_v2(offset)?;
    let file = to_read(ctx, fd, how)?;
    let ranges = read_iovecs(ctx, vector, count)?;
    if is_empty(&ranges) {
        return Ok(0);
    }
    // Appending is a way to write.
    if flags.0 & (rwf::APPEND | rwf::NOAPPEND) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    read_ranges(ctx, &file, ranges, with_flags(how, flags)?)
}

/// `pwritev2(2)`. The fifth argument is the unused high word of the position.
pub fn pwritev2(
    ctx: &Ctx,
    fd: Fd,
    vector: UserAddr,
    count: usize,
    offset: i64,
    _: u64,
    flags: Flags,
) -> Result<u64> {
    let how = position_v2(offset)?;
    let file = to_write(ctx, fd, how)?;
    let ranges = read_iovecs(ctx, vector, count)?;
    if is_empty(&ranges) {
        return Ok(0);
    }
    let mut how = with_flags(how, flags)?;
    let own_position = how.offset.is_none() && file.file().seekable();
    if !own_position || !how.append && !how.no_append {
        return write_ranges(ctx, &file, ranges, how);
    }
    let at = match how.append {
        true => file.file().metadata()?.size,
        false => *file.offset(),
    };
    how.offset = Some(at);
    let written = write_ranges(ctx, &file, ranges, how)?;
    *file.offset() = at + written;
    Ok(written)
}

/// `lseek(2)`.
pub fn lseek(ctx: &Ctx, fd: Fd, offset: i64, whence: u32) -> Result<u64> {
    const SEEK_DATA: u32 = 3;
    const SEEK_HOLE: u32 = 4;
    let open = usable_file(ctx, fd)?;
    if whence > SEEK_HOLE {
        return Err(Errno::EINVAL);
    }
    let file = open.file();
    let metadata = file.metadata()?;
    if metadata.kind == FileKind::Anonymous {
        // Those of eventfd and its kind have a position, which nothing moves.
        return Ok(0);
    }
    if !file.seekable() {
        return Err(Errno::ESPIPE);
    }
    if metadata.kind == FileKind::CharDevice {
        // Reading and writing go on wherever the position is.
        return Ok(0);
    }
    let base = match whence {
        0 => 0,
        1 => *open.offset(),
        2 => metadata.size,
        SEEK_DATA | SEEK_HOLE => {
            let at = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
            let found = match open.downcast::<RegularFile>() {
                Some(regular) => regular.seek_data(at, whence == SEEK_DATA)?,
                None if at >= metadata.size => return Err(Errno::ENXIO),
                None if whence == SEEK_DATA => at,
                None => metadata.size,
            };
            *open.offset() = found;
            return Ok(found);
        }
        _ => return Err(Errno::EINVAL),
    };
    let position = i64::try_from(base)
        .ok()
        .and_then(|base| base.checked_add(offset))
        .ok_or(Errno::EOVERFLOW)?;
    let position = u64::try_from(position).map_err(|_| Errno::EINVAL)?;
    *open.offset() = position;
    Ok(position)
}

/// A pipe into the program's memory (vmsplice).
pub(super) fn read_pipe(
    ctx: &Ctx,
    file: &OpenFile,
    ranges: Vec<UserRange>,
    wait: Wait,
) -> Result<u64> {
    let how = How {
        wait,
        ..How::default()
    };
    read_ranges(ctx, file, ranges, how)
}

/// The program's memory into a pipe (vmsplice): waits for room, then writes what fits.
pub(super) fn write_pipe(
    ctx: &Ctx,
    file: &OpenFile,
    ranges: Vec<UserRange>,
    wait: Wait,
) -> Result<u64> {
    let mut src = Source::user(ctx.space(), ranges);
    let nonblocking = wait.nonblocking(file);
    let queue = file.file().wait_queue();
    let written = ctx.retry(queue, PollEvents::OUT, nonblocking, None, || {
        file.write(&mut src)
    });
    match written {
        Err(Errno::EPIPE) => {
            ctx.send_signal_self(SIGPIPE);
            Err(Errno::EPIPE)
        }
        written => written.map(|bytes| bytes as u64),
    }
}

/// Writes kernel memory to a file, for calls that copy between files.
pub(super) fn write_bytes(
    ctx: &Ctx,
    file: &OpenFile,
    bytes: &[u8],
    offset: Option<u64>,
    wait: Wait,
) -> Result<usize> {
    let mut src = Source::kernel(bytes);
    let how = How {
        offset,
        wait,
        ..How::default()
    };
    write_from(ctx, file, &mut src, how).map(|n| n as usize)
}

/// Reads into kernel memory.
pub(super) fn read_bytes(
    ctx: &Ctx,
    file: &OpenFile,
    bytes: &mut [u8],
    offset: Option<u64>,
    wait: Wait,
) -> Result<usize> {
    let mut dst = Destination::kernel(bytes);
    let how = How {
        offset,
        wait,
        ..How::default()
    };
    read_into(ctx, file, &mut dst, how)
}
