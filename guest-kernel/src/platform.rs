//! The world outside the VM: the doorbell's requests as functions.
//!
//! Unit tests on the host get a small stand-in: the console goes to the process's own streams, the
//! channel is empty, waiting sleeps.

pub use imp::*;

#[cfg(target_os = "none")]
mod imp {
    use crate::arch;
    use crate::errno::{Errno, Result};
    use crate::smp;
    use core::sync::atomic::{Ordering, compiler_fence};
    use sprout_abi::boot::{BootInfo, RestoreInfo, SharedPage};
    use sprout_abi::hypercall::{
        MAX_SEGMENTS, Request, Segment, TerminalState, kick_flags, number, signal, wait_flags,
    };

    fn call(number: u32, args: [u64; 6]) -> Result<u64> {
        let result = arch::doorbell(Request {
            number,
            reserved: 0,
            args,
            result: 0,
        });
        if result < 0 {
            Err(Errno::from_return(result))
        } else {
            Ok(result as u64)
        }
    }

    fn call_with_segments(number: u32, segments: &[Segment], last: u64) -> Result<u64> {
        let segments = &segments[..segments.len().min(MAX_SEGMENTS as usize)];
        let list = arch::kernel_gpa(segments.as_ptr().addr() as u64);
        call(number, [list, segments.len() as u64, last, 0, 0, 0])
    }

    fn segment(bytes: &[u8]) -> Segment {
        let gpa = arch::kernel_gpa(bytes.as_ptr().addr() as u64);
        Segment {
            gpa,
            len: bytes.len() as u64,
        }
    }

    /// Writes kernel memory to a console stream; returns bytes taken.
    pub fn console_write(stream: u64, bytes: &[u8]) -> Result<usize> {
        call_with_segments(number::CONSOLE_WRITE, &[segment(bytes)], stream).map(|n| n as usize)
    }

    /// Reads a stream without blocking; 0: end of file; EAGAIN: nothing now.
    pub fn console_read(stream: u64, bytes: &mut [u8]) -> Result<usize> {
        call_with_segments(number::CONSOLE_READ, &[segment(bytes)], stream).map(|n| n as usize)
    }

    /// Asks for something of the operator's terminal (`hypercall::terminal`): what it reads or
    /// writes, or a number.
    pub fn terminal(operation: u64, state: Option<&mut TerminalState>, arg: u64) -> Result<u64> {
        let Some(state) = state else {
            return call(number::TERMINAL, [operation, arg, 0, 0, 0, 0]);
        };
        let gpa = arch::kernel_gpa(core::ptr::from_mut(state).addr() as u64);
        call(number::TERMINAL, [operation, gpa, 0, 0, 0, 0])
    }

    /// Takes the operator's next signal: its number, and whether it was typed.
    pub fn take_signal() -> Option<(u32, bool)> {
        match call(number::TAKE_SIGNAL, [0; 6]) {
            Ok(value) if value != 0 => {
                Some((value as u32 & 0xff, value & signal::FROM_TERMINAL != 0))
            }
            _ => None,
        }
    }

    /// The first process was stopped: returns when the operator lets it go on.
    pub fn stopped() {
        let _ = call(number::STOPPED, [0; 6]);
    }

    /// Receives request bytes without blocking; 0: closed; EAGAIN: nothing now.
    pub fn channel_recv(bytes: &mut [u8]) -> Result<usize> {
        call_with_segments(number::CHANNEL_RECV, &[segment(bytes)], 0).map(|n| n as usize)
    }

    /// Sends response bytes; returns bytes taken.
    pub fn channel_send(bytes: &[u8]) -> Result<usize> {
        call_with_segments(number::CHANNEL_SEND, &[segment(bytes)], 0).map(|n| n as usize)
    }

    /// Idles until an event of `interest`, or `deadline_ns`; returns `hypercall::event` bits. What
    /// a later `turn` says of the guest replaces what an earlier one said.
    pub fn wait(deadline_ns: u64, flags: u64, interest: u64, turn: u64) -> u64 {
        call(number::WAIT, [deadline_ns, flags, interest, turn, 0, 0]).unwrap_or(0)
    }

    /// Ends the VM with the program's exit status and fatal signal (or 0).
    pub fn exit(status: u8, signal: u8) -> ! {
        loop {
            let _ = call(number::EXIT, [status.into(), signal.into(), 0, 0, 0, 0]);
        }
    }

    /// Reports a panic of the sentry; ends the VM.
    pub fn panic(message: &[u8], backtrace: &[u64]) -> ! {
        loop {
            let message = segment(message);
            let list = arch::kernel_gpa(backtrace.as_ptr().addr() as u64);
            let args = [message.gpa, message.len, list, backtrace.len() as u64, 0, 0];
            let _ = call(number::PANIC, args);
        }
    }

    /// Hands counters (`name value` lines) to the operator.
    pub fn stats(lines: &[u8]) {
        let lines = segment(lines);
        let _ = call(number::STATS, [lines.gpa, lines.len, 0, 0, 0, 0]);
    }

    /// What the VMM wrote before the first run.
    pub fn boot_info() -> &'static BootInfo {
        arch::boot_info()
    }

    /// What the VMM wrote before this restored guest resumed.
    pub fn restore_info() -> RestoreInfo {
        arch::restore_info()
    }

    /// Wipes the fresh bytes out of what the VMM wrote.
    pub fn forget_restore_entropy() {
        arch::forget_restore_entropy();
    }

    fn shared() -> &'static SharedPage {
        arch::shared_page()
    }

    /// Tells the VMM when the next timer is due.
    pub fn set_next_timer(deadline_ns: u64) {
        shared().next_timer_ns.store(deadline_ns, Ordering::Relaxed);
    }

    /// Tells the VMM on which vCPUs (a bit mask) ring 3 is to be interrupted by the next tick.
    pub fn set_preempt_wanted(cpus: u32) {
        for (number, cpu) in shared().cpus[..smp::count()].iter().enumerate() {
            let wanted = cpus >> number & 1;
            if cpu.preempt_wanted.load(Ordering::Relaxed) != wanted {
                cpu.preempt_wanted.store(wanted, Ordering::Relaxed);
            }
        }
    }

    /// Whether a tick came while the sentry ran on this vCPU; clears it.
    pub fn take_preempt_pending() -> bool {
        let cpu = &shared().cpus[smp::this_cpu()];
        cpu.preempt_pending.load(Ordering::Relaxed) != 0
            && cpu.preempt_pending.swap(0, Ordering::Relaxed) != 0
    }

    /// Marks vCPU `cpu` as to enter the sentry. [`kick`] makes it.
    pub fn set_kick(cpu: usize) {
        shared().cpus[cpu].kick.store(1, Ordering::SeqCst);
    }

    /// Whether vCPU `cpu` is marked.
    pub fn is_kicked(cpu: usize) -> bool {
        shared().cpus[cpu].kick.load(Ordering::SeqCst) != 0
    }

    /// vCPU `cpu`, this one, is in the sentry.
    pub fn take_kick(cpu: usize) {
        shared().cpus[cpu].kick.store(0, Ordering::SeqCst);
    }

    /// Makes the VMM look at the marks of the vCPUs in `mask`.
    pub fn kick(mask: u32) {
        let _ = call(number::KICK, [mask.into(), 0, 0, 0, 0, 0]);
    }

    /// As [`kick`], and has this vCPU's next tick come by the next timer.
    pub fn kick_and_watch_clock(mask: u32) {
        let _ = call(number::KICK, [mask.into(), kick_flags::CLOCK, 0, 0, 0, 0]);
    }

    /// As [`kick`], and has this vCPU's next tick come soon, but after its program got on a little.
    pub fn kick_and_tick_soon(mask: u32) {
        let _ = call(number::KICK, [mask.into(), kick_flags::SOON, 0, 0, 0, 0]);
    }

    /// Waits in the host until this vCPU is kicked.
    pub fn park() {
        wait(u64::MAX, wait_flags::PARK, 0, 0);
    }

    /// The next timer, if it is due before this vCPU's next tick.
    #[inline]
    pub fn near_timer() -> Option<u64> {
        let page = shared();
        let due = page.next_timer_ns.load(Ordering::Relaxed);
        let tick = &page.cpus[smp::this_cpu()].tick_ns;
        (due < tick.load(Ordering::Relaxed)).then_some(due)
    }

    /// Whether another vCPU looks at the clock by `due`.
    pub fn others_watch(due: u64) -> bool {
        shared().is_watched(due, smp::this_cpu())
    }

    /// A program entered the sentry on this vCPU.
    #[inline]
    pub fn entered() {
        let cpu = &shared().cpus[smp::this_cpu()];
        cpu.returning.store(0, Ordering::Relaxed);
    }

    /// The sentry is about to return to a program on this vCPU. False: a tick or a kick came
    /// meanwhile, to be looked at first; later ones find a vCPU that returns.
    #[inline]
    pub fn may_return() -> bool {
        let cpu = &shared().cpus[smp::this_cpu()];
        cpu.returning.store(1, Ordering::Relaxed);
        // Only the order of the instructions matters: ticks come between two of them.
        compiler_fence(Ordering::SeqCst);
        let may = cpu.preempt_pending.load(Ordering::Relaxed) | cpu.kick.load(Ordering::Relaxed);
        if may != 0 {
            cpu.returning.store(0, Ordering::Relaxed);
        }
        may == 0
    }

    /// Starts vCPU `cpu` at `entry` on the page tables at `root`.
    pub fn start_cpu(cpu: usize, entry: u64, root: u64) -> Result<()> {
        call(number::START_CPU, [cpu as u64, entry, root, 0, 0, 0]).map(drop)
    }

    /// Gives the host back what is behind these ranges of whole 2 MiB: they read as zero then. At
    /// most [`MAX_SEGMENTS`].
    pub fn give_back(ranges: &[Segment]) -> Result<()> {
        call_with_segments(number::GIVE_BACK, ranges, 0).map(drop)
    }

    /// Tells the host that `range`, whole 2 MiB that were never used, is needed soon.
    pub fn populate(range: Segment) -> Result<()> {
        call_with_segments(number::POPULATE, &[range], 0).map(drop)
    }

    /// Events that came while the guest was busy; clears them.
    pub fn take_events() -> u64 {
        let page = shared();
        if page.events.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        page.events.swap(0, Ordering::Relaxed).into()
    }
}

#[cfg(not(target_os = "none"))]
#[allow(missing_docs)]
mod imp {
    use crate::errno::{Errno, Result};
    use sprout_abi::hypercall::{Segment, TerminalState};
    use std::io::Write;

    pub fn console_write(stream: u64, bytes: &[u8]) -> Result<usize> {
        let written = if stream == sprout_abi::hypercall::stream::STDOUT {
            std::io::stdout().write(bytes)
        } else {
            std::io::stderr().write(bytes)
        };
        written.map_err(|_| Errno::EIO)
    }

    pub fn console_read(_: u64, _: &mut [u8]) -> Result<usize> {
        Ok(0)
    }

    pub fn terminal(_: u64, _: Option<&mut TerminalState>, _: u64) -> Result<u64> {
        Err(Errno::ENOTTY)
    }

    pub fn take_signal() -> Option<(u32, bool)> {
        None
    }

    pub fn stopped() {}

    pub fn channel_recv(_: &mut [u8]) -> Result<usize> {
        Err(Errno::EAGAIN)
    }

    pub fn channel_send(bytes: &[u8]) -> Result<usize> {
        Ok(bytes.len())
    }

    pub fn set_next_timer(_: u64) {}

    pub fn set_preempt_wanted(_: u32) {}

    pub fn take_events() -> u64 {
        0
    }

    pub fn give_back(_: &[Segment]) -> Result<()> {
        Err(Errno::ENOSYS)
    }

    pub fn populate(_: Segment) -> Result<()> {
        Err(Errno::ENOSYS)
    }

    pub fn set_kick(_: usize) {}

    pub fn is_kicked(_: usize) -> bool {
        false
    }

    pub fn take_kick(_: usize) {}

    pub fn kick(_: u32) {}

    pub fn park() {}

    pub fn kick_and_watch_clock(_: u32) {}

    pub fn kick_and_tick_soon(_: u32) {}

    pub fn near_timer() -> Option<u64> {
        None
    }

    pub fn others_watch(_: u64) -> bool {
        true
    }

    pub fn may_return() -> bool {
        true
    }

    pub fn wait(_: u64, _: u64, _: u64, _: u64) -> u64 {
        unreachable!("host unit tests do not idle")
    }
}
