//! System calls: the table, and the handlers by area.

pub mod args;
pub mod counters;
pub mod fs;
pub mod io;
pub mod ipc;
pub mod misc;
pub mod mm;
pub mod net;
pub mod poll;
pub mod signal;
pub mod table;
pub mod task;
pub mod time;

use crate::arch::TrapFrame;
use crate::errno::{Errno, Result};
use crate::task::{Ctx, Task};
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, Ordering};
use sprout_abi::hypercall::stream;

static TRACE: AtomicBool = AtomicBool::new(false);

/// Switches `--strace` output on or off.
pub fn set_trace(on: bool) {
    TRACE.store(on, Ordering::Relaxed);
}

/// Runs the system call in `frame` and leaves its result there.
pub fn dispatch(task: Arc<Task>, frame: &mut TrapFrame) {
    counters::count_syscall();
    let ctx = Ctx::new(task);
    let number = frame.number();
    let trace = TRACE.load(Ordering::Relaxed).then(|| {
        let mut line = String::new();
        let _ = write!(line, "[{}] ", ctx.task().tid());
        table::trace(&ctx, number, frame.args(), &mut line);
        line
    });
    let result = table::call(&ctx, frame, number).unwrap_or(Err(Errno::ENOSYS));
    let result = if result == Err(Errno::EFAULT) && ctx.space().take_starved() {
        // The program's pointer is good; once there is room the call will be, too.
        if crate::mm::frame::is_used_up() {
            crate::task::oom::make_room(ctx.task());
        }
        Err(Errno::ERESTARTNOINTR)
    } else {
        result
    };
    if result == Err(Errno::ENOSYS) {
        counters::count_unimplemented(number);
    }
    if let Some(line) = trace {
        show(line, result);
    }
    // Calls that replace the registers return the new value of the result register.
    frame.set_return(match result {
        Ok(value) => value,
        Err(errno) => errno.to_return(),
    });
}

fn show(mut line: String, result: Result<u64>) {
    let _ = match result {
        Ok(value) if value < 4096 => writeln!(line, " = {value}"),
        Ok(value) => writeln!(line, " = {value:#x}"),
        Err(errno) => writeln!(line, " = -1 {}", errno.name()),
    };
    let _ = crate::platform::console_write(stream::LOG, line.as_bytes());
}
