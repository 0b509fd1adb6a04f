//! Processes, threads, and what they may know of themselves.

use crate::arch::TrapFrame;
use crate::errno::{Errno, Result};
use crate::fs::file::OpenFile;
use crate::smp;
use crate::syscalls::args::{DirFd, Flags, UserAddr, UserCStr, UserPtr};
use crate::syscalls::time::TimeSpec;
use crate::task::clone::{self, CloneArgs, CloneFlags};
use crate::task::exec::{self, Program};
use crate::task::process::{self, ExitStatus, Process, RLIMITS, Rlimit};
use crate::task::signal::{SigInfo, code, number::*};
use crate::task::{Ctx, Task, exit, futex, sched};
use crate::time::NSEC_PER_SEC;
use crate::wait::PollEvents;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
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
    Ok(ctx.process().pid().into())
}

/// gettid(2).
pub fn gettid(ctx: &Ctx) -> Result<u64> {
    Ok(ctx.task().tid().into())
}

/// getppid(2).
pub fn getppid(ctx: &Ctx) -> Result<u64> {
    Ok(ctx.process().parent.load(Ordering::Relaxed).into())
}

/// getuid, geteuid, getgid, getegid: everything in the VM is root's.
pub fn get_id(_: &Ctx) -> Result<u64> {
    Ok(0)
}

/// setuid and its kin: only to what is already so.
pub fn set_id(_: &Ctx, id: u32) -> Result<u64> {
    if id == 0 || id == u32::MAX {
        Ok(0)
    } else {
        Err(Errno::EPERM)
    }
}

/// setreuid, setregid.
pub fn set_id2(ctx: &Ctx, real: u32, effective: u32) -> Result<u64> {
    set_id(ctx, real)?;
    set_id(ctx, effective)
}

/// setresuid, setresgid.
pub fn set_id3(ctx: &Ctx, real: u32, effective: u32, saved: u32) -> Result<u64> {
    set_id2(ctx, real, effective)?;
    set_id(ctx, saved)
}

/// getresuid, getresgid.
pub fn get_id3(
    ctx: &Ctx,
    real: UserPtr<u32>,
    effective: UserPtr<u32>,
    saved: UserPtr<u32>,
) -> Result<u64> {
    for ptr in [real, effective, saved] {
        ctx.write(ptr, &0)?;
    }
    Ok(0)
}

/// getgroups(2): none.
pub fn getgroups(_: &Ctx, size: i32, _list: UserPtr<u32>) -> Result<u64> {
    if size < 0 { Err(Errno::EINVAL) } else { Ok(0) }
}

/// setgroups(2).
pub fn setgroups(_: &Ctx, size: usize, _list: UserPtr<u32>) -> Result<u64> {
    if size > 65_536 {
        Err(Errno::EINVAL)
    } else {
        Ok(0)
    }
}

/// A process by pid argument, 0: the caller's.
fn process_of(ctx: &Ctx, pid: i32) -> Result<Arc<Process>> {
    match pid {
        0 => Ok(ctx.process().clone()),
        1.. => process::find(pid as u32).ok_or(Errno::ESRCH),
        _ => Err(Errno::ESRCH),
    }
}

/// getpgid(2).
pub fn getpgid(ctx: &Ctx, pid: i32) -> Result<u64> {
    Ok(process_of(ctx, pid)?.pgid.load(Ordering::Relaxed).into())
}

/// getpgrp(2).
pub fn getpgrp(ctx: &Ctx) -> Result<u64> {
    getpgid(ctx, 0)
}

/// setpgid(2).
pub fn setpgid(ctx: &Ctx, pid: i32, pgid: i32) -> Result<u64> {
    if pgid < 0 {
        return Err(Errno::EINVAL);
    }
    let target = process_of(ctx, pid)?;
    let own = ctx.process();
    let is_child = target.parent.load(Ordering::Relaxed) == own.pid();
    if !Arc::ptr_eq(&target, own) {
        if !is_child {
            return Err(Errno::ESRCH);
        }
        if target.sid.load(Ordering::Relaxed) != own.sid.load(Ordering::Relaxed) {
            return Err(Errno::EPERM);
        }
        if target.has_execed.load(Ordering::Relaxed) {
            return Err(Errno::EACCES);
        }
    }
    if target.sid.load(Ordering::Relaxed) == target.pid() {
        return Err(Errno::EPERM);
    }
    let pgid = if pgid == 0 { target.pid() } else { pgid as u32 };
    let session = target.sid.load(Ordering::Relaxed);
    let exists = pgid == target.pid()
        || process::all().iter().any(|other| {
            other.pgid.load(Ordering::Relaxed) == pgid
                && other.sid.load(Ordering::Relaxed) == session
        });
    if !exists {
        return Err(Errno::EPERM);
    }
    target.pgid.store(pgid, Ordering::Relaxed);
    Ok(0)
}

/// getsid(2).
pub fn getsid(ctx: &Ctx, pid: i32) -> Result<u64> {
    Ok(process_of(ctx, pid)?.sid.load(Ordering::Relaxed).into())
}

/// setsid(2).
pub fn setsid(ctx: &Ctx) -> Result<u64> {
    let own = ctx.process();
    let pid = own.pid();
    if process::all()
        .iter()
        .any(|other| other.pgid.load(Ordering::Relaxed) == pid)
    {
        return Err(Errno::EPERM);
    }
    own.sid.store(pid, Ordering::Relaxed);
    own.pgid.store(pid, Ordering::Relaxed);
    let terminal = own.terminal.lock().take();
    drop(terminal);
    Ok(pid.into())
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
    let task = match tid {
        0 => ctx.task().clone(),
        _ => process::find_task(tid as u32).ok_or(Errno::ESRCH)?,
    };
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
    };
    clone::clone(ctx, frame, args)
}

/// `struct clone_args` (include/uapi/linux/sched.h), first version's fields.
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
}

/// clone3(2).
pub fn clone3(ctx: &Ctx, frame: &mut TrapFrame, args: UserPtr<Clone3>, size: usize) -> Result<u64> {
    let known = size_of::<Clone3>();
    if size < known {
        return Err(Errno::EINVAL);
    }
    if size > 4096 {
        return Err(Errno::E2BIG);
    }
    // Fields of later versions (set_tid, cgroup) must be unused.
    let mut rest = alloc::vec![0u8; size - known];
    ctx.read_bytes(args.addr() + known as u64, &mut rest)?;
    if rest.iter().any(|&byte| byte != 0) {
        return Err(Errno::E2BIG);
    }
    let args = ctx.read(args)?;
    let flags = CloneFlags::from_bits_retain(args.flags);
    // The signal has a field of its own here, and is not for those who have no child of theirs.
    let signal_in_flags = args.flags & 0xff != 0 || flags.contains(CloneFlags::DETACHED);
    let unheard = flags.intersects(CloneFlags::THREAD | CloneFlags::PARENT);
    if args.exit_signal > 64
        || (args.stack == 0) != (args.stack_size == 0)
        || signal_in_flags
        || unheard && args.exit_signal != 0
    {
        return Err(Errno::EINVAL);
    }
    let args = CloneArgs {
        flags,
        exit_signal: args.exit_signal as u32,
        stack: args.stack.wrapping_add(args.stack_size),
        parent_tid: args.parent_tid,
        child_tid: args.child_tid,
        tls: args.tls,
    };
    clone::clone(ctx, frame, args)
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
fn rusage(user_ns: u64, resident_kib: u64) -> [u64; 18] {
    let mut words = [0; 18];
    words[0] = user_ns / NSEC_PER_SEC;
    words[1] = user_ns % NSEC_PER_SEC / 1000;
    words[4] = resident_kib;
    words
}

/// getrusage(2).
pub fn getrusage(ctx: &Ctx, who: i32, usage: UserPtr<[u64; 18]>) -> Result<u64> {
    let process = ctx.process();
    let cpu = match who {
        0 => process.cpu_time_ns(),
        -1 => process.children_cpu_ns.load(Ordering::Relaxed),
        1 => sched::cpu_time_ns(ctx.task()),
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
    cpu_ns: u64,
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
            let cpu_ns = child.cpu_time_ns() + child.children_cpu_ns.load(Ordering::Relaxed);
            if options & WNOWAIT == 0 {
                own.children_cpu_ns.fetch_add(cpu_ns, Ordering::Relaxed);
                process::remove(pid);
            }
            let info = SigInfo::child(why, pid, value);
            return Ok(Some(Found {
                pid,
                status: status.wait_status(),
                info,
                cpu_ns,
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
            cpu_ns: 0,
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
        1.. => child.pid() == pid as u32,
        _ => child.pgid.load(Ordering::Relaxed) == pid.unsigned_abs(),
    };
    let Some(found) = wait_child(ctx, &select, options | WEXITED)? else {
        return Ok(0);
    };
    ctx.write_if(status, &found.status)?;
    ctx.write_if(usage, &rusage(found.cpu_ns, 0))?;
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
        ctx.write_if(usage, &rusage(found.cpu_ns, 0))?;
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
        1 => child.pid() == id,
        _ => child.pgid.load(Ordering::Relaxed) == if id == 0 { own_group } else { id },
    };
    if kind > 2 || kind == 1 && id as i32 <= 0 || kind == 2 && (id as i32) < 0 {
        return Err(Errno::EINVAL);
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
    if realtime && command != 9 && command != 0 {
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
    let process = process_of(ctx, pid)?;
    let index = resource as usize;
    if index >= RLIMITS {
        return Err(Errno::EINVAL);
    }
    let new = match new.non_null() {
        Some(ptr) => Some(ctx.read(ptr)?),
        None => None,
    };
    let current = process.rlimits.lock()[index];
    if let Some([soft, hard]) = new {
        if soft > hard {
            return Err(Errno::EINVAL);
        }
        process.rlimits.lock()[index] = Rlimit { soft, hard };
        limits_changed(&process);
    }
    ctx.write_if(old, &[current.soft, current.hard])?;
    Ok(0)
}

/// Hands limits to whoever enforces them.
fn limits_changed(process: &Process) {
    let descriptors = process.rlimit(7);
    process.files().lock().set_limit(descriptors);
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

/// sched_yield(2).
pub fn sched_yield(ctx: &Ctx) -> Result<u64> {
    sched::yield_current(ctx.task());
    Ok(0)
}

/// sched_getaffinity(2).
pub fn sched_getaffinity(ctx: &Ctx, tid: i32, size: u32, mask: UserAddr) -> Result<u64> {
    if size < 8 || !size.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    let task = task_or_self(ctx, tid)?;
    let allowed = task.affinity() & smp::all_cpus();
    ctx.write_bytes(mask.0, &allowed.to_le_bytes())?;
    Ok(8)
}

/// sched_setaffinity(2): the mask must contain a vCPU.
pub fn sched_setaffinity(ctx: &Ctx, tid: i32, size: u32, mask: UserAddr) -> Result<u64> {
    let mut bytes = [0; 8];
    let size = bytes.len().min(size as usize);
    if size > 0 {
        ctx.read_bytes(mask.0, &mut bytes[..size])?;
    }
    let allowed = u64::from_le_bytes(bytes) & smp::all_cpus();
    let task = task_or_self(ctx, tid)?;
    if allowed == 0 {
        return Err(Errno::EINVAL);
    }
    sched::set_affinity(&task, allowed);
    Ok(0)
}

fn task_or_self(ctx: &Ctx, tid: i32) -> Result<Arc<Task>> {
    match tid {
        0 => Ok(ctx.task().clone()),
        1.. => process::find_task(tid as u32).ok_or(Errno::ESRCH),
        _ => Err(Errno::ESRCH),
    }
}

fn task_exists(tid: i32) -> Result<()> {
    match tid {
        0 => Ok(()),
        1.. if process::find_task(tid as u32).is_some() => Ok(()),
        _ => Err(Errno::ESRCH),
    }
}

/// As [`task_exists`], for the calls that find a negative id to be wrong in itself.
fn sched_target(tid: i32) -> Result<()> {
    if tid < 0 {
        return Err(Errno::EINVAL);
    }
    task_exists(tid)
}

/// sched_getscheduler(2): SCHED_OTHER.
pub fn sched_getscheduler(_: &Ctx, tid: i32) -> Result<u64> {
    sched_target(tid)?;
    Ok(0)
}

/// sched_getattr(2): SCHED_OTHER without particulars.
pub fn sched_getattr(
    ctx: &Ctx,
    tid: i32,
    attributes: UserAddr,
    size: u32,
    flags: Flags,
) -> Result<u64> {
    /// `SCHED_ATTR_SIZE_VER0` and `_VER1` (include/uapi/linux/sched/types.h).
    const FIRST: u32 = 48;
    const WHOLE: u32 = 56;
    if attributes.is_null() || !(FIRST..=4096).contains(&size) || flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    sched_target(tid)?;
    let mut words = [0u32; WHOLE as usize / 4];
    words[0] = size.min(WHOLE);
    words[13] = 1024; // sched_util_max
    ctx.write_bytes(attributes.0, &words.as_bytes()[..words[0] as usize])?;
    Ok(0)
}

/// sched_setscheduler(2): SCHED_OTHER, SCHED_BATCH and SCHED_IDLE with priority 0.
pub fn sched_setscheduler(ctx: &Ctx, tid: i32, policy: i32, param: UserPtr<i32>) -> Result<u64> {
    if param.is_null() {
        return Err(Errno::EINVAL);
    }
    sched_target(tid)?;
    let priority = ctx.read(param)?;
    match policy {
        0 | 3 | 5 if priority == 0 => Ok(0),
        1 | 2 if (1..=99).contains(&priority) => Err(Errno::EPERM),
        _ => Err(Errno::EINVAL),
    }
}

/// sched_getparam(2).
pub fn sched_getparam(ctx: &Ctx, tid: i32, param: UserPtr<i32>) -> Result<u64> {
    if param.is_null() {
        return Err(Errno::EINVAL);
    }
    sched_target(tid)?;
    ctx.write(param, &0)?;
    Ok(0)
}

/// sched_setparam(2).
pub fn sched_setparam(ctx: &Ctx, tid: i32, param: UserPtr<i32>) -> Result<u64> {
    if param.is_null() {
        return Err(Errno::EINVAL);
    }
    sched_target(tid)?;
    if ctx.read(param)? == 0 {
        Ok(0)
    } else {
        Err(Errno::EINVAL)
    }
}

/// sched_get_priority_max and _min.
pub fn sched_priority_max(_: &Ctx, policy: i32) -> Result<u64> {
    match policy {
        1 | 2 => Ok(99),
        0 | 3 | 5 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// sched_get_priority_min(2).
pub fn sched_priority_min(_: &Ctx, policy: i32) -> Result<u64> {
    match policy {
        1 | 2 => Ok(1),
        0 | 3 | 5 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// sched_rr_get_interval(2).
pub fn sched_rr_get_interval(ctx: &Ctx, tid: i32, interval: UserPtr<TimeSpec>) -> Result<u64> {
    sched_target(tid)?;
    ctx.write(interval, &TimeSpec::from_ns(5_000_000))?;
    Ok(0)
}

/// getpriority(2): nice 0, as Linux returns it (20 - nice).
pub fn getpriority(ctx: &Ctx, which: i32, who: i32) -> Result<u64> {
    priority_target(ctx, which, who)?;
    Ok(20)
}

/// setpriority(2): accepted; the scheduler knows no priorities.
pub fn setpriority(ctx: &Ctx, which: i32, who: i32, _nice: i32) -> Result<u64> {
    priority_target(ctx, which, who)?;
    Ok(0)
}

fn priority_target(ctx: &Ctx, which: i32, who: i32) -> Result<()> {
    match which {
        0 => process_of(ctx, who).map(|_| ()),
        1 | 2 => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

/// getcpu(2).
pub fn getcpu(ctx: &Ctx, cpu: UserPtr<u32>, node: UserPtr<u32>) -> Result<u64> {
    ctx.write_if(cpu, &(smp::this_cpu() as u32))?;
    ctx.write_if(node, &0)?;
    Ok(0)
}

/// times(2): clock ticks since boot; user time of the process and its children.
pub fn times(ctx: &Ctx, buffer: UserPtr<[u64; 4]>) -> Result<u64> {
    const TICK_NS: u64 = NSEC_PER_SEC / 100;
    let process = ctx.process();
    let own = process.cpu_time_ns() / TICK_NS;
    let children = process.children_cpu_ns.load(Ordering::Relaxed) / TICK_NS;
    ctx.write_if(buffer, &[own, 0, children, 0])?;
    Ok(crate::time::monotonic_ns() / TICK_NS)
}

/// prctl(2), the operations that mean something in a VM of one program.
pub fn prctl(ctx: &Ctx, operation: i32, arg2: u64, arg3: u64, arg4: u64, arg5: u64) -> Result<u64> {
    let process = ctx.process();
    match operation {
        // PR_SET_PDEATHSIG, PR_GET_PDEATHSIG
        1 if arg2 > 64 => Err(Errno::EINVAL),
        1 => {
            process.death_signal.store(arg2 as u32, Ordering::Relaxed);
            Ok(0)
        }
        2 => {
            ctx.write(
                UserPtr::new(arg2),
                &process.death_signal.load(Ordering::Relaxed),
            )?;
            Ok(0)
        }
        // PR_GET_DUMPABLE, PR_SET_DUMPABLE
        3 => Ok(process.dumpable.load(Ordering::Relaxed).into()),
        4 if arg2 > 1 => Err(Errno::EINVAL),
        4 => {
            process.dumpable.store(arg2 as u32, Ordering::Relaxed);
            Ok(0)
        }
        // PR_SET_NAME, PR_GET_NAME
        15 => {
            let mut name = [0; 16];
            for (index, byte) in name.iter_mut().take(15).enumerate() {
                let mut one = [0];
                ctx.read_bytes(arg2.wrapping_add(index as u64), &mut one)?;
                if one[0] == 0 {
                    break;
                }
                *byte = one[0];
            }
            *ctx.task().name.lock() = name;
            Ok(0)
        }
        16 => {
            let name = *ctx.task().name.lock();
            ctx.write_bytes(arg2, &name)?;
            Ok(0)
        }
        // PR_GET_SECCOMP, PR_CAPBSET_READ, PR_GET_TIMERSLACK, PR_SET_TIMERSLACK
        21 => Ok(0),
        23 if arg2 <= 40 => Ok(1),
        29 | 30 => Ok(if operation == 30 { 50_000 } else { 0 }),
        // PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER
        36 => {
            process.subreaper.store(arg2 != 0, Ordering::Relaxed);
            Ok(0)
        }
        37 => {
            let value = u32::from(process.subreaper.load(Ordering::Relaxed));
            ctx.write(UserPtr::new(arg2), &value)?;
            Ok(0)
        }
        // PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS: nothing here gives privileges.
        38 if arg2 == 1 && arg3 | arg4 | arg5 == 0 => Ok(0),
        39 if arg2 | arg3 | arg4 | arg5 == 0 => Ok(0),
        // PR_SET_THP_DISABLE, PR_GET_THP_DISABLE
        41 | 42 => Ok(0),
        // PR_SET_VMA (names for anonymous memory): accepted, not shown.
        0x5356_4d41 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// capget(2): all capabilities, inside the VM.
pub fn capget(ctx: &Ctx, header: UserPtr<[u32; 2]>, data: UserPtr<[u32; 3]>) -> Result<u64> {
    const VERSION_3: u32 = 0x2008_0522;
    let [version, _] = ctx.read(header)?;
    let words = match version {
        0x1998_0330 => 1,
        0x2007_1026 | VERSION_3 => 2,
        _ => {
            ctx.write(header.cast::<u32>(), &VERSION_3)?;
            return if data.is_null() {
                Ok(0)
            } else {
                Err(Errno::EINVAL)
            };
        }
    };
    if data.is_null() {
        return Ok(0);
    }
    // Effective, permitted, inheritable: 41 capabilities exist.
    let masks: [u32; 2] = [u32::MAX, 0x1ff];
    for (index, mask) in masks.iter().enumerate().take(words) {
        ctx.write(data.at(index), &[*mask, *mask, 0])?;
    }
    Ok(0)
}

/// capset(2): capabilities can be kept; giving them up changes nothing in the VM.
pub fn capset(ctx: &Ctx, header: UserPtr<[u32; 2]>, data: UserPtr<[u32; 3]>) -> Result<u64> {
    ctx.read(header)?;
    ctx.read(data)?;
    Ok(0)
}

/// arch_prctl(2).
pub fn arch_prctl(ctx: &Ctx, operation: u32, addr: u64) -> Result<u64> {
    crate::arch::arch_prctl(ctx, operation, addr)
}

/// personality(2): the default one only.
pub fn personality(_: &Ctx, persona: u32) -> Result<u64> {
    match persona {
        0 | u32::MAX => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// pidfd_open(2) and other descriptors of processes are not offered.
pub fn not_offered(_: &Ctx) -> Result<u64> {
    Err(Errno::ENOSYS)
}

/// kcmp, ptrace, ... : refused as to an unprivileged program.
pub fn not_permitted(_: &Ctx) -> Result<u64> {
    Err(Errno::EPERM)
}

/// close-on-exec descriptors of another table can't be had: unshare(2) of files and fs only.
pub fn unshare(ctx: &Ctx, flags: Flags) -> Result<u64> {
    let flags = CloneFlags::from_bits_retain(flags.0.into());
    let harmless = CloneFlags::FILES | CloneFlags::FS | CloneFlags::SYSVSEM;
    if !(flags - harmless).is_empty() {
        return Err(Errno::EPERM);
    }
    if flags.contains(CloneFlags::FILES) {
        let copy = ctx.files().lock().fork();
        drop(ctx.process().set_files(Arc::new(crate::sync::Lock::new(
            crate::sync::Rank::Descriptors,
            copy,
        ))));
    }
    Ok(0)
}
