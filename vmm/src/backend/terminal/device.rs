//! The operator's terminal. Its own line discipline does the editing, echoing and the keys that send
//! signals; the guest's changes of its modes are passed on, and undone whichever way this process
//! ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::ptr;
use std::sync::OnceLock;

use sprout_abi::hypercall::TerminalState;

use super::output::reopen;

/// `struct termios` of the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Termios {
    flags: [u32; 4],
    control: [u8; 20],
}

const TCGETS: libc::Ioctl = 0x5401;
/// Then with draining, then with flushing.
const TCSETS: libc::Ioctl = 0x5402;
const TCSBRK: libc::Ioctl = 0x5409;
const TCXONC: libc::Ioctl = 0x540a;
const TCFLSH: libc::Ioctl = 0x540b;

const ICANON: u32 = 2;
/// Positions in `Termios::control`, behind the line discipline's number.
const VTIME: usize = 1 + 5;
const VMIN: usize = 1 + 6;

/// The modes to give back, for the handler of fatal signals.
static FOUND: OnceLock<(RawFd, Termios)> = OnceLock::new();

/// Signals by which this process may die without unwinding.
const FATAL: [i32; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGABRT,
];

/// A terminal of the host.
#[derive(Debug)]
pub struct Device {
    file: File,
    found: Termios,
    /// What the guest set, if it set anything.
    set: Option<Termios>,
}

fn is_terminal(fd: RawFd) -> bool {
    // SAFETY: takes a number.
    unsafe { libc::isatty(fd) == 1 }
}

fn duplicate(fd: RawFd) -> io::Result<File> {
    // SAFETY: the result is checked, and a new descriptor is nobody else's.
    unsafe {
        match libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) {
            -1 => Err(io::Error::last_os_error()),
            copy => Ok(File::from_raw_fd(copy)),
        }
    }
}

fn get(fd: RawFd) -> io::Result<Termios> {
    let mut termios = Termios::default();
    // SAFETY: the kernel writes one structure.
    match unsafe { libc::ioctl(fd, TCGETS, &raw mut termios) } {
        0 => Ok(termios),
        _ => Err(io::Error::last_os_error()),
    }
}

fn set(fd: RawFd, termios: &Termios, when: i32) -> io::Result<()> {
    let request = TCSETS + libc::Ioctl::try_from(when).unwrap_or_default();
    // SAFETY: the kernel reads one structure.
    match unsafe { libc::ioctl(fd, request, ptr::from_ref(termios)) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives the terminal back, then lets the signal do what it does.
extern "C" fn on_fatal_signal(signal: libc::c_int) {
    if let Some((fd, found)) = FOUND.get() {
        // A failure leaves nothing to try.
        let _ = set(*fd, found, libc::TCSANOW);
    }
    // SAFETY: async-signal-safe; the handler was installed for one signal only.
    unsafe { libc::raise(signal) };
}

impl Device {
    /// The terminal behind the standard streams; `None` if none of them is one.
    pub fn find() -> Option<Self> {
        let stream = (0..3).find(|fd| is_terminal(*fd))?;
        let file = if stream == 0 {
            reopen(0, true).or_else(|_| duplicate(0))
        } else {
            OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
                .open("/dev/tty")
                .or_else(|_| reopen(stream, true))
                .or_else(|_| duplicate(stream))
        };
        let file = file.ok()?;
        let found = get(file.as_raw_fd()).ok()?;
        Some(Self {
            file,
            found,
            set: None,
        })
    }

    /// The descriptor to read, write and watch.
    pub fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Modes and window now.
    pub fn state(&self) -> io::Result<TerminalState> {
        let termios = get(self.fd())?;
        let mut window = [0u16; 4];
        // SAFETY: `struct winsize` is four 16-bit numbers.
        if unsafe { libc::ioctl(self.fd(), libc::TIOCGWINSZ, &raw mut window) } != 0 {
            window = [0; 4];
        }
        Ok(TerminalState {
            flags: termios.flags,
            control: termios.control,
            window,
            reserved: 0,
        })
    }

    /// Sets modes. Minimum and time of a read without lines are the guest's matter.
    pub fn set(&mut self, state: &TerminalState, when: i32) -> io::Result<()> {
        let mut termios = Termios {
            flags: state.flags,
            control: state.control,
        };
        if termios.flags[3] & ICANON == 0 {
            termios.control[VMIN] = 1;
            termios.control[VTIME] = 0;
        }
        self.watch_over();
        set(self.fd(), &termios, when)?;
        self.set = Some(termios);
        Ok(())
    }

    /// Sees to it that the modes are given back even when a signal ends this process.
    fn watch_over(&self) {
        if FOUND.set((self.fd(), self.found)).is_err() {
            return;
        }
        for signal in FATAL {
            // SAFETY: the handler only makes async-signal-safe calls; the old action is back
            // (SA_RESETHAND) before it runs.
            unsafe {
                let mut action: libc::sigaction = mem::zeroed();
                action.sa_sigaction = on_fatal_signal as *const () as usize;
                action.sa_flags = libc::SA_RESETHAND | libc::SA_NODEFER;
                libc::sigaction(signal, &action, ptr::null_mut());
            }
        }
    }

    /// Gives the terminal back as it was found, if the guest changed it.
    pub fn give_back(&self) {
        if self.set.is_none() {
            return;
        }
        // From the background that would stop this process.
        // SAFETY: calls on a local set.
        unsafe {
            let mut stop: libc::sigset_t = mem::zeroed();
            let mut before: libc::sigset_t = mem::zeroed();
            libc::sigemptyset(&mut stop);
            libc::sigaddset(&mut stop, libc::SIGTTOU);
            libc::pthread_sigmask(libc::SIG_BLOCK, &stop, &mut before);
            // A terminal that is gone needs nothing.
            let _ = set(self.fd(), &self.found, libc::TCSADRAIN);
            libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut());
        }
    }

    /// After [`Self::give_back`]: the guest's modes again.
    pub fn take_again(&self) {
        if let Some(termios) = &self.set {
            // As above.
            let _ = set(self.fd(), termios, libc::TCSADRAIN);
        }
    }

    /// Sets the window's size.
    pub fn set_window(&self, window: [u16; 4]) -> io::Result<()> {
        // SAFETY: `struct winsize` is four 16-bit numbers.
        self.checked(unsafe { libc::ioctl(self.fd(), libc::TIOCSWINSZ, &raw const window) })
    }

    /// Bytes that can be read now.
    pub fn unread(&self) -> io::Result<usize> {
        let mut unread: libc::c_int = 0;
        // SAFETY: the kernel writes one number.
        self.checked(unsafe { libc::ioctl(self.fd(), libc::FIONREAD, &raw mut unread) })?;
        Ok(usize::try_from(unread).unwrap_or_default())
    }

    /// `tcflush`.
    pub fn flush(&self, queue: i32) -> io::Result<()> {
        // SAFETY: the argument is a number.
        self.checked(unsafe { libc::ioctl(self.fd(), TCFLSH, queue) })
    }

    /// `tcflow`.
    pub fn flow(&self, action: i32) -> io::Result<()> {
        // SAFETY: the argument is a number.
        self.checked(unsafe { libc::ioctl(self.fd(), TCXONC, action) })
    }

    /// `tcdrain`.
    pub fn drain(&self) -> io::Result<()> {
        // SAFETY: the argument is a number.
        self.checked(unsafe { libc::ioctl(self.fd(), TCSBRK, 1) })
    }

    fn checked(&self, result: i32) -> io::Result<()> {
        match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.give_back();
    }
}
