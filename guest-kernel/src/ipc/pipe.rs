//! Pipes and FIFOs.
//!
//! Linux keeps a pipe as a ring of page-sized buffers: it is full when all are used, whatever they
//! hold, a write goes into the last one if it fits there whole, and a write of at most [`PIPE_BUF`]
//! bytes needs at most one new buffer, which is what makes it atomic. Programs can see that (how
//! much fits, when poll says OUT), so buffers are counted the same way here; their memory grows
//! only as far as they are filled.

use crate::errno::{Errno, Result};
use crate::fs::file::{File, OpenFlags};
use crate::fs::inode::{DeviceNumber, FileKind, Inode, InodeId, Metadata};
use crate::io::{Destination, Source};
use crate::ipc::anon;
use crate::mm::AddressSpace;
use crate::sync::{Lock, Rank};
use crate::wait::{PollEvents, WaitQueue};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering};

/// Bytes of one buffer, and of the largest atomic write.
pub const PIPE_BUF: usize = 4096;
/// Buffers of a new pipe.
const DEFAULT_BUFFERS: usize = 16;
/// Most bytes F_SETPIPE_SZ grants (`/proc/sys/fs/pipe-max-size`).
pub const MAX_CAPACITY: usize = 1 << 20;

/// Ready for reading, in both of poll's words for it.
const READABLE: PollEvents = PollEvents::IN.union(PollEvents::RDNORM);
/// Ready for writing, likewise.
const WRITABLE: PollEvents = PollEvents::OUT.union(PollEvents::WRNORM);

/// One buffer: at most [`PIPE_BUF`] bytes, of which the first `start` are read.
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    /// A packet (O_DIRECT): read whole or cut, never merged with others.
    packet: bool,
}

impl Buffer {
    fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

struct State {
    buffers: VecDeque<Buffer>,
    limit: usize,
    readers: usize,
    writers: usize,
    /// How often each side was opened: what a blocking FIFO open waits for.
    reader_opens: u64,
    writer_opens: u64,
}

impl State {
    fn full(&self) -> bool {
        self.buffers.len() >= self.limit
    }

    /// Bytes a write of `want` could store now, of which the first `.1` go into the last buffer.
    fn room(&self, want: usize, packet: bool) -> (usize, usize) {
        let tail = want % PIPE_BUF;
        let merged = match self.buffers.back() {
            Some(last) if !packet && !last.packet && last.bytes.len() + tail <= PIPE_BUF => tail,
            _ => 0,
        };
        let fresh = self.limit.saturating_sub(self.buffers.len()) * PIPE_BUF;
        (merged + fresh.min(want - merged), merged)
    }
}

/// What the ends share. A FIFO's inode keeps one for as long as it lives.
pub struct Pipe {
    state: Lock<State>,
    queue: WaitQueue,
    id: InodeId,
}

impl Default for Pipe {
    fn default() -> Self {
        Pipe::new()
    }
}

impl Pipe {
    /// An empty pipe with no end open.
    pub fn new() -> Pipe {
        let state = State {
            buffers: VecDeque::new(),
            limit: DEFAULT_BUFFERS,
            readers: 0,
            writers: 0,
            reader_opens: 0,
            writer_opens: 0,
        };
        let id = InodeId::anonymous(DeviceNumber::PIPES);
        Pipe {
            state: Lock::new(Rank::File, state),
            queue: WaitQueue::new(),
            id,
        }
    }

    /// `pipe(2)`: the read end and the write end of a new pipe.
    pub fn pair() -> (Arc<PipeEnd>, Arc<PipeEnd>) {
        let pipe = Arc::new(Pipe::new());
        let read = PipeEnd::new(pipe.clone(), true, false, None);
        (read, PipeEnd::new(pipe, false, true, None))
    }

    /// Opens the FIFO `inode`, whose attachment keeps the pipe. Never blocks: unless
    /// [`PipeEnd::open_complete`] is true at once, the caller of a blocking open waits for it on
    /// the end's queue. ENXIO: opened for writing only, without blocking, and nobody reads.
    pub fn open_fifo(inode: Arc<dyn Inode>, flags: OpenFlags) -> Result<Arc<PipeEnd>> {
        let pipe = {
            let mut attached = inode.attachment().ok_or(Errno::ENXIO)?.lock();
            match attached
                .as_ref()
                .and_then(|any| any.clone().downcast::<Pipe>().ok())
            {
                Some(pipe) => pipe,
                None => {
                    let pipe = Arc::new(Pipe::new());
                    *attached = Some(pipe.clone());
                    pipe
                }
            }
        };
        let (read, write) = (flags.readable(), flags.writable());
        if write && !read && flags.contains(OpenFlags::NONBLOCK) && pipe.state.lock().readers == 0 {
            return Err(Errno::ENXIO);
        }
        Ok(PipeEnd::new(pipe, read, write, Some(inode)))
    }
}

/// One open end of a pipe, or both (a FIFO opened O_RDWR).
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    read: bool,
    write: bool,
    packets: AtomicBool,
    inode: Option<Arc<dyn Inode>>,
    /// The other side's open count when this end was opened.
    peer_opens: u64,
}

impl PipeEnd {
    fn new(pipe: Arc<Pipe>, read: bool, write: bool, inode: Option<Arc<dyn Inode>>) -> Arc<Self> {
        let peer_opens = {
            let mut state = pipe.state.lock();
            let had_peer = if read {
                state.writers > 0
            } else {
                state.readers > 0
            };
            let seen = if read {
                state.writer_opens
            } else {
                state.reader_opens
            };
            state.readers += usize::from(read);
            state.writers += usize::from(write);
            state.reader_opens += u64::from(read);
            state.writer_opens += u64::from(write);
            // A peer that is there already counts as one that came after us.
            if had_peer || (read && write) {
                u64::MAX
            } else {
                seen
            }
        };
        if inode.is_some() {
            pipe.queue.wake(READABLE | WRITABLE);
        }
        let packets = AtomicBool::new(false);
        Arc::new(PipeEnd {
            pipe,
            read,
            write,
            packets,
            inode,
            peer_opens,
        })
    }

    /// Whether the other side has been opened since (or was open when) this end was.
    pub fn open_complete(&self) -> bool {
        let state = self.pipe.state.lock();
        let opens = if self.read {
            state.writer_opens
        } else {
            state.reader_opens
        };
        opens != self.peer_opens
    }

    /// F_GETPIPE_SZ.
    pub fn capacity(&self) -> usize {
        self.pipe.state.lock().limit * PIPE_BUF
    }

    /// F_SETPIPE_SZ: rounds up to a power of two of pages; returns what it became.
    pub fn set_capacity(&self, bytes: u64) -> Result<usize> {
        if bytes > 1 << 31 {
            return Err(Errno::EINVAL);
        }
        let bytes = (bytes as usize).max(PIPE_BUF).next_power_of_two();
        let mut state = self.pipe.state.lock();
        if bytes > MAX_CAPACITY && bytes > state.limit * PIPE_BUF {
            return Err(Errno::EPERM);
        }
        if state.buffers.len() > bytes / PIPE_BUF {
            return Err(Errno::EBUSY);
        }
        let was_full = state.full();
        state.limit = bytes / PIPE_BUF;
        let now_room = was_full && !state.full();
        drop(state);
        if now_room {
            self.pipe.queue.wake(WRITABLE);
        }
        Ok(bytes)
    }

    /// Bytes waiting to be read (FIONREAD).
    pub fn unread(&self) -> usize {
        self.pipe
            .state
            .lock()
            .buffers
            .iter()
            .map(|buffer| buffer.unread().len())
            .sum()
    }

    /// Whether both are ends of one pipe.
    pub fn same_pipe(&self, other: &PipeEnd) -> bool {
        Arc::ptr_eq(&self.pipe, &other.pipe)
    }

    /// A copy of what can be read, of at most `most` bytes, which stays; empty at the end. EAGAIN
    /// when more may come.
    pub fn peek(&self, most: usize) -> Result<Vec<u8>> {
        let state = self.pipe.state.lock();
        let mut bytes = Vec::new();
        for buffer in &state.buffers {
            let unread = buffer.unread();
            bytes.extend_from_slice(&unread[..unread.len().min(most - bytes.len())]);
        }
        if bytes.is_empty() && state.writers > 0 {
            return Err(Errno::EAGAIN);
        }
        Ok(bytes)
    }

    /// Takes off `bytes` that were copied by [`PipeEnd::peek`].
    pub fn consume(&self, mut bytes: usize) {
        let now_room = {
            let mut state = self.pipe.state.lock();
            let was_full = state.full();
            while let Some(buffer) = state.buffers.front_mut() {
                let taken = buffer.unread().len().min(bytes);
                buffer.start += taken;
                bytes -= taken;
                if !buffer.unread().is_empty() {
                    break;
                }
                state.buffers.pop_front();
            }
            was_full && !state.full()
        };
        if now_room {
            self.pipe.queue.wake(WRITABLE);
        }
    }

    /// Bytes that fit whatever was written last; EPIPE when nobody reads.
    pub fn room(&self) -> Result<usize> {
        let state = self.pipe.state.lock();
        match state.readers {
            0 => Err(Errno::EPIPE),
            _ => Ok(state.limit.saturating_sub(state.buffers.len()) * PIPE_BUF),
        }
    }

    /// Copies out what fits. Each buffer is taken off the pipe while it is copied, and what was
    /// not put (short destination, fault) goes back.
    fn read_buffers(&self, dst: &mut Destination<'_>) -> Result<usize> {
        let mut total = 0;
        while dst.remaining() > 0 {
            let Some(mut buffer) = self.pipe.state.lock().buffers.pop_front() else {
                break;
            };
            let put = dst.put(buffer.unread());
            if let Ok(n) = put {
                buffer.start += n;
                total += n;
            }
            let whole = put.is_ok() && (buffer.packet || buffer.unread().is_empty());
            let packet = buffer.packet;
            if !whole {
                self.pipe.state.lock().buffers.push_front(buffer);
            }
            match put {
                Err(error) if total == 0 => return Err(error),
                Ok(_) if whole && !packet => {}
                _ => break,
            }
        }
        Ok(total)
    }

    /// Stores up to `src.remaining()` bytes, as many as there is room for; the pipe has room.
    fn write_buffers(&self, src: &mut Source<'_>, room: (usize, usize)) -> Result<usize> {
        let packet = self.packets.load(Ordering::Relaxed);
        let (mut left, merged) = room;
        let mut total = 0;
        if merged > 0 {
            let mut bytes = take(src, merged)?;
            let taken = bytes.len();
            let mut state = self.pipe.state.lock();
            match state.buffers.back_mut() {
                Some(last) if last.bytes.len() + taken <= PIPE_BUF => {
                    last.bytes.try_reserve(taken).map_err(|_| Errno::ENOMEM)?;
                    last.bytes.append(&mut bytes);
                }
                _ => push(
                    &mut state,
                    Buffer {
                        bytes,
                        start: 0,
                        packet: false,
                    },
                )?,
            }
            total += taken;
            left -= merged;
            if taken < merged {
                return Ok(total);
            }
        }
        while left > 0 {
            let want = left.min(PIPE_BUF);
            let bytes = match take(src, want) {
                Ok(bytes) => bytes,
                Err(error) if total == 0 => return Err(error),
                Err(_) => break,
            };
            let taken = bytes.len();
            push(
                &mut self.pipe.state.lock(),
                Buffer {
                    bytes,
                    start: 0,
                    packet,
                },
            )?;
            total += taken;
            left -= taken;
            if taken < want {
                break;
            }
        }
        Ok(total)
    }
}

/// Takes `want` bytes out of `src` (fewer where it faults).
fn take(src: &mut Source<'_>, want: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(want).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(want, 0);
    let taken = src.take(&mut bytes)?;
    bytes.truncate(taken);
    Ok(bytes)
}

fn push(state: &mut State, buffer: Buffer) -> Result<()> {
    state.buffers.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    state.buffers.push_back(buffer);
    Ok(())
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let one_sided = {
            let mut state = self.pipe.state.lock();
            state.readers -= usize::from(self.read);
            state.writers -= usize::from(self.write);
            if state.readers == 0 && state.writers == 0 {
                // A FIFO that nobody has open forgets what is in it.
                state.buffers = VecDeque::new();
            }
            (state.readers == 0) != (state.writers == 0)
        };
        if one_sided {
            self.pipe
                .queue
                .wake(READABLE | WRITABLE | PollEvents::ERR | PollEvents::HUP);
        }
    }
}

impl File for PipeEnd {
    fn read_at(&self, dst: &mut Destination<'_>, _offset: u64) -> Result<usize> {
        if !self.read {
            return Err(Errno::EBADF);
        }
        if dst.remaining() == 0 {
            return Ok(0);
        }
        let was_full = {
            let state = self.pipe.state.lock();
            if state.buffers.is_empty() {
                return if state.writers == 0 {
                    Ok(0)
                } else {
                    Err(Errno::EAGAIN)
                };
            }
            state.full()
        };
        let done = self.read_buffers(dst);
        if was_full && !self.pipe.state.lock().full() {
            self.pipe.queue.wake(WRITABLE);
        }
        done
    }

    fn write_at(&self, src: &mut Source<'_>, _offset: u64) -> Result<usize> {
        if !self.write {
            return Err(Errno::EBADF);
        }
        if src.remaining() == 0 {
            return Ok(0);
        }
        let room = {
            let state = self.pipe.state.lock();
            if state.readers == 0 {
                return Err(Errno::EPIPE);
            }
            state.room(src.remaining(), self.packets.load(Ordering::Relaxed))
        };
        if room.0 == 0 {
            return Err(Errno::EAGAIN);
        }
        let done = self.write_buffers(src, room);
        self.pipe.queue.wake(READABLE);
        done
    }

    fn poll(&self) -> PollEvents {
        let state = self.pipe.state.lock();
        let mut events = PollEvents::empty();
        if self.read {
            if !state.buffers.is_empty() {
                events |= READABLE;
            }
            // A FIFO's reader that has seen no writer yet is not hung up.
            if state.writers == 0 && (self.inode.is_none() || state.writer_opens != self.peer_opens)
            {
                events |= PollEvents::HUP;
            }
        }
        if self.write {
            if !state.full() {
                events |= WRITABLE;
            }
            if state.readers == 0 {
                events |= PollEvents::ERR;
            }
        }
        events
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.pipe.queue)
    }

    fn metadata(&self) -> Result<Metadata> {
        match &self.inode {
            Some(inode) => inode.metadata(),
            None => Ok(Metadata::anonymous(self.pipe.id, FileKind::Fifo, 0o600)),
        }
    }

    fn inode(&self) -> Option<Arc<dyn Inode>> {
        self.inode.clone()
    }

    fn ioctl(&self, space: &AddressSpace, command: u32, arg: u64) -> Result<u64> {
        match command {
            anon::FIONREAD => anon::put_int(space, arg, self.unread()),
            _ => Err(Errno::ENOTTY),
        }
    }

    fn flags_changed(&self, flags: OpenFlags) {
        self.packets
            .store(flags.contains(OpenFlags::DIRECT), Ordering::Relaxed);
    }

    fn describe(&self) -> Vec<u8> {
        anon::describe("pipe", self.pipe.id)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
#[path = "pipe_tests.rs"]
mod tests;
