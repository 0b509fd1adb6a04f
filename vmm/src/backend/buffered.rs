//! A guest whose requests are bytes at hand and whose answers are kept: snapshots and their
//! warm-up, `sprout restore`, tests.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sprout_abi::hypercall::event;
use vm_memory::VolatileSlice;

use super::terminal::Terminal;
use super::{Backend, GuestSignal, InputStream, Ready, Stream, collect, poll, scatter, watch_if};

/// Most bytes of responses that are kept: the largest body, and what frames it.
const MAX_RESPONSES: usize = 128 << 20;

/// Requests in, responses out, console to the terminal if there is one.
#[derive(Debug, Default)]
pub struct Buffered {
    terminal: Option<Terminal>,
    requests: VecDeque<Vec<u8>>,
    current: VecDeque<u8>,
    responses: Vec<u8>,
    console: Vec<(Stream, Vec<u8>)>,
    stats: Option<String>,
    deadline: Option<Instant>,
    handed_out: Arc<AtomicUsize>,
}

impl Buffered {
    /// Requests that the guest gets one by one, each when it is ready for it.
    pub fn new(requests: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self {
            requests: requests.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Sends console output and signals through a terminal instead of keeping it.
    pub fn with_terminal(mut self, terminal: Terminal) -> Self {
        self.terminal = Some(terminal);
        self
    }

    /// Starts with the first request already there, as a restored guest expects it.
    pub fn with_first_request(mut self) -> Self {
        self.next_request();
        self
    }

    /// Ends the guest with an error after `time`.
    pub fn ending_in(mut self, time: Duration) -> Self {
        self.deadline = Some(Instant::now() + time);
        self
    }

    /// How many requests the guest has got, for who watches it from another thread.
    pub fn handed_out(&self) -> Arc<AtomicUsize> {
        self.handed_out.clone()
    }

    fn next_request(&mut self) -> bool {
        let next = self.requests.pop_front();
        let found = next.is_some();
        self.handed_out
            .fetch_add(usize::from(found), Ordering::Relaxed);
        self.current = next.unwrap_or_default().into();
        found
    }

    /// Response bytes so far.
    pub fn take_responses(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.responses)
    }

    /// Console output so far, where no terminal took it.
    pub fn take_console(&mut self) -> Vec<(Stream, Vec<u8>)> {
        std::mem::take(&mut self.console)
    }

    /// The sentry's counters, once it sent them.
    pub fn take_stats(&mut self) -> Option<String> {
        self.stats.take()
    }
}

impl Backend for Buffered {
    fn console_write(&mut self, stream: Stream, data: &[VolatileSlice<'_>]) -> io::Result<usize> {
        match &mut self.terminal {
            Some(terminal) => terminal.console_write(stream, data),
            None => {
                let bytes = collect(data);
                let length = bytes.len();
                self.console.push((stream, bytes));
                Ok(length)
            }
        }
    }

    fn console_read(&mut self, _: InputStream, _: &[VolatileSlice<'_>]) -> io::Result<usize> {
        Ok(0)
    }

    fn take_signal(&mut self) -> Option<GuestSignal> {
        self.terminal.as_mut()?.take_signal()
    }

    fn channel_receive(&mut self, into: &[VolatileSlice<'_>]) -> io::Result<usize> {
        if self.current.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = scatter(self.current.make_contiguous(), into);
        self.current.drain(..taken);
        Ok(taken)
    }

    fn channel_send(&mut self, data: &[VolatileSlice<'_>]) -> io::Result<usize> {
        let bytes = collect(data);
        if self.responses.len() + bytes.len() > MAX_RESPONSES {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        self.responses.extend_from_slice(&bytes);
        Ok(bytes.len())
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
        if wanted & event::REQUEST != 0 && !self.current.is_empty() {
            return Ok(event::REQUEST);
        }
        let left = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the guest took too long",
            ));
        }
        let timeout = timeout.into_iter().chain(left).min();
        let mut events = wanted & event::INPUT;
        match &mut self.terminal {
            _ if events != 0 => {}
            Some(terminal) => events = terminal.wait(0, timeout, wake)?,
            None if timeout.is_none() && wake.is_none() => {
                return Err(io::Error::other(
                    "the guest waits for something that can't come",
                ));
            }
            None => poll(&mut [watch_if(wake)], timeout)?,
        }
        Ok(events)
    }

    fn ready(&mut self) -> Ready {
        if !self.current.is_empty() || self.next_request() {
            Ready::Wait
        } else {
            Ready::Stop
        }
    }
}
