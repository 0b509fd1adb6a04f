//! The scheduler: round robin over runnable tasks, one vCPU, idle in the host.

use crate::arch;
use crate::platform;
use crate::sync::{Lock, Rank};
use crate::task::thread::{RunState, Task};
use crate::time::{self, timers};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

struct RunQueue {
    runnable: VecDeque<Arc<Task>>,
    current: Option<Arc<Task>>,
    /// Exited task whose stack was in use until the last switch.
    reaped: Option<Arc<Task>>,
}

static RUN_QUEUE: Lock<RunQueue> = Lock::new(
    Rank::RunQueue,
    RunQueue {
        runnable: VecDeque::new(),
        current: None,
        reaped: None,
    },
);

/// The task that runs now; `None` while booting.
pub fn current() -> Option<Arc<Task>> {
    RUN_QUEUE.lock().current.clone()
}

/// Id of the task that runs now, even while the run queue is locked (for panics).
pub fn try_current_tid() -> Option<u32> {
    RUN_QUEUE
        .try_lock()?
        .current
        .as_ref()
        .map(|task| task.tid())
}

/// Puts a blocked (or new) task into the run queue.
pub fn enqueue(task: Arc<Task>) {
    task.set_state(RunState::Runnable);
    RUN_QUEUE.lock().runnable.push_back(task);
    platform::set_preempt_wanted(true);
}

/// Blocks the current task until it is woken or monotonic `deadline` comes. Returns at once if it
/// was woken since it last blocked.
pub fn block_current(task: &Arc<Task>, deadline: Option<u64>) {
    if task.take_woken() {
        return;
    }
    let timer = deadline.map(|deadline| timers::arm(deadline, Arc::new(WakeTask(task.clone()))));
    task.set_state(RunState::Blocked);
    switch_away();
    task.take_woken();
    if let Some(timer) = timer {
        timers::cancel(timer);
    }
}

struct WakeTask(Arc<Task>);

impl timers::TimerTarget for WakeTask {
    fn expired(&self, _: u64) {
        self.0.wake_up();
    }
}

/// Lets the other runnable tasks go first.
pub fn yield_current(task: &Arc<Task>) {
    poll_world();
    if !RUN_QUEUE.lock().runnable.is_empty() {
        enqueue(task.clone());
        switch_away();
    }
}

/// Keeps the current task off the vCPU until it is enqueued (SIGCONT, SIGKILL).
pub fn stop_current(task: &Arc<Task>) {
    task.set_state(RunState::Stopped);
    switch_away();
}

/// Ends the current task: it never runs again.
pub fn exit_current(task: Arc<Task>) -> ! {
    task.set_state(RunState::Dead);
    RUN_QUEUE.lock().reaped = Some(task);
    switch_away();
    unreachable!("a dead task was scheduled");
}

/// Starts the first task; the boot stack is left for good.
pub fn start() -> ! {
    switch_away();
    unreachable!("the boot context was scheduled");
}

/// CPU time of a task, with the slice it is in.
pub fn cpu_time_ns(task: &Task) -> u64 {
    let used = task.cpu_time_ns.load(Ordering::Relaxed);
    let running = RUN_QUEUE
        .lock()
        .current
        .as_ref()
        .is_some_and(|c| core::ptr::eq(&**c, task));
    // A blocked one may still be the current one while the vCPU idles.
    if !running || task.state() != RunState::Runnable {
        return used;
    }
    used + time::monotonic_ns().saturating_sub(task.slice_start_ns.load(Ordering::Relaxed))
}

/// Runs expired timers and takes in events the VMM left; cheap when there are none.
pub fn poll_world() {
    let now = time::monotonic_ns();
    if timers::next_deadline().is_some_and(|deadline| deadline <= now) {
        timers::run_expired(now);
    }
    let events = platform::take_events();
    if events != 0 {
        crate::task::start::handle_events(events);
    }
}

/// Switches to the next runnable task, idling until there is one. Returns when the caller's task is
/// scheduled again.
fn switch_away() {
    // What follows until a task is found is idling, no task's CPU time.
    let leaving = RUN_QUEUE.lock().current.clone();
    if let Some(task) = leaving {
        let now = time::monotonic_ns();
        let slice = now.saturating_sub(task.slice_start_ns.swap(now, Ordering::Relaxed));
        task.cpu_time_ns.fetch_add(slice, Ordering::Relaxed);
    }
    let next = loop {
        poll_world();
        let next = {
            let mut queue = RUN_QUEUE.lock();
            let next = queue.runnable.pop_front();
            platform::set_preempt_wanted(!queue.runnable.is_empty());
            next
        };
        match next {
            Some(task) if task.state() == RunState::Runnable => break task,
            Some(_) => {}
            None => crate::task::start::idle(),
        }
    };
    next.slice_start_ns
        .store(time::monotonic_ns(), Ordering::Relaxed);
    let previous = {
        let mut queue = RUN_QUEUE.lock();
        if queue
            .current
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, &next))
        {
            return;
        }
        queue.current.replace(next.clone())
    };
    if let Some(previous) = &previous
        && previous.state() != RunState::Dead
    {
        previous.fpu.lock().save();
    }
    arch::tlb::switch_root(next.process().space().root());
    next.fpu.lock().restore();
    // The run queue's `current` (and, for a dead one, `reaped`) keeps both alive meanwhile.
    arch::switch(previous, next);
    finish_switch();
}

/// First thing on the stack that was switched to: lets go of a task that exited.
pub fn finish_switch() {
    let reaped = RUN_QUEUE.lock().reaped.take();
    drop(reaped);
}
