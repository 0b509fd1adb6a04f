//! The doorbell: requests the sentry makes of the VMM. Each is one synchronous exit; the VMM checks
//! every field, does the work, writes `result` (and what the call says it writes) and resumes.
//!
//! Data moves by scatter lists: `args[0]` = guest-physical address of an array of [`Segment`],
//! `args[1]` = their number (at most [`MAX_SEGMENTS`]).

/// One contiguous guest-physical range of a scatter list. It must lie inside RAM, above
/// [`crate::layout::PAGE_TABLES_GPA`] or in the hypercall page.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// First byte.
    pub gpa: u64,
    /// Bytes.
    pub len: u64,
}

/// Most segments in one request.
pub const MAX_SEGMENTS: u64 = 128;

/// A request, in RAM below 4 GiB, 8-byte aligned.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// [`number`].
    pub number: u32,
    /// Must be 0.
    pub reserved: u32,
    /// Meaning by number.
    pub args: [u64; 6],
    /// Written by the VMM: non-negative value or negated Linux errno.
    pub result: i64,
}

/// Request numbers.
pub mod number {
    /// Write the scatter list to stream `args[2]` ([`super::stream`]). Returns bytes taken.
    pub const CONSOLE_WRITE: u32 = 1;
    /// Read standard input into the scatter list, without blocking. Returns bytes, 0 at end of
    /// file, -EAGAIN when there is none now (WAIT reports [`super::event::INPUT`]).
    pub const CONSOLE_READ: u32 = 2;
    /// Write a [`crate::boot::ClockReading`] to `args[0]`.
    pub const CLOCK_READ: u32 = 3;
    /// Idle until an event. `args[0]`: deadline in guest monotonic ns, `u64::MAX` none.
    /// `args[1]`: [`super::wait_flags`]. `args[2]`: [`super::event`] bits the guest can use
    /// (INPUT is watched only when asked for). Returns event bits.
    pub const WAIT: u32 = 4;
    /// Receive request bytes into the scatter list, without blocking. Returns bytes, 0 when the
    /// host closed the channel, -EAGAIN when there are none now.
    pub const CHANNEL_RECV: u32 = 5;
    /// Send the scatter list as response bytes. Returns bytes taken.
    pub const CHANNEL_SEND: u32 = 6;
    /// Fill `args[0]`, `args[1]` bytes (at most 4096) from the host's random number generator.
    pub const ENTROPY: u32 = 7;
    /// The program ended. `args[0]`: exit status 0..=255; `args[1]`: fatal signal or 0. No return.
    pub const EXIT: u32 = 8;
    /// The sentry panicked. `args[0]`, `args[1]`: message; `args[2]`, `args[3]`: array of
    /// return addresses (`u64`) and their number. No return.
    pub const PANIC: u32 = 9;
    /// Counters at exit: `args[0]`, `args[1]`: UTF-8 lines `name value`.
    pub const STATS: u32 = 10;
    /// An audit record: `args[0]`, `args[1]`: one UTF-8 line.
    pub const AUDIT: u32 = 11;
}

/// Streams of CONSOLE_WRITE.
pub mod stream {
    /// The program's standard output.
    pub const STDOUT: u64 = 1;
    /// The program's standard error.
    pub const STDERR: u64 = 2;
    /// The sentry's own log and `--strace`.
    pub const LOG: u64 = 3;
}

/// Event bits WAIT returns and [`crate::boot::SharedPage::events`] carries.
pub mod event {
    /// The deadline passed.
    pub const TIMER: u64 = 1 << 0;
    /// Request bytes are waiting.
    pub const REQUEST: u64 = 1 << 1;
    /// Standard input is readable or at its end.
    pub const INPUT: u64 = 1 << 2;
    /// This is a restored guest: read [`crate::boot::RestoreInfo`] before anything else.
    pub const RESTORED: u64 = 1 << 3;
    /// The operator sent SIGINT.
    pub const SIGINT: u64 = 1 << 4;
    /// The operator sent SIGTERM.
    pub const SIGTERM: u64 = 1 << 5;
    /// A snapshot is to be taken at the next WAIT with READY: rearrange memory for it.
    pub const COMPACT: u64 = 1 << 6;
}

/// Flags of WAIT.
pub mod wait_flags {
    /// A program sits in a read of the request channel and nothing else can run: the guest is
    /// ready for a request, and a snapshot may be taken here.
    pub const READY: u64 = 1 << 0;
}

const _: () = {
    use core::mem::size_of;
    assert!(size_of::<Segment>() == 16);
    assert!(size_of::<Request>() == 64);
};
