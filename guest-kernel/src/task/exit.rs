//! The end of threads and processes, and what parents learn of it.

use crate::mm::AddressSpace;
use crate::sync::{Lock, Rank};
use crate::task::observer;
use crate::task::process::{self, ExitStatus, Process};
use crate::task::signal::{self, SIG_IGN, SigInfo, code, number::*, sa};
use crate::task::thread::{OwnParts, Task};
use crate::task::{futex, sched};
use crate::wait::PollEvents;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// exit_group, or death by a signal: every thread of the process is told to exit. The current task
/// exits on its way back to the program.
pub fn exit_group(task: &Arc<Task>, status: ExitStatus) {
    exit_process(task.process(), status);
    task.kill();
}

/// Tells every thread of a process to exit.
pub fn exit_process(process: &Process, status: ExitStatus) {
    process.exit_status.lock().get_or_insert(status);
    for task in process.tasks() {
        task.kill();
    }
}

/// Ends the calling thread, and its process with the last one.
pub fn exit_thread(task: Arc<Task>) -> ! {
    observer::tell(|to| (to.exited)(&task));
    let process = task.process().clone();
    let space = process.space();
    release_thread(&task, &space);
    drop(task.set_own_parts(OwnParts::default()));
    let cpu = sched::cpu_time(&task);
    {
        let mut dead = process.dead_cpu.lock();
        *dead = *dead + cpu;
    }
    let last = process::remove_task(&task);
    if last {
        end_process(&process);
    }
    process.thread_gone.wake(PollEvents::IN);
    drop(space);
    drop(process);
    sched::exit_current(task)
}

/// What other threads wait for when this one goes: robust futexes, then the tid word.
pub fn release_thread(task: &Arc<Task>, space: &AddressSpace) {
    let robust = task.robust_list.swap(0, Ordering::Relaxed);
    if robust != 0 {
        futex::exit_robust_list(space, robust, task.tid());
    }
    let clear = task.clear_child_tid.swap(0, Ordering::Relaxed);
    // As Linux: where nobody else uses the memory, nobody looks.
    if clear != 0 && has_other_users(task, space) && space.write_some(clear, &[0; 4]) == 4 {
        let _ = futex::wake(space, clear, false, 1, futex::MATCH_ANY);
        let _ = futex::wake(space, clear, true, 1, futex::MATCH_ANY);
    }
}

/// Whether another thread, or a process made with CLONE_VM, has the memory too.
pub fn has_other_users(task: &Arc<Task>, space: &AddressSpace) -> bool {
    task.process().tasks().len() > 1
        || process::all().iter().any(|other| {
            !Arc::ptr_eq(other, task.process()) && core::ptr::eq(&*other.space(), space)
        })
}

fn end_process(process: &Arc<Process>) {
    let status = *process
        .exit_status
        .lock()
        .get_or_insert(ExitStatus::Exited(0));
    if process.pid() == process::init_pid() {
        power_off(status);
    }
    process.timers.lock().disarm_all();
    crate::tty::job::leader_exits(process);
    crate::tty::job::before_exit(process);
    // Descriptors close now, even if a zombie stays: peers must see the end of file.
    let files = process.set_files(Arc::new(Lock::new(
        Rank::Descriptors,
        crate::fs::fd::FdTable::new(),
    )));
    drop(files);
    match AddressSpace::new() {
        Ok(empty) => drop(process.set_space(Arc::new(empty))),
        Err(_) => {
            // Without memory for an empty space the old one lives until the zombie is reaped.
        }
    }
    process.release_vfork();
    adopt_children(process);
    let exit_signal = process.exit_signal.load(Ordering::Relaxed);
    let parent = process::find(process.parent.load(Ordering::Relaxed));
    let Some(parent) = parent else {
        process::remove(process.pid());
        return;
    };
    let action = parent.signals.lock().action(SIGCHLD);
    let auto_reap =
        exit_signal == SIGCHLD && (action.handler == SIG_IGN || action.flags & sa::NOCLDWAIT != 0);
    // Who ignores SIGCHLD is not even told where it is blocked.
    if (1..=NSIG).contains(&exit_signal) && !(exit_signal == SIGCHLD && action.handler == SIG_IGN) {
        let (why, value) = match status {
            ExitStatus::Exited(status) => (code::CLD_EXITED, i32::from(status)),
            ExitStatus::Signaled(signal, false) => (code::CLD_KILLED, i32::from(signal)),
            ExitStatus::Signaled(signal, true) => (code::CLD_DUMPED, i32::from(signal)),
        };
        let mut info = SigInfo::child(why, process.pid(), value);
        info.signo = exit_signal as i32;
        let _ = signal::send_to_process(&parent, info);
    }
    if auto_reap {
        process::remove(process.pid());
    }
    parent.child_queue.wake(PollEvents::IN);
}

/// Orphans become children of the nearest subreaper above, or of init.
fn adopt_children(process: &Arc<Process>) {
    let mut reaper = process::find(process.parent.load(Ordering::Relaxed));
    while let Some(candidate) = &reaper {
        if candidate.subreaper.load(Ordering::Relaxed) && !candidate.is_zombie() {
            break;
        }
        reaper = process::find(candidate.parent.load(Ordering::Relaxed));
    }
    let Some(reaper) = reaper.or_else(|| process::find(process::init_pid())) else {
        return;
    };
    for other in process::all() {
        if other.parent.load(Ordering::Relaxed) != process.pid() {
            continue;
        }
        other.parent.store(reaper.pid(), Ordering::Relaxed);
        // Whatever its parent wanted to hear: nobody slays init.
        other.exit_signal.store(SIGCHLD, Ordering::Relaxed);
        if other.is_zombie() {
            reaper.child_queue.wake(PollEvents::IN);
        }
        let death_signal = other.death_signal.load(Ordering::Relaxed);
        if death_signal != 0 {
            let _ = signal::send_to_process(&other, SigInfo::kernel(death_signal));
        }
    }
}

/// Tells the parent of a stop or continue.
pub fn notify_parent(process: &Arc<Process>, info: SigInfo) {
    let Some(parent) = process::find(process.parent.load(Ordering::Relaxed)) else {
        return;
    };
    let action = parent.signals.lock().action(SIGCHLD);
    if action.handler != SIG_IGN && action.flags & sa::NOCLDSTOP == 0 {
        let _ = signal::send_to_process(&parent, info);
    }
    parent.child_queue.wake(PollEvents::IN);
}

/// The first process ended: so does the VM.
fn power_off(status: ExitStatus) -> ! {
    #[cfg(target_os = "none")]
    {
        observer::tell(|to| (to.ends)());
        match status {
            ExitStatus::Exited(status) => crate::platform::exit(status, 0),
            ExitStatus::Signaled(signal, _) => crate::platform::exit(0, signal),
        }
    }
    #[cfg(not(target_os = "none"))]
    panic!("init ended in a host unit test: {status:?}")
}
