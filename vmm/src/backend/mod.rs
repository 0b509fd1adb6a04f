//! What stands behind the hypercalls: a terminal for `sprout run`, the gateway's socket for a
//! worker, a recorder in tests.

pub mod buffered;
pub mod terminal;

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use sprout_abi::hypercall::TerminalState;
use vm_memory::VolatileSlice;

/// A stream the guest writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The program's standard output.
    Stdout,
    /// The program's standard error.
    Stderr,
    /// The sentry's own log and system call trace.
    Log,
    /// The operator's terminal.
    Terminal,
}

/// Where the guest reads from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputStream {
    /// Standard input.
    Stdin,
    /// The operator's terminal.
    Terminal,
}

/// What the guest asks of the operator's terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminalCall {
    /// Its modes and window.
    Get,
    /// New modes, and when they take effect (`TCSANOW`, `TCSADRAIN`, `TCSAFLUSH`).
    Set(TerminalState, i32),
    /// A new window size.
    SetWindow([u16; 4]),
    /// How much there is to read.
    Unread,
    /// `tcflush` with this queue selector.
    Flush(i32),
    /// `tcflow` with this action.
    Flow(i32),
    /// `tcdrain`.
    Drain,
    /// Whether a read would not block: 1 or 0.
    Ready,
}

/// What the terminal answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminalAnswer {
    /// To [`TerminalCall::Get`].
    State(TerminalState),
    /// To everything else.
    Number(usize),
}

/// A signal for the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestSignal {
    /// Its number.
    pub number: u8,
    /// Whether it was typed at the terminal.
    pub from_terminal: bool,
}

/// What to do with a guest that waits for a request with nothing else to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Let it wait for the events it asked for.
    Wait,
    /// Stop here: [`crate::vm::Vm::run`] returns with the guest waiting.
    Stop,
}

/// The outside world of one guest. All data stays where it is: the slices are guest memory.
///
/// Errors become negated errno values in the guest; `WouldBlock` is `-EAGAIN`.
pub trait Backend: Send {
    /// Takes output without blocking; may take less than offered. [`Stream::Log`] is taken whole.
    fn console_write(&mut self, stream: Stream, data: &[VolatileSlice<'_>]) -> io::Result<usize>;

    /// Gives input without blocking; 0 at its end.
    fn console_read(
        &mut self,
        stream: InputStream,
        into: &[VolatileSlice<'_>],
    ) -> io::Result<usize>;

    /// The next signal the operator sent.
    fn take_signal(&mut self) -> Option<GuestSignal> {
        None
    }

    /// Something about the operator's terminal; ENOTTY where there is none.
    fn terminal(&mut self, call: TerminalCall) -> io::Result<TerminalAnswer> {
        let _ = call;
        Err(io::Error::from_raw_os_error(libc::ENOTTY))
    }

    /// The first process of the guest was stopped by a signal the operator sent: returns when it
    /// is to go on.
    fn stopped(&mut self) {}

    /// Gives request bytes without blocking; 0 when no more will ever come.
    fn channel_receive(&mut self, into: &[VolatileSlice<'_>]) -> io::Result<usize>;

    /// Takes response bytes; may take less than offered.
    fn channel_send(&mut self, data: &[VolatileSlice<'_>]) -> io::Result<usize>;

    /// The sentry's counters, lines of `name value`.
    fn stats(&mut self, text: &str);

    /// An audit record, one line.
    fn audit(&mut self, line: &str);

    /// Blocks until one of the `wanted` events (or a signal for the guest) is there or `timeout`
    /// is over; returns the bits of `sprout_abi::hypercall::event`. May return early with none, and
    /// does when `wake` is readable.
    fn wait(
        &mut self,
        wanted: u64,
        timeout: Option<Duration>,
        wake: Option<RawFd>,
    ) -> io::Result<u64>;

    /// Called when the guest is ready for a request; a snapshot can be taken here.
    fn ready(&mut self) -> Ready;
}

/// Copies guest memory out, for what has to be framed or kept.
pub fn collect(data: &[VolatileSlice<'_>]) -> Vec<u8> {
    let mut bytes = vec![0; data.iter().map(VolatileSlice::len).sum()];
    let mut rest = bytes.as_mut_slice();
    for slice in data {
        let (head, tail) = rest.split_at_mut(slice.len().min(rest.len()));
        slice.copy_to(head);
        rest = tail;
    }
    bytes
}

/// Copies bytes into guest memory as far as they go; returns how many.
pub fn scatter(mut bytes: &[u8], into: &[VolatileSlice<'_>]) -> usize {
    let before = bytes.len();
    for slice in into {
        let (head, tail) = bytes.split_at(slice.len().min(bytes.len()));
        slice.copy_from(head);
        bytes = tail;
    }
    before - bytes.len()
}

/// Writes guest memory to a file descriptor with one system call.
pub fn write_vectored(fd: RawFd, data: &[VolatileSlice<'_>]) -> io::Result<usize> {
    transfer(data, |vectors, count| {
        // SAFETY: the vectors describe live guest memory (borrowed for the call).
        unsafe { libc::writev(fd, vectors, count) }
    })
}

/// Reads from a file descriptor into guest memory with one system call.
pub fn read_vectored(fd: RawFd, into: &[VolatileSlice<'_>]) -> io::Result<usize> {
    transfer(into, |vectors, count| {
        // SAFETY: as above; the memory is the guest's and writable (callers checked for `Write`).
        unsafe { libc::readv(fd, vectors, count) }
    })
}

fn transfer(
    slices: &[VolatileSlice<'_>],
    call: impl Fn(*const libc::iovec, i32) -> isize,
) -> io::Result<usize> {
    let guards: Vec<_> = slices.iter().map(VolatileSlice::ptr_guard_mut).collect();
    let vectors: Vec<_> = guards
        .iter()
        .map(|guard| libc::iovec {
            iov_base: guard.as_ptr().cast(),
            iov_len: guard.len(),
        })
        .collect();
    let count = i32::try_from(vectors.len()).map_err(io::Error::other)?;
    usize::try_from(call(vectors.as_ptr(), count)).map_err(|_| io::Error::last_os_error())
}

/// Waits for file descriptors; returns their events in order. An interruption is no event.
pub fn poll(fds: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<()> {
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    });
    let pointer = timeout
        .as_ref()
        .map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the array and the timeout live through the call.
    let result = unsafe {
        libc::ppoll(
            fds.as_mut_ptr(),
            fds.len() as libc::nfds_t,
            pointer,
            std::ptr::null(),
        )
    };
    if result >= 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::Interrupted => {
            fds.iter_mut().for_each(|fd| fd.revents = 0);
            Ok(())
        }
        error => Err(error),
    }
}

/// An entry of [`poll`] that watches for input; of a descriptor that is not there for nothing.
pub fn watch_if(fd: Option<RawFd>) -> libc::pollfd {
    // poll(2) passes over negative ones.
    watch(fd.unwrap_or(-1))
}

/// An entry of [`poll`] that watches for input.
pub fn watch(fd: RawFd) -> libc::pollfd {
    libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    }
}

/// The sentry's counters as it sends them: lines of `name value`. Others are left out.
pub fn parse_counters(text: &str) -> Vec<(String, u64)> {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.trim().rsplit_once(' ')?;
            Some((format!("sentry.{name}"), value.parse().ok()?))
        })
        .collect()
}
