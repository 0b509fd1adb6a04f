//! The outside world of a worker's guest: the gateway's socket.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde::Serialize;
use sprout_abi::hypercall::event;
use vm_memory::VolatileSlice;

use sprout_protocol::{self as protocol, FromWorker, LogStream, PIECE, ProtocolError};
use sprout_vmm::backend::{
    Backend, InputStream, Ready, Stream, collect, parse_counters, poll, scatter, watch_if,
    write_vectored,
};

/// One request in, log and response messages out.
#[derive(Debug)]
pub struct Channel<'a> {
    socket: &'a UnixStream,
    start: Instant,
    /// The notice that the guest is a copy, and how much of it the guest has read.
    notice: (Vec<u8>, usize),
    /// The same of the request.
    request: (Vec<u8>, usize),
    first_byte: Option<Duration>,
    last_byte: Option<Duration>,
    counters: Vec<(String, u64)>,
}

impl<'a> Channel<'a> {
    /// A channel whose guest is not to read yet; `start` is when the request was received.
    pub fn new(socket: &'a UnixStream, start: Instant, request: Vec<u8>) -> Self {
        Self {
            socket,
            start,
            notice: (Vec::new(), 0),
            request: (request, 0),
            first_byte: None,
            last_byte: None,
            counters: Vec::new(),
        }
    }

    /// Puts the notice that it is a copy, and then the request, before the guest.
    pub fn open(&mut self, notice: Vec<u8>) {
        self.notice = (notice, 0);
    }

    /// When the first response byte came, after `start`.
    pub fn first_byte(&self) -> Option<Duration> {
        self.first_byte
    }

    /// When the last response byte so far came, after `start`.
    pub fn last_byte(&self) -> Option<Duration> {
        self.last_byte
    }

    /// The sentry's counters, if it sent them.
    pub fn take_counters(&mut self) -> Vec<(String, u64)> {
        std::mem::take(&mut self.counters)
    }

    fn is_read(&self) -> bool {
        [&self.notice, &self.request]
            .iter()
            .all(|(bytes, read)| *read >= bytes.len())
    }

    fn send<T: Serialize>(&self, message: &T) -> io::Result<()> {
        protocol::send(self.socket, message).map_err(|error| match error {
            ProtocolError::Io(error) => error,
            other => io::Error::other(other),
        })
    }

    /// Writes all of it from where it lies.
    fn write_all(&self, data: &[VolatileSlice<'_>]) -> io::Result<()> {
        let whole: usize = data.iter().map(VolatileSlice::len).sum();
        let mut written = 0;
        while written < whole {
            match write_vectored(self.socket.as_raw_fd(), &beyond(data, written)?) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn log(&self, stream: LogStream, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.chunks(PIECE) {
            let bytes = piece.to_vec();
            self.send(&FromWorker::Log { stream, bytes })?;
        }
        Ok(bytes.len())
    }
}

impl Backend for Channel<'_> {
    fn console_write(&mut self, stream: Stream, data: &[VolatileSlice<'_>]) -> io::Result<usize> {
        let stream = match stream {
            Stream::Stdout => LogStream::Stdout,
            Stream::Stderr | Stream::Terminal => LogStream::Stderr,
            Stream::Log => LogStream::Sentry,
        };
        self.log(stream, &collect(data))
    }

    fn console_read(&mut self, _: InputStream, _: &[VolatileSlice<'_>]) -> io::Result<usize> {
        Ok(0)
    }

    fn channel_receive(&mut self, into: &[VolatileSlice<'_>]) -> io::Result<usize> {
        if self.is_read() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut taken = 0;
        for (bytes, read) in [&mut self.notice, &mut self.request] {
            let rest = bytes.get(*read..).unwrap_or_default();
            let count = scatter(rest, &beyond(into, taken)?);
            *read += count;
            taken += count;
        }
        Ok(taken)
    }

    fn channel_send(&mut self, data: &[VolatileSlice<'_>]) -> io::Result<usize> {
        let count: usize = data.iter().map(VolatileSlice::len).sum();
        let length = count as u64;
        let mut message =
            protocol::encode(&FromWorker::Response { length }).map_err(io::Error::other)?;
        let mut all = vec![VolatileSlice::from(message.as_mut_slice())];
        all.extend_from_slice(data);
        self.write_all(&all)?;
        let elapsed = self.start.elapsed();
        self.first_byte.get_or_insert(elapsed);
        self.last_byte = Some(elapsed);
        Ok(count)
    }

    fn stats(&mut self, text: &str) {
        self.counters = parse_counters(text);
    }

    fn audit(&mut self, line: &str) {
        // A gateway that is gone ends the guest at its next wait or tick.
        let _ = self.log(LogStream::Audit, line.as_bytes());
    }

    fn wait(
        &mut self,
        wanted: u64,
        timeout: Option<Duration>,
        wake: Option<RawFd>,
    ) -> io::Result<u64> {
        if wanted & event::REQUEST != 0 && !self.is_read() {
            return Ok(event::REQUEST);
        }
        // Standard input is at its end.
        if wanted & event::INPUT != 0 {
            return Ok(event::INPUT);
        }
        // POLLHUP is always watched; the gateway sends nothing more.
        let mut fds = [
            libc::pollfd {
                fd: self.socket.as_raw_fd(),
                events: 0,
                revents: 0,
            },
            watch_if(wake),
        ];
        poll(&mut fds, timeout)?;
        if fds[0].revents & (libc::POLLHUP | libc::POLLERR) != 0 {
            return Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "the gateway closed its socket",
            ));
        }
        Ok(0)
    }

    fn ready(&mut self) -> Ready {
        if self.is_read() {
            Ready::Stop
        } else {
            Ready::Wait
        }
    }
}

/// What lies behind the first `skipped` bytes.
fn beyond<'a>(
    slices: &[VolatileSlice<'a>],
    mut skipped: usize,
) -> io::Result<Vec<VolatileSlice<'a>>> {
    let mut rest = Vec::with_capacity(slices.len());
    for slice in slices {
        let skip = skipped.min(slice.len());
        skipped -= skip;
        if skip < slice.len() {
            rest.push(slice.offset(skip).map_err(io::Error::other)?);
        }
    }
    Ok(rest)
}
