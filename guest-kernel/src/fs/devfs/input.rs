//! Byte streams that come from the host: the request channel, and what the console's input shares
//! with it.

use crate::errno::{Errno, Result};
use crate::fs::file::File;
use crate::fs::inode::{Inode, Metadata};
use crate::io::{Destination, Source};
use crate::platform;
use crate::sync::Lock;
use crate::wait::{PollEvents, WaitQueue};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

/// Every receive is an exit, so small reads are served from one of this size.
const SMALL: usize = 4096;
/// Most bytes moved by one exit.
const LARGE: usize = 64 << 10;

/// Bytes from the host, received without blocking.
pub(super) struct Input {
    receive: fn(&mut [u8]) -> Result<usize>,
    state: Lock<State>,
    pub queue: WaitQueue,
}

struct State {
    bytes: Vec<u8>,
    taken: usize,
    ended: bool,
}

impl State {
    fn unread(&self) -> &[u8] {
        self.bytes.get(self.taken..).unwrap_or(&[])
    }
}

impl Input {
    pub const fn new(receive: fn(&mut [u8]) -> Result<usize>) -> Self {
        let state = State {
            bytes: Vec::new(),
            taken: 0,
            ended: false,
        };
        Input {
            receive,
            state: Lock::new(state),
            queue: WaitQueue::new(),
        }
    }

    /// Makes sure there are unread bytes; EAGAIN if there are none now. Whether there are (else
    /// the stream has ended).
    fn fill(&self, state: &mut State, size: usize) -> Result<bool> {
        if !state.unread().is_empty() {
            return Ok(true);
        }
        if state.ended {
            return Ok(false);
        }
        state.taken = 0;
        state.bytes.clear();
        state.bytes.resize(size, 0);
        let received = (self.receive)(&mut state.bytes);
        state.bytes.truncate(*received.as_ref().unwrap_or(&0));
        state.ended = received? == 0;
        Ok(!state.ended)
    }

    /// Reads what there is; 0: the stream has ended.
    pub fn read(&self, dst: &mut Destination<'_>) -> Result<usize> {
        if dst.remaining() == 0 {
            return Ok(0);
        }
        let size = dst.remaining().clamp(SMALL, LARGE);
        let bytes = {
            let mut state = self.state.lock();
            if !self.fill(&mut state, size)? {
                return Ok(0);
            }
            let count = state.unread().len().min(dst.remaining());
            let bytes = state.unread()[..count].to_vec();
            state.taken += count;
            if state.unread().is_empty() {
                // Nothing of it is to be in a snapshot.
                state.bytes = Vec::new();
                state.taken = 0;
            }
            bytes
        };
        dst.put(&bytes)
    }

    /// Whether a read would not block.
    pub fn ready(&self) -> bool {
        !matches!(self.fill(&mut self.state.lock(), SMALL), Err(Errno::EAGAIN))
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

impl Channel {
    pub(super) fn new(inode: Arc<dyn Inode>) -> Self {
        Channel { inode }
    }
}

impl File for Channel {
    fn read_at(&self, dst: &mut Destination<'_>, _: u64) -> Result<usize> {
        CHANNEL.read(dst)
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

/// Sends a source through `send`, in large pieces.
pub(super) fn send(
    src: &mut Source<'_>,
    mut send: impl FnMut(&[u8]) -> Result<usize>,
) -> Result<usize> {
    let mut done = 0;
    let mut buffer = alloc::vec![0; src.remaining().min(LARGE)];
    while src.remaining() > 0 {
        let sent = src.take(&mut buffer).and_then(|taken| {
            let mut rest = &buffer[..taken];
            while !rest.is_empty() {
                let n = send(rest)?;
                rest = rest.get(n.max(1)..).unwrap_or(&[]);
            }
            Ok(taken)
        });
        match sent {
            Ok(n) => done += n,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}
