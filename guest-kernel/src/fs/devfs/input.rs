//! Byte streams that come from the host: the request channel, and what the console's input shares
//! with it.

use crate::errno::{Errno, Result};
use crate::fs::file::File;
use crate::fs::inode::{Inode, Metadata};
use crate::io::{Destination, Source};
use crate::platform;
use crate::sync::{Lock, Rank};
use crate::wait::{PollEvents, WaitQueue};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

/// Every receive is an exit, so small reads are served from a buffer of this size. It is kept:
/// in a restored guest a page not used before the snapshot costs more than one that was.
const SMALL: usize = 4096;
/// Most bytes moved by one exit.
const LARGE: usize = 64 << 10;
/// Copied from the buffer to a program at a time, without the lock.
const PIECE: usize = 512;

/// Bytes from the host, received without blocking.
pub(super) struct Input {
    receive: fn(&mut [u8]) -> Result<usize>,
    state: Lock<State>,
    pub queue: WaitQueue,
}

struct State {
    buffer: Vec<u8>,
    taken: usize,
    filled: usize,
    ended: bool,
}

impl State {
    fn unread(&self) -> &[u8] {
        self.buffer.get(self.taken..self.filled).unwrap_or(&[])
    }
}

impl Input {
    pub const fn new(receive: fn(&mut [u8]) -> Result<usize>) -> Self {
        let state = State {
            buffer: Vec::new(),
            taken: 0,
            filled: 0,
            ended: false,
        };
        Input {
            receive,
            state: Lock::new(Rank::File, state),
            queue: WaitQueue::new(),
        }
    }

    /// Makes sure there are unread bytes; EAGAIN if there are none now. Whether there are (else
    /// the stream has ended).
    fn fill(&self, state: &mut State) -> Result<bool> {
        if !state.unread().is_empty() {
            return Ok(true);
        }
        if state.ended {
            return Ok(false);
        }
        if state.buffer.is_empty() {
            state.buffer.resize(SMALL, 0);
        }
        let received = (self.receive)(&mut state.buffer)?;
        (state.taken, state.filled) = (0, received.min(SMALL));
        state.ended = received == 0;
        Ok(!state.ended)
    }

    /// Reads what there is; 0: the stream has ended.
    pub fn read(&self, dst: &mut Destination<'_>) -> Result<usize> {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        if dst.remaining() > SMALL
            && let Some(result) = self.read_large(dst)
        {
            return result;
        }
        let mut done = 0;
        loop {
            let mut piece = [0; PIECE];
            let count = {
                let mut state = self.state.lock();
                if done == 0 && !self.fill(&mut state)? {
                    return Ok(0);
                }
                let count = state.unread().len().min(dst.remaining()).min(PIECE);
                piece[..count].copy_from_slice(&state.unread()[..count]);
                state.taken += count;
                count
            };
            if count == 0 {
                return Ok(done);
            }
            match dst.put(&piece[..count]) {
                Ok(put) => done += put,
                Err(error) if done == 0 => return Err(error),
                Err(_) => return Ok(done),
            }
        }
    }

    /// Reads past the buffer; `None` if there are bytes in it, which come first.
    fn read_large(&self, dst: &mut Destination<'_>) -> Option<Result<usize>> {
        let mut bytes = Vec::new();
        let received = {
            let mut state = self.state.lock();
            if !state.unread().is_empty() {
                return None;
            }
            if state.ended {
                return Some(Ok(0));
            }
            bytes.resize(dst.remaining().min(LARGE), 0);
            let received = (self.receive)(&mut bytes);
            state.ended = received == Ok(0);
            received
        };
        Some(received.and_then(|count| dst.put(&bytes[..count.min(bytes.len())])))
    }

    /// Whether a read would not block.
    pub fn ready(&self) -> bool {
        !matches!(self.fill(&mut self.state.lock()), Err(Errno::EAGAIN))
    }

    /// Bytes that are here already.
    pub fn unread(&self) -> usize {
        self.state.lock().unread().len()
    }
}

static CHANNEL: Input = Input::new(platform::channel_recv);

/// Woken when request bytes have arrived.
pub fn channel_queue() -> &'static WaitQueue {
    &CHANNEL.queue
}

/// `/dev/sprout`: requests are read from it, responses written to it.
pub struct Channel {
    inode: Arc<dyn Inode>,
}

/// Whom it concerns that a program found no request.
static CHANNEL_WAITS: Lock<Option<fn()>> = Lock::new(Rank::Leaf, None);

/// Has `told` called whenever a program found no request and is going to wait for one.
pub fn on_channel_wait(told: fn()) {
    *CHANNEL_WAITS.lock() = Some(told);
}

impl Channel {
    pub(super) fn new(inode: Arc<dyn Inode>) -> Self {
        Channel { inode }
    }
}

impl File for Channel {
    fn read_at(&self, dst: &mut Destination<'_>, _: u64) -> Result<usize> {
        let result = CHANNEL.read(dst);
        if result == Err(Errno::EAGAIN) {
            let told = *CHANNEL_WAITS.lock();
            if let Some(told) = told {
                told();
            }
        }
        result
    }

    fn write_at(&self, src: &mut Source<'_>, _: u64) -> Result<usize> {
        send(src, platform::channel_send)
    }

    fn poll(&self) -> PollEvents {
        let input = if CHANNEL.ready() {
            PollEvents::IN | PollEvents::RDNORM
        } else {
            PollEvents::empty()
        };
        input | PollEvents::OUT | PollEvents::WRNORM
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&CHANNEL.queue)
    }

    fn metadata(&self) -> Result<Metadata> {
        self.inode.metadata()
    }

    fn inode(&self) -> Option<Arc<dyn Inode>> {
        Some(self.inode.clone())
    }

    fn describe(&self) -> Vec<u8> {
        b"/dev/sprout".to_vec()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Sends a source through `send`, in large pieces, until that has no room. EAGAIN only if it had
/// none at all.
pub(crate) fn send(
    src: &mut Source<'_>,
    mut send: impl FnMut(&[u8]) -> Result<usize>,
) -> Result<usize> {
    let mut done = 0;
    let mut buffer = alloc::vec![0; src.remaining().min(LARGE)];
    while src.remaining() > 0 {
        let sent = src.peek(&mut buffer).and_then(|offered| {
            let sent = send(&buffer[..offered])?.clamp(1, offered.max(1));
            src.take(&mut buffer[..sent])
        });
        match sent {
            Ok(n) => done += n,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 5000 bytes, then nothing for once, then the end.
    fn receive(bytes: &mut [u8]) -> Result<usize> {
        static LEFT: Lock<(usize, bool)> = Lock::new(Rank::Leaf, (5000, false));
        let mut left = LEFT.lock();
        let (count, paused) = (left.0.min(bytes.len()), left.1);
        if count == 0 && !paused {
            left.1 = true;
            return Err(Errno::EAGAIN);
        }
        bytes[..count].fill(7);
        left.0 -= count;
        Ok(count)
    }

    #[test]
    fn small_reads_share_a_receive_and_nothing_is_lost() {
        let input = Input::new(receive);
        let read = |len: usize| {
            let mut bytes = alloc::vec![0; len];
            let result = input.read(&mut Destination::kernel(&mut bytes));
            result.inspect(|&n| assert!(bytes[..n].iter().all(|&byte| byte == 7)))
        };
        assert_eq!(read(5), Ok(5));
        assert_eq!(input.unread(), 4091);
        assert_eq!(read(10_000), Ok(4091));
        assert!(input.ready());
        assert_eq!(read(10_000), Ok(904));
        assert_eq!(read(10_000), Err(Errno::EAGAIN));
        assert!(input.ready());
        assert_eq!(read(1), Ok(0));
        assert_eq!(read(10_000), Ok(0));
    }
}
