//! Job control: who may use a terminal, who gets its signals, which groups are orphaned.

use super::Tty;
use crate::errno::{Errno, Result};
use crate::task::process::{self, Process};
use crate::task::signal::{self, DefaultAction, SIG_IGN, SigInfo, number::*};
use crate::task::{Task, sched};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// Sends a signal of the kernel's to every process of a group.
pub fn signal_group(group: u32, signal: u32) {
    if group == 0 {
        return;
    }
    for member in process::in_group(group) {
        let _ = signal::send_to_process(&member, SigInfo::kernel(signal));
    }
}

/// Whether nobody in its session but outside of it could continue the group's stopped processes.
pub fn is_orphaned(group: u32) -> bool {
    orphaned_but_for(group, None)
}

/// As [`is_orphaned`], were `gone` not there.
fn orphaned_but_for(group: u32, gone: Option<u32>) -> bool {
    !process::in_group(group).iter().any(|member| {
        let pid = member.pid();
        if Some(pid) == gone || member.is_zombie() {
            return false;
        }
        let session = member.sid.load(Ordering::Relaxed);
        // Whoever started the VM is the first process's parent: a shell in the same session.
        if pid == process::init_pid() {
            return session == pid;
        }
        let Some(parent) = process::find(member.parent.load(Ordering::Relaxed)) else {
            return false;
        };
        parent.pgid.load(Ordering::Relaxed) != group
            && parent.sid.load(Ordering::Relaxed) == session
    })
}

/// Before a process ends: groups that this orphans and that have stopped members are hung up.
pub fn before_exit(process: &Arc<Process>) {
    let own_group = process.pgid.load(Ordering::Relaxed);
    let session = process.sid.load(Ordering::Relaxed);
    hang_up_if_orphaned(own_group, process.pid(), || {
        process::find(process.parent.load(Ordering::Relaxed)).is_some_and(|parent| {
            parent.pgid.load(Ordering::Relaxed) != own_group
                && parent.sid.load(Ordering::Relaxed) == session
        })
    });
    for child in process::all() {
        let group = child.pgid.load(Ordering::Relaxed);
        if child.parent.load(Ordering::Relaxed) == process.pid()
            && group != own_group
            && child.sid.load(Ordering::Relaxed) == session
        {
            hang_up_if_orphaned(group, process.pid(), || true);
        }
    }
}

/// `linked`: whether the process that ends kept the group from being orphaned.
fn hang_up_if_orphaned(group: u32, gone: u32, linked: impl Fn() -> bool) {
    let stopped = process::in_group(group)
        .iter()
        .any(|member| member.signals.lock().stopped.is_some());
    // Children of the one that goes are about to be adopted, by somebody outside of the session.
    let orphaned = || {
        !process::in_group(group).iter().any(|member| {
            let parent = member.parent.load(Ordering::Relaxed);
            if member.pid() == gone || member.is_zombie() || parent == gone {
                return false;
            }
            process::find(parent).is_some_and(|parent| {
                parent.pgid.load(Ordering::Relaxed) != group
                    && parent.sid.load(Ordering::Relaxed) == member.sid.load(Ordering::Relaxed)
            })
        })
    };
    if stopped && linked() && orphaned() {
        signal_group(group, SIGHUP);
        signal_group(group, SIGCONT);
    }
}

/// A session leader ends: its terminal is hung up, and free for another session.
pub fn leader_exits(process: &Arc<Process>) {
    if process.sid.load(Ordering::Relaxed) != process.pid() {
        return;
    }
    let terminal = process.terminal.lock().take();
    if let Some(tty) = terminal {
        let foreground = tty.control.lock().foreground;
        signal_group(foreground, SIGHUP);
        signal_group(foreground, SIGCONT);
        tty.hang_up_session();
        leave_session(&tty, process.pid());
        return;
    }
    let hung_up = process.hung_up_group.lock().take();
    if let Some(group) = hung_up {
        signal_group(group, SIGHUP);
        signal_group(group, SIGCONT);
    }
}

/// The session has this terminal no longer.
pub fn leave_session(tty: &Arc<Tty>, session: u32) {
    *tty.control.lock() = super::Control::default();
    for member in process::all() {
        if member.sid.load(Ordering::Relaxed) == session {
            let mut terminal = member.terminal.lock();
            let this = terminal.as_ref().is_some_and(|own| Arc::ptr_eq(own, tty));
            let had = if this { terminal.take() } else { None };
            drop(terminal);
            drop(had);
        }
    }
}

/// Makes `tty` the controlling terminal of the caller's session.
pub fn acquire(tty: &Arc<Tty>, process: &Process) {
    *tty.control.lock() = super::Control {
        session: process.sid.load(Ordering::Relaxed),
        foreground: process.pgid.load(Ordering::Relaxed),
    };
    *process.terminal.lock() = Some(tty.clone());
}

/// The caller's process, if there is a caller.
pub fn caller() -> Option<Arc<Task>> {
    sched::current()
}

/// Whether `tty` is the caller's controlling terminal.
pub fn controls(tty: &Tty, process: &Process) -> bool {
    process
        .terminal
        .lock()
        .as_ref()
        .is_some_and(|own| core::ptr::eq(&**own, tty))
}

/// A background process that reads (SIGTTIN) or changes (SIGTTOU) its terminal is stopped, or told
/// EIO where that would be for ever.
pub fn check_foreground(tty: &Tty, signal: u32) -> Result<()> {
    let Some(task) = caller() else {
        return Ok(());
    };
    let process = task.process();
    if !controls(tty, process) {
        return Ok(());
    }
    let foreground = tty.control.lock().foreground;
    let group = process.pgid.load(Ordering::Relaxed);
    if foreground == 0 || foreground == group {
        return Ok(());
    }
    let blocked = task.signals.lock().mask.has(signal);
    let ignored = process.signals.lock().action(signal).handler == SIG_IGN;
    if blocked || ignored {
        return match signal {
            SIGTTIN => Err(Errno::EIO),
            _ => Ok(()),
        };
    }
    if is_orphaned(group) {
        return Err(Errno::EIO);
    }
    signal_group(group, signal);
    Err(Errno::ERESTARTSYS)
}

/// Whether the default action of a stop signal is left out, since nobody could continue the group.
pub fn ignores_stop(process: &Process, signal: u32) -> bool {
    signal != SIGSTOP
        && signal::default_action(signal) == DefaultAction::Stop
        && is_orphaned(process.pgid.load(Ordering::Relaxed))
}
