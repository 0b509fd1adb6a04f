//! Standard input, output and error as the host gave them: terminals or pipes.

use super::input::{Input, send};
use crate::errno::{Errno, Result};
use crate::fs::file::File;
use crate::fs::inode::{DeviceNumber, FileKind, InodeId, Metadata};
use crate::io::{Destination, Source};
use crate::mm::AddressSpace;
use crate::platform;
use crate::sync::{Lock, Rank};
use crate::wait::{PollEvents, WaitQueue};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU32, Ordering};
use sprout_abi::hypercall::stream;

static INPUT: Input = Input::new(platform::console_read);
/// Bit n: stream n is a terminal.
static TERMINALS: AtomicU32 = AtomicU32::new(0);
/// Foreground process group, as a program set it.
static FOREGROUND: AtomicU32 = AtomicU32::new(0);

/// Woken when standard input became readable.
pub fn console_input_queue() -> &'static WaitQueue {
    &INPUT.queue
}

/// Says which of the streams 0 to 2 are terminals.
pub(in crate::fs) fn set_terminals(terminals: [bool; 3]) {
    let bits = terminals
        .iter()
        .rev()
        .fold(0, |bits, &is| bits << 1 | u32::from(is));
    TERMINALS.store(bits, Ordering::Relaxed);
}

/// The console's stream `fd`: 0 standard input, 1 output, 2 error.
pub fn console(fd: u32) -> Arc<Console> {
    let id = InodeId {
        dev: DeviceNumber::CONSOLE,
        ino: u64::from(fd) + 1,
    };
    Arc::new(Console {
        id,
        stream: fd,
        terminal: TERMINALS.load(Ordering::Relaxed) & 1 << fd != 0,
    })
}

/// `/dev/tty`: the first stream that is a terminal.
pub(super) fn controlling_terminal() -> Option<Arc<dyn File>> {
    (0..3)
        .map(console)
        .find(|console| console.terminal)
        .map(|console| console as Arc<dyn File>)
}

/// One of the standard streams.
pub struct Console {
    id: InodeId,
    stream: u32,
    terminal: bool,
}

impl Console {
    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }
}

/// Terminal requests of `ioctl_tty(2)`.
mod request {
    pub const TCGETS: u32 = 0x5401;
    pub const TCSETS: u32 = 0x5402;
    pub const TCSETSW: u32 = 0x5403;
    pub const TCSETSF: u32 = 0x5404;
    pub const TIOCGPGRP: u32 = 0x540f;
    pub const TIOCSPGRP: u32 = 0x5410;
    pub const TIOCGWINSZ: u32 = 0x5413;
    pub const TIOCSWINSZ: u32 = 0x5414;
    pub const FIONREAD: u32 = 0x541b;
}

/// `struct termios` of the kernel: flags, line discipline, control characters.
const TERMIOS_SIZE: usize = 36;
static TERMIOS: Lock<[u8; TERMIOS_SIZE]> = Lock::new(Rank::Leaf, default_termios());

/// A terminal in its usual state: canonical input, echo, signals, 38400 baud, 8 bits.
const fn default_termios() -> [u8; TERMIOS_SIZE] {
    let flags: [u32; 4] = [0o2400 | 0x4000, 0o5, 0o277, 0o105073];
    let control = [
        3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0,
    ];
    let mut out = [0; TERMIOS_SIZE];
    let mut i = 0;
    while i < 16 {
        out[i] = (flags[i / 4] >> (i % 4 * 8)) as u8;
        i += 1;
    }
    while i < TERMIOS_SIZE - 1 {
        out[i + 1] = control[i - 16];
        i += 1;
    }
    out
}

fn put(space: &AddressSpace, addr: u64, bytes: &[u8]) -> Result<u64> {
    if space.write_some(addr, bytes) != bytes.len() {
        return Err(Errno::EFAULT);
    }
    Ok(0)
}

fn get(space: &AddressSpace, addr: u64, bytes: &mut [u8]) -> Result<()> {
    if space.read_some(addr, bytes) != bytes.len() {
        return Err(Errno::EFAULT);
    }
    Ok(())
}

impl File for Console {
    fn read_at(&self, dst: &mut Destination<'_>, _: u64) -> Result<usize> {
        match self.stream {
            0 => INPUT.read(dst),
            _ if self.terminal => INPUT.read(dst),
            _ => Err(Errno::EBADF),
        }
    }

    fn write_at(&self, src: &mut Source<'_>, _: u64) -> Result<usize> {
        let to = match self.stream {
            2 => stream::STDERR,
            1 => stream::STDOUT,
            _ if self.terminal => stream::STDOUT,
            _ => return Err(Errno::EBADF),
        };
        send(src, |bytes| platform::console_write(to, bytes))
    }

    fn poll(&self) -> PollEvents {
        let mut events = PollEvents::empty();
        if (self.stream == 0 || self.terminal) && INPUT.ready() {
            events |= PollEvents::IN | PollEvents::RDNORM;
        }
        if self.stream != 0 || self.terminal {
            events |= PollEvents::OUT | PollEvents::WRNORM;
        }
        events
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&INPUT.queue)
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(match self.terminal {
            true => {
                let meta = Metadata::anonymous(self.id, FileKind::CharDevice, 0o620);
                Metadata {
                    rdev: DeviceNumber::new(136, 0),
                    ..meta
                }
            }
            false => Metadata::anonymous(self.id, FileKind::Fifo, 0o600),
        })
    }

    fn ioctl(&self, space: &AddressSpace, command: u32, arg: u64) -> Result<u64> {
        if command == request::FIONREAD {
            let unread = if self.stream == 0 && INPUT.ready() {
                INPUT.unread()
            } else {
                0
            };
            return put(space, arg, &(unread as u32).to_le_bytes());
        }
        if !self.terminal {
            return Err(Errno::ENOTTY);
        }
        match command {
            request::TCGETS => {
                let termios = *TERMIOS.lock();
                put(space, arg, &termios)
            }
            request::TCSETS | request::TCSETSW | request::TCSETSF => {
                let mut termios = [0; TERMIOS_SIZE];
                get(space, arg, &mut termios)?;
                *TERMIOS.lock() = termios;
                Ok(0)
            }
            // Rows, columns; the host does not tell, so the classic size.
            request::TIOCGWINSZ => put(space, arg, &[24, 0, 80, 0, 0, 0, 0, 0]),
            request::TIOCSWINSZ => get(space, arg, &mut [0; 8]).map(|()| 0),
            request::TIOCGPGRP => put(
                space,
                arg,
                &FOREGROUND.load(Ordering::Relaxed).max(1).to_le_bytes(),
            ),
            request::TIOCSPGRP => {
                let mut group = [0; 4];
                get(space, arg, &mut group)?;
                FOREGROUND.store(u32::from_le_bytes(group), Ordering::Relaxed);
                Ok(0)
            }
            _ => Err(Errno::ENOTTY),
        }
    }

    fn describe(&self) -> Vec<u8> {
        match self.terminal {
            true => b"/dev/console".to_vec(),
            false => alloc::format!("pipe:[{}]", self.id.ino).into_bytes(),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn termios_is_cooked_and_echoing() {
        let termios = default_termios();
        let local = u32::from_le_bytes([termios[12], termios[13], termios[14], termios[15]]);
        // ISIG, ICANON, ECHO.
        assert_eq!(local & 0o13, 0o13);
        // VINTR is ^C.
        assert_eq!(termios[17], 3);
    }

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
