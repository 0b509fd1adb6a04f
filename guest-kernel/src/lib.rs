//! The sentry: a kernel that implements the Linux system-call ABI for one unmodified program in a
//! micro-VM of its own.
//!
//! Lowest first; each uses only what stands above it here. `ci/layers` reads this table and checks
//! the sources by it.
//!
//! | module | what it is |
//! |---|---|
//! | `errno` | error numbers |
//! | `sync` | locks and their order |
//! | `arch` | the processor: entry, context switch, page-table format, doorbell |
//! | `platform` | the world outside the VM: the doorbell's requests as functions |
//! | `smp` | several vCPUs: the kernel lock, kicks, TLB shootdown |
//! | `time` | clocks and timers |
//! | `random` | random numbers |
//! | `wait` | wait queues |
//! | `mm` | frames, heap, page tables, VMAs, access to user memory |
//! | `io` | buffers of reads and writes |
//! | `fs` | files, directories, mounts, descriptors; non-blocking state machines with a wait queue |
//! | `ipc` | pipes, event descriptors, epoll |
//! | `net` | sockets |
//! | `task` | tasks, scheduler, signals, futexes, exec |
//! | `tty` | terminals, sessions, job control |
//! | `syscalls` | the one table of system calls, their handlers, what is traced and counted |
//! | `traps` | what is done about system calls, exceptions and ticks; the way back to the program |
//! | `life` | boot, idling, events from outside, restore |
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
pub mod life;
pub mod mm;
pub mod net;
pub mod platform;
pub mod random;
pub mod smp;
pub mod sync;
pub mod syscalls;
pub mod task;
pub mod time;
pub mod traps;
pub mod tty;
pub mod wait;
