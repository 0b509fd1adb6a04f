//! Tasks (threads), processes, the scheduler, signals, futexes, and program start.
//!
//! Linux first: a *process* (thread group) owns memory, descriptors and signal actions; its *tasks*
//! are what runs. Here every task has a kernel stack of its own; a task that waits leaves its system
//! call half done on that stack. The kernel is not preemptible: tasks switch only in
//! [`sched::block_current`], [`sched::yield_current`] and at exit.

pub mod attributes;
pub mod clone;
pub mod ctx;
pub mod elf;
pub mod exec;
pub mod exit;
pub mod futex;
pub mod load;
pub mod oom;
pub mod pending;
pub mod policy;
pub mod process;
pub mod rest;
pub mod sched;
pub mod signal;
pub mod start;
mod thread;
pub mod turns;

pub use ctx::Ctx;
pub use process::Process;
pub use signal::{SigInfo, SigSet};
pub use thread::{OwnParts, RunState, Task, TrapInfo};
