//! What `/proc` shows of processes, told from the process table.

use crate::errno::{Errno, Result};
use crate::fs::procfs::{self, ProcSource, ProcessInfo, SystemInfo, ThreadInfo};
use crate::syscalls::misc;
use crate::task::signal::{SIG_DFL, SIG_IGN};
use crate::task::{Process, RunState, Task, process, sched};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

/// The process table as `/proc` sees it.
struct ProcessTable;

/// Lets `/proc` see the processes. Called once, at boot.
pub fn show_processes() {
    procfs::set_source(&ProcessTable);
}

fn thread_name(task: &Task) -> Vec<u8> {
    let name = *task.name.lock();
    name.split(|&byte| byte == 0).next().unwrap_or(&[]).to_vec()
}

fn signals_where(process: &Process, condition: impl Fn(u64) -> bool) -> u64 {
    let actions = *process.signals.lock().actions.lock();
    let matching = actions
        .iter()
        .enumerate()
        .filter(|(_, a)| condition(a.handler));
    matching.fold(0, |set, (index, _)| set | 1 << index)
}

/// What is left of a process that nobody has waited for yet.
fn zombie(pid: u32, tid: u32) -> Option<ThreadInfo> {
    let process = process::find(pid).filter(|process| tid == pid && process.is_zombie())?;
    let exe = process.program.lock().exe.clone();
    let name = exe.rsplit(|&byte| byte == b'/').next().unwrap_or(&exe);
    Some(ThreadInfo {
        tid,
        name: name[..name.len().min(15)].to_vec(),
        state: 'Z',
        cpu_time: process.cpu_time(),
        pending: 0,
        blocked: 0,
        allowed_cpus: crate::smp::all_cpus(),
        cpu: 0,
        priority: 20,
        nice: 0,
        real_time_priority: 0,
        policy: 0,
        groups: Vec::new(),
        capabilities: [0; 4],
        personality: 0,
        no_new_privileges: false,
    })
}

impl ProcSource for ProcessTable {
    fn current(&self) -> Option<(u32, u32)> {
        sched::current().map(|task| (task.process().own_id(), task.tid()))
    }

    fn processes(&self) -> Vec<u32> {
        process::all().iter().map(|process| process.pid()).collect()
    }

    fn threads(&self, pid: u32) -> Vec<u32> {
        let tasks = process::find(pid)
            .map(|process| process.tasks())
            .unwrap_or_default();
        let mut ids: Vec<u32> = tasks.iter().map(|task| task.tid()).collect();
        ids.sort_unstable();
        ids
    }

    fn process_of(&self, id: u32) -> Option<u32> {
        process::find_by_any(id).map(|process| process.pid())
    }

    fn process(&self, pid: u32) -> Option<ProcessInfo> {
        let process = process::find(pid)?;
        let program = match process.is_zombie() {
            true => Default::default(), // its memory is gone
            false => process.program.lock().clone(),
        };
        let limits = process
            .rlimits
            .lock()
            .map(|limit| (limit.soft, limit.hard))
            .to_vec();
        let pending = process.signals.lock().pending.set().0;
        let tasks = process.tasks();
        let first = tasks.first();
        let children_cpu = *process.children_cpu.lock();
        Some(ProcessInfo {
            pid,
            parent: process.parent.load(Ordering::Relaxed),
            group: process.pgid.load(Ordering::Relaxed),
            session: process.sid.load(Ordering::Relaxed),
            zombie: process.is_zombie(),
            cpu: process.cpu_time(),
            children_cpu,
            start_ns: process.start_ns,
            threads: process.tasks().len(),
            space: process.space(),
            files: first.map_or_else(|| process.files(), |task| task.files()),
            fs: first.map_or_else(|| process.fs(), |task| task.fs()),
            exe: program.exe,
            cmdline: program.cmdline,
            environ: program.environ,
            auxv: program.auxv,
            limits,
            oom_score_adj: process.oom_score_adj.load(Ordering::Relaxed),
            queued_signals: crate::task::pending::charged(),
            pending,
            ignored: signals_where(&process, |handler| handler == SIG_IGN),
            caught: signals_where(&process, |handler| handler != SIG_IGN && handler != SIG_DFL),
        })
    }

    fn thread(&self, pid: u32, tid: u32) -> Option<ThreadInfo> {
        let found = process::find_task(tid).filter(|task| task.process().pid() == pid);
        let Some(task) = found else {
            return zombie(pid, tid);
        };
        let (pending, blocked) = {
            let signals = task.signals.lock();
            (signals.pending.set().0, signals.mask.0)
        };
        let state = match task.state() {
            RunState::Runnable => 'R',
            RunState::Blocked => 'S',
            RunState::Stopped => 'T',
            RunState::Dead => 'Z',
        };
        let cpu = sched::cpu_time(&task);
        let policy = task.policy.lock().clone();
        let attributes = task.attributes.lock().clone();
        Some(ThreadInfo {
            tid,
            name: thread_name(&task),
            state,
            cpu_time: cpu,
            pending,
            blocked,
            allowed_cpus: task.affinity() & crate::smp::all_cpus(),
            cpu: task.cpu().unwrap_or(0),
            priority: policy.shown_priority(),
            nice: policy.nice,
            real_time_priority: policy.priority,
            policy: policy.class,
            groups: attributes.groups.to_vec(),
            capabilities: [
                attributes.inheritable,
                attributes.permitted,
                attributes.effective,
                attributes.bounding,
            ],
            personality: attributes.personality,
            no_new_privileges: attributes.no_new_privileges,
        })
    }

    fn set_thread_name(&self, tid: u32, name: &[u8]) -> Result<()> {
        let task = process::find_task(tid).ok_or(Errno::ESRCH)?;
        let mut padded = [0; 16];
        // The last byte stays NUL.
        for (place, byte) in padded.iter_mut().take(15).zip(name) {
            *place = *byte;
        }
        *task.name.lock() = padded;
        Ok(())
    }

    fn set_oom_score_adj(&self, pid: u32, value: i32) -> Result<()> {
        let process = process::find(pid).ok_or(Errno::ESRCH)?;
        process.oom_score_adj.store(value, Ordering::Relaxed);
        Ok(())
    }

    fn system(&self) -> SystemInfo {
        let processes = process::all();
        let tasks: Vec<Arc<Task>> = processes
            .iter()
            .flat_map(|process| process.tasks())
            .collect();
        let runs = |task: &&Arc<Task>| task.state() == RunState::Runnable;
        let cpu_ns = processes.iter().map(|process| process.cpu_time_ns()).sum();
        SystemInfo {
            release: misc::RELEASE,
            version: misc::VERSION,
            host_name: misc::host_name(),
            threads: tasks.len(),
            runnable: tasks.iter().filter(runs).count(),
            cpu_ns,
            cpuinfo: crate::arch::cpu_information(crate::time::tsc_khz(), crate::smp::count()),
            busy_ns: match crate::smp::count() {
                1 => vec![cpu_ns],
                count => sched::busy_ns()[..count].to_vec(),
            },
        }
    }
}
