//! The operator's terminal: its line discipline is the host's, so that keys, echo and editing are
//! exactly those of the shell that `sprout run` was started from. Modes a program sets are passed
//! on; lines and signals come from there.

use super::termios::Termios;
use crate::errno::{Errno, Result};
use crate::fs::devfs;
use crate::io::Source;
use crate::platform;
use crate::sync::{Lock, Rank};
use alloc::vec::Vec;
use sprout_abi::hypercall::{TerminalState, stream, terminal};

/// Most bytes got at once.
const PIECE: usize = 4096;

/// What was received and not read yet, for reads that wait for more than one byte.
pub struct HostLine {
    received: Lock<Vec<u8>>,
    last_input: Lock<u64>,
}

impl Termios {
    fn of(state: &TerminalState) -> Termios {
        let [input, output, control, local] = state.flags;
        let [line, cc @ ..] = state.control;
        Termios {
            input,
            output,
            control,
            local,
            line,
            cc,
        }
    }

    fn to_state(self, window: [u16; 4]) -> TerminalState {
        let mut control = [0; 20];
        control[0] = self.line;
        control[1..].copy_from_slice(&self.cc);
        TerminalState {
            flags: [self.input, self.output, self.control, self.local],
            control,
            window,
            reserved: 0,
        }
    }
}

/// Modes and window of the host's terminal.
pub fn state() -> Option<(Termios, [u16; 4])> {
    let mut state = TerminalState::default();
    platform::terminal(terminal::GET, Some(&mut state), 0).ok()?;
    Some((Termios::of(&state), state.window))
}

/// Sets modes; `when`: 0 now, 1 after output, 2 and without input.
pub fn set_modes(termios: &Termios, when: u32) -> Result<()> {
    let operation = match when {
        0 => terminal::SET_NOW,
        1 => terminal::SET_DRAIN,
        _ => terminal::SET_FLUSH,
    };
    platform::terminal(operation, Some(&mut termios.to_state([0; 4])), 0).map(drop)
}

/// Sets the window's size.
pub fn set_window(window: [u16; 4]) -> Result<()> {
    let mut state = Termios::default().to_state(window);
    platform::terminal(terminal::SET_WINDOW, Some(&mut state), 0).map(drop)
}

impl HostLine {
    /// Nothing received yet.
    pub fn new() -> HostLine {
        HostLine {
            received: Lock::new(Rank::Leaf, Vec::new()),
            last_input: Lock::new(Rank::Leaf, 0),
        }
    }

    /// Takes over what the host has, if a read of single bytes waits for that: how much is here,
    /// and since when.
    pub fn collect(&self) -> (usize, u64) {
        let mut piece = [0; 256];
        if let Ok(count @ 1..) = platform::console_read(stream::TERMINAL, &mut piece) {
            self.received.lock().extend_from_slice(&piece[..count]);
            *self.last_input.lock() = crate::time::monotonic_ns();
        }
        let last = *self.last_input.lock();
        (self.received.lock().len(), last)
    }

    /// Reads what [`Self::collect`] took, up to `limit` bytes.
    pub fn take(&self, limit: usize) -> Vec<u8> {
        let mut received = self.received.lock();
        let count = received.len().min(limit);
        received.drain(..count).collect()
    }

    /// Reads a line, or what there is: empty at the end of input.
    pub fn read(&self, limit: usize) -> Result<Vec<u8>> {
        let early = self.take(limit);
        if !early.is_empty() {
            return Ok(early);
        }
        let mut bytes = alloc::vec![0; limit.min(PIECE)];
        let count = platform::console_read(stream::TERMINAL, &mut bytes)?;
        bytes.truncate(count);
        Ok(bytes)
    }

    /// Whether a read would find something.
    pub fn ready(&self) -> bool {
        !self.received.lock().is_empty() || platform::terminal(terminal::READY, None, 0) == Ok(1)
    }

    /// Bytes that can be read.
    pub fn unread(&self) -> usize {
        let on_host = platform::terminal(terminal::UNREAD, None, 0).unwrap_or(0) as usize;
        self.received.lock().len() + on_host
    }

    /// Throws queues away (`tcflush`).
    pub fn flush(&self, queues: u64) -> Result<()> {
        if queues != 1 {
            self.received.lock().clear();
        }
        platform::terminal(terminal::FLUSH, None, queues).map(drop)
    }

    /// Writes to a stream of the host.
    pub fn write(&self, to: u64, src: &mut Source<'_>) -> Result<usize> {
        devfs::send(src, |bytes| {
            let sent = platform::console_write(to, bytes);
            if sent == Err(Errno::EAGAIN) {
                devfs::output_blocked();
            }
            sent
        })
    }
}
