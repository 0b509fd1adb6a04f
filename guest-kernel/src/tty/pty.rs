//! Pseudo-terminals: a master that a program (a terminal emulator, `script`, a test) holds, and a
//! terminal whose line is that master.
//!
//! Opening `/dev/ptmx` makes a pair; the terminal is `/dev/pts/N`. What is written to the master is
//! typed at the terminal, what is written to the terminal (and what it echoes) is read at the
//! master. When the master is closed the terminal is hung up.

use super::discipline::{CAPACITY, Discipline, Effects};
use super::termios::{Termios, cc, input};
use super::{Line, Tty, job, request};
use crate::errno::{Errno, Result};
use crate::fs::devfs;
use crate::fs::file::{File, OpenFlags};
use crate::fs::inode::{DeviceNumber, Inode, Metadata};
use crate::io::{Destination, Source};
use crate::mm::AddressSpace;
use crate::sync::{Lock, Rank};
use crate::wait::{PollEvents, WaitQueue};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Major number of `/dev/pts/N`.
pub const SLAVE_MAJOR: u32 = 136;
/// Most pairs at once (`/proc/sys/kernel/pty/max`).
const MAX: u32 = 4096;
/// Bytes on their way to the master.
const TO_MASTER: usize = 8192;
/// Bytes processed at a time, without a lock held while the program's memory is read.
const PIECE: usize = 512;
/// The most one written byte becomes (a tab as spaces).
const WIDEST: usize = 8;

/// Writes what `src` has, piece by piece as there is `room`. EAGAIN when there is none at all.
fn in_pieces(
    src: &mut Source<'_>,
    room: impl Fn() -> usize,
    mut sink: impl FnMut(&[u8]),
) -> Result<usize> {
    let mut done = 0;
    while src.remaining() > 0 {
        let room = room();
        if room == 0 {
            return if done == 0 {
                Err(Errno::EAGAIN)
            } else {
                Ok(done)
            };
        }
        let mut piece = [0; PIECE];
        let taken = match src.take(&mut piece[..room.min(PIECE)]) {
            Ok(taken) => taken,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        };
        sink(&piece[..taken]);
        done += taken;
    }
    Ok(done)
}

/// Status bytes of packet mode (ioctl_tty(2), TIOCPKT).
mod packet {
    pub const FLUSH_READ: u8 = 1;
    pub const FLUSH_WRITE: u8 = 2;
    pub const STOP: u8 = 4;
    pub const START: u8 = 8;
    pub const NO_STOP: u8 = 16;
    pub const DO_STOP: u8 = 32;
}

/// The terminal's side of a pair.
pub struct Pty {
    /// The `N` of `/dev/pts/N`.
    pub number: u32,
    locked: AtomicBool,
    state: Lock<State>,
    /// Woken when the master became readable or writable.
    master_queue: WaitQueue,
}

#[derive(Default)]
struct State {
    line: Discipline,
    to_master: VecDeque<u8>,
    /// Open files of the terminal.
    opens: usize,
    /// It was opened and closed again.
    left: bool,
    packets: bool,
    status: u8,
    /// Monotonic time of the last input.
    last_input: u64,
}

static PAIRS: Lock<BTreeMap<u32, Arc<Tty>>> = Lock::new(Rank::Registry, BTreeMap::new());

impl Pty {
    /// Bytes typed and not read yet.
    pub fn available(&self, termios: &Termios) -> (usize, u64) {
        let state = self.state.lock();
        (state.line.available(termios), state.last_input)
    }

    /// Reads up to `limit` bytes of what is there.
    pub fn read(&self, termios: &Termios, limit: usize) -> Vec<u8> {
        let bytes = self.state.lock().line.read(termios, limit);
        self.master_queue.wake(PollEvents::OUT | PollEvents::WRNORM);
        bytes
    }

    /// Writes to the master.
    pub fn write(&self, termios: &Termios, src: &mut Source<'_>) -> Result<usize> {
        let room = || self.room();
        in_pieces(src, room, |piece| {
            let mut out = Vec::new();
            {
                let mut state = self.state.lock();
                for byte in piece {
                    state.line.write(*byte, termios, &mut out);
                }
                state.to_master.extend(out);
            }
            self.master_queue.wake(PollEvents::IN | PollEvents::RDNORM);
        })
    }

    /// Bytes that can be written to the terminal now.
    pub fn room(&self) -> usize {
        let state = self.state.lock();
        if state.line.stopped {
            return 0;
        }
        TO_MASTER.saturating_sub(state.to_master.len()) / WIDEST
    }

    /// Throws away what waits to be read (0), to be sent (1), or both (2).
    pub fn flush(&self, queues: u64) {
        {
            let mut state = self.state.lock();
            if queues != 1 {
                state.line.flush();
                state.status |= packet::FLUSH_READ;
            }
            if queues != 0 {
                state.to_master.clear();
                state.status |= packet::FLUSH_WRITE;
            }
        }
        self.master_queue.wake(PollEvents::all());
    }

    /// Stops (or starts) output.
    pub fn set_flow(&self, tty: &Tty, stopped: bool) {
        {
            let mut state = self.state.lock();
            state.line.stopped = stopped;
            state.note_flow(stopped);
        }
        self.master_queue.wake(PollEvents::PRI | PollEvents::IN);
        if !stopped {
            tty.queue.wake(PollEvents::OUT | PollEvents::WRNORM);
        }
    }

    /// Types `byte` for the program.
    pub fn type_byte(&self, tty: &Arc<Tty>, byte: u8) {
        self.typed(tty, &[byte]);
    }

    fn typed(&self, tty: &Arc<Tty>, bytes: &[u8]) {
        let termios = tty.termios();
        let mut effects = Effects::default();
        {
            let mut state = self.state.lock();
            for byte in bytes {
                state.line.receive(*byte, &termios, &mut effects);
            }
            if effects.flush_output {
                state.to_master.clear();
                state.status |= packet::FLUSH_READ | packet::FLUSH_WRITE;
            }
            let room = TO_MASTER.saturating_sub(state.to_master.len());
            effects.echo.truncate(room);
            state.to_master.extend(&effects.echo);
            if let Some(stopped) = effects.flow {
                state.note_flow(stopped);
            }
            state.last_input = crate::time::monotonic_ns();
        }
        let foreground = tty.control.lock().foreground;
        for signal in effects.signals {
            job::signal_group(foreground, signal);
        }
        tty.queue.wake(PollEvents::IN | PollEvents::RDNORM);
        if effects.flow == Some(false) {
            tty.queue.wake(PollEvents::OUT | PollEvents::WRNORM);
        }
        self.master_queue
            .wake(PollEvents::IN | PollEvents::RDNORM | PollEvents::PRI);
    }

    /// New modes are in force.
    pub fn modes_changed(&self, tty: &Tty, old: &Termios, new: &Termios) {
        let keys = |termios: &Termios| {
            termios.i(input::IXON)
                && termios.cc[cc::VSTOP] == 0o23
                && termios.cc[cc::VSTART] == 0o21
        };
        let restarted = {
            let mut state = self.state.lock();
            state.line.modes_changed(old, new);
            if keys(old) != keys(new) {
                state.status &= !(packet::NO_STOP | packet::DO_STOP);
                state.status |= if keys(new) {
                    packet::DO_STOP
                } else {
                    packet::NO_STOP
                };
            }
            let restart = state.line.stopped && !new.i(input::IXON);
            state.line.stopped &= !restart;
            restart
        };
        let mut events = PollEvents::IN | PollEvents::RDNORM;
        if restarted {
            events |= PollEvents::OUT | PollEvents::WRNORM;
        }
        tty.queue.wake(events);
    }

    /// A file of the terminal was opened.
    pub fn opened(&self) {
        let mut state = self.state.lock();
        state.opens += 1;
        state.left = false;
    }

    /// A file of the terminal was closed.
    pub fn closed(&self) {
        let last = {
            let mut state = self.state.lock();
            state.opens -= 1;
            state.left = state.opens == 0;
            state.left
        };
        if last {
            self.master_queue.wake(PollEvents::all());
        }
    }
}

impl State {
    fn note_flow(&mut self, stopped: bool) {
        self.status &= !(packet::STOP | packet::START);
        self.status |= if stopped { packet::STOP } else { packet::START };
    }

    fn packet_waits(&self) -> bool {
        self.packets && self.status != 0
    }
}

/// Opens the terminal with this minor number.
pub fn open_slave(number: u32, inode: Arc<dyn Inode>, flags: OpenFlags) -> Result<Arc<dyn File>> {
    let tty = PAIRS.lock().get(&number).cloned().ok_or(Errno::EIO)?;
    if let Line::Pty(pty) = &tty.line
        && pty.locked.load(Ordering::Relaxed)
    {
        return Err(Errno::EIO);
    }
    super::open(tty, inode, flags)
}

/// Opens `/dev/ptmx`: a new pair.
pub fn open_master(inode: Arc<dyn Inode>) -> Result<Arc<dyn File>> {
    let tty = {
        let mut pairs = PAIRS.lock();
        let number = (0..MAX)
            .find(|number| !pairs.contains_key(number))
            .ok_or(Errno::ENOSPC)?;
        let pty = Pty {
            number,
            locked: AtomicBool::new(true),
            state: Lock::new(Rank::File, State::default()),
            master_queue: WaitQueue::new(),
        };
        let tty = Tty::new(DeviceNumber::new(SLAVE_MAJOR, number), Line::Pty(pty));
        pairs.insert(number, tty.clone());
        tty
    };
    if let Err(error) = devfs::create_terminal(tty.device.minor, tty.device) {
        PAIRS.lock().remove(&tty.device.minor);
        return Err(error);
    }
    Ok(Arc::new(Master {
        tty,
        inode,
        flags: AtomicU32::new(0),
    }))
}

/// The master's open file.
pub struct Master {
    tty: Arc<Tty>,
    inode: Arc<dyn Inode>,
    flags: AtomicU32,
}

impl Master {
    fn pty(&self) -> &Pty {
        match &self.tty.line {
            Line::Pty(pty) => pty,
            Line::Console(_) => unreachable!("a master's terminal is a pseudo-terminal"),
        }
    }

    /// Opens the terminal of this pair, whatever names lead to it (TIOCGPTPEER).
    pub fn open_peer(&self, flags: OpenFlags) -> Result<(Arc<dyn File>, Vec<u8>)> {
        let path = alloc::format!("/dev/pts/{}", self.pty().number).into_bytes();
        let inode = devfs::find_terminal(self.pty().number).ok_or(Errno::EIO)?;
        Ok((super::open(self.tty.clone(), inode, flags)?, path))
    }
}

impl File for Master {
    fn read_at(&self, dst: &mut Destination<'_>, _: u64) -> Result<usize> {
        let limit = dst.remaining().min(CAPACITY);
        if limit == 0 {
            return Ok(0);
        }
        let bytes: Vec<u8> = {
            let mut state = self.pty().state.lock();
            if state.packet_waits() {
                [core::mem::take(&mut state.status)].into()
            } else if state.to_master.is_empty() {
                return Err(if state.left {
                    Errno::EIO
                } else {
                    Errno::EAGAIN
                });
            } else if state.packets {
                let count = (limit - 1).min(state.to_master.len());
                core::iter::once(0)
                    .chain(state.to_master.drain(..count))
                    .collect()
            } else {
                let count = limit.min(state.to_master.len());
                state.to_master.drain(..count).collect()
            }
        };
        self.tty.queue.wake(PollEvents::OUT | PollEvents::WRNORM);
        dst.put(&bytes)
    }

    fn write_at(&self, src: &mut Source<'_>, _: u64) -> Result<usize> {
        let pty = self.pty();
        let room = || pty.state.lock().line.room(&self.tty.termios());
        in_pieces(src, room, |piece| pty.typed(&self.tty, piece))
    }

    fn poll(&self) -> PollEvents {
        let state = self.pty().state.lock();
        let mut events = PollEvents::empty();
        if !state.to_master.is_empty() {
            events |= PollEvents::IN | PollEvents::RDNORM;
        }
        if state.packet_waits() {
            events |= PollEvents::IN | PollEvents::RDNORM | PollEvents::PRI;
        }
        if state.left {
            events |= PollEvents::HUP;
        }
        if state.line.room(&self.tty.termios()) > 0 {
            events |= PollEvents::OUT | PollEvents::WRNORM;
        }
        events
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.pty().master_queue)
    }

    fn metadata(&self) -> Result<Metadata> {
        self.inode.metadata()
    }

    fn inode(&self) -> Option<Arc<dyn Inode>> {
        Some(self.inode.clone())
    }

    fn ioctl(&self, space: &AddressSpace, command: u32, arg: u64) -> Result<u64> {
        let pty = self.pty();
        match command {
            request::TIOCGPTN => super::put(space, arg, &pty.number.to_le_bytes()),
            request::TIOCSPTLCK => {
                let locked = super::get::<4>(space, arg)? != [0; 4];
                pty.locked.store(locked, Ordering::Relaxed);
                Ok(0)
            }
            request::TIOCGPTLCK => {
                let locked = u32::from(pty.locked.load(Ordering::Relaxed));
                super::put(space, arg, &locked.to_le_bytes())
            }
            request::TIOCPKT => {
                let on = super::get::<4>(space, arg)? != [0; 4];
                let mut state = pty.state.lock();
                if on && !state.packets {
                    state.status = 0;
                }
                state.packets = on;
                Ok(0)
            }
            request::TIOCGPKT => {
                let on = u32::from(pty.state.lock().packets);
                super::put(space, arg, &on.to_le_bytes())
            }
            request::TIOCSIG => {
                if !(1..=64).contains(&arg) {
                    return Err(Errno::EINVAL);
                }
                let foreground = self.tty.control.lock().foreground;
                job::signal_group(foreground, arg as u32);
                Ok(0)
            }
            request::FIONREAD => {
                let unread = pty.state.lock().to_master.len() as u32;
                super::put(space, arg, &unread.to_le_bytes())
            }
            request::TIOCOUTQ => super::put(space, arg, &[0; 4]),
            request::TIOCSCTTY | request::TIOCNOTTY => Err(Errno::ENOTTY),
            _ => self.tty.ioctl(space, command, arg, true),
        }
    }

    fn flags_changed(&self, flags: OpenFlags) {
        self.flags.store(flags.bits(), Ordering::Relaxed);
    }

    fn describe(&self) -> Vec<u8> {
        b"/dev/ptmx".to_vec()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for Master {
    /// The terminal is hung up, and its name goes.
    fn drop(&mut self) {
        let number = self.pty().number;
        devfs::remove_terminal(number);
        let removed = PAIRS.lock().remove(&number);
        drop(removed);
        self.tty.hang_up();
    }
}

/// The terminal as `T`'s file, for calls that only masters have.
pub fn master_of(file: &dyn File) -> Option<&Master> {
    file.as_any().downcast_ref()
}
