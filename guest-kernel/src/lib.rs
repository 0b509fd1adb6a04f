//! The sentry: a kernel that implements the Linux system-call ABI for one unmodified program in a
//! micro-VM of its own.
//!
//! | module | what it is | may use |
//! |---|---|---|
//! | `arch` | boot, traps, context switch, page-table format, doorbell | `abi` |
//! | `mm` | frames, heap, page tables, VMAs, access to user memory | `arch` |
//! | `fs`, `ipc`, `net` | files of every kind: non-blocking state machines with a wait queue | `mm` |
//! | `smp` | several vCPUs: the kernel lock, kicks, TLB shootdown | `arch`, `task` |
//! | `tty` | terminals, sessions, job control | `mm`, `fs`, `task` |
//! | `task` | tasks, scheduler, signals, futexes, exec | `mm`, `fs`, `arch` |
//! | `syscalls` | the one table of system calls, and their handlers | all |
//!
//! Everything but `arch` also builds on the host, where its unit tests run.
//!
//! # Lock order
//!
//! Every lock has a rank, and may be taken only while those held have lower ones; [`sync::Rank`]
//! lists them in order, and builds with debug assertions panic at the first lock taken out of it.
//! In short: open file description (offset), process table, process (timers, signals, threads),
//! thread, futexes, descriptor table, address space, mounts, directory then inode, epoll, state of a
//! pipe or socket, wait queue, timers, run queue, clock, heap, frame allocator. Wakers run without
//! the queue's lock (see [`wait`]).

#![cfg_attr(target_os = "none", no_std)]
#![deny(unsafe_code)]

extern crate alloc;

pub mod arch;
pub mod errno;
pub mod fs;
pub mod io;
pub mod ipc;
pub mod mm;
pub mod net;
pub mod platform;
pub mod random;
pub mod smp;
pub mod sync;
pub mod syscalls;
pub mod task;
pub mod time;
pub mod tty;
pub mod wait;
