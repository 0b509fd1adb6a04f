//! The doorbell: every request of the guest, checked field by field and carried out.
//!
//! [`parse`] and [`Call::carry_out`] are functions of guest memory, the request's address and the
//! instance's state. The
//! request and its segment list are copied out of guest memory once; nothing is read twice, so a
//! guest that changes them meanwhile changes nothing.

#[cfg(test)]
mod tests;

use std::io;

use serde::{Deserialize, Serialize};
use sprout_abi::hypercall::{
    self, MAX_SEGMENTS, TerminalState, event, number, signal, stream, terminal,
};
use vm_memory::{ByteValued, VolatileSlice};

use crate::backend::{Backend, InputStream, Stream, TerminalAnswer, TerminalCall};
use crate::clock::GuestClock;
use crate::memory::{Access, GuestMemory, MemoryError, Wire};
use crate::text::printable;

/// Longest text (panic message, audit line) taken from a guest.
const MAX_TEXT: u64 = 4096;
/// Longest counter report.
const MAX_STATS: u64 = 64 << 10;
/// Most return addresses of a panic.
const MAX_FRAMES: u64 = 64;
/// Most bytes moved by one request; a longer scatter list is a short transfer.
const MAX_TRANSFER: u64 = 16 << 20;
/// Most random bytes per request.
const MAX_ENTROPY: u64 = 4096;

/// Where `result` lies in a request.
const RESULT_OFFSET: u64 = core::mem::offset_of!(hypercall::Request, result) as u64;

/// What follows from a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The result is written; the guest goes on.
    Resume,
    /// The guest is idle; the result is to be written when the wait ends.
    Wait(Wait),
    /// The vCPUs of this mask are to look at their flags.
    Kick {
        /// Which ones.
        mask: u64,
        /// Bits of `kick_flags`.
        flags: u64,
    },
    /// Another vCPU is to start.
    Start {
        /// Which one.
        cpu: u64,
        /// Virtual address of its first instruction.
        entry: u64,
        /// Its page-table root.
        root: u64,
    },
    /// The program ended.
    Exit {
        /// Exit status.
        status: u8,
        /// The signal that killed it, or 0.
        signal: u8,
    },
    /// The sentry panicked.
    Panic {
        /// Its message.
        message: String,
        /// Return addresses, innermost first.
        frames: Vec<u64>,
    },
}

/// An idle guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// The request, whose result the end of the wait sets.
    pub request: u64,
    /// Guest monotonic ns, `u64::MAX` for none.
    pub deadline: u64,
    /// Bits of `wait_flags`.
    pub flags: u64,
    /// Bits of `event` the guest can use.
    pub wanted: u64,
    /// Among the waits of several vCPUs, the highest is the one to go by.
    pub turn: u64,
}

/// What a tick should watch for because the guest asked and got nothing (bits of `event`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest(pub u64);

/// The doorbell was rung with something that is no request: the guest is killed.
#[derive(Debug, thiserror::Error)]
pub enum DoorbellError {
    /// The address may not hold a request.
    #[error("the guest rang the doorbell with a bad request address: {0}")]
    Address(#[from] MemoryError),
    /// The address is not aligned.
    #[error("the guest rang the doorbell with the misaligned request address {0:#x}")]
    Alignment(u64),
    /// Memory could not be replaced: there may be a hole where it was.
    #[error(
        "the host could not replace guest memory ({0}): out of memory, or of mappings \
         (vm.max_map_count)?"
    )]
    Remap(io::Error),
    /// The host has no random numbers.
    #[error("the host's random number generator failed: {0}")]
    Entropy(getrandom::Error),
}

/// A request that was read.
pub enum Request<'a> {
    /// It concerns the vCPUs alone, or needs nothing; for [`Outcome::Kick`] and [`Outcome::Start`]
    /// the caller writes the result.
    Done(Outcome),
    /// It needs the backend.
    Outside(Call<'a>),
}

/// Reads the request at `gpa`.
pub fn parse(memory: &GuestMemory, gpa: u64) -> Result<Request<'_>, DoorbellError> {
    if !gpa.is_multiple_of(8) {
        return Err(DoorbellError::Alignment(gpa));
    }
    let [head, a0, a1, a2, a3, a4, a5, _] = memory.read_words(gpa)?;
    // The result must be writable too: an image holds no requests.
    memory.slice(gpa + RESULT_OFFSET, 8, Access::Write)?;
    let call = Call {
        gpa,
        number: head as u32,
        args: [a0, a1, a2, a3, a4, a5],
        memory,
    };
    if head >> 32 != 0 {
        complete(memory, gpa, -i64::from(libc::EINVAL))?;
        return Ok(Request::Done(Outcome::Resume));
    }
    Ok(Request::Done(match call.number {
        number::WAIT => Outcome::Wait(Wait {
            request: gpa,
            deadline: a0,
            flags: a1,
            wanted: a2,
            turn: a3,
        }),
        number::KICK => Outcome::Kick {
            mask: a0,
            flags: a1,
        },
        number::START_CPU => Outcome::Start {
            cpu: a0,
            entry: a1,
            root: a2,
        },
        number::EXIT => Outcome::Exit {
            status: u8::try_from(a0).unwrap_or(u8::MAX),
            signal: u8::try_from(a1).unwrap_or(u8::MAX),
        },
        number::PANIC => Outcome::Panic {
            message: call.panic_message(),
            frames: call.frames(),
        },
        _ => return Ok(Request::Outside(call)),
    }))
}

/// Writes the result of the request at `gpa`.
pub fn complete(memory: &GuestMemory, gpa: u64, result: i64) -> Result<(), MemoryError> {
    memory.write_bytes(gpa.saturating_add(RESULT_OFFSET), &result.to_le_bytes())
}

/// A request copied out of guest memory.
pub struct Call<'a> {
    gpa: u64,
    number: u32,
    args: [u64; 6],
    memory: &'a GuestMemory,
}

impl<'a> Call<'a> {
    /// Carries it out and writes its result.
    pub fn carry_out(
        &self,
        clock: &GuestClock,
        interest: &mut Interest,
        backend: &mut dyn Backend,
    ) -> Result<Outcome, DoorbellError> {
        let memory = self.memory;
        let [a0, a1, ..] = self.args;
        let result = match self.number {
            number::CONSOLE_WRITE => self.console_write(interest, backend),
            number::CONSOLE_READ => self.console_read(interest, backend),
            number::CHANNEL_RECV => self.receive(interest, event::REQUEST, |into| {
                backend.channel_receive(into)
            }),
            number::CHANNEL_SEND => self.segments(Access::Read).and_then(|data| {
                Ok(if is_empty(&data) {
                    0
                } else {
                    backend.channel_send(&data)?
                })
            }),
            number::CLOCK_READ => memory
                .write_bytes(a0, Wire(clock.reading()).as_slice())
                .map(|()| 0)
                .map_err(fault),
            number::ENTROPY => self.entropy()?,
            number::STATS => self.text(a0, a1, MAX_STATS).map(|text| {
                backend.stats(&text);
                0
            }),
            number::AUDIT => self.text(a0, a1, MAX_TEXT).map(|text| {
                backend.audit(&printable(text.trim_end()));
                0
            }),
            number::TAKE_SIGNAL => Ok(backend.take_signal().map_or(0, |signal| {
                let origin = if signal.from_terminal {
                    signal::FROM_TERMINAL as usize
                } else {
                    0
                };
                usize::from(signal.number) | origin
            })),
            number::TERMINAL => self.terminal(interest, backend),
            number::STOPPED => {
                backend.stopped();
                Ok(0)
            }
            number::GIVE_BACK => match self.large_pages() {
                Ok(ranges) => {
                    let mut ranges = ranges.into_iter();
                    let done = ranges.try_for_each(|[gpa, len]| memory.discard(gpa, len));
                    done.map_err(DoorbellError::Remap)?;
                    Ok(0)
                }
                Err(error) => Err(error),
            },
            number::POPULATE => match self.large_pages() {
                Ok(ranges) => {
                    let mut all = true;
                    for [gpa, len] in ranges {
                        all &= memory.populate(gpa, len).map_err(DoorbellError::Remap)?;
                    }
                    all.then_some(0).ok_or_else(|| errno(libc::EOPNOTSUPP))
                }
                Err(error) => Err(error),
            },
            _ => Err(errno(libc::ENOSYS)),
        };
        complete(memory, self.gpa, encode(result))?;
        Ok(Outcome::Resume)
    }

    /// The scatter list in `args[0..2]` as it stands there: addresses and lengths.
    fn list(&self) -> io::Result<Vec<[u64; 2]>> {
        let [list, count, ..] = self.args;
        if count > MAX_SEGMENTS {
            return Err(errno(libc::E2BIG));
        }
        let read = |index| {
            let entry = list.checked_add(16 * index);
            let entry = entry.ok_or_else(|| errno(libc::EFAULT))?;
            self.memory.read_words(entry).map_err(fault)
        };
        (0..count).map(read).collect()
    }

    /// The scatter list in `args[0..2]`; empty segments are left out.
    fn segments(&self, access: Access) -> io::Result<Vec<VolatileSlice<'a>>> {
        let list = self.list()?;
        let mut slices = Vec::with_capacity(list.len());
        let mut room = MAX_TRANSFER;
        for [gpa, len] in list {
            self.memory.slice(gpa, len, access).map_err(fault)?;
            let taken = len.min(room);
            room -= taken;
            if taken > 0 {
                slices.push(self.memory.slice(gpa, taken, access).map_err(fault)?);
            }
        }
        Ok(slices)
    }

    /// The scatter list in `args[0..2]`, each range whole 2 MiB of RAM.
    fn large_pages(&self) -> io::Result<Vec<[u64; 2]>> {
        let list = self.list()?;
        for [gpa, len] in &list {
            self.memory
                .slice(*gpa, *len, Access::Write)
                .map_err(fault)?;
            self.memory.large_pages(*gpa, *len)?;
        }
        Ok(list)
    }

    /// A write without blocking; when there is no room, ticks watch for it from now on.
    fn console_write(
        &self,
        interest: &mut Interest,
        backend: &mut dyn Backend,
    ) -> io::Result<usize> {
        let stream = match self.args[2] {
            stream::STDOUT => Stream::Stdout,
            stream::STDERR => Stream::Stderr,
            stream::LOG => Stream::Log,
            stream::TERMINAL => Stream::Terminal,
            _ => return Err(errno(libc::EINVAL)),
        };
        let data = self.segments(Access::Read)?;
        if is_empty(&data) {
            return Ok(0);
        }
        let result = backend.console_write(stream, &data);
        if matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            interest.0 |= event::OUTPUT;
        }
        result
    }

    fn console_read(
        &self,
        interest: &mut Interest,
        backend: &mut dyn Backend,
    ) -> io::Result<usize> {
        let (stream, event) = match self.args[2] {
            stream::STDIN => (InputStream::Stdin, event::INPUT),
            stream::TERMINAL => (InputStream::Terminal, event::TERMINAL),
            _ => return Err(errno(libc::EINVAL)),
        };
        self.receive(interest, event, |into| backend.console_read(stream, into))
    }

    fn terminal(&self, interest: &mut Interest, backend: &mut dyn Backend) -> io::Result<usize> {
        let [operation, argument, ..] = self.args;
        let selector = || i32::try_from(argument).map_err(|_| errno(libc::EINVAL));
        let state = || self.terminal_state(argument);
        let call = match operation {
            terminal::GET => TerminalCall::Get,
            terminal::SET_NOW => TerminalCall::Set(state()?, libc::TCSANOW),
            terminal::SET_DRAIN => TerminalCall::Set(state()?, libc::TCSADRAIN),
            terminal::SET_FLUSH => TerminalCall::Set(state()?, libc::TCSAFLUSH),
            terminal::SET_WINDOW => TerminalCall::SetWindow(state()?.window),
            terminal::UNREAD => TerminalCall::Unread,
            terminal::FLUSH => TerminalCall::Flush(selector()?),
            terminal::FLOW => TerminalCall::Flow(selector()?),
            terminal::DRAIN => TerminalCall::Drain,
            terminal::READY => TerminalCall::Ready,
            _ => return Err(errno(libc::EINVAL)),
        };
        match backend.terminal(call)? {
            TerminalAnswer::State(state) => self
                .memory
                .write_bytes(argument, Wire(state).as_slice())
                .map(|()| 0)
                .map_err(fault),
            TerminalAnswer::Number(number) => {
                if call == TerminalCall::Ready && number == 0 {
                    interest.0 |= event::TERMINAL;
                }
                Ok(number)
            }
        }
    }

    fn terminal_state(&self, gpa: u64) -> io::Result<TerminalState> {
        let length = size_of::<TerminalState>() as u64;
        let slice = self
            .memory
            .slice(gpa, length, Access::Read)
            .map_err(fault)?;
        let mut state = Wire(TerminalState::default());
        slice.copy_to(state.as_mut_slice());
        match state.0.reserved {
            0 => Ok(state.0),
            _ => Err(errno(libc::EINVAL)),
        }
    }

    /// A non-blocking read; when it finds nothing, ticks watch for `event` from now on.
    fn receive(
        &self,
        interest: &mut Interest,
        event: u64,
        read: impl FnOnce(&[VolatileSlice<'a>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let into = self.segments(Access::Write)?;
        if is_empty(&into) {
            return Ok(0);
        }
        let result = read(&into);
        match &result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => interest.0 |= event,
            _ => interest.0 &= !event,
        }
        result
    }

    /// The outer error is the host's and fatal, the inner one the guest's.
    fn entropy(&self) -> Result<io::Result<usize>, DoorbellError> {
        let [gpa, len, ..] = self.args;
        if len > MAX_ENTROPY {
            return Ok(Err(errno(libc::EINVAL)));
        }
        let mut bytes = vec![0; len as usize];
        getrandom::fill(&mut bytes).map_err(DoorbellError::Entropy)?;
        Ok(self
            .memory
            .write_bytes(gpa, &bytes)
            .map(|()| bytes.len())
            .map_err(fault))
    }

    fn text(&self, gpa: u64, len: u64, limit: u64) -> io::Result<String> {
        if len > limit {
            return Err(errno(libc::EINVAL));
        }
        let slice = self.memory.slice(gpa, len, Access::Read).map_err(fault)?;
        let mut bytes = vec![0; slice.len()];
        slice.copy_to(&mut bytes);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A panic is reported even when its message is garbage.
    fn panic_message(&self) -> String {
        let length = self.args[1].min(MAX_TEXT);
        self.text(self.args[0], length, MAX_TEXT)
            .unwrap_or_else(|_| "(the sentry's message is unreadable)".into())
    }

    fn frames(&self) -> Vec<u64> {
        let [_, _, list, count, ..] = self.args;
        (0..count.min(MAX_FRAMES))
            .map_while(|index| {
                let [address] = self.memory.read_words(list.checked_add(8 * index)?).ok()?;
                Some(address)
            })
            .collect()
    }
}

fn is_empty(slices: &[VolatileSlice<'_>]) -> bool {
    slices.is_empty()
}

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

fn fault(_: MemoryError) -> io::Error {
    errno(libc::EFAULT)
}

fn encode(result: io::Result<usize>) -> i64 {
    match result {
        Ok(value) => i64::try_from(value).unwrap_or(i64::MAX),
        Err(error) => {
            let number = match error.kind() {
                io::ErrorKind::WouldBlock => libc::EAGAIN,
                _ => error.raw_os_error().unwrap_or(libc::EIO),
            };
            -i64::from(number)
        }
    }
}
