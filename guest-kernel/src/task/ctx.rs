//! What a system-call handler gets: the calling task, what it owns, and how to wait.

use crate::errno::{Errno, Result};
use crate::fs::fd::{FdTable, FsContext};
use crate::mm::AddressSpace;
use crate::mm::UserPtr;
use crate::sync::Lock;
use crate::task::{Process, SigInfo, Task, sched};
use crate::wait::{PollEvents, WaitQueue};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::OnceCell;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The current task as a system call sees it. What it owns is looked up when it is first asked for:
/// most calls need little of it.
pub struct Ctx {
    task: Arc<Task>,
    space: OnceCell<Arc<AddressSpace>>,
    files: OnceCell<Arc<Lock<FdTable>>>,
    fs: OnceCell<Arc<Lock<FsContext>>>,
}

impl Ctx {
    /// For the task that runs now.
    pub fn new(task: Arc<Task>) -> Ctx {
        Ctx {
            task,
            space: OnceCell::new(),
            files: OnceCell::new(),
            fs: OnceCell::new(),
        }
    }

    /// Ends the call: what is left is the task.
    pub fn into_task(self) -> Arc<Task> {
        self.task
    }

    /// The calling thread.
    pub fn task(&self) -> &Arc<Task> {
        &self.task
    }

    /// Its process.
    pub fn process(&self) -> &Arc<Process> {
        self.task.process()
    }

    /// Its address space; after exec still the one the call came from, if it was asked for before.
    pub fn space(&self) -> &Arc<AddressSpace> {
        self.space.get_or_init(|| self.process().space())
    }

    /// Its descriptor table.
    pub fn files(&self) -> &Arc<Lock<FdTable>> {
        self.files.get_or_init(|| self.task.files())
    }

    /// Root, working directory and umask.
    pub fn fs(&self) -> &Arc<Lock<FsContext>> {
        self.fs.get_or_init(|| self.task.fs())
    }

    /// Copies a value in from the program.
    pub fn read<T: FromBytes + IntoBytes>(&self, ptr: UserPtr<T>) -> Result<T> {
        let mut value = T::new_zeroed();
        let bytes = value.as_mut_bytes();
        if self.space().read_some(ptr.addr(), bytes) != bytes.len() {
            return Err(Errno::EFAULT);
        }
        Ok(value)
    }

    /// Copies a value out to the program.
    pub fn write<T: IntoBytes + Immutable>(&self, ptr: UserPtr<T>, value: &T) -> Result<()> {
        self.write_bytes(ptr.addr(), value.as_bytes())
    }

    /// As [`Ctx::write`] unless `ptr` is NULL.
    pub fn write_if<T: IntoBytes + Immutable>(&self, ptr: UserPtr<T>, value: &T) -> Result<()> {
        if ptr.is_null() {
            Ok(())
        } else {
            self.write(ptr, value)
        }
    }

    /// Copies an array in.
    pub fn read_array<T: FromBytes + IntoBytes>(
        &self,
        ptr: UserPtr<T>,
        count: usize,
    ) -> Result<Vec<T>> {
        (0..count).map(|index| self.read(ptr.at(index))).collect()
    }

    /// Copies `bytes` out to `addr`; EFAULT if they don't all fit in writable memory.
    pub fn write_bytes(&self, addr: u64, bytes: &[u8]) -> Result<()> {
        if self.space().write_some(addr, bytes) != bytes.len() {
            return Err(Errno::EFAULT);
        }
        Ok(())
    }

    /// Fills `bytes` from `addr`.
    pub fn read_bytes(&self, addr: u64, bytes: &mut [u8]) -> Result<()> {
        if self.space().read_some(addr, bytes) != bytes.len() {
            return Err(Errno::EFAULT);
        }
        Ok(())
    }

    /// Waits for `attempt` to give `Ok(Some(value))`: it is tried at once and again after every
    /// wake-up of one of the queues. Monotonic `deadline`: ETIMEDOUT then. A signal that has a
    /// handler or kills: ERESTARTSYS. An error of `attempt` ends it.
    pub fn block<T>(
        &self,
        queues: &[(&WaitQueue, PollEvents)],
        deadline: Option<u64>,
        mut attempt: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        if let Some(value) = attempt()? {
            return Ok(value);
        }
        let tokens: Vec<_> = queues
            .iter()
            .map(|(queue, events)| {
                queue.add(self.task.clone() as Arc<dyn crate::wait::Wake>, *events)
            })
            .collect();
        let result = loop {
            match attempt() {
                Ok(Some(value)) => break Ok(value),
                Ok(None) => {}
                Err(error) => break Err(error),
            }
            if self.task.signal_pending() {
                break Err(Errno::ERESTARTSYS);
            }
            if deadline.is_some_and(|deadline| crate::time::monotonic_ns() >= deadline) {
                break Err(Errno::ETIMEDOUT);
            }
            sched::block_current(&self.task, deadline);
        };
        for ((queue, _), token) in queues.iter().zip(tokens) {
            queue.remove(token);
        }
        result
    }

    /// Runs a non-blocking file operation until it no longer answers EAGAIN, waiting on `queue`;
    /// `nonblocking` (O_NONBLOCK, MSG_DONTWAIT) answers EAGAIN at once. `deadline` passed: EAGAIN,
    /// as with SO_RCVTIMEO.
    pub fn retry<T>(
        &self,
        queue: Option<&WaitQueue>,
        events: PollEvents,
        nonblocking: bool,
        deadline: Option<u64>,
        mut operation: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        let first = operation();
        match (first, queue) {
            (Err(Errno::EAGAIN), Some(queue)) if !nonblocking => {
                let attempt = || match operation() {
                    Ok(value) => Ok(Some(value)),
                    Err(Errno::EAGAIN) => Ok(None),
                    Err(error) => Err(error),
                };
                match self.block(&[(queue, events)], deadline, attempt) {
                    Err(Errno::ETIMEDOUT) if deadline.is_some() => Err(Errno::EAGAIN),
                    // A call with a time-out of its own is not restarted (signal(7)).
                    Err(Errno::ERESTARTSYS) if deadline.is_some() => Err(Errno::EINTR),
                    other => other,
                }
            }
            (first, _) => first,
        }
    }

    /// Sends a signal to the calling thread (SIGPIPE, SIGSYS, ...).
    pub fn send_signal_self(&self, signal: u32) {
        self.task.send_signal(SigInfo::kernel(signal));
    }
}
