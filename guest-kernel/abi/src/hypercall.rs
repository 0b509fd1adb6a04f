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
    /// Write the scatter list to stream `args[2]` ([`super::stream`]), without blocking. Returns
    /// bytes taken, -EAGAIN when there is no room now (WAIT reports [`super::event::OUTPUT`]).
    pub const CONSOLE_WRITE: u32 = 1;
    /// Read stream `args[2]` ([`super::stream::STDIN`] or [`super::stream::TERMINAL`]) into the
    /// scatter list, without blocking. Returns bytes, 0 at end of file, -EAGAIN when there is none
    /// now (WAIT reports [`super::event::INPUT`] or [`super::event::TERMINAL`]).
    pub const CONSOLE_READ: u32 = 2;
    /// Write a [`crate::boot::ClockReading`] to `args[0]`.
    pub const CLOCK_READ: u32 = 3;
    /// Idle until an event. `args[0]`: deadline in guest monotonic ns, `u64::MAX` none.
    /// `args[1]`: [`super::wait_flags`]. `args[2]`: [`super::event`] bits the guest can use
    /// (INPUT is watched only when asked for). `args[3]`: of several vCPUs' waits, the one with the
    /// highest number says what the guest can use and whether it is READY. Returns event bits.
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
    /// Take the next signal the operator sent. Returns its number, with
    /// [`super::signal::FROM_TERMINAL`] if it came from the terminal's keyboard, or 0.
    pub const TAKE_SIGNAL: u32 = 12;
    /// The operator's terminal: `args[0]` says what ([`super::terminal`]), `args[1]` is the address
    /// of a [`super::TerminalState`] or a number. -ENOTTY without a terminal.
    pub const TERMINAL: u32 = 13;
    /// The first process was stopped from outside or by the terminal's stop character: the VMM
    /// stops itself, so that the operator's shell takes over. Returns once it is continued.
    pub const STOPPED: u32 = 14;
    /// Makes the vCPUs in the bit mask `args[0]` look at their
    /// [`crate::boot::SharedCpu::kick`]; the mask may be empty. `args[1]`: [`super::kick_flags`].
    pub const KICK: u32 = 15;
    /// Starts vCPU `args[0]`, which does not run yet, in ring 0 at the virtual address `args[1]`
    /// with the page-table root `args[2]`, in the state vCPU 0 started in.
    pub const START_CPU: u32 = 16;
    /// The guest does not need the content of the scatter list's ranges any more, each whole 2 MiB
    /// of RAM: the host has the memory back, and it reads as zero.
    pub const GIVE_BACK: u32 = 17;
    /// The guest is about to use the scatter list's ranges, each whole 2 MiB of RAM that it never
    /// used: the host may make memory for them ready meanwhile. -EOPNOTSUPP if it won't.
    pub const POPULATE: u32 = 18;
}

/// What TAKE_SIGNAL adds to a number.
pub mod signal {
    /// Typed at the terminal (`^C`): for its foreground process group, not just the first process.
    pub const FROM_TERMINAL: u64 = 1 << 8;
}

/// Operations of TERMINAL.
pub mod terminal {
    /// Write the terminal's state to `args[1]`.
    pub const GET: u64 = 0;
    /// Set modes and control characters from `args[1]`, at once.
    pub const SET_NOW: u64 = 1;
    /// The same, after output was sent.
    pub const SET_DRAIN: u64 = 2;
    /// The same, and discard input.
    pub const SET_FLUSH: u64 = 3;
    /// Set the window's size from `args[1]`.
    pub const SET_WINDOW: u64 = 4;
    /// Bytes that can be read now.
    pub const UNREAD: u64 = 5;
    /// `tcflush` with `args[1]` 0 to 2.
    pub const FLUSH: u64 = 6;
    /// `tcflow` with `args[1]` 0 to 3.
    pub const FLOW: u64 = 7;
    /// `tcdrain`.
    pub const DRAIN: u64 = 8;
    /// 1 if a read would not block, else 0 (WAIT reports [`super::event::TERMINAL`]).
    pub const READY: u64 = 9;
}

/// Modes and window of the operator's terminal: `struct termios` and `struct winsize` of Linux.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TerminalState {
    /// c_iflag, c_oflag, c_cflag, c_lflag.
    pub flags: [u32; 4],
    /// c_line, then c_cc.
    pub control: [u8; 20],
    /// Rows, columns, width and height in pixels.
    pub window: [u16; 4],
    /// Must be 0.
    pub reserved: u32,
}

/// Streams of CONSOLE_WRITE.
pub mod stream {
    /// The program's standard output.
    pub const STDOUT: u64 = 1;
    /// The program's standard error.
    pub const STDERR: u64 = 2;
    /// The sentry's own log and `--strace`; always taken whole.
    pub const LOG: u64 = 3;
    /// The operator's terminal, whatever the standard streams are.
    pub const TERMINAL: u64 = 4;
    /// Standard input.
    pub const STDIN: u64 = 0;
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
    /// The operator sent a signal: TAKE_SIGNAL until there is none.
    pub const SIGNAL: u64 = 1 << 4;
    /// The operator's terminal is readable.
    pub const TERMINAL: u64 = 1 << 5;
    /// A console stream that had no room has some.
    pub const OUTPUT: u64 = 1 << 7;
    /// A snapshot is to be taken at the next WAIT with READY: rearrange memory for it. Until then
    /// CHANNEL_RECV gives what is known about the pages an answer touches: nothing, or a bitmap of
    /// RAM, the lowest bit of the first byte for its first page.
    pub const COMPACT: u64 = 1 << 6;
}

/// Flags of KICK.
pub mod kick_flags {
    /// This vCPU's next tick comes by [`crate::boot::SharedPage::next_timer_ns`]; if that has passed,
    /// now: [`crate::boot::SharedCpu::preempt_pending`] is set.
    pub const CLOCK: u64 = 1 << 0;
    /// This vCPU's next tick comes soon, but not before the program has got on a little.
    pub const SOON: u64 = 1 << 1;
}

/// Flags of WAIT.
pub mod wait_flags {
    /// A program sits in a read of the request channel and nothing else can run: the guest is
    /// ready for a request, and a snapshot may be taken here.
    pub const READY: u64 = 1 << 0;
    /// Not idle: this vCPU only waits for its kick (another one holds what it needs).
    pub const PARK: u64 = 1 << 1;
}

const _: () = {
    use core::mem::size_of;
    assert!(size_of::<Segment>() == 16);
    assert!(size_of::<Request>() == 64);
    assert!(size_of::<TerminalState>() == 48);
};
