//! The operator's signals: taken from this process, handed to the guest.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use super::super::GuestSignal;

/// Signals that go to the guest. The others act on this process as ever: SIGKILL and SIGSTOP can't
/// be taken, SIGTTIN and SIGTTOU are about this process's place on its terminal.
const PASSED_ON: [i32; 14] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGTERM,
    libc::SIGCONT,
    libc::SIGTSTP,
    libc::SIGWINCH,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGPWR,
];

/// `si_code` of a signal the kernel sent, as it does for the terminal's keys.
const SI_KERNEL: i32 = 0x80;

/// The signals of this process that are the guest's.
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
    waiting: VecDeque<GuestSignal>,
}

fn set_of(signals: impl IntoIterator<Item = i32>) -> libc::sigset_t {
    // SAFETY: calls on a local set, which `sigemptyset` initialises.
    unsafe {
        let mut set = mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, signal);
        }
        set
    }
}

/// Whether whoever started this process had it ignored (nohup, a background job).
fn is_ignored(signal: i32) -> bool {
    // SAFETY: asks for the action of a valid signal into a local.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        libc::sigaction(signal, ptr::null(), &mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}

fn mask(how: i32, set: &libc::sigset_t) {
    // SAFETY: a valid set; the call can't fail for the constants it is used with.
    unsafe { libc::pthread_sigmask(how, set, ptr::null_mut()) };
}

impl Signals {
    /// Blocks them in the calling thread, and takes them from a file descriptor instead. What is
    /// ignored stays so.
    pub fn take_over() -> io::Result<Self> {
        let set = set_of(PASSED_ON.into_iter().filter(|signal| !is_ignored(*signal)));
        mask(libc::SIG_BLOCK, &set);
        // SAFETY: a valid set; the result is checked.
        let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            // SAFETY: `fd` was just made and nobody else owns it.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            waiting: VecDeque::new(),
        })
    }

    /// Readable when a signal came.
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Whether there is a signal to take.
    pub fn any(&mut self) -> bool {
        self.collect();
        !self.waiting.is_empty()
    }

    /// The next signal.
    pub fn take(&mut self) -> Option<GuestSignal> {
        self.collect();
        self.waiting.pop_front()
    }

    fn collect(&mut self) {
        loop {
            // SAFETY: the structure is plain data and as large as the read asks for.
            let info = unsafe {
                let mut info: libc::signalfd_siginfo = mem::zeroed();
                let size = mem::size_of_val(&info);
                let read = libc::read(self.fd(), (&raw mut info).cast(), size);
                if read != size as isize {
                    return;
                }
                info
            };
            if let Ok(number) = u8::try_from(info.ssi_signo) {
                self.waiting.push_back(GuestSignal {
                    number,
                    from_terminal: info.ssi_code == SI_KERNEL,
                });
            }
        }
    }

    /// Stops this process as the terminal's stop character would have, until it is continued.
    pub fn stop_self(&mut self) {
        let stop = set_of([libc::SIGTSTP]);
        mask(libc::SIG_UNBLOCK, &stop);
        // SAFETY: sends a signal to this process; it acts before the call returns.
        unsafe { libc::kill(libc::getpid(), libc::SIGTSTP) };
        mask(libc::SIG_BLOCK, &stop);
        // The guest is told of the continuation by the end of this call.
        self.collect();
        self.waiting
            .retain(|signal| i32::from(signal.number) != libc::SIGCONT);
    }
}
