//! System calls: the table, and the handlers by area.

pub mod args;
pub mod counters;
pub mod fs;
pub mod identity;
pub mod io;
pub mod ipc;
pub mod misc;
pub mod mm;
pub mod net;
pub mod others;
pub mod poll;
pub mod prctl;
pub mod schedule;
pub mod signal;
pub mod strace;
pub mod table;
pub mod task;
pub mod time;

use crate::arch::TrapFrame;
use crate::errno::Errno;
use crate::task::{Ctx, Task};
use alloc::sync::Arc;

/// Runs the system call in `frame` and leaves its result there.
pub fn dispatch(task: Arc<Task>, frame: &mut TrapFrame) -> Arc<Task> {
    counters::count_syscall();
    let ctx = Ctx::new(task);
    let number = frame.number();
    let args = frame.args();
    let entered = match strace::is_on() {
        true => strace::enter(&ctx, number, args),
        false => None,
    };
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
    if let Some(entered) = entered {
        strace::leave(&ctx, number, args, &entered, result);
    }
    // Calls that replace the registers return the new value of the result register.
    frame.set_return(match result {
        Ok(value) => value,
        Err(errno) => errno.to_return(),
    });
    ctx.into_task()
}
