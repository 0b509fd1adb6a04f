//! sendfile and copy_file_range: from one file to another without the program's memory.

use super::transfer::{Wait, read_bytes, write_bytes};
use crate::errno::{Errno, Result};
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::inode::FileKind;
use crate::io::MAX_TRANSFER;
use crate::syscalls::args::{Fd, Flags, UserPtr};
use crate::syscalls::fs::open_file;
use crate::task::Ctx;

/// Copied at a time.
const CHUNK: usize = 16 << 10;

/// A position in a file: its own, or one that the program keeps.
pub(super) struct Position {
    at: UserPtr<i64>,
    pub value: Option<u64>,
}

impl Position {
    /// The one at `at`, or the file's own if that is NULL.
    pub fn read(ctx: &Ctx, at: UserPtr<i64>) -> Result<Position> {
        let value = match at.non_null() {
            Some(at) => Some(u64::try_from(ctx.read(at)?).map_err(|_| Errno::EINVAL)?),
            None => None,
        };
        Ok(Position { at, value })
    }

    /// Where it is now.
    pub fn current(&self, file: &OpenFile) -> u64 {
        self.value.unwrap_or_else(|| *file.offset())
    }

    /// Moves it on.
    pub fn advance(&mut self, file: &OpenFile, bytes: u64) {
        match &mut self.value {
            Some(value) => *value += bytes,
            None => *file.offset() += bytes,
        }
    }

    /// Tells the program where its position is now.
    pub fn write_back(&self, ctx: &Ctx) -> Result<()> {
        match self.value {
            Some(value) => ctx.write_if(self.at, &(value as i64)),
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
        let at = to.as_ref().and_then(|position| position.value);
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
        if let Some(Position {
            value: Some(value), ..
        }) = to.as_deref_mut()
        {
            *value += written as u64;
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
    let (input, output) = (open_file(ctx, input)?, open_file(ctx, output)?);
    if !input.flags().readable() || !output.flags().writable() {
        return Err(Errno::EBADF);
    }
    if !input.file().seekable() {
        return Err(if offset.is_null() {
            Errno::EINVAL
        } else {
            Errno::ESPIPE
        });
    }
    if output.flags().contains(OpenFlags::APPEND) {
        return Err(Errno::EINVAL);
    }
    let count = (count as u64).min(MAX_TRANSFER);
    let done = copy(ctx, &input, &mut from, &output, None, count)?;
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
    let (input, output) = (open_file(ctx, input)?, open_file(ctx, output)?);
    let mut from = Position::read(ctx, input_offset)?;
    let mut to = Position::read(ctx, output_offset)?;
    if flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    let (input_meta, output_meta) = (input.file().metadata()?, output.file().metadata()?);
    for metadata in [&input_meta, &output_meta] {
        match metadata.kind {
            FileKind::Directory => return Err(Errno::EISDIR),
            FileKind::Regular => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    if !input.flags().readable()
        || !output.flags().writable()
        || output.flags().contains(OpenFlags::APPEND)
    {
        return Err(Errno::EBADF);
    }
    let count = (count as u64).min(MAX_TRANSFER);
    let (start, target) = (from.current(&input), to.current(&output));
    let count = count.min(input_meta.size.saturating_sub(start));
    if input_meta.id == output_meta.id && start < target + count && target < start + count {
        return Err(Errno::EINVAL);
    }
    let done = copy(ctx, &input, &mut from, &output, Some(&mut to), count)?;
    from.write_back(ctx)?;
    to.write_back(ctx)?;
    Ok(done)
}
