//! Processes (thread groups) and the table of them.

use crate::errno::{Errno, Result};
use crate::fs::fd::{FdTable, FsContext};
use crate::mm::{AddressSpace, MemoryLimits};
use crate::sync::{Lock, Rank};
use crate::task::sched;
use crate::task::signal::ProcessSignals;
use crate::task::thread::Task;
use crate::time::CpuTime;
use crate::tty::Tty;
use crate::wait::{PollEvents, WaitQueue};
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

/// How a process ended, as wait reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// exit(code).
    Exited(u8),
    /// Killed by a signal; whether Linux would have dumped core.
    Signaled(u8, bool),
}

impl ExitStatus {
    /// The status word of wait4.
    pub fn wait_status(self) -> u32 {
        match self {
            ExitStatus::Exited(code) => u32::from(code) << 8,
            ExitStatus::Signaled(signal, core) => u32::from(signal) | if core { 0x80 } else { 0 },
        }
    }
}

/// A resource limit: soft and hard value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// What is enforced.
    pub soft: u64,
    /// What the soft one can be raised to.
    pub hard: u64,
}

/// `RLIM_INFINITY`.
pub const RLIM_INFINITY: u64 = u64::MAX;
/// Number of resource limits (RLIM_NLIMITS).
pub const RLIMITS: usize = 16;

/// Numbers of limits.
#[allow(missing_docs)]
pub mod limit {
    pub const CPU: usize = 0;
    pub const NOFILE: usize = 7;
    /// `/proc/sys/fs/nr_open`.
    pub const MOST_FILES: u64 = 1 << 20;
    pub const SIGPENDING: usize = 11;
}

/// Linux's initial limits (include/asm-generic/resource.h), with a container's usual NOFILE.
pub fn default_rlimits() -> [Rlimit; RLIMITS] {
    let unlimited = Rlimit {
        soft: RLIM_INFINITY,
        hard: RLIM_INFINITY,
    };
    let mut limits = [unlimited; RLIMITS];
    limits[3] = Rlimit {
        soft: 8 << 20,
        hard: RLIM_INFINITY,
    };
    limits[4] = Rlimit {
        soft: 0,
        hard: RLIM_INFINITY,
    };
    limits[6] = Rlimit {
        soft: 4096,
        hard: 4096,
    };
    limits[7] = Rlimit {
        soft: 1 << 16,
        hard: 1 << 20,
    };
    limits[8] = Rlimit {
        soft: 8 << 20,
        hard: 8 << 20,
    };
    limits[11] = Rlimit {
        soft: 4096,
        hard: 4096,
    };
    limits[12] = Rlimit {
        soft: 819_200,
        hard: 819_200,
    };
    limits[13] = Rlimit { soft: 0, hard: 0 };
    limits[14] = Rlimit { soft: 0, hard: 0 };
    limits
}

/// What exec set up, for /proc.
#[derive(Clone, Debug, Default)]
pub struct ProgramInfo {
    /// Absolute path of the executable.
    pub exe: Vec<u8>,
    /// Arguments, each with its NUL.
    pub cmdline: Vec<u8>,
    /// Environment, each with its NUL.
    pub environ: Vec<u8>,
    /// The auxiliary vector as raw words.
    pub auxv: Vec<u64>,
}

/// A process.
pub struct Process {
    pid: AtomicU32,
    /// The id it knows itself by since a restore; 0: `pid`.
    own_id: AtomicU32,
    /// Parent's pid; 0 for init.
    pub parent: AtomicU32,
    /// Process group.
    pub pgid: AtomicU32,
    /// Session.
    pub sid: AtomicU32,
    space: Lock<Arc<AddressSpace>>,
    files: Lock<Arc<Lock<FdTable>>>,
    fs: Lock<Arc<Lock<FsContext>>>,
    /// Signal actions and shared pending signals.
    pub signals: Lock<ProcessSignals>,
    /// Woken when a shared or thread signal is queued (signalfd).
    pub signal_queue: WaitQueue,
    /// Live threads.
    pub threads: Lock<Vec<Weak<Task>>>,
    /// Set by exit_group or a fatal signal; final when the last thread is gone.
    pub exit_status: Lock<Option<ExitStatus>>,
    /// Woken when a child changes state.
    pub child_queue: WaitQueue,
    /// Signal for the parent at exit (SIGCHLD, or none).
    pub exit_signal: AtomicU32,
    /// Woken when a vfork child execs or exits.
    pub vfork_done: WaitQueue,
    /// Whether it has.
    pub vfork_released: AtomicBool,
    /// Woken when a thread of this process is gone.
    pub thread_gone: WaitQueue,
    /// Resource limits by number.
    pub rlimits: Lock<[Rlimit; RLIMITS]>,
    /// For /proc.
    pub program: Lock<ProgramInfo>,
    /// Interval and POSIX timers.
    pub timers: Lock<crate::task::process_timers::ProcessTimers>,
    /// CPU time of threads that exited.
    pub dead_cpu: Lock<CpuTime>,
    /// CPU time of waited-for children.
    pub children_cpu: Lock<CpuTime>,
    /// Monotonic start.
    pub start_ns: u64,
    /// PR_SET_DUMPABLE.
    pub dumpable: AtomicU32,
    /// PR_SET_THP_DISABLE, kept: large pages here are none of the program's business.
    pub no_huge_pages: AtomicU32,
    /// PR_SET_CHILD_SUBREAPER: orphans below it become its children.
    pub subreaper: AtomicBool,
    /// PR_SET_PDEATHSIG.
    pub death_signal: AtomicU32,
    /// Whether it has called exec since it was made: its parent can't move it to a group any more.
    pub has_execed: AtomicBool,
    /// How gladly it is killed when memory runs out, as `/proc/PID/oom_score_adj` has it.
    pub oom_score_adj: AtomicI32,
    /// Controlling terminal.
    pub terminal: Lock<Option<Arc<Tty>>>,
    /// Foreground group of the terminal this session's leader lost by a hang-up.
    pub hung_up_group: Lock<Option<u32>>,
}

impl Process {
    /// A process without threads.
    pub fn new(
        pid: u32,
        parent: Option<&Process>,
        space: Arc<AddressSpace>,
        files: Arc<Lock<FdTable>>,
        fs: Arc<Lock<FsContext>>,
    ) -> Process {
        let inherit = |of: fn(&Process) -> u32| parent.map_or(pid, of);
        Process {
            pid: AtomicU32::new(pid),
            own_id: AtomicU32::new(0),
            parent: AtomicU32::new(parent.map_or(0, Process::pid)),
            pgid: AtomicU32::new(inherit(|p| p.pgid.load(Ordering::Relaxed))),
            sid: AtomicU32::new(inherit(|p| p.sid.load(Ordering::Relaxed))),
            space: Lock::new(Rank::ProcessPart, space),
            files: Lock::new(Rank::ProcessPart, files),
            fs: Lock::new(Rank::ProcessPart, fs),
            signals: Lock::new(
                Rank::ProcessSignals,
                match parent {
                    Some(parent) => parent.signals.lock().forked(),
                    None => ProcessSignals::default(),
                },
            ),
            signal_queue: WaitQueue::new(),
            threads: Lock::new(Rank::Threads, Vec::new()),
            exit_status: Lock::new(Rank::ExitStatus, None),
            child_queue: WaitQueue::new(),
            exit_signal: AtomicU32::new(0),
            vfork_done: WaitQueue::new(),
            vfork_released: AtomicBool::new(false),
            thread_gone: WaitQueue::new(),
            rlimits: Lock::new(
                Rank::ProcessPart,
                parent.map_or_else(default_rlimits, |p| *p.rlimits.lock()),
            ),
            program: Lock::new(
                Rank::ProcessPart,
                parent.map_or_else(Default::default, |p| p.program.lock().clone()),
            ),
            timers: Lock::new(Rank::ProcessTimers, Default::default()),
            dead_cpu: Lock::new(Rank::Leaf, CpuTime::default()),
            children_cpu: Lock::new(Rank::Leaf, CpuTime::default()),
            start_ns: crate::time::monotonic_ns(),
            dumpable: AtomicU32::new(parent.map_or(1, |p| p.dumpable.load(Ordering::Relaxed))),
            no_huge_pages: AtomicU32::new(
                parent.map_or(0, |p| p.no_huge_pages.load(Ordering::Relaxed)),
            ),
            subreaper: AtomicBool::new(false),
            death_signal: AtomicU32::new(0),
            has_execed: AtomicBool::new(false),
            oom_score_adj: AtomicI32::new(
                parent.map_or(0, |p| p.oom_score_adj.load(Ordering::Relaxed)),
            ),
            terminal: Lock::new(
                Rank::ProcessPart,
                parent.and_then(|parent| parent.terminal.lock().clone()),
            ),
            hung_up_group: Lock::new(Rank::ProcessPart, None),
        }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// The id the process sees as its own: another one than its parent knows after a restore, so
    /// that its parent finds it and it finds itself a copy.
    pub fn own_id(&self) -> u32 {
        match self.own_id.load(Ordering::Relaxed) {
            0 => self.pid(),
            own => own,
        }
    }

    /// Whether this is one of the process's ids.
    pub fn is_called(&self, id: u32) -> bool {
        id == self.pid() || id == self.own_id()
    }

    /// Gives the process another id (restore of a snapshot).
    pub fn set_pid(&self, pid: u32) {
        self.pid.store(pid, Ordering::Relaxed);
    }

    /// Address space.
    pub fn space(&self) -> Arc<AddressSpace> {
        self.space.lock().clone()
    }

    /// Replaces the address space (exec); returns the old one.
    pub fn set_space(&self, space: Arc<AddressSpace>) -> Arc<AddressSpace> {
        core::mem::replace(&mut *self.space.lock(), space)
    }

    /// Descriptor table.
    pub fn files(&self) -> Arc<Lock<FdTable>> {
        self.files.lock().clone()
    }

    /// Replaces the descriptor table (unshare at exec, exit).
    pub fn set_files(&self, files: Arc<Lock<FdTable>>) -> Arc<Lock<FdTable>> {
        core::mem::replace(&mut *self.files.lock(), files)
    }

    /// Replaces root, working directory and umask (unshare).
    pub fn set_fs(&self, fs: Arc<Lock<FsContext>>) -> Arc<Lock<FsContext>> {
        core::mem::replace(&mut *self.fs.lock(), fs)
    }

    /// Root, working directory, umask.
    pub fn fs(&self) -> Arc<Lock<FsContext>> {
        self.fs.lock().clone()
    }

    /// Live threads.
    pub fn tasks(&self) -> Vec<Arc<Task>> {
        self.threads
            .lock()
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
    }

    /// The soft limit `resource`.
    pub fn rlimit(&self, resource: usize) -> u64 {
        self.rlimits
            .lock()
            .get(resource)
            .map_or(RLIM_INFINITY, |limit| limit.soft)
    }

    /// CPU time of all threads, in ns.
    pub fn cpu_time_ns(&self) -> u64 {
        self.cpu_time().total_ns
    }

    /// [`Process::cpu_time_ns`], split.
    pub fn cpu_time(&self) -> CpuTime {
        let tasks = self.tasks();
        let live: CpuTime = tasks.iter().map(|task| sched::cpu_time(task)).sum();
        let dead = *self.dead_cpu.lock();
        live + dead
    }

    /// Lets a parent that waits in vfork go on.
    pub fn release_vfork(&self) {
        self.vfork_released.store(true, Ordering::Relaxed);
        self.vfork_done.wake(PollEvents::IN);
    }

    /// Whether the last thread is gone.
    pub fn is_zombie(&self) -> bool {
        self.exit_status.lock().is_some() && self.threads.lock().is_empty()
    }
}

/// Pid of the first process; changes at restore.
static INIT_PID: AtomicU32 = AtomicU32::new(1);

/// Pid of the first process.
pub fn init_pid() -> u32 {
    INIT_PID.load(Ordering::Relaxed)
}

struct Table {
    processes: BTreeMap<u32, Arc<Process>>,
    tasks: BTreeMap<u32, Weak<Task>>,
    /// Pids by the ids that processes know themselves by, where these are others.
    own_ids: BTreeMap<u32, u32>,
    last: u32,
}

static TABLE: Lock<Table> = Lock::new(
    Rank::ProcessTable,
    Table {
        processes: BTreeMap::new(),
        tasks: BTreeMap::new(),
        own_ids: BTreeMap::new(),
        last: 0,
    },
);

/// Largest id given out, as Linux's default pid_max.
const PID_MAX: u32 = 32_768;

/// A fresh process or thread id.
pub fn allocate_id() -> Result<u32> {
    let mut table = TABLE.lock();
    for _ in 0..PID_MAX {
        table.last = if table.last >= PID_MAX - 1 {
            2
        } else {
            table.last + 1
        };
        let id = table.last;
        if !table.processes.contains_key(&id) && !table.tasks.contains_key(&id) {
            return Ok(id);
        }
    }
    Err(Errno::EAGAIN)
}

/// The id `wanted`, if it is free (clone3's set_tid).
pub fn claim_id(wanted: i32) -> Result<u32> {
    let id = match u32::try_from(wanted) {
        Ok(id @ 1..PID_MAX) => id,
        _ => return Err(Errno::EINVAL),
    };
    let table = TABLE.lock();
    if table.processes.contains_key(&id) || table.tasks.contains_key(&id) {
        return Err(Errno::EEXIST);
    }
    Ok(id)
}

/// Enters a process.
pub fn insert(process: Arc<Process>) {
    TABLE.lock().processes.insert(process.pid(), process);
}

/// Enters a thread, here and in its process.
pub fn insert_task(task: &Arc<Task>) {
    task.process().threads.lock().push(Arc::downgrade(task));
    TABLE.lock().tasks.insert(task.tid(), Arc::downgrade(task));
}

/// Removes a thread. Whether it was the last of its process.
pub fn remove_task(task: &Arc<Task>) -> bool {
    TABLE.lock().tasks.remove(&task.tid());
    let mut threads = task.process().threads.lock();
    threads.retain(|other| !core::ptr::eq(other.as_ptr(), Arc::as_ptr(task)));
    threads.is_empty()
}

/// Removes a process that was waited for.
pub fn remove(pid: u32) {
    let removed = {
        let mut table = TABLE.lock();
        table.own_ids.retain(|_, named| *named != pid);
        table.processes.remove(&pid)
    };
    drop(removed);
}

/// The process with this id.
pub fn find(pid: u32) -> Option<Arc<Process>> {
    let table = TABLE.lock();
    let pid = table.own_ids.get(&pid).unwrap_or(&pid);
    table.processes.get(pid).cloned()
}

/// The thread with this id.
pub fn find_task(tid: u32) -> Option<Arc<Task>> {
    TABLE.lock().tasks.get(&tid).and_then(Weak::upgrade)
}

/// The thread with this id, or the first one of the process with it: after a restore a process has
/// an id that none of its threads has.
pub fn find_thread(id: u32) -> Option<Arc<Task>> {
    find_task(id).or_else(|| find(id)?.tasks().into_iter().next())
}

/// The process with this id, or the one of the thread with it.
pub fn find_by_any(id: u32) -> Option<Arc<Process>> {
    find(id).or_else(|| find_task(id).map(|task| task.process().clone()))
}

/// Number of live threads.
pub fn task_count() -> usize {
    TABLE.lock().tasks.len()
}

/// exec by a thread that is not the first: it takes over the process's id.
pub fn become_leader(task: &Arc<Task>) {
    let pid = task.process().pid();
    let mut table = TABLE.lock();
    table.tasks.remove(&task.tid());
    task.set_tid(pid);
    table.tasks.insert(pid, Arc::downgrade(task));
}

/// The limits of a process that memory calls look at.
pub fn memory_limits(process: &Process) -> MemoryLimits {
    MemoryLimits {
        address_space: process.rlimit(9),
        data: process.rlimit(2),
        stack: process.rlimit(3),
    }
}

/// The processes of a group, by id.
pub fn in_group(group: u32) -> Vec<Arc<Process>> {
    let mut members = all();
    members.retain(|process| process.pgid.load(Ordering::Relaxed) == group);
    members
}

/// Every process, by id.
pub fn all() -> Vec<Arc<Process>> {
    TABLE.lock().processes.values().cloned().collect()
}

/// Lets a process know itself by the id `new` (after a restore, for the same reason as
/// [`renumber`]): one whose parent waits for it by the id it had, and must find it by that.
pub fn rename(process: &Arc<Process>, new: u32) {
    let mut table = TABLE.lock();
    let taken = table.processes.contains_key(&new)
        || table.tasks.contains_key(&new)
        || table.own_ids.contains_key(&new);
    if !taken {
        let pid = process.pid();
        table.own_ids.retain(|_, named| *named != pid);
        table.own_ids.insert(new, pid);
        process.own_id.store(new, Ordering::Relaxed);
    }
}

/// Gives a process the id `new` (after a restore, so that what caches its process id, as OpenSSL's
/// fork detection does, notices that it is a copy). Threads keep their ids: the C library remembers
/// them in every thread's control block and in mutexes.
pub fn renumber(process: &Arc<Process>, new: u32) {
    let mut table = TABLE.lock();
    let old = process.pid();
    if table.processes.contains_key(&new) || table.tasks.contains_key(&new) {
        return;
    }
    if INIT_PID.load(Ordering::Relaxed) == old {
        INIT_PID.store(new, Ordering::Relaxed);
    }
    table.processes.remove(&old);
    process.set_pid(new);
    table.processes.insert(new, process.clone());
    for other in table.processes.values() {
        for field in [&other.parent, &other.pgid, &other.sid] {
            if field.load(Ordering::Relaxed) == old {
                field.store(new, Ordering::Relaxed);
            }
        }
    }
}
