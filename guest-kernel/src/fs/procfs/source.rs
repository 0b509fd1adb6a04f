//! What `/proc` shows of processes comes from whoever keeps them, through this trait: `fs` does not
//! know tasks.

use crate::errno::{Errno, Result};
use crate::fs::fd::{FdTable, FsContext};
use crate::mm::AddressSpace;
use crate::sync::{Lock, Rank};
use crate::time::CpuTime;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The keeper of processes.
pub trait ProcSource: Sync {
    /// Process and thread id of the caller; `None` outside a system call.
    fn current(&self) -> Option<(u32, u32)>;
    /// Process ids, ascending.
    fn processes(&self) -> Vec<u32>;
    /// Thread ids of a process, ascending.
    fn threads(&self, pid: u32) -> Vec<u32>;
    /// The process with this id, or the one of the thread with it.
    fn process_of(&self, id: u32) -> Option<u32>;
    /// A process.
    fn process(&self, pid: u32) -> Option<ProcessInfo>;
    /// A thread of a process.
    fn thread(&self, pid: u32, tid: u32) -> Option<ThreadInfo>;
    /// Names a thread, as PR_SET_NAME.
    fn set_thread_name(&self, tid: u32, name: &[u8]) -> Result<()>;
    /// Sets how gladly a process is killed when memory runs out.
    fn set_oom_score_adj(&self, pid: u32, value: i32) -> Result<()>;
    /// The system.
    fn system(&self) -> SystemInfo;
}

/// A process.
pub struct ProcessInfo {
    /// Process id.
    pub pid: u32,
    /// Parent's process id.
    pub parent: u32,
    /// Process group.
    pub group: u32,
    /// Session.
    pub session: u32,
    /// Whether it ended and was not waited for.
    pub zombie: bool,
    /// CPU time of its threads.
    pub cpu: CpuTime,
    /// CPU time of waited-for children.
    pub children_cpu: CpuTime,
    /// Monotonic start, in ns.
    pub start_ns: u64,
    /// Number of threads.
    pub threads: usize,
    /// Its memory.
    pub space: Arc<AddressSpace>,
    /// Its descriptors.
    pub files: Arc<Lock<FdTable>>,
    /// Root, working directory, umask.
    pub fs: Arc<Lock<FsContext>>,
    /// Absolute path of the executable.
    pub exe: Vec<u8>,
    /// Arguments, each with its NUL.
    pub cmdline: Vec<u8>,
    /// Environment, each with its NUL.
    pub environ: Vec<u8>,
    /// Auxiliary vector.
    pub auxv: Vec<u64>,
    /// Soft and hard limits, by number.
    pub limits: Vec<(u64, u64)>,
    /// How gladly it is killed when memory runs out, -1000 to 1000.
    pub oom_score_adj: i32,
    /// Signals queued for all its user's processes.
    pub queued_signals: u64,
    /// Signals pending for the process.
    pub pending: u64,
    /// Signals ignored.
    pub ignored: u64,
    /// Signals with a handler.
    pub caught: u64,
}

/// A thread.
pub struct ThreadInfo {
    /// Thread id.
    pub tid: u32,
    /// Name, without NULs.
    pub name: Vec<u8>,
    /// State: `R`, `S`, `T` or `Z`.
    pub state: char,
    /// CPU time.
    pub cpu_time: CpuTime,
    /// Signals pending for the thread.
    pub pending: u64,
    /// Signals blocked.
    pub blocked: u64,
    /// Bit mask of the processors it may run on.
    pub allowed_cpus: u64,
    /// The processor it is on, or 0.
    pub cpu: usize,
    /// Priority, as `stat` has it.
    pub priority: i32,
    /// Nice value.
    pub nice: i32,
    /// Real-time priority, 0: none.
    pub real_time_priority: u32,
    /// Number of the scheduling policy.
    pub policy: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Capabilities: inheritable, permitted, effective, bounding.
    pub capabilities: [u64; 4],
    /// What personality(2) set.
    pub personality: u32,
    /// Whether exec gives it no privileges.
    pub no_new_privileges: bool,
}

/// The system.
pub struct SystemInfo {
    /// Kernel release.
    pub release: &'static str,
    /// Kernel version.
    pub version: &'static str,
    /// Host name.
    pub host_name: Vec<u8>,
    /// Threads that exist.
    pub threads: usize,
    /// Threads that run or could.
    pub runnable: usize,
    /// CPU time of all processes, in ns.
    pub cpu_ns: u64,
    /// The text of `/proc/cpuinfo`.
    pub cpuinfo: Vec<u8>,
    /// ns each vCPU ran programs.
    pub busy_ns: Vec<u64>,
}

static SOURCE: Lock<Option<&'static dyn ProcSource>> = Lock::new(Rank::Leaf, None);

/// Names the keeper of processes.
pub fn set_source(source: &'static dyn ProcSource) {
    *SOURCE.lock() = Some(source);
}

/// The keeper of processes; ENOENT before it is named.
pub(super) fn source() -> Result<&'static dyn ProcSource> {
    SOURCE.lock().ok_or(Errno::ENOENT)
}
