//! `sprout run`: the guest's console is this process's standard streams and its terminal, and the
//! signals this process gets are passed on to the guest.

mod device;
mod output;
mod signals;

use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use sprout_abi::hypercall::event;
use vm_memory::VolatileSlice;

use self::device::Device;
use self::output::Output;
use self::signals::Signals;
use super::{
    Backend, GuestSignal, InputStream, Ready, Stream, TerminalAnswer, TerminalCall, poll,
    read_vectored, watch, watch_if,
};

/// The standard streams and the terminal of this process.
#[derive(Debug)]
pub struct Terminal {
    signals: Signals,
    stdout: Output,
    stderr: Output,
    /// Writes to the terminal itself.
    direct: Option<Output>,
    device: Option<Device>,
    stats: Option<String>,
    deadline: Option<Instant>,
}

impl Terminal {
    /// Takes over the signals of this process: they are blocked in the calling thread and go to
    /// the guest. Call before other threads start.
    pub fn new() -> io::Result<Self> {
        let device = Device::find();
        Ok(Self {
            signals: Signals::take_over()?,
            stdout: Output::new(libc::STDOUT_FILENO),
            stderr: Output::new(libc::STDERR_FILENO),
            direct: device.as_ref().map(|device| Output::new(device.fd())),
            device,
            stats: None,
            deadline: None,
        })
    }

    /// Ends the guest with an error of kind `TimedOut` after `time`.
    pub fn ending_in(mut self, time: Option<Duration>) -> Self {
        self.deadline = time.and_then(|time| Instant::now().checked_add(time));
        self
    }

    /// The sentry's counters, once it sent them.
    pub fn take_stats(&mut self) -> Option<String> {
        self.stats.take()
    }

    fn device(&mut self) -> io::Result<&mut Device> {
        self.device
            .as_mut()
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOTTY))
    }

    fn outputs(&self) -> impl Iterator<Item = &Output> {
        [&self.stdout, &self.stderr]
            .into_iter()
            .chain(self.direct.as_ref())
    }

    /// The time until the guest is to be ended, if it is; an error when it is over.
    fn time_left(&self) -> io::Result<Option<Duration>> {
        let left = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match left {
            Some(Duration::ZERO) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the program took too long",
            )),
            left => Ok(left),
        }
    }
}

impl Backend for Terminal {
    fn console_write(&mut self, stream: Stream, data: &[VolatileSlice<'_>]) -> io::Result<usize> {
        match stream {
            Stream::Stdout => self.stdout.write(data),
            Stream::Stderr => self.stderr.write(data),
            Stream::Log => self.stderr.write_all(data),
            Stream::Terminal => match &mut self.direct {
                Some(terminal) => terminal.write(data),
                None => Err(io::Error::from_raw_os_error(libc::EIO)),
            },
        }
    }

    fn console_read(
        &mut self,
        stream: InputStream,
        into: &[VolatileSlice<'_>],
    ) -> io::Result<usize> {
        let fd = match stream {
            InputStream::Stdin => libc::STDIN_FILENO,
            InputStream::Terminal => self.device()?.fd(),
        };
        let mut fds = [watch(fd)];
        poll(&mut fds, Some(Duration::ZERO))?;
        match fds[0].revents {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            events if events & libc::POLLNVAL != 0 => Ok(0),
            _ => read_vectored(fd, into),
        }
    }

    fn channel_receive(&mut self, _: &[VolatileSlice<'_>]) -> io::Result<usize> {
        Ok(0)
    }

    fn channel_send(&mut self, _: &[VolatileSlice<'_>]) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(libc::EPIPE))
    }

    fn take_signal(&mut self) -> Option<GuestSignal> {
        self.signals.take()
    }

    fn terminal(&mut self, call: TerminalCall) -> io::Result<TerminalAnswer> {
        let device = self.device()?;
        let done = match call {
            TerminalCall::Get => return device.state().map(TerminalAnswer::State),
            TerminalCall::Unread => return device.unread().map(TerminalAnswer::Number),
            TerminalCall::Ready => {
                let mut fds = [watch(device.fd())];
                poll(&mut fds, Some(Duration::ZERO))?;
                return Ok(TerminalAnswer::Number(usize::from(fds[0].revents != 0)));
            }
            TerminalCall::Set(state, when) => device.set(&state, when),
            TerminalCall::SetWindow(window) => device.set_window(window),
            TerminalCall::Flush(queue) => device.flush(queue),
            TerminalCall::Flow(action) => device.flow(action),
            TerminalCall::Drain => device.drain(),
        };
        done.map(|()| TerminalAnswer::Number(0))
    }

    fn stopped(&mut self) {
        if let Some(device) = &self.device {
            device.give_back();
        }
        self.signals.stop_self();
        if let Some(device) = &self.device {
            device.take_again();
        }
    }

    fn stats(&mut self, text: &str) {
        self.stats = Some(text.to_owned());
    }

    fn audit(&mut self, line: &str) {
        tracing::info!(target: "audit", "{line}");
    }

    fn wait(
        &mut self,
        wanted: u64,
        timeout: Option<Duration>,
        wake: Option<RawFd>,
    ) -> io::Result<u64> {
        let timeout = timeout.into_iter().chain(self.time_left()?).min();
        if self.signals.any() {
            return Ok(event::SIGNAL);
        }
        let mut fds = vec![watch(self.signals.fd()), watch_if(wake)];
        let mut events = vec![event::SIGNAL, 0];
        let mut add = |entry: libc::pollfd, event| {
            fds.push(entry);
            events.push(event);
        };
        if wanted & event::INPUT != 0 {
            add(watch(libc::STDIN_FILENO), event::INPUT);
        }
        if wanted & event::TERMINAL != 0
            && let Some(device) = &self.device
        {
            add(watch(device.fd()), event::TERMINAL);
        }
        if wanted & event::OUTPUT != 0 {
            for fd in self.outputs().filter_map(Output::blocked) {
                let entry = libc::pollfd {
                    fd,
                    events: libc::POLLOUT,
                    revents: 0,
                };
                add(entry, event::OUTPUT);
            }
        }
        poll(&mut fds, timeout)?;
        Ok(fds
            .iter()
            .zip(events)
            .filter(|(fd, _)| fd.revents != 0)
            .fold(0, |all, (_, event)| all | event))
    }

    fn ready(&mut self) -> Ready {
        Ready::Wait
    }
}
