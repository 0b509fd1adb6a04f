//! The scheduler: runnable tasks by [`turns`], one queue for all vCPUs, idle in the host.
//!
//! A task that blocks stays on its vCPU, whose current task it remains, until another one is to run
//! there: woken before that, it goes on without a switch. So only that vCPU may take it meanwhile.

use crate::arch;
use crate::platform;
use crate::smp;
use crate::sync::{Lock, Rank};
use crate::task::rest;
use crate::task::thread::{RunState, Task};
use crate::task::turns::{self, Turns};
use crate::time::{self, timers};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};
use sprout_abi::layout::MAX_VCPUS;

/// What one vCPU does.
struct Cpu {
    current: Option<Arc<Task>>,
    /// Exited task whose stack was in use until the last switch.
    reaped: Option<Arc<Task>>,
    /// The current task does not run: the vCPU looks for another one, or idles.
    searching: bool,
    /// ns it ran tasks, of several vCPUs.
    busy_ns: u64,
}

struct RunQueue {
    runnable: Turns<Arc<Task>>,
    cpus: [Cpu; MAX_VCPUS],
}

static RUN_QUEUE: Lock<RunQueue> = Lock::new(
    Rank::RunQueue,
    RunQueue {
        runnable: Turns::new(),
        cpus: [const {
            Cpu {
                current: None,
                reaped: None,
                searching: true,
                busy_ns: 0,
            }
        }; MAX_VCPUS],
    },
);

/// Bit mask of the vCPUs whose task may have to give way to a woken one.
static WOKEN: AtomicU32 = AtomicU32::new(0);

impl RunQueue {
    /// Takes the first task out that `cpu` may run.
    fn take(&mut self, cpu: usize) -> Option<Arc<Task>> {
        if rest::is_now() {
            return None;
        }
        // What was killed or stopped while it waited is not to run.
        self.runnable
            .drop_first(|task| task.state() != RunState::Runnable);
        let (turn, task) = self.runnable.take(ready_on(cpu))?;
        task.turn_ns.store(turn, Ordering::Relaxed);
        WOKEN.fetch_and(!(1 << cpu), Ordering::Relaxed);
        Some(task)
    }

    /// The turn of the task that runs on `cpu`.
    fn turn_on(&self, cpu: usize, now: u64) -> Option<u64> {
        let own = &self.cpus[cpu];
        let task = own.current.as_ref().filter(|_| !own.searching)?;
        Some(turn_of_running(task, now))
    }

    /// Puts a task in that slept, and remembers whose task may have to give way to it.
    fn wake(&mut self, task: Arc<Task>) {
        let now = time::monotonic_ns();
        let running: [Option<u64>; MAX_VCPUS] = core::array::from_fn(|cpu| match cpu {
            _ if cpu < smp::count() => self.turn_on(cpu, now),
            _ => None,
        });
        let turn = task.turn_ns.load(Ordering::Relaxed);
        let turn = (self.runnable).wake(turn, task.clone(), running.iter().flatten().copied());
        let mut best = None;
        for cpu in (0..smp::count()).filter(|cpu| task.may_run_on(*cpu)) {
            match running[cpu] {
                Some(current) if turns::goes_before(turn, current) => {
                    // This one is there, others would have to be interrupted.
                    let rank = (cpu == smp::this_cpu(), current);
                    best = best.max(Some((rank, cpu)));
                }
                Some(_) => {}
                // It has nothing else to do.
                None => return,
            }
        }
        if let Some((_, cpu)) = best {
            WOKEN.fetch_or(1 << cpu, Ordering::Relaxed);
            smp::interrupt(cpu);
        }
    }

    /// Tells the VMM and the other vCPUs for whom tasks wait. To be called when the queue, or the
    /// vCPUs of a task in it, have changed.
    fn publish(&self) {
        if smp::count() == 1 {
            platform::set_preempt_wanted((!self.runnable.is_empty()).into());
            return;
        }
        if rest::is_now() {
            platform::set_preempt_wanted(0);
            smp::set_runnable(0);
            return;
        }
        let all = smp::all_cpus() as u32;
        let mut cpus = 0;
        let ready = |task: &&Arc<Task>| task.state() == RunState::Runnable;
        for task in self.runnable.iter().filter(ready) {
            cpus |= match task.cpu() {
                Some(cpu) => 1 << cpu,
                None => task.affinity() as u32 & all,
            };
            if cpus == all {
                break;
            }
        }
        platform::set_preempt_wanted(cpus);
        smp::set_runnable(cpus);
    }
}

/// The task that runs now; `None` while booting.
pub fn current() -> Option<Arc<Task>> {
    RUN_QUEUE.lock().cpus[smp::this_cpu()].current.clone()
}

/// Id of the task that runs now, even while the run queue is locked (for panics).
pub fn try_current_tid() -> Option<u32> {
    RUN_QUEUE.try_lock()?.cpus[smp::this_cpu()]
        .current
        .as_ref()
        .map(|task| task.tid())
}

fn ready_on(cpu: usize) -> impl Fn(&Arc<Task>) -> bool {
    move |task| task.state() == RunState::Runnable && (smp::count() == 1 || task.may_run_on(cpu))
}

fn turn_of_running(task: &Task, now: u64) -> u64 {
    let turn = task.turn_ns.load(Ordering::Relaxed);
    turn + now.saturating_sub(task.slice_start_ns.load(Ordering::Relaxed))
}

/// Puts a blocked task into the run queue.
pub fn enqueue(task: Arc<Task>) {
    task.set_state(RunState::Runnable);
    let mut queue = RUN_QUEUE.lock();
    queue.wake(task);
    queue.publish();
}

/// Puts a new task into the run queue, where its maker is.
pub fn enqueue_new(task: Arc<Task>, maker: &Task) {
    let turn = turn_of_running(maker, time::monotonic_ns());
    task.turn_ns.store(turn, Ordering::Relaxed);
    enqueue(task);
}

/// Calls idle vCPUs for the tasks that wait, and for those that wait for one certain vCPU that one.
/// Done when this vCPU is about to do something else: what it wakes and then runs itself needs no
/// other vCPU.
pub fn kick_idle() {
    let queue = RUN_QUEUE.lock();
    if queue.runnable.is_empty() || rest::is_now() {
        return;
    }
    for task in queue.runnable.iter() {
        let wanted = match task.cpu() {
            Some(cpu) => smp::is_idle(cpu).then_some(cpu),
            None => (0..smp::count()).find(|cpu| task.may_run_on(*cpu) && smp::is_idle(*cpu)),
        };
        if let Some(cpu) = wanted {
            smp::call(cpu);
        }
    }
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

/// Lets the other runnable tasks go first, and leaves a vCPU it may no longer run on.
pub fn yield_current(task: &Arc<Task>) {
    smp::let_others_in();
    poll_world();
    let cpu = smp::this_cpu();
    let mut queue = RUN_QUEUE.lock();
    let others = queue.runnable.find(ready_on(cpu)).is_some();
    if others || !task.may_run_on(cpu) || rest::is_now() {
        let turn = turn_of_running(task, time::monotonic_ns());
        queue.runnable.yield_to_all(turn, task.clone());
        queue.publish();
        drop(queue);
        switch_away();
    }
}

/// A tick, or a call of another vCPU: runs what is due, and lets another task go first if the
/// current one's slice is over or a woken one is to run.
pub fn tick(task: &Arc<Task>) {
    smp::let_others_in();
    poll_world();
    let cpu = smp::this_cpu();
    let now = time::monotonic_ns();
    let ran = now.saturating_sub(task.slice_start_ns.load(Ordering::Relaxed));
    let mut queue = RUN_QUEUE.lock();
    let over = ran >= turns::SLICE_NS && queue.runnable.find(ready_on(cpu)).is_some();
    if over || !task.may_run_on(cpu) || rest::is_now() {
        let turn = turn_of_running(task, now);
        (queue.runnable).end_slice(turn, task.clone(), ready_on(cpu));
        queue.publish();
        drop(queue);
        switch_away();
    } else {
        drop(queue);
        give_way(task);
    }
}

/// Lets a task that was woken run first, if it has had so much less. Whether it did.
#[inline]
pub fn give_way(task: &Arc<Task>) -> bool {
    let cpu = smp::this_cpu();
    is_called_for(cpu) && give_way_to_woken(task, cpu)
}

/// Whether the task of `cpu` may have to give way to a woken one.
#[inline]
pub fn is_called_for(cpu: usize) -> bool {
    WOKEN.load(Ordering::Relaxed) & 1 << cpu != 0
}

fn give_way_to_woken(task: &Arc<Task>, cpu: usize) -> bool {
    WOKEN.fetch_and(!(1 << cpu), Ordering::Relaxed);
    let mut queue = RUN_QUEUE.lock();
    let turn = turn_of_running(task, time::monotonic_ns());
    let first = queue.runnable.find(ready_on(cpu));
    let gives_way = first.is_some_and(|(first, _)| turns::goes_before(first, turn));
    if gives_way {
        (queue.runnable).end_slice(turn, task.clone(), ready_on(cpu));
        queue.publish();
        drop(queue);
        switch_away();
    }
    gives_way
}

/// Moves the current task if its affinity no longer allows this vCPU. Whether it did.
#[inline]
pub fn leave_wrong_cpu(task: &Arc<Task>) -> bool {
    let wrong = smp::count() > 1 && !task.may_run_on(smp::this_cpu());
    if wrong {
        yield_current(task);
    }
    wrong
}

/// Keeps the current task off the vCPU until it is enqueued (SIGCONT, SIGKILL).
pub fn stop_current(task: &Arc<Task>) {
    task.set_state(RunState::Stopped);
    switch_away();
}

/// Ends the current task: it never runs again.
pub fn exit_current(task: Arc<Task>) -> ! {
    task.set_state(RunState::Dead);
    RUN_QUEUE.lock().cpus[smp::this_cpu()].reaped = Some(task);
    switch_away();
    unreachable!("a dead task was scheduled");
}

/// Whether a task runs, or could.
pub fn is_busy() -> bool {
    let queue = RUN_QUEUE.lock();
    !queue.runnable.is_empty() || queue.cpus[..smp::count()].iter().any(|cpu| !cpu.searching)
}

/// What the VMM and the other vCPUs know of the run queue may have changed.
pub fn publish() {
    RUN_QUEUE.lock().publish();
}

/// Starts the first task; the boot stack is left for good.
pub fn start() -> ! {
    switch_away();
    unreachable!("the boot context was scheduled");
}

/// CPU time, and how much of it passed in the sentry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// In programs and in the sentry, in ns.
    pub total_ns: u64,
    /// In the sentry, in ns.
    pub system_ns: u64,
}

impl CpuTime {
    /// In programs, in ns.
    pub fn user_ns(self) -> u64 {
        self.total_ns.saturating_sub(self.system_ns)
    }
}

impl core::ops::Add for CpuTime {
    type Output = CpuTime;

    fn add(self, other: CpuTime) -> CpuTime {
        CpuTime {
            total_ns: self.total_ns + other.total_ns,
            system_ns: self.system_ns + other.system_ns,
        }
    }
}

impl core::iter::Sum for CpuTime {
    fn sum<I: Iterator<Item = CpuTime>>(times: I) -> CpuTime {
        times.fold(CpuTime::default(), |sum, time| sum + time)
    }
}

/// [`cpu_time_ns`], split.
pub fn cpu_time(task: &Task) -> CpuTime {
    let entered = task.entered_tsc.load(Ordering::Relaxed);
    let mut ticks = task.system_ticks.load(Ordering::Relaxed);
    if entered != 0 {
        ticks += arch::tsc().saturating_sub(entered);
    }
    let total_ns = cpu_time_ns(task);
    CpuTime {
        total_ns,
        system_ns: time::ticks_to_ns(ticks).min(total_ns),
    }
}

/// CPU time of a task, with the slice it is in.
pub fn cpu_time_ns(task: &Task) -> u64 {
    let used = task.cpu_time_ns.load(Ordering::Relaxed);
    let running = task
        .cpu()
        .is_some_and(|cpu| !RUN_QUEUE.lock().cpus[cpu].searching);
    if !running {
        return used;
    }
    used + time::monotonic_ns().saturating_sub(task.slice_start_ns.load(Ordering::Relaxed))
}

/// ns that each of several vCPUs ran tasks, without their current slices.
pub fn busy_ns() -> [u64; MAX_VCPUS] {
    let queue = RUN_QUEUE.lock();
    core::array::from_fn(|cpu| queue.cpus[cpu].busy_ns)
}

/// Runs expired timers and takes in events the VMM left; cheap when there are none.
pub fn poll_world() {
    let now = time::monotonic_ns();
    crate::mm::reclaim::consider();
    if timers::next_deadline().is_some_and(|deadline| deadline <= now) {
        timers::run_expired(now);
    }
    let events = platform::take_events();
    if events != 0 {
        crate::task::start::handle_events(events);
    }
}

/// Switches to the next runnable task, idling until there is one. Returns when the caller's task is
/// scheduled again, perhaps on another vCPU.
fn switch_away() {
    let cpu = smp::this_cpu();
    let leaving = stop_accounting(cpu);
    let next = loop {
        poll_world();
        let next = {
            let mut queue = RUN_QUEUE.lock();
            let next = queue.take(cpu);
            queue.publish();
            next
        };
        if let Some(task) = next {
            break task;
        }
        match &leaving {
            // It waits for another vCPU, which can't have it while its stack is in use here.
            Some(task) if task.affinity() & 1 << cpu == 0 && task.state() == RunState::Runnable => {
                let task = task.clone();
                drop(leaving);
                return leave_to_idle(cpu, task);
            }
            Some(task) if task.state() == RunState::Dead && smp::count() > 1 => {
                arch::tlb::switch_to_own_root();
            }
            _ => {}
        }
        crate::task::start::idle();
    };
    drop(leaving);
    let previous = {
        let mut queue = RUN_QUEUE.lock();
        let own = &mut queue.cpus[cpu];
        own.searching = false;
        next.slice_start_ns
            .store(time::monotonic_ns(), Ordering::Relaxed);
        next.enter_system(arch::tsc());
        if own
            .current
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, &next))
        {
            return;
        }
        own.current.replace(next.clone())
    };
    if let Some(previous) = &previous {
        if previous.state() != RunState::Dead {
            previous.fpu.lock().save();
        }
        // The kernel lock keeps other vCPUs from it until this one has left its stack.
        set_free(previous);
    }
    next.set_cpu(Some(cpu));
    next.process().space().activate();
    next.fpu.lock().restore();
    // The run queue's `current` (and, for a dead one, `reaped`; for one that waits the queue or who
    // wakes it) keeps both alive meanwhile.
    arch::switch(previous, next);
    finish_switch();
}

/// What follows until a task is found is idling, no task's CPU time. Returns the current task.
fn stop_accounting(cpu: usize) -> Option<Arc<Task>> {
    let mut queue = RUN_QUEUE.lock();
    let own = &mut queue.cpus[cpu];
    let task = own.current.clone()?;
    if !core::mem::replace(&mut own.searching, true) {
        task.leave_system(arch::tsc());
        let now = time::monotonic_ns();
        let slice = now.saturating_sub(task.slice_start_ns.swap(now, Ordering::Relaxed));
        task.cpu_time_ns.fetch_add(slice, Ordering::Relaxed);
        task.turn_ns.fetch_add(slice, Ordering::Relaxed);
        if smp::count() > 1 {
            own.busy_ns += slice;
        }
    }
    Some(task)
}

/// From now on any vCPU may run `task`, which this one is leaving.
fn set_free(task: &Task) {
    task.set_cpu(None);
    if task.state() == RunState::Runnable {
        RUN_QUEUE.lock().publish();
    }
}

/// Sets the vCPUs that `task` may run on. If it runs on another one now, it leaves that on its way
/// back to its program.
pub fn set_affinity(task: &Task, mask: u64) {
    task.set_affinity(mask);
    RUN_QUEUE.lock().publish();
    if let Some(cpu) = task.cpu() {
        smp::interrupt(cpu);
    }
}

/// Leaves the current task, which is in the run queue for another vCPU, without one to run here.
fn leave_to_idle(cpu: usize, task: Arc<Task>) {
    task.fpu.lock().save();
    set_free(&task);
    arch::tlb::switch_to_own_root();
    RUN_QUEUE.lock().cpus[cpu].current = None;
    arch::switch_to_idle(task);
    finish_switch();
}

/// First thing on the stack that was switched to: lets go of a task that exited.
pub fn finish_switch() {
    let reaped = RUN_QUEUE.lock().cpus[smp::this_cpu()].reaped.take();
    drop(reaped);
}
