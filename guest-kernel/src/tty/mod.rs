//! Terminals: the operator's (`/dev/console`) and pseudo-terminals, with sessions and job control.
//!
//! Linux first: a *terminal* has modes, a window and a line discipline. It can be the *controlling
//! terminal* of one session; of that session's process groups one is in the *foreground*: it gets
//! the signals of the keys, and only it may read. `/dev/tty` is whatever controls the caller.
//!
//! | file | what it is |
//! |---|---|
//! | `termios` | modes |
//! | `discipline` | the line discipline of pseudo-terminals |
//! | `pty` | masters and their terminals |
//! | `console` | the operator's terminal: the host does its line discipline |
//! | `job` | sessions, the foreground group, orphaned groups |

mod console;
mod discipline;
pub mod job;
mod pty;
mod termios;

pub use pty::{Master, master_of};
pub use termios::Termios;

use crate::errno::{Errno, Result};
use crate::fs::devfs::{self, OpenTerminals};
use crate::fs::file::{File, OpenFlags};
use crate::fs::inode::{DeviceNumber, Inode, Metadata};
use crate::io::{Destination, Source};
use crate::mm::AddressSpace;
use crate::sync::{Lock, Rank};
use crate::task::Process;
use crate::task::signal::number::*;
use crate::time::timers::{self, TimerId, TimerTarget};
use crate::wait::{PollEvents, WaitQueue};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use console::HostLine;
use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use pty::Pty;
use sprout_abi::hypercall::{stream, terminal};
use termios::{Termios2, cc, local};
use zerocopy::{FromBytes, IntoBytes};

/// Requests of `ioctl_tty(2)`.
#[allow(missing_docs)]
pub mod request {
    pub const TCGETS: u32 = 0x5401;
    pub const TCSETS: u32 = 0x5402;
    pub const TCSETSW: u32 = 0x5403;
    pub const TCSETSF: u32 = 0x5404;
    pub const TCSBRK: u32 = 0x5409;
    pub const TCXONC: u32 = 0x540a;
    pub const TCFLSH: u32 = 0x540b;
    pub const TIOCEXCL: u32 = 0x540c;
    pub const TIOCNXCL: u32 = 0x540d;
    pub const TIOCSCTTY: u32 = 0x540e;
    pub const TIOCGPGRP: u32 = 0x540f;
    pub const TIOCSPGRP: u32 = 0x5410;
    pub const TIOCOUTQ: u32 = 0x5411;
    pub const TIOCSTI: u32 = 0x5412;
    pub const TIOCGWINSZ: u32 = 0x5413;
    pub const TIOCSWINSZ: u32 = 0x5414;
    pub const FIONREAD: u32 = 0x541b;
    pub const TIOCPKT: u32 = 0x5420;
    pub const TIOCNOTTY: u32 = 0x5422;
    pub const TIOCSETD: u32 = 0x5423;
    pub const TIOCGETD: u32 = 0x5424;
    pub const TCSBRKP: u32 = 0x5425;
    pub const TIOCSBRK: u32 = 0x5427;
    pub const TIOCCBRK: u32 = 0x5428;
    pub const TIOCGSID: u32 = 0x5429;
    pub const TIOCVHANGUP: u32 = 0x5437;
    pub const TIOCGEXCL: u32 = 0x8004_5440;
    pub const TIOCGDEV: u32 = 0x8004_5432;
    pub const TIOCGPTN: u32 = 0x8004_5430;
    pub const TIOCGPTLCK: u32 = 0x8004_5439;
    pub const TIOCGPKT: u32 = 0x8004_5438;
    pub const TIOCSPTLCK: u32 = 0x4004_5431;
    pub const TIOCSIG: u32 = 0x4004_5436;
    pub const TIOCGPTPEER: u32 = 0x5441;
    pub const TCGETS2: u32 = 0x802c_542a;
    pub const TCSETS2: u32 = 0x402c_542b;
    pub const TCSETSW2: u32 = 0x402c_542c;
    pub const TCSETSF2: u32 = 0x402c_542d;
}

/// Whose terminal it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// The session it controls; 0: none.
    pub session: u32,
    /// Its foreground process group; 0: none.
    pub foreground: u32,
}

enum Line {
    Console(HostLine),
    Pty(Pty),
}

/// A terminal.
pub struct Tty {
    this: Weak<Tty>,
    device: DeviceNumber,
    line: Line,
    control: Lock<Control>,
    modes: Lock<Termios>,
    /// Rows, columns, width and height in pixels.
    window: Lock<[u16; 4]>,
    exclusive: AtomicBool,
    /// Hang-ups so far: files opened before one are dead.
    hang_ups: AtomicU32,
    /// Wakes readers whose time is over.
    timer: Lock<Option<TimerId>>,
    queue: WaitQueue,
}

struct WakeReaders(Weak<Tty>);

impl TimerTarget for WakeReaders {
    fn expired(&self, _: u64) {
        if let Some(tty) = self.0.upgrade() {
            tty.queue.wake(PollEvents::IN | PollEvents::RDNORM);
        }
    }
}

fn put(space: &AddressSpace, addr: u64, bytes: &[u8]) -> Result<u64> {
    if space.write_some(addr, bytes) != bytes.len() {
        return Err(Errno::EFAULT);
    }
    Ok(0)
}

fn get<const N: usize>(space: &AddressSpace, addr: u64) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    if space.read_some(addr, &mut bytes) != N {
        return Err(Errno::EFAULT);
    }
    Ok(bytes)
}

impl Tty {
    fn new(device: DeviceNumber, line: Line) -> Arc<Tty> {
        Arc::new_cyclic(|this| Tty {
            this: this.clone(),
            device,
            line,
            control: Lock::new(Rank::Leaf, Control::default()),
            modes: Lock::new(Rank::Leaf, Termios::default()),
            window: Lock::new(Rank::Leaf, [0; 4]),
            exclusive: AtomicBool::new(false),
            hang_ups: AtomicU32::new(0),
            timer: Lock::new(Rank::Leaf, None),
            queue: WaitQueue::new(),
        })
    }

    /// Its device number.
    pub fn device(&self) -> DeviceNumber {
        self.device
    }

    /// Its foreground process group; 0: none.
    pub fn foreground(&self) -> u32 {
        self.control.lock().foreground
    }

    fn termios(&self) -> Termios {
        *self.modes.lock()
    }

    /// Every open file of it is dead, and its session's leader is told.
    fn hang_up(&self) {
        let Control {
            session,
            foreground,
        } = *self.control.lock();
        if session != 0 {
            if let Some(leader) = crate::task::process::find(session) {
                *leader.hung_up_group.lock() = Some(foreground);
                for signal in [SIGHUP, SIGCONT] {
                    let info = crate::task::SigInfo::kernel(signal);
                    let _ = crate::task::signal::send_to_process(&leader, info);
                }
            }
            if let Some(this) = self.this.upgrade() {
                job::leave_session(&this, session);
            }
        }
        self.hang_up_session();
    }

    /// Every open file of it is dead.
    fn hang_up_session(&self) {
        if let Line::Pty(pty) = &self.line {
            self.hang_ups.fetch_add(1, Ordering::Relaxed);
            pty.flush(0);
        }
        self.queue.wake(PollEvents::all());
    }

    fn set_window(&self, window: [u16; 4]) {
        let before = core::mem::replace(&mut *self.window.lock(), window);
        if before != window {
            job::signal_group(self.foreground(), SIGWINCH);
        }
    }

    /// Sets modes; `when`: 0 now, 1 after output, 2 and without input.
    fn set_modes(&self, new: Termios, when: u32) -> Result<u64> {
        job::check_foreground(self, SIGTTOU)?;
        let old = self.termios();
        match &self.line {
            Line::Console(host) => {
                if when == 2 {
                    let _ = host.take(usize::MAX);
                }
                console::set_modes(&new, when)?;
                *self.modes.lock() = new;
                self.queue.wake(PollEvents::IN | PollEvents::RDNORM);
            }
            Line::Pty(pty) => {
                if when == 2 {
                    pty.flush(0);
                }
                *self.modes.lock() = new;
                pty.modes_changed(self, &old, &new);
            }
        }
        Ok(0)
    }

    /// `through_master`: asked through the master of a pair, which the caller need not be
    /// controlled by.
    fn ioctl(
        &self,
        space: &AddressSpace,
        command: u32,
        arg: u64,
        through_master: bool,
    ) -> Result<u64> {
        match command {
            request::TCGETS => put(space, arg, self.termios().as_bytes()),
            request::TCGETS2 => {
                let termios = self.termios();
                let speeds = [termios.speed(); 2];
                put(space, arg, Termios2 { termios, speeds }.as_bytes())
            }
            request::TCSETS | request::TCSETSW | request::TCSETSF => {
                let bytes = get::<{ size_of::<Termios>() }>(space, arg)?;
                let new = Termios::read_from_bytes(&bytes).map_err(|_| Errno::EINVAL)?;
                self.set_modes(new, command - request::TCSETS)
            }
            request::TCSETS2 | request::TCSETSW2 | request::TCSETSF2 => {
                let bytes = get::<{ size_of::<Termios2>() }>(space, arg)?;
                let new = Termios2::read_from_bytes(&bytes).map_err(|_| Errno::EINVAL)?;
                self.set_modes(new.termios, command - request::TCSETS2)
            }
            request::TIOCGWINSZ => {
                let window = *self.window.lock();
                put(space, arg, window.as_bytes())
            }
            request::TIOCSWINSZ => {
                let bytes = get::<8>(space, arg)?;
                let window = <[u16; 4]>::read_from_bytes(&bytes).map_err(|_| Errno::EINVAL)?;
                if let Line::Console(_) = &self.line {
                    console::set_window(window)?;
                }
                self.set_window(window);
                Ok(0)
            }
            request::TIOCGPGRP => {
                self.check_controls(through_master)?;
                put(space, arg, &self.foreground().to_le_bytes())
            }
            request::TIOCSPGRP => self.set_foreground(space, arg),
            request::TIOCGSID => {
                self.check_controls(through_master)?;
                let session = self.control.lock().session;
                match session {
                    0 => Err(Errno::ENOTTY),
                    session => put(space, arg, &session.to_le_bytes()),
                }
            }
            request::TIOCSCTTY => self.become_controlling(arg),
            request::TIOCNOTTY => self.give_up(),
            request::TCFLSH => {
                job::check_foreground(self, SIGTTOU)?;
                if arg > 2 {
                    return Err(Errno::EINVAL);
                }
                match &self.line {
                    Line::Console(host) => host.flush(arg)?,
                    Line::Pty(pty) => pty.flush(arg),
                }
                Ok(0)
            }
            request::TCXONC => self.flow(arg),
            request::TCSBRK | request::TCSBRKP | request::TIOCSBRK | request::TIOCCBRK => {
                job::check_foreground(self, SIGTTOU)?;
                // Only the console's output is ever under way; pseudo-terminals have no breaks.
                if let Line::Console(_) = &self.line
                    && command == request::TCSBRK
                {
                    crate::platform::terminal(terminal::DRAIN, None, 0)?;
                }
                Ok(0)
            }
            request::FIONREAD => {
                let termios = self.termios();
                let unread = match &self.line {
                    Line::Console(host) => host.unread(),
                    Line::Pty(pty) => pty.available(&termios).0,
                };
                put(space, arg, &(unread as u32).to_le_bytes())
            }
            request::TIOCOUTQ | request::TIOCGETD => put(space, arg, &[0; 4]),
            // N_TTY is the only one there is.
            request::TIOCSETD => match get::<4>(space, arg)? {
                [0, 0, 0, 0] => Ok(0),
                _ => Err(Errno::EINVAL),
            },
            request::TIOCSTI => {
                let [byte] = get::<1>(space, arg)?;
                match (&self.line, self.this.upgrade()) {
                    (Line::Pty(pty), Some(this)) => pty.type_byte(&this, byte),
                    _ => return Err(Errno::EIO),
                }
                Ok(0)
            }
            request::TIOCEXCL | request::TIOCNXCL => {
                self.exclusive
                    .store(command == request::TIOCEXCL, Ordering::Relaxed);
                Ok(0)
            }
            request::TIOCGEXCL => {
                let exclusive = u32::from(self.exclusive.load(Ordering::Relaxed));
                put(space, arg, &exclusive.to_le_bytes())
            }
            request::TIOCGDEV => {
                let device = self.device.encode() as u32;
                put(space, arg, &device.to_le_bytes())
            }
            request::TIOCVHANGUP => {
                self.hang_up();
                Ok(0)
            }
            _ => Err(Errno::ENOTTY),
        }
    }

    fn check_controls(&self, through_master: bool) -> Result<()> {
        let controls = || job::caller().is_some_and(|task| job::controls(self, task.process()));
        if through_master || controls() {
            Ok(())
        } else {
            Err(Errno::ENOTTY)
        }
    }

    fn set_foreground(&self, space: &AddressSpace, arg: u64) -> Result<u64> {
        job::check_foreground(self, SIGTTOU).map_err(|error| match error {
            Errno::EIO => Errno::ENOTTY,
            other => other,
        })?;
        let task = job::caller().ok_or(Errno::ENOTTY)?;
        let session = task.process().sid.load(Ordering::Relaxed);
        if !job::controls(self, task.process()) || self.control.lock().session != session {
            return Err(Errno::ENOTTY);
        }
        let group = i32::from_le_bytes(get(space, arg)?);
        let group = u32::try_from(group).map_err(|_| Errno::EINVAL)?;
        let members = crate::task::process::in_group(group);
        let member = members.first().ok_or(Errno::ESRCH)?;
        if member.sid.load(Ordering::Relaxed) != session {
            return Err(Errno::EPERM);
        }
        self.control.lock().foreground = group;
        Ok(0)
    }

    fn become_controlling(&self, steal: u64) -> Result<u64> {
        let task = job::caller().ok_or(Errno::EPERM)?;
        let process = task.process();
        let session = process.sid.load(Ordering::Relaxed);
        let leads = session == process.pid();
        let held = self.control.lock().session;
        if leads && held == session {
            return Ok(0);
        }
        if !leads || process.terminal.lock().is_some() {
            return Err(Errno::EPERM);
        }
        let this = self.this.upgrade().ok_or(Errno::EIO)?;
        if held != 0 {
            if steal != 1 {
                return Err(Errno::EPERM);
            }
            job::leave_session(&this, held);
        }
        job::acquire(&this, process);
        Ok(0)
    }

    fn give_up(&self) -> Result<u64> {
        let task = job::caller().ok_or(Errno::ENOTTY)?;
        let process = task.process();
        if !job::controls(self, process) {
            return Err(Errno::ENOTTY);
        }
        if process.sid.load(Ordering::Relaxed) != process.pid() {
            let own = process.terminal.lock().take();
            drop(own);
            return Ok(0);
        }
        let foreground = self.foreground();
        job::signal_group(foreground, SIGHUP);
        job::signal_group(foreground, SIGCONT);
        if let Some(this) = self.this.upgrade() {
            job::leave_session(&this, process.pid());
        }
        Ok(0)
    }

    /// `tcflow`.
    fn flow(&self, action: u64) -> Result<u64> {
        job::check_foreground(self, SIGTTOU)?;
        match (&self.line, action) {
            (Line::Console(_), 0..=3) => {
                crate::platform::terminal(terminal::FLOW, None, action)?;
            }
            (Line::Pty(pty), 0 | 1) => pty.set_flow(self, action == 0),
            // Sends STOP or START to the other side: pseudo-terminals' masters read them.
            (Line::Pty(pty), 2 | 3) => {
                let termios = self.termios();
                let key = if action == 2 { cc::VSTOP } else { cc::VSTART };
                if termios.cc[key] != termios::DISABLED {
                    let raw = Termios {
                        output: 0,
                        ..termios
                    };
                    pty.write(&raw, &mut Source::kernel(&[termios.cc[key]]))?;
                }
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(0)
    }

    /// Wakes readers at `deadline`, and only then.
    fn wake_readers_at(&self, deadline: u64) {
        let new = timers::arm(deadline, Arc::new(WakeReaders(self.this.clone())));
        let old = self.timer.lock().replace(new);
        if let Some(old) = old {
            timers::cancel(old);
        }
    }
}

/// What is to become of a read of a terminal without lines.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Take what is there.
    Take,
    /// Its time is over: nothing.
    Nothing,
    /// Wait, perhaps not beyond this time.
    Wait(Option<u64>),
}

/// A tenth of a second, the unit of VTIME.
const DECISECOND: u64 = 100_000_000;

/// Applies VMIN and VTIME (termios(3)) to a read of `wanted` bytes that began at `began`, when
/// `available` bytes are there, the last since `last`.
fn judge(
    termios: &Termios,
    (available, last): (usize, u64),
    wanted: usize,
    began: u64,
    now: u64,
    nonblocking: bool,
) -> Verdict {
    let minimum = usize::from(termios.cc[cc::VMIN]);
    let time = u64::from(termios.cc[cc::VTIME]) * DECISECOND;
    if available > 0 && (available >= minimum.min(wanted) || nonblocking) {
        return Verdict::Take;
    }
    let since = match (minimum, available) {
        (0, _) if time == 0 => return Verdict::Nothing,
        (0, _) => began,
        (_, 0) => return Verdict::Wait(None),
        _ if time == 0 => return Verdict::Wait(None),
        _ => last.max(began),
    };
    if nonblocking {
        return Verdict::Wait(None);
    }
    let due = since + time;
    match (now >= due, available) {
        (true, 0) => Verdict::Nothing,
        (true, _) => Verdict::Take,
        (false, _) => Verdict::Wait(Some(due)),
    }
}

/// An open file of a terminal.
pub struct TtyFile {
    tty: Arc<Tty>,
    inode: Arc<dyn Inode>,
    /// The host's stream behind it, of the console.
    stream: u64,
    nonblocking: AtomicBool,
    hang_ups: u32,
    /// When the read under way began.
    began: Lock<Option<u64>>,
}

impl TtyFile {
    fn new(tty: Arc<Tty>, inode: Arc<dyn Inode>, stream: u64) -> Arc<TtyFile> {
        if let Line::Pty(pty) = &tty.line {
            pty.opened();
        }
        Arc::new(TtyFile {
            hang_ups: tty.hang_ups.load(Ordering::Relaxed),
            tty,
            inode,
            stream,
            nonblocking: AtomicBool::new(false),
            began: Lock::new(Rank::Leaf, None),
        })
    }

    fn is_hung_up(&self) -> bool {
        self.hang_ups != self.tty.hang_ups.load(Ordering::Relaxed)
    }

    fn get_bytes(&self, wanted: usize) -> Result<Vec<u8>> {
        let termios = self.tty.termios();
        if termios.l(local::ICANON) {
            return match &self.tty.line {
                Line::Console(host) => host.read(wanted),
                Line::Pty(pty) if pty.available(&termios).0 == 0 => Err(Errno::EAGAIN),
                Line::Pty(pty) => Ok(pty.read(&termios, wanted)),
            };
        }
        let now = crate::time::monotonic_ns();
        let began = *self.began.lock().get_or_insert(now);
        let there = match &self.tty.line {
            Line::Console(host) => host.collect(),
            Line::Pty(pty) => pty.available(&termios),
        };
        let nonblocking = self.nonblocking.load(Ordering::Relaxed);
        match judge(&termios, there, wanted, began, now, nonblocking) {
            Verdict::Take => Ok(match &self.tty.line {
                Line::Console(host) => host.take(wanted),
                Line::Pty(pty) => pty.read(&termios, wanted),
            }),
            Verdict::Nothing => Ok(Vec::new()),
            Verdict::Wait(deadline) => {
                if let Some(deadline) = deadline {
                    self.tty.wake_readers_at(deadline);
                }
                Err(Errno::EAGAIN)
            }
        }
    }
}

impl File for TtyFile {
    fn read_at(&self, dst: &mut Destination<'_>, _: u64) -> Result<usize> {
        if self.is_hung_up() || dst.remaining() == 0 {
            return Ok(0);
        }
        job::check_foreground(&self.tty, SIGTTIN)?;
        let bytes = self.get_bytes(dst.remaining().min(discipline::CAPACITY))?;
        dst.put(&bytes)
    }

    fn write_at(&self, src: &mut Source<'_>, _: u64) -> Result<usize> {
        if self.is_hung_up() {
            return Err(Errno::EIO);
        }
        let termios = self.tty.termios();
        if termios.l(local::TOSTOP) {
            job::check_foreground(&self.tty, SIGTTOU)?;
        }
        match &self.tty.line {
            Line::Console(host) => host.write(self.stream, src),
            Line::Pty(pty) => pty.write(&termios, src),
        }
    }

    fn read_begins(&self) {
        *self.began.lock() = None;
    }

    fn poll(&self) -> PollEvents {
        let writable = PollEvents::OUT | PollEvents::WRNORM;
        let readable = PollEvents::IN | PollEvents::RDNORM;
        if self.is_hung_up() {
            return readable | writable | PollEvents::ERR | PollEvents::HUP;
        }
        let termios = self.tty.termios();
        let mut events = PollEvents::empty();
        let (is_readable, is_writable) = match &self.tty.line {
            Line::Console(host) => (host.ready(), true),
            Line::Pty(pty) => {
                // Without a time-out only as much as a read waits for is worth waking up for.
                let counts = !termios.l(local::ICANON) && termios.cc[cc::VTIME] == 0;
                let least = match termios.cc[cc::VMIN] {
                    minimum @ 1.. if counts => minimum.into(),
                    _ => 1,
                };
                (pty.available(&termios).0 >= least, pty.room() > 0)
            }
        };
        if is_readable {
            events |= readable;
        }
        if is_writable {
            events |= writable;
        }
        events
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.tty.queue)
    }

    fn metadata(&self) -> Result<Metadata> {
        self.inode.metadata()
    }

    fn inode(&self) -> Option<Arc<dyn Inode>> {
        Some(self.inode.clone())
    }

    fn ioctl(&self, space: &AddressSpace, command: u32, arg: u64) -> Result<u64> {
        if self.is_hung_up() {
            return Err(match command {
                request::TIOCSPGRP => Errno::ENOTTY,
                _ => Errno::EIO,
            });
        }
        self.tty.ioctl(space, command, arg, false)
    }

    fn flags_changed(&self, flags: OpenFlags) {
        self.nonblocking
            .store(flags.contains(OpenFlags::NONBLOCK), Ordering::Relaxed);
    }

    fn describe(&self) -> Vec<u8> {
        match &self.tty.line {
            Line::Console(_) => b"/dev/console".to_vec(),
            Line::Pty(pty) => alloc::format!("/dev/pts/{}", pty.number).into_bytes(),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for TtyFile {
    fn drop(&mut self) {
        if let Line::Pty(pty) = &self.tty.line {
            pty.closed();
        }
    }
}

/// Opens a terminal for the caller; a session leader without one gets it as its own.
fn open(tty: Arc<Tty>, inode: Arc<dyn Inode>, flags: OpenFlags) -> Result<Arc<dyn File>> {
    let file = TtyFile::new(tty.clone(), inode, stream::TERMINAL);
    if !flags.contains(OpenFlags::NOCTTY)
        && let Some(task) = job::caller()
    {
        let process = task.process();
        let leads = process.sid.load(Ordering::Relaxed) == process.pid();
        if leads && process.terminal.lock().is_none() && tty.control.lock().session == 0 {
            job::acquire(&tty, process);
        }
    }
    Ok(file)
}

static CONSOLE: Lock<Option<Arc<Tty>>> = Lock::new(Rank::Leaf, None);

/// The operator's terminal, if there is one.
pub fn console() -> Option<Arc<Tty>> {
    CONSOLE.lock().clone()
}

/// Takes the operator's terminal into service.
pub fn attach_console() {
    let device = DeviceNumber::new(5, 1);
    let tty = Tty::new(device, Line::Console(HostLine::new()));
    if let Some((modes, window)) = console::state() {
        *tty.modes.lock() = modes;
        *tty.window.lock() = window;
    }
    *CONSOLE.lock() = Some(tty);
}

/// A standard stream that is the operator's terminal.
pub fn console_stream(inode: Arc<dyn Inode>, fd: u32) -> Option<Arc<dyn File>> {
    let to = match fd {
        1 => stream::STDOUT,
        2 => stream::STDERR,
        _ => stream::TERMINAL,
    };
    Some(TtyFile::new(console()?, inode, to))
}

/// The first process's session is the console's.
pub fn control_console(init: &Process) {
    if let Some(tty) = console() {
        job::acquire(&tty, init);
    }
}

/// The console became readable.
pub fn console_readable() {
    if let Some(tty) = console() {
        tty.queue.wake(PollEvents::IN | PollEvents::RDNORM);
    }
}

/// The console can be written to again.
pub fn console_writable() {
    if let Some(tty) = console() {
        tty.queue.wake(PollEvents::OUT | PollEvents::WRNORM);
    }
}

/// Whether anybody waits for the console.
pub fn console_is_watched() -> bool {
    console().is_some_and(|tty| !tty.queue.is_empty())
}

/// The host's window changed its size.
pub fn console_resized() {
    if let Some(tty) = console()
        && let Some((_, window)) = console::state()
    {
        tty.set_window(window);
    }
}

/// Opens what `/dev` has of terminals.
struct Opener;

impl OpenTerminals for Opener {
    fn current(&self, inode: Arc<dyn Inode>, flags: OpenFlags) -> Result<Arc<dyn File>> {
        let tty = job::caller().and_then(|task| task.process().terminal.lock().clone());
        open(tty.ok_or(Errno::ENXIO)?, inode, flags)
    }

    fn console(&self, inode: Arc<dyn Inode>, flags: OpenFlags) -> Option<Result<Arc<dyn File>>> {
        Some(open(console()?, inode, flags))
    }

    fn master(&self, inode: Arc<dyn Inode>) -> Result<Arc<dyn File>> {
        pty::open_master(inode)
    }

    fn slave(&self, number: u32, inode: Arc<dyn Inode>, flags: OpenFlags) -> Result<Arc<dyn File>> {
        pty::open_slave(number, inode, flags)
    }
}

/// Lets `/dev` open terminals. Called once, at boot.
pub fn serve() {
    devfs::set_terminal_opener(&Opener);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minimum_and_time_decide_when_a_read_returns() {
        let at = |minimum, time| {
            let mut termios = Termios::default();
            termios.cc[cc::VMIN] = minimum;
            termios.cc[cc::VTIME] = time;
            move |there, wanted, now, nonblocking| {
                judge(&termios, there, wanted, 100, now, nonblocking)
            }
        };
        let ds = DECISECOND;
        let poll = at(0, 0);
        assert_eq!(poll((0, 0), 9, 200, false), Verdict::Nothing);
        assert_eq!(poll((1, 0), 9, 200, false), Verdict::Take);
        let counted = at(5, 0);
        assert_eq!(counted((4, 0), 9, 200, false), Verdict::Wait(None));
        assert_eq!(counted((4, 0), 4, 200, false), Verdict::Take);
        assert_eq!(counted((4, 0), 9, 200, true), Verdict::Take);
        let timed = at(0, 2);
        assert_eq!(
            timed((0, 0), 9, 200, false),
            Verdict::Wait(Some(100 + 2 * ds))
        );
        assert_eq!(timed((0, 0), 9, 100 + 2 * ds, false), Verdict::Nothing);
        let both = at(5, 2);
        assert_eq!(both((0, 0), 9, 100 + 9 * ds, false), Verdict::Wait(None));
        assert_eq!(
            both((1, 500), 9, 600, false),
            Verdict::Wait(Some(500 + 2 * ds))
        );
        assert_eq!(both((1, 500), 9, 500 + 2 * ds, false), Verdict::Take);
    }
}
