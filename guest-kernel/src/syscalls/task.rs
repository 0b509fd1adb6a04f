//! Processes, threads, and what they may know of themselves.

use crate::arch::TrapFrame;
use crate::errno::{Errno, Result};
use crate::fs::file::OpenFile;
use crate::smp;
use crate::sync::{Lock, Rank};
use crate::syscalls::args::{DirFd, Fd, Flags, UserAddr, UserCStr, UserPtr};
use crate::syscalls::time::TimeSpec;
use crate::task::clone::{self, CloneArgs, CloneFlags};
use crate::task::cpu_limit;
use crate::task::exec::{self, Program};
use crate::task::process::{self, ExitStatus, Process, RLIMITS, Rlimit, limit};
use crate::task::signal::{SigInfo, code, number::*};
use crate::task::{Ctx, Task, exit, futex, sched};
use crate::time::CpuTime;
use crate::time::NSEC_PER_SEC;
use crate::wait::PollEvents;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use sprout_abi::layout::USER_END;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// exit(2): ends the calling thread.
pub fn exit(ctx: &Ctx, status: i32) -> Result<u64> {
    if ctx.process().threads.lock().len() <= 1 {
        exit::exit_group(ctx.task(), ExitStatus::Exited(status as u8));
    } else {
        ctx.task().kill();
    }
    Ok(0)
}

/// exit_group(2).
pub fn exit_group(ctx: &Ctx, status: i32) -> Result<u64> {
    exit::exit_group(ctx.task(), ExitStatus::Exited(status as u8));
    Ok(0)
}

/// getpid(2).
pub fn getpid(ctx: &Ctx) -> Result<u64> {
    Ok(ctx.process().own_id().into())
}

/// gettid(2).
pub fn gettid(ctx: &Ctx) -> Result<u64> {
    Ok(ctx.task().tid().into())
}

/// getppid(2).
pub fn getppid(ctx: &Ctx) -> Result<u64> {
    let parent = ctx.process().parent.load(Ordering::Relaxed);
    Ok(process::find(parent)
        .map_or(parent, |parent| parent.own_id())
        .into())
}

/// A process by its id or that of one of its threads, 0: the caller's.
pub(super) fn process_of(ctx: &Ctx, pid: i32) -> Result<Arc<Process>> {
    match pid {
        0 => Ok(ctx.process().clone()),
        1.. => process::find_by_any(pid as u32).ok_or(Errno::ESRCH),
        _ => Err(Errno::ESRCH),
    }
}

/// A thread by id argument, 0: the caller.
pub(super) fn thread_of(ctx: &Ctx, tid: i32) -> Result<Arc<Task>> {
    match tid {
        0 => Ok(ctx.task().clone()),
        1.. => process::find_thread(tid as u32).ok_or(Errno::ESRCH),
        _ => Err(Errno::ESRCH),
    }
}

/// set_tid_address(2).
pub fn set_tid_address(ctx: &Ctx, addr: UserAddr) -> Result<u64> {
    ctx.task().clear_child_tid.store(addr.0, Ordering::Relaxed);
    gettid(ctx)
}

/// set_robust_list(2).
pub fn set_robust_list(ctx: &Ctx, head: UserAddr, len: usize) -> Result<u64> {
    if len != 24 {
        return Err(Errno::EINVAL);
    }
    ctx.task().robust_list.store(head.0, Ordering::Relaxed);
    Ok(0)
}

/// get_robust_list(2).
pub fn get_robust_list(ctx: &Ctx, tid: i32, head: UserPtr<u64>, len: UserPtr<u64>) -> Result<u64> {
    let task = thread_of(ctx, tid)?;
    ctx.write(len, &24)?;
    ctx.write(head, &task.robust_list.load(Ordering::Relaxed))?;
    Ok(0)
}

/// clone(2), with x86-64's argument order.
pub fn clone(
    ctx: &Ctx,
    frame: &mut TrapFrame,
    flags: u64,
    stack: UserAddr,
    parent_tid: UserAddr,
    child_tid: UserAddr,
    tls: u64,
) -> Result<u64> {
    let args = CloneArgs {
        flags: CloneFlags::from_bits_retain(flags & 0xffff_ff00),
        exit_signal: (flags & 0xff) as u32,
        stack: stack.0,
        parent_tid: parent_tid.0,
        child_tid: child_tid.0,
        tls,
        wanted_id: 0,
    };
    clone::clone(ctx, frame, args)
}

/// `struct clone_args` (include/uapi/linux/sched.h).
#[derive(FromBytes, IntoBytes, Immutable, Clone, Copy, Debug)]
#[repr(C)]
pub struct Clone3 {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// clone3(2).
pub fn clone3(ctx: &Ctx, frame: &mut TrapFrame, args: UserPtr<Clone3>, size: usize) -> Result<u64> {
    /// `CLONE_ARGS_SIZE_VER0`.
    const FIRST: usize = 64;
    const LEGACY: u64 = u32::MAX as u64;
    /// Most levels of process namespaces; there is one.
    const LEVELS: u64 = 32;
    if size > 4096 {
        return Err(Errno::E2BIG);
    }
    if size < FIRST {
        return Err(Errno::EINVAL);
    }
    let args: Clone3 = read_sized(ctx, args.addr(), size)?;
    let known = LEGACY | (CloneFlags::CLEAR_SIGHAND | CloneFlags::INTO_CGROUP).bits();
    let flags = CloneFlags::from_bits_retain(args.flags);
    let no_ids = args.set_tid == 0;
    if args.set_tid_size > LEVELS || no_ids != (args.set_tid_size == 0) || args.exit_signal > 64 {
        return Err(Errno::EINVAL);
    }
    if flags.contains(CloneFlags::INTO_CGROUP)
        && (args.cgroup > i32::MAX as u64 || size < size_of::<Clone3>())
    {
        return Err(Errno::EINVAL);
    }
    let wanted_id = match no_ids {
        true => 0,
        false => ctx.read(UserPtr::<i32>::new(args.set_tid))?,
    };
    // The signal has a field of its own here, and is not for those who have no child of theirs.
    let signal_in_flags = args.flags & 0xff & !CloneFlags::NEWTIME.bits() != 0;
    let unheard = flags.intersects(CloneFlags::THREAD | CloneFlags::PARENT);
    let stack_end = args.stack.checked_add(args.stack_size);
    let stack_fits = match args.stack {
        0 => args.stack_size == 0,
        _ => args.stack_size != 0 && stack_end.is_some_and(|end| end <= USER_END),
    };
    if args.flags & !known != 0
        || flags.contains(CloneFlags::DETACHED)
        || signal_in_flags
        || unheard && args.exit_signal != 0
        || !stack_fits
        || !no_ids && (args.set_tid_size > 1 || wanted_id <= 0)
    {
        return Err(Errno::EINVAL);
    }
    let args = CloneArgs {
        flags,
        exit_signal: args.exit_signal as u32,
        stack: args.stack + args.stack_size,
        parent_tid: args.parent_tid,
        child_tid: args.child_tid,
        tls: args.tls,
        wanted_id,
    };
    clone::clone(ctx, frame, args)
}

/// Copies in a structure that the caller has `size` bytes of: what it does not have is 0, and what
/// it has more must be, or it is E2BIG.
pub(super) fn read_sized<T: FromBytes + IntoBytes>(ctx: &Ctx, addr: u64, size: usize) -> Result<T> {
    let mut value = T::new_zeroed();
    let known = size.min(size_of::<T>());
    let mut rest = alloc::vec![0u8; size - known];
    ctx.read_bytes(addr.wrapping_add(known as u64), &mut rest)?;
    if rest.iter().any(|&byte| byte != 0) {
        return Err(Errno::E2BIG);
    }
    ctx.read_bytes(addr, &mut value.as_mut_bytes()[..known])?;
    Ok(value)
}

/// fork(2).
pub fn fork(ctx: &Ctx, frame: &mut TrapFrame) -> Result<u64> {
    clone::clone(ctx, frame, CloneArgs::fork())
}

/// vfork(2).
pub fn vfork(ctx: &Ctx, frame: &mut TrapFrame) -> Result<u64> {
    let flags = CloneFlags::VM | CloneFlags::VFORK;
    clone::clone(
        ctx,
        frame,
        CloneArgs {
            flags,
            ..CloneArgs::fork()
        },
    )
}

fn read_strings(ctx: &Ctx, array: UserPtr<u64>, total: &mut usize) -> Result<Vec<Vec<u8>>> {
    let mut strings = Vec::new();
    if array.is_null() {
        return Ok(strings);
    }
    loop {
        let addr = ctx.read(array.at(strings.len()))?;
        if addr == 0 {
            return Ok(strings);
        }
        let string = UserCStr(UserAddr(addr)).read(ctx, exec::STRING_MAX)?;
        *total += string.len() + 9;
        if *total > exec::STRINGS_MAX {
            return Err(Errno::E2BIG);
        }
        strings.push(string);
    }
}

/// execve(2).
pub fn execve(
    ctx: &Ctx,
    frame: &mut TrapFrame,
    path: UserCStr,
    argv: UserPtr<u64>,
    envp: UserPtr<u64>,
) -> Result<u64> {
    let path = path.read_path(ctx)?;
    let (file, absolute) = exec::open(ctx.fs(), &path)?;
    replace(ctx, frame, (file, absolute, path), argv, envp)
}

fn replace(
    ctx: &Ctx,
    frame: &mut TrapFrame,
    (file, absolute, given): (Arc<OpenFile>, Vec<u8>, Vec<u8>),
    argv: UserPtr<u64>,
    envp: UserPtr<u64>,
) -> Result<u64> {
    let mut total = 0;
    let mut argv = read_strings(ctx, argv, &mut total)?;
    let envp = read_strings(ctx, envp, &mut total)?;
    if argv.is_empty() {
        argv.push(Vec::new());
    }
    exec::execve(
        ctx,
        frame,
        Program {
            path: absolute,
            given,
            file,
            argv,
            envp,
        },
    )
}

/// execveat(2): as execve, of a path from a directory, or (AT_EMPTY_PATH) of an open file.
pub fn execveat(
    ctx: &Ctx,
    frame: &mut TrapFrame,
    dirfd: DirFd,
    path: UserCStr,
    argv: UserPtr<u64>,
    envp: UserPtr<u64>,
    flags: Flags,
) -> Result<u64> {
    let (file, absolute) = crate::syscalls::fs::open_executable(ctx, dirfd, path, flags)?;
    let given = path.read_path(ctx)?;
    let given = match (dirfd, given.first()) {
        (DirFd::CWD, _) | (_, Some(b'/')) => given,
        (DirFd(fd), None) => alloc::format!("/dev/fd/{fd}").into_bytes(),
        (DirFd(fd), Some(_)) => [alloc::format!("/dev/fd/{fd}/").into_bytes(), given].concat(),
    };
    replace(ctx, frame, (file, absolute, given), argv, envp)
}

/// `struct rusage`, 144 bytes.
fn rusage(cpu: CpuTime, resident_kib: u64) -> [u64; 18] {
    let mut words = [0; 18];
    for (place, ns) in [(0, cpu.user_ns()), (2, cpu.system_ns)] {
        words[place] = ns / NSEC_PER_SEC;
        words[place + 1] = ns % NSEC_PER_SEC / 1000;
    }
    words[4] = resident_kib;
    words
}

/// getrusage(2).
pub fn getrusage(ctx: &Ctx, who: i32, usage: UserPtr<[u64; 18]>) -> Result<u64> {
    let process = ctx.process();
    let cpu = match who {
        0 => process.cpu_time(),
        -1 => *process.children_cpu.lock(),
        1 => sched::cpu_time(ctx.task()),
        _ => return Err(Errno::EINVAL),
    };
    let resident = ctx.space().usage().rss_peak / 1024;
    ctx.write(usage, &rusage(cpu, resident))?;
    Ok(0)
}

const WNOHANG: u32 = 1;
const WUNTRACED: u32 = 2;
const WEXITED: u32 = 4;
const WCONTINUED: u32 = 8;
const WNOWAIT: u32 = 0x0100_0000;
/// Not the children of other threads: there is no difference here.
const WNOTHREAD: u32 = 0x2000_0000;
/// Also children that do not end with SIGCHLD.
const WALL: u32 = 0x4000_0000;
/// Those only.
const WCLONE: u32 = 0x8000_0000;
const KINDS: u32 = WNOTHREAD | WALL | WCLONE;

/// What a wait found.
struct Found {
    pid: u32,
    /// As a wait4 status word.
    status: u32,
    info: SigInfo,
    cpu: CpuTime,
}

/// Looks for a child in a state of `options`; ECHILD when there is none to wait for at all.
fn find_child(ctx: &Ctx, select: &dyn Fn(&Process) -> bool, options: u32) -> Result<Option<Found>> {
    let own = ctx.process();
    let mut any = false;
    for child in process::all() {
        let clone = child.exit_signal.load(Ordering::Relaxed) != SIGCHLD;
        if child.parent.load(Ordering::Relaxed) != own.pid()
            || !select(&child)
            || options & WALL == 0 && clone != (options & WCLONE != 0)
        {
            continue;
        }
        any = true;
        let pid = child.pid();
        if options & WEXITED != 0 && child.is_zombie() {
            let status = child.exit_status.lock().unwrap_or(ExitStatus::Exited(0));
            let (why, value) = match status {
                ExitStatus::Exited(value) => (code::CLD_EXITED, i32::from(value)),
                ExitStatus::Signaled(signal, false) => (code::CLD_KILLED, i32::from(signal)),
                ExitStatus::Signaled(signal, true) => (code::CLD_DUMPED, i32::from(signal)),
            };
            let own_time = child.cpu_time();
            let cpu = own_time + *child.children_cpu.lock();
            if options & WNOWAIT == 0 {
                {
                    let mut children = own.children_cpu.lock();
                    *children = *children + cpu;
                }
                process::remove(pid);
            }
            let info = SigInfo::child(why, pid, value);
            return Ok(Some(Found {
                pid,
                status: status.wait_status(),
                info,
                cpu,
            }));
        }
        let mut signals = child.signals.lock();
        let (status, info) = match signals.unreported {
            Some(SIGCONT) if options & WCONTINUED != 0 => (
                0xffff,
                SigInfo::child(code::CLD_CONTINUED, pid, SIGCONT as i32),
            ),
            Some(signal) if signal != SIGCONT && options & WUNTRACED != 0 => (
                signal << 8 | 0x7f,
                SigInfo::child(code::CLD_STOPPED, pid, signal as i32),
            ),
            _ => continue,
        };
        if options & WNOWAIT == 0 {
            signals.unreported = None;
        }
        return Ok(Some(Found {
            pid,
            status,
            info,
            cpu: CpuTime::default(),
        }));
    }
    if any { Ok(None) } else { Err(Errno::ECHILD) }
}

fn wait_child(ctx: &Ctx, select: &dyn Fn(&Process) -> bool, options: u32) -> Result<Option<Found>> {
    if options & WNOHANG != 0 {
        return find_child(ctx, select, options);
    }
    let queue = &ctx.process().child_queue;
    ctx.block(&[(queue, PollEvents::IN)], None, || {
        find_child(ctx, select, options)
    })
    .map(Some)
}

/// wait4(2).
pub fn wait4(
    ctx: &Ctx,
    pid: i32,
    status: UserPtr<u32>,
    options: Flags,
    usage: UserPtr<[u64; 18]>,
) -> Result<u64> {
    let options = options.0;
    if options & !(WNOHANG | WUNTRACED | WCONTINUED | KINDS) != 0 {
        return Err(Errno::EINVAL);
    }
    if pid == i32::MIN {
        return Err(Errno::ESRCH);
    }
    let group = ctx.process().pgid.load(Ordering::Relaxed);
    let select = move |child: &Process| match pid {
        -1 => true,
        0 => child.pgid.load(Ordering::Relaxed) == group,
        1.. => child.is_called(pid as u32),
        _ => child.pgid.load(Ordering::Relaxed) == pid.unsigned_abs(),
    };
    let Some(found) = wait_child(ctx, &select, options | WEXITED)? else {
        return Ok(0);
    };
    ctx.write_if(status, &found.status)?;
    ctx.write_if(usage, &rusage(found.cpu, 0))?;
    Ok(found.pid.into())
}

/// waitid(2).
pub fn waitid(
    ctx: &Ctx,
    kind: u32,
    id: u32,
    info: UserPtr<SigInfo>,
    options: Flags,
    usage: UserPtr<[u64; 18]>,
) -> Result<u64> {
    let found = wait_for_id(ctx, kind, id, options);
    // As Linux: the fields of an answer are stored in any case, even beside an error.
    if !info.is_null() {
        let value = match &found {
            Ok(Some(found)) => found.info,
            _ => SigInfo::none(),
        };
        // The start that siginfo has in this answer; the rest stays as it is.
        ctx.write_bytes(info.addr(), &value.as_bytes()[..12])?;
        ctx.write_bytes(info.addr().wrapping_add(16), &value.as_bytes()[16..28])?;
    }
    if let Some(found) = found? {
        ctx.write_if(usage, &rusage(found.cpu, 0))?;
    }
    Ok(0)
}

fn wait_for_id(ctx: &Ctx, kind: u32, id: u32, options: Flags) -> Result<Option<Found>> {
    let options = options.0;
    let wanted = options & (WEXITED | WUNTRACED | WCONTINUED);
    let known = WNOHANG | WEXITED | WUNTRACED | WCONTINUED | WNOWAIT | KINDS;
    if wanted == 0 || options & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let own_group = ctx.process().pgid.load(Ordering::Relaxed);
    let select = move |child: &Process| match kind {
        0 => true,
        1 => child.is_called(id),
        _ => child.pgid.load(Ordering::Relaxed) == if id == 0 { own_group } else { id },
    };
    match kind {
        0 => {}
        1 if id as i32 > 0 => {}
        2 | 3 if id as i32 >= 0 => {}
        _ => return Err(Errno::EINVAL),
    }
    if kind == 3 {
        // No descriptor is one of a process.
        return Err(Errno::EBADF);
    }
    wait_child(ctx, &select, options)
}

const FUTEX_PRIVATE: i32 = 128;
const FUTEX_CLOCK_REALTIME: i32 = 256;

/// futex(2).
pub fn futex(
    ctx: &Ctx,
    addr: UserAddr,
    operation: i32,
    value: u32,
    timeout: UserPtr<TimeSpec>,
    second: UserAddr,
    value3: u32,
) -> Result<u64> {
    let private = operation & FUTEX_PRIVATE != 0;
    let realtime = operation & FUTEX_CLOCK_REALTIME != 0;
    let count = timeout.addr() as u32;
    let command = operation & !(FUTEX_PRIVATE | FUTEX_CLOCK_REALTIME);
    // Only WAIT_BITSET (and PI operations) take a clock.
    if realtime && command != 9 {
        return Err(Errno::ENOSYS);
    }
    match command {
        0 | 9 => {
            let bits = if command == 0 {
                futex::MATCH_ANY
            } else {
                value3
            };
            let deadline = match timeout.non_null() {
                None => None,
                Some(ptr) => {
                    let time = ctx.read(ptr)?.to_ns()?;
                    Some(if command == 0 {
                        crate::time::monotonic_ns().saturating_add(time)
                    } else if realtime {
                        crate::time::monotonic_of_realtime(time)
                    } else {
                        time
                    })
                }
            };
            let result = futex::wait(ctx, addr.0, private, value, bits, deadline);
            // A relative time-out can't start over: after a handler it is EINTR.
            match result {
                Err(Errno::ERESTARTSYS) if command == 0 && deadline.is_some() => {
                    Err(Errno::ERESTARTNOHAND)
                }
                other => other,
            }
        }
        1 => futex::wake(ctx.space(), addr.0, private, value, futex::MATCH_ANY),
        10 => futex::wake(ctx.space(), addr.0, private, value, value3),
        3 | 4 if (value as i32) < 0 || (count as i32) < 0 => Err(Errno::EINVAL),
        3 => futex::requeue(ctx, [addr.0, second.0], private, value, count, None),
        4 => futex::requeue(ctx, [addr.0, second.0], private, value, count, Some(value3)),
        5 => futex::wake_op(ctx, [addr.0, second.0], private, [value, count], value3),
        _ => Err(Errno::ENOSYS),
    }
}

/// `struct rlimit`.
type RlimitWords = [u64; 2];

/// prlimit64(2).
pub fn prlimit64(
    ctx: &Ctx,
    pid: i32,
    resource: u32,
    new: UserPtr<RlimitWords>,
    old: UserPtr<RlimitWords>,
) -> Result<u64> {
    let new = match new.non_null() {
        Some(ptr) => Some(ctx.read(ptr)?),
        None => None,
    };
    let process = process_of(ctx, pid)?;
    let index = resource as usize;
    if index >= RLIMITS {
        return Err(Errno::EINVAL);
    }
    let current = process.rlimits.lock()[index];
    if let Some([soft, hard]) = new {
        if soft > hard {
            return Err(Errno::EINVAL);
        }
        if index == limit::NOFILE && hard > limit::MOST_FILES {
            return Err(Errno::EPERM);
        }
        process.rlimits.lock()[index] = Rlimit { soft, hard };
        limits_changed(&process);
        if index == limit::CPU {
            cpu_limit::watch(&process);
        }
    }
    ctx.write_if(old, &[current.soft, current.hard])?;
    Ok(0)
}

/// Hands limits to whoever enforces them.
fn limits_changed(process: &Process) {
    let descriptors = process.rlimit(7);
    process.files().lock().set_limit(descriptors);
    for task in process.tasks() {
        task.files().lock().set_limit(descriptors);
    }
    process.space().set_limits(process::memory_limits(process));
}

/// getrlimit(2).
pub fn getrlimit(ctx: &Ctx, resource: u32, limit: UserPtr<RlimitWords>) -> Result<u64> {
    if limit.is_null() && (resource as usize) < RLIMITS {
        return Err(Errno::EFAULT);
    }
    prlimit64(ctx, 0, resource, UserPtr::new(0), limit)
}

/// setrlimit(2).
pub fn setrlimit(ctx: &Ctx, resource: u32, limit: UserPtr<RlimitWords>) -> Result<u64> {
    if limit.is_null() {
        return Err(Errno::EFAULT);
    }
    prlimit64(ctx, 0, resource, limit, UserPtr::new(0))
}

/// getcpu(2).
pub fn getcpu(ctx: &Ctx, cpu: UserPtr<u32>, node: UserPtr<u32>) -> Result<u64> {
    ctx.write_if(cpu, &(smp::this_cpu() as u32))?;
    ctx.write_if(node, &0)?;
    Ok(0)
}

/// times(2): clock ticks since boot; CPU time of the process and its children.
pub fn times(ctx: &Ctx, buffer: UserPtr<[u64; 4]>) -> Result<u64> {
    const TICK_NS: u64 = NSEC_PER_SEC / 100;
    let process = ctx.process();
    let own = process.cpu_time();
    let children = *process.children_cpu.lock();
    let ns = [
        own.user_ns(),
        own.system_ns,
        children.user_ns(),
        children.system_ns,
    ];
    ctx.write_if(buffer, &ns.map(|ns| ns / TICK_NS))?;
    Ok(crate::time::monotonic_ns() / TICK_NS)
}

/// arch_prctl(2).
pub fn arch_prctl(ctx: &Ctx, operation: u32, addr: u64) -> Result<u64> {
    crate::arch::arch_prctl(operation, addr, |value| {
        ctx.write(UserPtr::new(addr), &value)
    })
}

/// personality(2): sets it, unless it is 0xffffffff, and returns the one before.
pub fn personality(ctx: &Ctx, persona: u32) -> Result<u64> {
    let mut attributes = ctx.task().attributes.lock();
    let before = attributes.personality;
    if persona != u32::MAX {
        attributes.personality = persona;
    }
    Ok(before.into())
}

/// pidfd_open(2) and other descriptors of processes are not offered.
pub fn not_offered(_: &Ctx) -> Result<u64> {
    Err(Errno::ENOSYS)
}

/// kcmp, ptrace, ... : refused as to an unprivileged program.
pub fn not_permitted(_: &Ctx) -> Result<u64> {
    Err(Errno::EPERM)
}

/// unshare(2): of descriptors, and of root, directory and umask.
pub fn unshare(ctx: &Ctx, flags: Flags) -> Result<u64> {
    let mut flags = CloneFlags::from_bits_retain(flags.0.into());
    let threads = CloneFlags::THREAD | CloneFlags::SIGHAND | CloneFlags::VM;
    let known =
        threads | CloneFlags::FS | CloneFlags::FILES | CloneFlags::SYSVSEM | CloneFlags::NAMESPACES;
    if !known.contains(flags) {
        return Err(Errno::EINVAL);
    }
    if flags.contains(CloneFlags::NEWUSER) {
        flags |= CloneFlags::THREAD | CloneFlags::FS;
    }
    let process = ctx.process();
    let shares_actions = process.signals.lock().shares_actions();
    let of_memory = flags.intersects(CloneFlags::VM | CloneFlags::SIGHAND);
    // Only of what nobody shares anyway.
    if flags.intersects(threads) && process.tasks().len() > 1
        || of_memory && shares_actions
        || flags.contains(CloneFlags::VM) && exit::has_other_users(ctx.task(), ctx.space())
    {
        return Err(Errno::EINVAL);
    }
    if flags.intersects(CloneFlags::NAMESPACES) {
        return Err(Errno::EPERM);
    }
    let (files, fs) = (
        flags.contains(CloneFlags::FILES),
        flags.contains(CloneFlags::FS),
    );
    unshare_parts(ctx, files, fs);
    Ok(0)
}

/// Gives the calling thread descriptors, or root, directory and umask, of its own.
pub(super) fn unshare_parts(ctx: &Ctx, files: bool, fs: bool) {
    let process = ctx.process();
    let mut own = ctx.task().own_parts();
    if files {
        let copy = ctx.files().lock().fork();
        own.files = Some(Arc::new(Lock::new(Rank::Descriptors, copy)));
    }
    if fs {
        let copy = ctx.fs().lock().clone();
        own.fs = Some(Arc::new(Lock::new(Rank::FsContext, copy)));
    }
    if process.tasks().len() == 1 {
        // Nobody else has the process's.
        if let Some(files) = own.files.take() {
            drop(process.set_files(files));
        }
        if let Some(fs) = own.fs.take() {
            drop(process.set_fs(fs));
        }
    }
    drop(ctx.task().set_own_parts(own));
}

/// setns(2): no descriptor is one of a namespace.
pub fn setns(ctx: &Ctx, fd: Fd, _kind: i32) -> Result<u64> {
    ctx.files().lock().get_open(fd.0)?;
    Err(Errno::EINVAL)
}
