//! Standard input, output and error that are no terminals: pipes and files of the host.

use super::input::{Input, send};
use crate::errno::{Errno, Result};
use crate::fs::file::File;
use crate::fs::inode::{DeviceNumber, FileKind, InodeId, Metadata};
use crate::io::{Destination, Source};
use crate::mm::AddressSpace;
use crate::platform;
use crate::wait::{PollEvents, WaitQueue};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering};
use sprout_abi::hypercall::stream;

static INPUT: Input = Input::new(receive);
/// Writers that found no room.
static OUTPUT: WaitQueue = WaitQueue::new();
/// Some stream of the host had no room.
static BLOCKED: AtomicBool = AtomicBool::new(false);

fn receive(bytes: &mut [u8]) -> Result<usize> {
    platform::console_read(stream::STDIN, bytes)
}

/// Woken when standard input became readable.
pub fn console_input_queue() -> &'static WaitQueue {
    &INPUT.queue
}

/// A stream of the host had no room: the sentry wants to be told when it has.
pub fn output_blocked() {
    BLOCKED.store(true, Ordering::Relaxed);
}

/// Whether somebody waits for room in a stream of the host.
pub fn is_output_blocked() -> bool {
    BLOCKED.load(Ordering::Relaxed)
}

/// There is room again.
pub fn output_ready() {
    BLOCKED.store(false, Ordering::Relaxed);
    OUTPUT.wake(PollEvents::OUT | PollEvents::WRNORM);
}

/// The console's stream `fd`: 0 standard input, 1 output, 2 error.
pub fn console(fd: u32) -> Arc<Console> {
    let id = InodeId {
        dev: DeviceNumber::CONSOLE,
        ino: u64::from(fd) + 1,
    };
    Arc::new(Console { id, stream: fd })
}

/// One of the standard streams.
pub struct Console {
    id: InodeId,
    stream: u32,
}

const FIONREAD: u32 = 0x541b;

impl File for Console {
    fn read_at(&self, dst: &mut Destination<'_>, _: u64) -> Result<usize> {
        match self.stream {
            0 => INPUT.read(dst),
            _ => Err(Errno::EBADF),
        }
    }

    fn write_at(&self, src: &mut Source<'_>, _: u64) -> Result<usize> {
        let to = match self.stream {
            2 => stream::STDERR,
            1 => stream::STDOUT,
            _ => return Err(Errno::EBADF),
        };
        send(src, |bytes| {
            let sent = platform::console_write(to, bytes);
            if sent == Err(Errno::EAGAIN) {
                output_blocked();
            }
            sent
        })
    }

    fn poll(&self) -> PollEvents {
        match self.stream {
            0 if INPUT.ready() => PollEvents::IN | PollEvents::RDNORM,
            0 => PollEvents::empty(),
            _ => PollEvents::OUT | PollEvents::WRNORM,
        }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(match self.stream {
            0 => &INPUT.queue,
            _ => &OUTPUT,
        })
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(Metadata::anonymous(self.id, FileKind::Fifo, 0o600))
    }

    fn ioctl(&self, space: &AddressSpace, command: u32, arg: u64) -> Result<u64> {
        if command != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let unread = if self.stream == 0 && INPUT.ready() {
            INPUT.unread() as u32
        } else {
            0
        };
        if space.write_some(arg, &unread.to_le_bytes()) != 4 {
            return Err(Errno::EFAULT);
        }
        Ok(0)
    }

    fn describe(&self) -> Vec<u8> {
        alloc::format!("pipe:[{}]", self.id.ino).into_bytes()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_like_stream_is_a_fifo_and_not_seekable() {
        let stdout = console(1);
        assert_eq!(stdout.metadata().unwrap().kind, FileKind::Fifo);
        assert!(!stdout.seekable());
        assert!(stdout.poll().contains(PollEvents::OUT));
        assert_eq!(
            stdout.read_at(&mut Destination::kernel(&mut [0; 4]), 0),
            Err(Errno::EBADF)
        );
    }
}
