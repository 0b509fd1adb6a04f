//! The sentry: a kernel that implements the Linux system-call ABI for one unmodified program in a
//! micro-VM of its own.
//!
//! | module | what it is | may use |
//! |---|---|---|
//! | `arch` | boot, traps, context switch, page-table format, doorbell | `abi` |
//! | `mm` | frames, heap, page tables, VMAs, access to user memory | `arch` |
//! | `fs`, `ipc`, `net` | files of every kind: non-blocking state machines with a wait queue | `mm` |
//! | `task` | tasks, scheduler, signals, futexes, exec | `mm`, `fs`, `arch` |
//! | `syscalls` | the one table of system calls, and their handlers | all |
//!
//! Everything but `arch` also builds on the host, where its unit tests run.
//!
//! # Lock order
//!
//! A lock may be taken while holding one above it, never the other way round; wakers run without
//! the queue's lock (see [`wait`]).
//!
//! 1. process table
//! 2. process (signals, children)
//! 3. file descriptor table
//! 4. open file description (offset)
//! 5. address space
//! 6. directory, then inode
//! 7. pipe, socket, epoll, eventfd, timer state
//! 8. wait queue
//! 9. run queue
//! 10. heap
//! 11. frame allocator

#![cfg_attr(target_os = "none", no_std)]
#![deny(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn)]

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
pub mod sync;
pub mod syscalls;
pub mod task;
pub mod time;
pub mod wait;
