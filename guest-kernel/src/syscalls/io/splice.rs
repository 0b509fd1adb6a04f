//! splice, tee, vmsplice: between a pipe and another file, pipe, or memory. Bytes are copied, not moved: pages of programs and files
//! are never shared with pipes here.

use super::copy::Position;
use super::transfer::{Wait, read_bytes, read_iovecs, transfer_ranges, write_bytes};
use crate::errno::{Errno, Result};
use crate::fs::file::{OpenFile, OpenFlags};
use crate::io::MAX_TRANSFER;
use crate::ipc::pipe::PipeEnd;
use crate::syscalls::args::{Fd, Flags, UserAddr, UserPtr};
use crate::syscalls::fs::open_file;
use crate::task::Ctx;
use crate::wait::PollEvents;
use alloc::sync::Arc;

/// Copied at a time: what a pipe takes in one piece.
const CHUNK: usize = 4096;
const NONBLOCK: u32 = 2;
const KNOWN_FLAGS: u32 = 0xf;

/// `splice(2)`.
pub fn splice(
    ctx: &Ctx,
    input: Fd,
    input_offset: UserPtr<i64>,
    output: Fd,
    output_offset: UserPtr<i64>,
    count: usize,
    flags: Flags,
) -> Result<u64> {
    if count == 0 {
        return Ok(0);
    }
    if flags.0 & !KNOWN_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let (input, output) = (open_file(ctx, input)?, open_file(ctx, output)?);
    let is_pipe = |file: &OpenFile| file.downcast::<PipeEnd>().is_some();
    if is_pipe(&input) && !input_offset.is_null() || is_pipe(&output) && !output_offset.is_null() {
        return Err(Errno::ESPIPE);
    }
    let mut from = Position::read(ctx, input_offset)?;
    let mut to = Position::read(ctx, output_offset)?;
    if !input.flags().readable() || !output.flags().writable() {
        return Err(Errno::EBADF);
    }
    if !is_pipe(&input) && !is_pipe(&output)
        || Arc::ptr_eq(&input, &output)
        || !is_pipe(&output) && output.flags().contains(OpenFlags::APPEND)
    {
        return Err(Errno::EINVAL);
    }
    let count = (count as u64).min(MAX_TRANSFER);
    let wait = match flags.0 & NONBLOCK {
        0 => Wait::AsOpened,
        _ => Wait::Never,
    };
    let done = match input.file().seekable() {
        true => from_positions(ctx, &input, &mut from, &output, count, wait)?,
        false => from_stream(ctx, &input, &output, &mut to, count, wait)?,
    };
    from.write_back(ctx)?;
    to.write_back(ctx)?;
    Ok(done)
}

/// From a file with positions into a pipe, until that is full: what the pipe did not take has not
/// been read either.
fn from_positions(
    ctx: &Ctx,
    input: &OpenFile,
    from: &mut Position,
    output: &OpenFile,
    count: u64,
    wait: Wait,
) -> Result<u64> {
    let mut buffer = [0; CHUNK];
    let mut done = 0;
    while done < count {
        let want = CHUNK.min((count - done) as usize);
        let at = Some(from.current(input));
        let read = read_bytes(ctx, input, &mut buffer[..want], at, wait)?;
        // Only for the first bytes is room waited for.
        let wait = if done == 0 { wait } else { Wait::Never };
        match write_bytes(ctx, output, &buffer[..read], None, wait) {
            Ok(0) => break,
            Ok(written) => {
                from.advance(input, written as u64);
                done += written as u64;
            }
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// From a pipe or socket, as long as there is something. What was read must be written, so when
/// the output has no room for it after all, that is waited for.
fn from_stream(
    ctx: &Ctx,
    input: &OpenFile,
    output: &OpenFile,
    to: &mut Position,
    count: u64,
    wait: Wait,
) -> Result<u64> {
    let mut buffer = [0; CHUNK];
    let mut done = 0;
    while done < count {
        let nonblocking = wait == Wait::Never || output.flags().contains(OpenFlags::NONBLOCK);
        if nonblocking
            && !output
                .file()
                .poll()
                .intersects(PollEvents::OUT | PollEvents::ERR)
        {
            return if done > 0 {
                Ok(done)
            } else {
                Err(Errno::EAGAIN)
            };
        }
        let want = CHUNK.min((count - done) as usize);
        let wait = if done == 0 { wait } else { Wait::Never };
        let read = match read_bytes(ctx, input, &mut buffer[..want], None, wait) {
            Ok(0) => break,
            Ok(read) => read,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        };
        let written = write_bytes(ctx, output, &buffer[..read], to.value, Wait::Always)?;
        if let Some(value) = &mut to.value {
            *value += written as u64;
        }
        done += written as u64;
        if written < read {
            break;
        }
    }
    Ok(done)
}

fn wait_unless_nonblock(flags: Flags) -> Result<Wait> {
    match flags.0 {
        flags if flags & !KNOWN_FLAGS != 0 => Err(Errno::EINVAL),
        flags if flags & NONBLOCK != 0 => Ok(Wait::Never),
        _ => Ok(Wait::AsOpened),
    }
}

/// `tee(2)`: what waits in one pipe goes into another too, and stays.
pub fn tee(ctx: &Ctx, input: Fd, output: Fd, count: usize, flags: Flags) -> Result<u64> {
    let wait = wait_unless_nonblock(flags)?;
    if count == 0 {
        return Ok(0);
    }
    let (input, output) = (open_file(ctx, input)?, open_file(ctx, output)?);
    if !input.flags().readable() || !output.flags().writable() {
        return Err(Errno::EBADF);
    }
    let (Some(from), Some(to)) = (input.downcast::<PipeEnd>(), output.downcast::<PipeEnd>()) else {
        return Err(Errno::EINVAL);
    };
    if from.same_pipe(to) {
        return Err(Errno::EINVAL);
    }
    let nonblocking = wait == Wait::Never || input.flags().contains(OpenFlags::NONBLOCK);
    let queue = input.file().wait_queue();
    let most = (count as u64).min(MAX_TRANSFER) as usize;
    let bytes = ctx.retry(queue, PollEvents::IN, nonblocking, None, || from.peek(most))?;
    if bytes.is_empty() {
        return Ok(0);
    }
    // For what there is now: the rest of a full output is not waited for.
    let first = bytes.len().min(CHUNK);
    let mut done = write_bytes(ctx, &output, &bytes[..first], None, wait)?;
    while done < bytes.len() {
        match write_bytes(ctx, &output, &bytes[done..], None, Wait::Never) {
            Ok(0) | Err(_) => break,
            Ok(written) => done += written,
        }
    }
    Ok(done as u64)
}

/// `vmsplice(2)`: memory into a pipe, or out of one. Pages are not lent (SPLICE_F_GIFT is a hint),
/// so what a program does with its memory afterwards does not show in the pipe.
pub fn vmsplice(ctx: &Ctx, fd: Fd, vector: UserAddr, count: usize, flags: Flags) -> Result<u64> {
    // Unlike for tee and splice, how the pipe was opened does not matter.
    let wait = match wait_unless_nonblock(flags)? {
        Wait::AsOpened => Wait::Always,
        wait => wait,
    };
    let file = open_file(ctx, fd)?;
    if !file.flags().readable() && !file.flags().writable() {
        return Err(Errno::EBADF);
    }
    let ranges = read_iovecs(ctx, vector, count)?;
    if ranges.iter().all(|range| range.len == 0) {
        return Ok(0);
    }
    if file.downcast::<PipeEnd>().is_none() {
        return Err(Errno::EBADF);
    }
    transfer_ranges(ctx, &file, ranges, wait)
}
