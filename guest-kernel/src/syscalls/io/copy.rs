//! sendfile and copy_file_range: from one file to another without the program's memory.

use super::splice::{self, Waits, check_spliceable};
use super::transfer::{Wait, check_write_limit, read_bytes, write_bytes};
use crate::errno::{Errno, Result};
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::inode::FileKind;
use crate::io::MAX_TRANSFER;
use crate::ipc::pipe::PipeEnd;
use crate::syscalls::args::{Fd, Flags, UserPtr};
use crate::syscalls::fs::usable_file;
use crate::task::Ctx;

/// Copied at a time.
const CHUNK: usize = 16 << 10;

/// Where files end at the latest.
const MAX_SIZE: u64 = i64::MAX as u64;

/// A position in a file: its own, or one that the program keeps.
pub(super) struct Position {
    at: UserPtr<i64>,
    value: Option<i64>,
}

impl Position {
    /// The one at `at`, or the file's own if that is NULL. What it says is looked at later, after
    /// the descriptors: [`Position::check`].
    pub fn read(ctx: &Ctx, at: UserPtr<i64>) -> Result<Position> {
        let value = match at.non_null() {
            Some(at) => Some(ctx.read(at)?),
            None => None,
        };
        Ok(Position { at, value })
    }

    /// EINVAL for a negative one.
    pub fn check(&self) -> Result<()> {
        match self.value {
            Some(..0) => Err(Errno::EINVAL),
            _ => Ok(()),
        }
    }

    /// The program's own position, once checked.
    pub fn value(&self) -> Option<u64> {
        self.value.map(|value| value as u64)
    }

    /// Where it is now.
    pub fn current(&self, file: &OpenFile) -> u64 {
        self.value().unwrap_or_else(|| *file.offset())
    }

    /// Moves it on.
    pub fn advance(&mut self, file: &OpenFile, bytes: u64) {
        match self.value {
            Some(_) => self.advance_own(bytes),
            None => *file.offset() += bytes,
        }
    }

    /// Moves it on if it is the program's own: the file has moved its position itself.
    pub fn advance_own(&mut self, bytes: u64) {
        if let Some(value) = &mut self.value {
            *value = value.saturating_add_unsigned(bytes);
        }
    }

    /// Tells the program where its position is now.
    pub fn write_back(&self, ctx: &Ctx) -> Result<()> {
        match self.value {
            Some(value) => ctx.write_if(self.at, &value),
            None => Ok(()),
        }
    }
}

/// Copies up to `count` bytes from a file with positions to any file. What was not written is not
/// taken from the input either.
fn copy(
    ctx: &Ctx,
    input: &OpenFile,
    from: &mut Position,
    output: &OpenFile,
    mut to: Option<&mut Position>,
    count: u64,
) -> Result<u64> {
    let mut buffer = alloc::vec![0; CHUNK.min(count as usize)];
    let mut done = 0;
    while done < count {
        let want = buffer.len().min((count - done) as usize);
        let at = to.as_ref().and_then(|position| position.value());
        let start = Some(from.current(input));
        let copied =
            read_bytes(ctx, input, &mut buffer[..want], start, Wait::AsOpened).and_then(|read| {
                match read {
                    0 => Ok((0, 0)),
                    read => write_bytes(ctx, output, &buffer[..read], at, Wait::AsOpened)
                        .map(|n| (read, n)),
                }
            });
        let (read, written) = match copied {
            Ok(copied) => copied,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        };
        from.advance(input, written as u64);
        if let Some(to) = to.as_deref_mut() {
            to.advance_own(written as u64);
        }
        done += written as u64;
        if written == 0 || written < read {
            break;
        }
    }
    Ok(done)
}

/// `sendfile(2)`.
pub fn sendfile(
    ctx: &Ctx,
    output: Fd,
    input: Fd,
    offset: UserPtr<i64>,
    count: usize,
) -> Result<u64> {
    let mut from = Position::read(ctx, offset)?;
    let input = usable_file(ctx, input)?;
    if !input.flags().readable() {
        return Err(Errno::EBADF);
    }
    let seekable = input.file().seekable();
    if !offset.is_null() && !seekable {
        return Err(Errno::ESPIPE);
    }
    from.check()?;
    let output = usable_file(ctx, output)?;
    if !output.flags().writable() {
        return Err(Errno::EBADF);
    }
    let is_pipe = |file: &OpenFile| file.downcast::<PipeEnd>().is_some();
    check_spliceable(&input)?;
    if is_pipe(&input) || !is_pipe(&output) && !seekable {
        return Err(Errno::EINVAL);
    }
    if i64::try_from(count).is_err() {
        return Err(Errno::EINVAL);
    }
    let count = (count as u64).min(MAX_TRANSFER);
    let done = if is_pipe(&output) {
        let waits = Waits {
            data: !input.flags().contains(OpenFlags::NONBLOCK),
            room: !output.flags().contains(OpenFlags::NONBLOCK),
        };
        let mut to = Position::read(ctx, UserPtr::new(0))?;
        splice::transfer(ctx, (&input, &mut from), (&output, &mut to), count, waits)?
    } else {
        check_spliceable(&output)?;
        if output.flags().contains(OpenFlags::APPEND) {
            return Err(Errno::EINVAL);
        }
        copy(ctx, &input, &mut from, &output, None, count)?
    };
    from.write_back(ctx)?;
    Ok(done)
}

/// `copy_file_range(2)`.
pub fn copy_file_range(
    ctx: &Ctx,
    input: Fd,
    input_offset: UserPtr<i64>,
    output: Fd,
    output_offset: UserPtr<i64>,
    count: usize,
    flags: Flags,
) -> Result<u64> {
    let (input, output) = (usable_file(ctx, input)?, usable_file(ctx, output)?);
    let mut from = Position::read(ctx, input_offset)?;
    let mut to = Position::read(ctx, output_offset)?;
    if flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    let (input_meta, output_meta) = (input.file().metadata()?, output.file().metadata()?);
    let kinds = [input_meta.kind, output_meta.kind];
    if kinds.contains(&FileKind::Directory) {
        return Err(Errno::EISDIR);
    }
    if kinds.iter().any(|kind| *kind != FileKind::Regular) {
        return Err(Errno::EINVAL);
    }
    if !input.flags().readable()
        || !output.flags().writable()
        || output.flags().contains(OpenFlags::APPEND)
    {
        return Err(Errno::EBADF);
    }
    from.check()?;
    to.check()?;
    let (start, target) = (from.current(&input), to.current(&output));
    // As Linux adds them: signed positions, unsigned count.
    let wraps = |at: u64| at.checked_add(count as u64).is_none();
    if wraps(start) || wraps(target) {
        return Err(Errno::EOVERFLOW);
    }
    let count = (count as u64).min(input_meta.size.saturating_sub(start));
    let count = check_write_limit(ctx, target, count)?;
    if target >= MAX_SIZE {
        return Err(Errno::EFBIG);
    }
    let count = count.min(MAX_SIZE - target);
    if input_meta.id == output_meta.id && start < target + count && target < start + count {
        return Err(Errno::EINVAL);
    }
    let count = count.min(MAX_TRANSFER);
    let done = copy(ctx, &input, &mut from, &output, Some(&mut to), count)?;
    from.write_back(ctx)?;
    to.write_back(ctx)?;
    Ok(done)
}
