//! splice, tee, vmsplice: between a pipe and another file, pipe, or memory. Bytes are copied, not
//! moved: pages of programs and files are never shared with pipes here.

use super::copy::Position;
use super::transfer::{SIGPIPE, Wait, read_bytes, read_iovecs, read_pipe, write_bytes, write_pipe};
use crate::errno::{Errno, Result};
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::inode::FileKind;
use crate::io::MAX_TRANSFER;
use crate::ipc::pipe::PipeEnd;
use crate::syscalls::args::{Fd, Flags, UserAddr, UserPtr};
use crate::syscalls::fs::{open_file, usable_file};
use crate::task::Ctx;
use crate::wait::PollEvents;
use alloc::vec::Vec;

/// Copied at a time: what a pipe takes in one piece.
const CHUNK: usize = 4096;
const NONBLOCK: u32 = 2;
const KNOWN_FLAGS: u32 = 0xf;

/// What a splice waits for before its first byte; after that it takes what there is.
#[derive(Clone, Copy)]
pub(super) struct Waits {
    /// Something to read.
    pub data: bool,
    /// Room to write it.
    pub room: bool,
}

/// How one piece of a splice went.
enum Step {
    Moved(usize),
    End,
    NoData,
    NoRoom,
}

fn pipe(file: &OpenFile) -> Option<&PipeEnd> {
    file.downcast()
}

fn is_nonblocking(file: &OpenFile) -> bool {
    file.flags().contains(OpenFlags::NONBLOCK)
}

/// Files that splice can't read from or write to: directories, and what has records of its own
/// (epoll, eventfd, timerfd, signalfd, inotify).
pub(super) fn check_spliceable(file: &OpenFile) -> Result<()> {
    match file.file().metadata()?.kind {
        FileKind::Directory | FileKind::Anonymous => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

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
    only_known(flags)?;
    let (input, output) = (usable_file(ctx, input)?, usable_file(ctx, output)?);
    let (from_pipe, to_pipe) = (pipe(&input), pipe(&output));
    if from_pipe.is_some() && !input_offset.is_null()
        || to_pipe.is_some() && !output_offset.is_null()
    {
        return Err(Errno::ESPIPE);
    }
    let mut from = Position::read(ctx, input_offset)?;
    let mut to = Position::read(ctx, output_offset)?;
    if !input.flags().readable() || !output.flags().writable() {
        return Err(Errno::EBADF);
    }
    let nonblocking = flags.0 & NONBLOCK != 0;
    let waits = match (from_pipe, to_pipe) {
        (None, None) => return Err(Errno::EINVAL),
        (Some(from), Some(to)) if from.same_pipe(to) => return Err(Errno::EINVAL),
        (Some(_), Some(_)) => {
            let wait = !nonblocking && !is_nonblocking(&input) && !is_nonblocking(&output);
            Waits {
                data: wait,
                room: wait,
            }
        }
        (Some(_), None) => {
            if !output_offset.is_null() && !output.file().seekable()
                || output.flags().contains(OpenFlags::APPEND)
            {
                return Err(Errno::EINVAL);
            }
            to.check()?;
            check_spliceable(&output)?;
            Waits {
                data: !nonblocking && !is_nonblocking(&input),
                room: !nonblocking && !is_nonblocking(&output),
            }
        }
        (None, Some(_)) => {
            if !input_offset.is_null() && !input.file().seekable() {
                return Err(Errno::EINVAL);
            }
            from.check()?;
            check_spliceable(&input)?;
            Waits {
                data: !nonblocking && !is_nonblocking(&input),
                room: !nonblocking && !is_nonblocking(&output),
            }
        }
    };
    let count = (count as u64).min(MAX_TRANSFER);
    let done = transfer(ctx, (&input, &mut from), (&output, &mut to), count, waits)?;
    from.write_back(ctx)?;
    to.write_back(ctx)?;
    Ok(done)
}

/// Moves up to `count` bytes: waits, if at all, for the first ones only.
pub(super) fn transfer(
    ctx: &Ctx,
    (input, from): (&OpenFile, &mut Position),
    (output, to): (&OpenFile, &mut Position),
    count: u64,
    waits: Waits,
) -> Result<u64> {
    let queues: Vec<_> = [input, output]
        .into_iter()
        .filter_map(|file| file.file().wait_queue())
        .map(|queue| (queue, PollEvents::all()))
        .collect();
    let deadline = input.file().deadlines()[0].or(output.file().deadlines()[1]);
    let mut done = 0;
    while done < count {
        let first = done == 0;
        let attempt = || match step(ctx, (input, from), (output, to), count - done)? {
            Step::Moved(bytes) => Ok(Some(bytes as u64)),
            Step::End => Ok(Some(0)),
            Step::NoData if first && waits.data => Ok(None),
            Step::NoRoom if first && waits.room => Ok(None),
            Step::NoData | Step::NoRoom => Err(Errno::EAGAIN),
        };
        match ctx.block(&queues, deadline, attempt) {
            Ok(0) => break,
            Ok(bytes) => done += bytes,
            Err(_) if done > 0 => break,
            Err(Errno::ETIMEDOUT) => return Err(Errno::EAGAIN),
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Moves one piece without waiting. What is taken from the input finds room in the output: a pipe
/// as input keeps what was not written, a pipe as output is asked for its room first.
fn step(
    ctx: &Ctx,
    (input, from): (&OpenFile, &mut Position),
    (output, to): (&OpenFile, &mut Position),
    most: u64,
) -> Result<Step> {
    let mut most = CHUNK.min(usize::try_from(most).unwrap_or(CHUNK));
    if let Some(pipe) = pipe(output) {
        let room = pipe.room().inspect_err(|_| ctx.send_signal_self(SIGPIPE))?;
        most = most.min(room);
        if most == 0 {
            return Ok(Step::NoRoom);
        }
    }
    let mut buffer = [0; CHUNK];
    let mut peeked = Vec::new();
    let source = pipe(input);
    let read = match source {
        Some(pipe) => pipe.peek(most).map(|bytes| {
            peeked = bytes;
            &peeked[..]
        }),
        None => {
            let seekable = input.file().seekable();
            let at = seekable.then(|| from.current(input));
            read_bytes(ctx, input, &mut buffer[..most], at, Wait::Never).map(|n| &buffer[..n])
        }
    };
    let bytes = match read {
        Ok([]) => return Ok(Step::End),
        Ok(bytes) => bytes,
        Err(Errno::EAGAIN) => return Ok(Step::NoData),
        Err(error) => return Err(error),
    };
    let written = match write_bytes(ctx, output, bytes, to.value(), Wait::Never) {
        Ok(written) => written,
        Err(Errno::EAGAIN) => return Ok(Step::NoRoom),
        Err(error) => return Err(error),
    };
    match source {
        Some(pipe) => pipe.consume(written),
        None if input.file().seekable() => from.advance(input, written as u64),
        None => {}
    }
    to.advance_own(written as u64);
    Ok(Step::Moved(written))
}

fn only_known(flags: Flags) -> Result<()> {
    match flags.0 & !KNOWN_FLAGS {
        0 => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

/// `tee(2)`: what waits in one pipe goes into another too, and stays.
pub fn tee(ctx: &Ctx, input: Fd, output: Fd, count: usize, flags: Flags) -> Result<u64> {
    only_known(flags)?;
    if count == 0 {
        return Ok(0);
    }
    let (input, output) = (usable_file(ctx, input)?, usable_file(ctx, output)?);
    if !input.flags().readable() || !output.flags().writable() {
        return Err(Errno::EBADF);
    }
    let (Some(from), Some(to)) = (pipe(&input), pipe(&output)) else {
        return Err(Errno::EINVAL);
    };
    if from.same_pipe(to) {
        return Err(Errno::EINVAL);
    }
    let wait = flags.0 & NONBLOCK == 0 && !is_nonblocking(&input) && !is_nonblocking(&output);
    let most = (count as u64).min(MAX_TRANSFER) as usize;
    let queues: Vec<_> = [&input, &output]
        .into_iter()
        .filter_map(|file| file.file().wait_queue())
        .map(|queue| (queue, PollEvents::all()))
        .collect();
    // Waits for data, then for room; copies what both sides have then.
    let attempt = || {
        let wait_or = |error| if wait { Ok(None) } else { Err(error) };
        let bytes = match from.peek(most) {
            Ok(bytes) if bytes.is_empty() => return Ok(Some(0)),
            Ok(bytes) => bytes,
            Err(Errno::EAGAIN) => return wait_or(Errno::EAGAIN),
            Err(error) => return Err(error),
        };
        match write_bytes(ctx, &output, &bytes, None, Wait::Never) {
            Ok(written) => Ok(Some(written as u64)),
            Err(Errno::EAGAIN) => wait_or(Errno::EAGAIN),
            Err(error) => Err(error),
        }
    };
    ctx.block(&queues, None, attempt)
}

/// `vmsplice(2)`: memory into a pipe, or out of one. Pages are not lent (SPLICE_F_GIFT is a hint),
/// so what a program does with its memory afterwards does not show in the pipe.
pub fn vmsplice(ctx: &Ctx, fd: Fd, vector: UserAddr, count: usize, flags: Flags) -> Result<u64> {
    only_known(flags)?;
    // Unlike for tee and splice, how the pipe was opened does not matter.
    let wait = match flags.0 & NONBLOCK {
        0 => Wait::Always,
        _ => Wait::Never,
    };
    let file = open_file(ctx, fd)?;
    if !file.flags().readable() && !file.flags().writable() {
        return Err(Errno::EBADF);
    }
    let ranges = read_iovecs(ctx, vector, count)?;
    if ranges.iter().all(|range| range.len == 0) {
        return Ok(0);
    }
    if pipe(&file).is_none() {
        return Err(Errno::EBADF);
    }
    match file.flags().writable() {
        true => write_pipe(ctx, &file, ranges, wait),
        false => read_pipe(ctx, &file, ranges, wait),
    }
}
