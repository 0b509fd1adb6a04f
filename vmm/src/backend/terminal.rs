//! `sprout run`: the guest's console is this process's standard streams, and SIGINT and SIGTERM
//! are passed on to the guest.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use sprout_abi::hypercall::event;
use vm_memory::VolatileSlice;

use super::{Backend, Ready, Stream, poll, read_vectored, watch, write_vectored};

/// The standard streams of this process.
#[derive(Debug)]
pub struct Terminal {
    signals: OwnedFd,
    stats: Option<String>,
}

impl Terminal {
    /// Takes over SIGINT and SIGTERM of this process: they are blocked in the calling thread and
    /// go to the guest. Call before other threads start.
    pub fn new() -> io::Result<Self> {
        // SAFETY: plain signal-set calls on a local set; signalfd's result is checked.
        let fd = unsafe {
            let mut set: libc::sigset_t = mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGINT);
            libc::sigaddset(&mut set, libc::SIGTERM);
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just made and nobody else owns it.
        Ok(Self {
            signals: unsafe { OwnedFd::from_raw_fd(fd) },
            stats: None,
        })
    }

    /// The sentry's counters, once it sent them.
    pub fn take_stats(&mut self) -> Option<String> {
        self.stats.take()
    }

    /// Signals that came since the last call, as event bits.
    fn signals(&self) -> u64 {
        let mut bits = 0;
        loop {
            // SAFETY: the structure is plain data and as large as the read asks for.
            let info = unsafe {
                let mut info: libc::signalfd_siginfo = mem::zeroed();
                let size = mem::size_of_val(&info);
                let read = libc::read(self.signals.as_raw_fd(), (&raw mut info).cast(), size);
                if read != size as isize {
                    return bits;
                }
                info
            };
            bits |= match i32::try_from(info.ssi_signo) {
                Ok(libc::SIGINT) => event::SIGINT,
                Ok(libc::SIGTERM) => event::SIGTERM,
                _ => 0,
            };
        }
    }
}

impl Backend for Terminal {
    fn console_write(&mut self, stream: Stream, data: &[VolatileSlice<'_>]) -> io::Result<usize> {
        let fd = if stream == Stream::Stdout {
            libc::STDOUT_FILENO
        } else {
            libc::STDERR_FILENO
        };
        write_vectored(fd, data)
    }

    fn console_read(&mut self, into: &[VolatileSlice<'_>]) -> io::Result<usize> {
        let mut fds = [watch(libc::STDIN_FILENO)];
        poll(&mut fds, Some(Duration::ZERO))?;
        match fds[0].revents {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            events if events & libc::POLLNVAL != 0 => Ok(0),
            _ => read_vectored(libc::STDIN_FILENO, into),
        }
    }

    fn channel_receive(&mut self, _: &[VolatileSlice<'_>]) -> io::Result<usize> {
        Ok(0)
    }

    fn channel_send(&mut self, _: &[VolatileSlice<'_>]) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(libc::EPIPE))
    }

    fn stats(&mut self, text: &str) {
        self.stats = Some(text.to_owned());
    }

    fn audit(&mut self, line: &str) {
        tracing::info!(target: "audit", "{line}");
    }

    fn wait(&mut self, wanted: u64, timeout: Option<Duration>) -> io::Result<u64> {
        let mut fds = [watch(self.signals.as_raw_fd()), watch(libc::STDIN_FILENO)];
        let watched = if wanted & event::INPUT != 0 { 2 } else { 1 };
        poll(&mut fds[..watched], timeout)?;
        let mut events = if fds[0].revents != 0 {
            self.signals()
        } else {
            0
        };
        if fds[1].revents != 0 {
            events |= event::INPUT;
        }
        Ok(events)
    }

    fn ready(&mut self) -> Ready {
        Ready::Wait
    }
}
