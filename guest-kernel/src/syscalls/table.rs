//! The one table of system calls: number on x86-64 and on arm64 (`-`: not there), name, typed
//! arguments, handler, and how far it goes. Dispatch, `--strace` and `docs/abi.md` come from it.

use super::args::{Arg, Call, DirFd, Fd, Flags, Kind, ModeArg, UserAddr, UserCStr, UserPtr};
use super::strace::names::*;
use super::strace::show::{self, *};
use super::time::{TimeSpec, TimeVal};
use super::{
    fs, identity, io, ipc, misc, mm, net, others, poll, prctl, schedule, signal, task, time,
};
use crate::arch::TrapFrame;
use crate::errno::Result;
use crate::fs::file::OpenFlags;
use crate::task::{Ctx, SigInfo};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

/// How far an implementation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// As Linux.
    Full,
    /// With what is missing.
    Partial(&'static str),
    /// On purpose: always this error.
    Refused(&'static str),
}

/// What a call returns, as far as a trace cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    /// A number.
    Number,
    /// An address.
    Address,
    /// It does not.
    Never,
}

/// One argument of a row.
#[derive(Clone, Copy)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub kind: Kind,
    out: bool,
    show: fn(&Call<'_>, &mut String),
}

/// One row, for documentation and traces.
#[derive(Clone, Copy)]
pub struct Row {
    /// Number on x86-64.
    pub x86_64: u64,
    /// Number on arm64.
    pub aarch64: Option<u64>,
    /// Name.
    pub name: &'static str,
    /// Its arguments.
    pub arguments: &'static [Argument],
    /// Path of the handler.
    pub handler: &'static str,
    /// What it returns.
    pub returns: Returns,
    /// How far it goes.
    pub support: Support,
}

impl Row {
    /// Appends the arguments from number `from` on, until one that is not written yet. Returns the
    /// number of the first that was not shown.
    pub fn show(&self, call: &Call<'_>, from: usize, out: &mut String) -> usize {
        for (index, argument) in self.arguments.iter().enumerate().skip(from) {
            let before = out.len();
            if index > 0 && (index > from || from == 0) {
                out.push_str(", ");
            }
            if argument.out && call.result.is_none() {
                return index;
            }
            let start = out.len();
            let call = Call { index, ..*call };
            (argument.show)(&call, out);
            if out.len() == start {
                out.truncate(before);
            }
        }
        self.arguments.len()
    }
}

fn show_as<T: Arg>(call: &Call<'_>, out: &mut String) {
    T::from_raw(call.argument(0)).trace(call, out);
}

macro_rules! returns {
    () => {
        Returns::Number
    };
    ($returns:ident) => {
        Returns::$returns
    };
}

macro_rules! arm_number {
    (-) => {
        None
    };
    ($number:literal) => {
        Some($number)
    };
}

macro_rules! invoke {
    ($handler:path, $ctx:ident, $frame:ident, [frame], $($value:expr),*) => {
        $handler($ctx, $frame, $($value.into()),*)
    };
    ($handler:path, $ctx:ident, $frame:ident, [], $($value:expr),*) => {
        $handler($ctx, $($value.into()),*)
    };
}

macro_rules! syscalls {
    ($([$x86:literal $arm:tt] $name:ident($($arg:ident: $type:ty),*) $(-> $returns:ident)?
        => $handler:path, $support:expr $(, $frame_marker:ident)?;)*) => {
        /// Every row, by x86-64 number.
        pub static ROWS: &[Row] = {
            use Support::*;
            &[$(Row {
                x86_64: $x86,
                aarch64: arm_number!($arm),
                name: stringify!($name),
                arguments: &[$(Argument {
                    name: stringify!($arg),
                    kind: <$type as Arg>::KIND,
                    out: <$type as Arg>::OUT,
                    show: show_as::<$type>,
                }),*],
                handler: stringify!($handler),
                returns: returns!($($returns)?),
                support: $support,
            }),*]
        };

        /// Runs system call `number`; `None`: there is no such row.
        pub fn call(ctx: &Ctx, frame: &mut TrapFrame, number: u64) -> Option<Result<u64>> {
            let mut raw = frame.args().into_iter();
            let mut next = || raw.next().unwrap_or(0);
            Some(match number {
                $($x86 => {
                    $(let $arg = <$type as Arg>::from_raw(next());)*
                    invoke!($handler, ctx, frame, [$($frame_marker)?], $($arg),*)
                })*
                _ => {
                    next();
                    return None;
                }
            })
        }
    };
}

syscalls! {
    [0 63] read(fd: Fd, buffer: OutBytes, len: usize) => io::read, Full;
    [1 64] write(fd: Fd, buffer: InBytes, len: usize) => io::write, Full;
    [2 -] open(path: UserCStr, flags: OpenFlags, mode: CreateMode) => fs::open, Full;
    [3 57] close(fd: Fd) => fs::close, Full;
    [4 -] stat(path: UserCStr, out: Out<Stat>) => fs::stat, Full;
    [5 80] fstat(fd: Fd, out: Out<Stat>) => fs::fstat, Full;
    [6 -] lstat(path: UserCStr, out: Out<Stat>) => fs::lstat, Full;
    [7 -] poll(fds: PollIn, count: u32, timeout: i32) => poll::poll, Full;
    [8 62] lseek(fd: Fd, offset: i64, whence: Named<Whence>) => io::lseek, Full;
    [9 222] mmap(addr: UserAddr, length: u64, prot: Named<Prot>, flags: Named<MapFlags>, fd: Fd, offset: u64) -> Address => mm::mmap, Full;
    [10 226] mprotect(addr: UserAddr, length: u64, prot: Named<Prot>) => mm::mprotect, Full;
    [11 215] munmap(addr: UserAddr, length: u64) => mm::munmap, Full;
    [12 214] brk(addr: UserAddr) -> Address => mm::brk, Full;
    [13 134] rt_sigaction(signal: Signal, new: In<Action>, old: Out<Action>, set_size: usize) => signal::rt_sigaction, Full;
    [14 135] rt_sigprocmask(how: Named<MaskHow>, new: In<SignalSet>, old: Out<SignalSet>, set_size: usize) => signal::rt_sigprocmask, Full;
    [15 139] rt_sigreturn() => signal::rt_sigreturn, Full, frame;
    [16 29] ioctl(fd: Fd, request: Named<IoctlRequest>, arg: Opaque) => io::ioctl, Partial("terminals, FIONREAD, FIONBIO, FIOCLEX and what each kind of file knows");
    [17 67] pread64(fd: Fd, buffer: OutBytes, len: usize, offset: i64) => io::pread64, Full;
    [18 68] pwrite64(fd: Fd, buffer: InBytes, len: usize, offset: i64) => io::pwrite64, Full;
    [19 65] readv(fd: Fd, vector: OutVectors, count: usize) => io::readv, Full;
    [20 66] writev(fd: Fd, vector: InVectors, count: usize) => io::writev, Full;
    [21 -] access(path: UserCStr, mode: Named<AccessMode>) => fs::access, Full;
    [22 -] pipe(fds: Out<TwoFds>) => ipc::pipe, Full;
    [23 -] select(count: i32, read: UserPtr<u64>, write: UserPtr<u64>, except: UserPtr<u64>, timeout: UserPtr<[i64; 2]>) => poll::select, Full;
    [24 124] sched_yield() => schedule::sched_yield, Full;
    [25 216] mremap(addr: UserAddr, old_length: u64, new_length: u64, flags: Named<RemapFlags>, new_addr: UserAddr) -> Address => mm::mremap, Full;
    [26 227] msync(addr: UserAddr, length: u64, flags: Named<SyncFlags>) => mm::msync, Full;
    [27 232] mincore(addr: UserAddr, length: u64, out: UserAddr) => mm::mincore, Full;
    [28 233] madvise(addr: UserAddr, length: u64, advice: Named<Advice>) => mm::madvise, Full;
    [32 23] dup(fd: Fd) => fs::dup, Full;
    [33 -] dup2(old: Fd, new: Fd) => fs::dup2, Full;
    [34 -] pause() => signal::pause, Full;
    [35 101] nanosleep(wanted: In<show::TimeSpec>, left: Out<show::TimeSpec>) => time::nanosleep, Full;
    [36 102] getitimer(which: Named<IntervalTimer>, out: Out<ItimerVal>) => time::getitimer, Full;
    [37 -] alarm(seconds: u32) => time::alarm, Full;
    [38 103] setitimer(which: Named<IntervalTimer>, new: In<ItimerVal>, old: Out<ItimerVal>) => time::setitimer, Full;
    [39 172] getpid() => task::getpid, Full;
    [40 71] sendfile(output: Fd, input: Fd, offset: In<Number64>, count: usize) => io::sendfile, Full;
    [41 198] socket(domain: Named<Family>, kind: Named<SocketKind>, protocol: i32) => net::socket, Partial("AF_UNIX, AF_INET and AF_INET6 within the VM, NETLINK_ROUTE dumps");
    [42 203] connect(fd: Fd, addr: InSocket, len: u32) => net::connect, Full;
    [43 202] accept(fd: Fd, addr: OutSocket, len: Out<Number>) => net::accept, Full;
    [44 206] sendto(fd: Fd, buffer: InBytes, len: usize, flags: Named<MessageFlags>, addr: InSocket, addr_len: u32) => net::sendto, Partial("MSG_OOB on TCP and AF_UNIX streams");
    [45 207] recvfrom(fd: Fd, buffer: OutBytes, len: usize, flags: Named<MessageFlags>, addr: OutSocket, addr_len: Out<Number>) => net::recvfrom, Partial("MSG_OOB on TCP and AF_UNIX streams");
    [46 211] sendmsg(fd: Fd, message: UserPtr<net::MsgHdr>, flags: Named<MessageFlags>) => net::sendmsg, Partial("SCM_RIGHTS and SCM_CREDENTIALS");
    [47 212] recvmsg(fd: Fd, message: UserPtr<net::MsgHdr>, flags: Named<MessageFlags>) => net::recvmsg, Partial("SCM_RIGHTS and SCM_CREDENTIALS");
    [48 210] shutdown(fd: Fd, how: Named<ShutdownHow>) => net::shutdown, Full;
    [49 200] bind(fd: Fd, addr: InSocket, len: u32) => net::bind, Full;
    [50 201] listen(fd: Fd, backlog: i32) => net::listen, Full;
    [51 204] getsockname(fd: Fd, addr: OutSocket, len: Out<Number>) => net::getsockname, Full;
    [52 205] getpeername(fd: Fd, addr: OutSocket, len: Out<Number>) => net::getpeername, Full;
    [53 199] socketpair(domain: Named<Family>, kind: Named<SocketKind>, protocol: i32, fds: Out<TwoFds>) => net::socketpair, Full;
    [54 208] setsockopt(fd: Fd, level: Named<OptionLevel>, name: i32, value: UserAddr, len: i32) => net::setsockopt, Partial("most options are only remembered");
    [55 209] getsockopt(fd: Fd, level: Named<OptionLevel>, name: i32, value: UserAddr, len: UserPtr<i32>) => net::getsockopt, Partial("most options are only remembered");
    [56 220] clone(flags: Named<CloneFlags>, stack: UserAddr, parent_tid: UserAddr, child_tid: UserAddr, tls: u64) => task::clone, Partial("no namespaces, no pidfd"), frame;
    [57 -] fork() => task::fork, Full, frame;
    [58 -] vfork() => task::vfork, Full, frame;
    [59 221] execve(path: UserCStr, argv: Strings, envp: Environment) => task::execve, Full, frame;
    [60 93] exit(status: i32) -> Never => task::exit, Full;
    [61 260] wait4(pid: i32, status: Out<WaitStatus>, options: Named<WaitOptions>, usage: UserPtr<[u64; 18]>) => task::wait4, Full;
    [62 129] kill(pid: i32, signal: Signal) => signal::kill, Full;
    [63 160] uname(out: Out<Uname>) => misc::uname, Full;
    [72 25] fcntl(fd: Fd, command: Named<FcntlCommand>, arg: Opaque) => fs::fcntl, Partial("no leases; F_SETOWN only on stream sockets, for SIGURG; O_ASYNC sends no signals");
    [73 32] flock(fd: Fd, operation: Named<LockOperation>) => fs::flock, Full;
    [74 82] fsync(fd: Fd) => io::fsync, Full;
    [75 83] fdatasync(fd: Fd) => io::fdatasync, Full;
    [76 45] truncate(path: UserCStr, size: i64) => fs::truncate, Full;
    [77 46] ftruncate(fd: Fd, size: i64) => fs::ftruncate, Full;
    [78 -] getdents(fd: Fd, buffer: UserAddr, size: u32) => fs::getdents, Full;
    [79 17] getcwd(buffer: OutString, size: usize) => fs::getcwd, Full;
    [80 49] chdir(path: UserCStr) => fs::chdir, Full;
    [81 50] fchdir(fd: Fd) => fs::fchdir, Full;
    [82 -] rename(old: UserCStr, new: UserCStr) => fs::rename, Full;
    [83 -] mkdir(path: UserCStr, mode: ModeArg) => fs::mkdir, Full;
    [84 -] rmdir(path: UserCStr) => fs::rmdir, Full;
    [85 -] creat(path: UserCStr, mode: ModeArg) => fs::creat, Full;
    [86 -] link(old: UserCStr, new: UserCStr) => fs::link, Full;
    [87 -] unlink(path: UserCStr) => fs::unlink, Full;
    [88 -] symlink(target: UserCStr, path: UserCStr) => fs::symlink, Full;
    [89 -] readlink(path: UserCStr, buffer: OutBytes, size: usize) => fs::readlink, Full;
    [90 -] chmod(path: UserCStr, mode: ModeArg) => fs::chmod, Full;
    [91 52] fchmod(fd: Fd, mode: ModeArg) => fs::fchmod, Full;
    [92 -] chown(path: UserCStr, uid: u32, gid: u32) => fs::chown, Full;
    [93 55] fchown(fd: Fd, uid: u32, gid: u32) => fs::fchown, Full;
    [94 -] lchown(path: UserCStr, uid: u32, gid: u32) => fs::lchown, Full;
    [95 166] umask(mask: ModeArg) => fs::umask, Full;
    [96 169] gettimeofday(out: Out<show::TimeVal>, zone: UserPtr<[i32; 2]>) => time::gettimeofday, Full;
    [97 163] getrlimit(resource: Named<Resource>, limit: Out<Limits>) => task::getrlimit, Full;
    [98 165] getrusage(who: Named<UsageWho>, usage: UserPtr<[u64; 18]>) => task::getrusage, Partial("user and system time, resident size; other counts are 0");
    [99 179] sysinfo(out: UserPtr<[u64; 14]>) => misc::sysinfo, Full;
    [100 153] times(buffer: UserPtr<[u64; 4]>) => task::times, Full;
    [101 117] ptrace() => task::not_permitted, Refused("EPERM: no process may control another");
    [102 174] getuid() => identity::get_id, Full;
    [103 116] syslog(kind: i32, buffer: UserAddr, len: i32) => misc::syslog, Refused("EPERM: the log is the operator's");
    [104 176] getgid() => identity::get_id, Full;
    [105 146] setuid(id: u32) => identity::set_id, Partial("everything is root's; only 0");
    [106 144] setgid(id: u32) => identity::set_id, Partial("only 0");
    [107 175] geteuid() => identity::get_id, Full;
    [108 177] getegid() => identity::get_id, Full;
    [109 154] setpgid(pid: i32, pgid: i32) => identity::setpgid, Full;
    [110 173] getppid() => task::getppid, Full;
    [111 -] getpgrp() => identity::getpgrp, Full;
    [112 157] setsid() => identity::setsid, Full;
    [113 145] setreuid(real: u32, effective: u32) => identity::set_id2, Partial("only 0");
    [114 143] setregid(real: u32, effective: u32) => identity::set_id2, Partial("only 0");
    [115 158] getgroups(size: i32, list: UserPtr<u32>) => identity::getgroups, Full;
    [116 159] setgroups(size: u32, list: UserPtr<u32>) => identity::setgroups, Partial("kept and reported; everything is root's");
    [117 147] setresuid(real: u32, effective: u32, saved: u32) => identity::set_id3, Partial("only 0");
    [118 148] getresuid(real: UserPtr<u32>, effective: UserPtr<u32>, saved: UserPtr<u32>) => identity::get_id3, Full;
    [119 149] setresgid(real: u32, effective: u32, saved: u32) => identity::set_id3, Partial("only 0");
    [120 150] getresgid(real: UserPtr<u32>, effective: UserPtr<u32>, saved: UserPtr<u32>) => identity::get_id3, Full;
    [121 155] getpgid(pid: i32) => identity::getpgid, Full;
    [124 156] getsid(pid: i32) => identity::getsid, Full;
    [125 90] capget(header: UserPtr<[u32; 2]>, data: UserPtr<[u32; 3]>) => identity::capget, Full;
    [126 91] capset(header: UserPtr<[u32; 2]>, data: UserPtr<[u32; 3]>) => identity::capset, Partial("kept and reported; they decide only who may change them");
    [127 136] rt_sigpending(set: Out<SignalSet>, set_size: usize) => signal::rt_sigpending, Full;
    [128 137] rt_sigtimedwait(set: In<SignalSet>, info: UserPtr<SigInfo>, timeout: In<show::TimeSpec>, set_size: usize) => signal::rt_sigtimedwait, Full;
    [129 138] rt_sigqueueinfo(pid: i32, signal: Signal, info: UserPtr<SigInfo>) => signal::rt_sigqueueinfo, Full;
    [130 133] rt_sigsuspend(set: In<SignalSet>, set_size: usize) => signal::rt_sigsuspend, Full;
    [131 132] sigaltstack(new: UserPtr<signal::StackT>, old: UserPtr<signal::StackT>) => signal::sigaltstack, Full, frame;
    [132 -] utime(path: UserCStr, times: UserAddr) => fs::utime, Full;
    [133 -] mknod(path: UserCStr, mode: ModeArg, device: u64) => fs::mknod, Full;
    [135 92] personality(persona: u32) => task::personality, Partial("ADDR_NO_RANDOMIZE, READ_IMPLIES_EXEC and STICKY_TIMEOUTS are honoured, the rest is kept");
    [137 43] statfs(path: UserCStr, out: UserAddr) => fs::statfs, Full;
    [138 44] fstatfs(fd: Fd, out: UserAddr) => fs::fstatfs, Full;
    [140 141] getpriority(which: i32, who: i32) => schedule::getpriority, Full;
    [141 140] setpriority(which: i32, who: i32, nice: i32) => schedule::setpriority, Partial("kept and reported; every thread gets its turn alike");
    [142 118] sched_setparam(tid: i32, param: UserPtr<i32>) => schedule::sched_setparam, Full;
    [143 121] sched_getparam(tid: i32, param: UserPtr<u32>) => schedule::sched_getparam, Full;
    [144 119] sched_setscheduler(tid: i32, policy: Named<Policy>, param: UserPtr<i32>) => schedule::sched_setscheduler, Partial("kept and reported; every thread gets its turn alike");
    [145 120] sched_getscheduler(tid: i32) => schedule::sched_getscheduler, Full;
    [146 125] sched_get_priority_max(policy: Named<Policy>) => schedule::sched_priority_max, Full;
    [147 126] sched_get_priority_min(policy: Named<Policy>) => schedule::sched_priority_min, Full;
    [148 127] sched_rr_get_interval(tid: i32, interval: UserPtr<TimeSpec>) => schedule::sched_rr_get_interval, Full;
    [149 228] mlock(addr: UserAddr, length: u64) => mm::mlock, Full;
    [150 229] munlock(addr: UserAddr, length: u64) => mm::munlock, Full;
    [151 230] mlockall(flags: Flags) => mm::mlockall, Full;
    [152 231] munlockall() => mm::munlockall, Full;
    [157 167] prctl(operation: Named<Prctl>, arg2: Opaque, arg3: Opaque, arg4: Opaque, arg5: Opaque) => prctl::prctl, Partial("attributes are kept and reported; no seccomp, PR_SET_MM, PR_SET_MDWE");
    [158 -] arch_prctl(operation: Named<ArchPrctl>, addr: Opaque) => task::arch_prctl, Full;
    [159 171] adjtimex(values: UserPtr<time::Timex>) => time::adjtimex, Partial("the clock can be read, not steered");
    [160 164] setrlimit(resource: Named<Resource>, limit: In<Limits>) => task::setrlimit, Full;
    [161 51] chroot(path: UserCStr) => fs::chroot, Full;
    [162 81] sync() => io::sync, Full;
    [164 170] settimeofday(value: UserPtr<TimeVal>, zone: UserPtr<[i32; 2]>) => time::settimeofday, Full;
    [165 40] mount() => task::not_permitted, Refused("EPERM: the file system is fixed at start");
    [166 39] umount2(path: UserCStr, flags: Flags) => fs::umount2, Refused("EPERM: the file system is fixed at start");
    [169 142] reboot() => misc::reboot, Refused("EPERM: the VM ends with its program");
    [170 161] sethostname(name: UserAddr, len: i32) => misc::sethostname, Full;
    [171 162] setdomainname(name: UserAddr, len: i32) => misc::setdomainname, Full;
    [186 178] gettid() => task::gettid, Full;
    [187 213] readahead(fd: Fd, offset: i64, count: usize) => io::readahead, Full;
    [188 5] setxattr(path: UserCStr, name: UserCStr, value: UserAddr, size: usize, flags: Flags) => fs::setxattr, Refused("EOPNOTSUPP: no extended attributes");
    [189 6] lsetxattr(path: UserCStr, name: UserCStr, value: UserAddr, size: usize, flags: Flags) => fs::lsetxattr, Refused("EOPNOTSUPP: no extended attributes");
    [190 7] fsetxattr(fd: Fd, name: UserCStr, value: UserAddr, size: usize, flags: Flags) => fs::fsetxattr, Refused("EOPNOTSUPP: no extended attributes");
    [191 8] getxattr(path: UserCStr, name: UserCStr, value: UserAddr, size: usize) => fs::getxattr, Refused("EOPNOTSUPP: no extended attributes");
    [192 9] lgetxattr(path: UserCStr, name: UserCStr, value: UserAddr, size: usize) => fs::lgetxattr, Refused("EOPNOTSUPP: no extended attributes");
    [193 10] fgetxattr(fd: Fd, name: UserCStr, value: UserAddr, size: usize) => fs::fgetxattr, Refused("EOPNOTSUPP: no extended attributes");
    [194 11] listxattr(path: UserCStr, list: UserAddr, size: usize) => fs::listxattr, Refused("EOPNOTSUPP: no extended attributes");
    [195 12] llistxattr(path: UserCStr, list: UserAddr, size: usize) => fs::llistxattr, Refused("EOPNOTSUPP: no extended attributes");
    [196 13] flistxattr(fd: Fd, list: UserAddr, size: usize) => fs::flistxattr, Refused("EOPNOTSUPP: no extended attributes");
    [197 14] removexattr(path: UserCStr, name: UserCStr) => fs::removexattr, Refused("EOPNOTSUPP: no extended attributes");
    [198 15] lremovexattr(path: UserCStr, name: UserCStr) => fs::lremovexattr, Refused("EOPNOTSUPP: no extended attributes");
    [199 16] fremovexattr(fd: Fd, name: UserCStr) => fs::fremovexattr, Refused("EOPNOTSUPP: no extended attributes");
    [200 130] tkill(tid: i32, signal: Signal) => signal::tkill, Full;
    [201 -] time(out: UserPtr<i64>) => time::time, Full;
    [202 98] futex(addr: UserAddr, operation: Named<FutexOperation>, value: u32, timeout: In<show::TimeSpec>, second: UserAddr, value3: u32) => task::futex, Partial("no priority inheritance");
    [203 122] sched_setaffinity(tid: i32, size: u32, mask: UserAddr) => schedule::sched_setaffinity, Full;
    [204 123] sched_getaffinity(tid: i32, size: u32, mask: UserAddr) => schedule::sched_getaffinity, Full;
    [213 -] epoll_create(size: i32) => poll::epoll_create, Full;
    [217 61] getdents64(fd: Fd, buffer: UserAddr, size: u32) => fs::getdents64, Full;
    [218 96] set_tid_address(addr: UserAddr) => task::set_tid_address, Full;
    [219 128] restart_syscall() => signal::restart_syscall, Full;
    [221 223] fadvise64(fd: Fd, offset: i64, len: i64, advice: i32) => io::fadvise64, Full;
    [222 107] timer_create(clock: Named<Clock>, event: UserPtr<time::SigEvent>, id: UserPtr<u32>) => time::timer_create, Full;
    [223 110] timer_settime(id: u32, flags: Named<TimerFlags>, new: In<ItimerSpec>, old: Out<ItimerSpec>) => time::timer_settime, Full;
    [224 108] timer_gettime(id: u32, out: Out<ItimerSpec>) => time::timer_gettime, Full;
    [225 109] timer_getoverrun(id: u32) => time::timer_getoverrun, Full;
    [226 111] timer_delete(id: u32) => time::timer_delete, Full;
    [227 112] clock_settime(clock: Named<Clock>, value: In<show::TimeSpec>) => time::clock_settime, Full;
    [228 113] clock_gettime(clock: Named<Clock>, out: Out<show::TimeSpec>) => time::clock_gettime, Full;
    [229 114] clock_getres(clock: Named<Clock>, out: Out<show::TimeSpec>) => time::clock_getres, Full;
    [230 115] clock_nanosleep(clock: Named<Clock>, flags: Named<TimerFlags>, wanted: In<show::TimeSpec>, left: Out<show::TimeSpec>) => time::clock_nanosleep, Full;
    [231 94] exit_group(status: i32) -> Never => task::exit_group, Full;
    [232 -] epoll_wait(epoll: Fd, events: EventsOut, max: i32, timeout: i32) => poll::epoll_wait, Full;
    [233 21] epoll_ctl(epoll: Fd, operation: Named<EpollOperation>, fd: Fd, event: In<EpollEvent>) => poll::epoll_ctl, Full;
    [234 131] tgkill(tgid: i32, tid: i32, signal: Signal) => signal::tgkill, Full;
    [235 -] utimes(path: UserCStr, times: UserAddr) => fs::utimes, Full;
    [247 95] waitid(kind: Named<IdType>, id: u32, info: UserPtr<SigInfo>, options: Named<WaitOptions>, usage: UserPtr<[u64; 18]>) => task::waitid, Full;
    [251 30] ioprio_set(which: i32, who: i32, priority: i32) => schedule::ioprio_set, Partial("kept and reported");
    [252 31] ioprio_get(which: i32, who: i32) => schedule::ioprio_get, Full;
    [253 -] inotify_init() => fs::inotify_init, Full;
    [254 27] inotify_add_watch(fd: Fd, path: UserCStr, events: Flags) => fs::inotify_add_watch, Full;
    [255 28] inotify_rm_watch(fd: Fd, watch: i32) => fs::inotify_rm_watch, Full;
    [257 56] openat(dirfd: DirFd, path: UserCStr, flags: OpenFlags, mode: CreateMode) => fs::openat, Full;
    [258 34] mkdirat(dirfd: DirFd, path: UserCStr, mode: ModeArg) => fs::mkdirat, Full;
    [259 33] mknodat(dirfd: DirFd, path: UserCStr, mode: ModeArg, device: u64) => fs::mknodat, Full;
    [260 54] fchownat(dirfd: DirFd, path: UserCStr, uid: u32, gid: u32, flags: Named<AtFlags>) => fs::fchownat, Full;
    [261 -] futimesat(dirfd: DirFd, path: UserCStr, times: UserAddr) => fs::futimesat, Full;
    [262 79] newfstatat(dirfd: DirFd, path: UserCStr, out: Out<Stat>, flags: Named<AtFlags>) => fs::newfstatat, Full;
    [263 35] unlinkat(dirfd: DirFd, path: UserCStr, flags: Named<AtFlags>) => fs::unlinkat, Full;
    [264 38] renameat(old_dirfd: DirFd, old: UserCStr, new_dirfd: DirFd, new: UserCStr) => fs::renameat, Full;
    [265 37] linkat(old_dirfd: DirFd, old: UserCStr, new_dirfd: DirFd, new: UserCStr, flags: Named<AtFlags>) => fs::linkat, Full;
    [266 36] symlinkat(target: UserCStr, dirfd: DirFd, path: UserCStr) => fs::symlinkat, Full;
    [267 78] readlinkat(dirfd: DirFd, path: UserCStr, buffer: OutBytes, size: usize) => fs::readlinkat, Full;
    [268 53] fchmodat(dirfd: DirFd, path: UserCStr, mode: ModeArg) => fs::fchmodat, Full;
    [269 48] faccessat(dirfd: DirFd, path: UserCStr, mode: Named<AccessMode>) => fs::faccessat, Full;
    [270 72] pselect6(count: i32, read: UserPtr<u64>, write: UserPtr<u64>, except: UserPtr<u64>, timeout: UserPtr<[i64; 2]>, mask: UserPtr<[u64; 2]>) => poll::pselect6, Full;
    [271 73] ppoll(fds: PollIn, count: u32, timeout: UserPtr<[i64; 2]>, mask: UserPtr<u64>, mask_size: usize) => poll::ppoll, Full;
    [272 97] unshare(flags: Flags) => task::unshare, Partial("no namespaces");
    [273 99] set_robust_list(head: UserAddr, len: usize) => task::set_robust_list, Full;
    [274 100] get_robust_list(tid: i32, head: UserPtr<u64>, len: UserPtr<u64>) => task::get_robust_list, Full;
    [275 76] splice(input: Fd, input_offset: UserPtr<i64>, output: Fd, output_offset: UserPtr<i64>, count: usize, flags: Named<SpliceFlags>) => io::splice, Full;
    [276 77] tee(input: Fd, output: Fd, count: usize, flags: Named<SpliceFlags>) => io::tee, Full;
    [277 84] sync_file_range(fd: Fd, offset: i64, len: i64, flags: Flags) => io::sync_file_range, Full;
    [278 75] vmsplice(fd: Fd, vector: InVectors, count: usize, flags: Named<SpliceFlags>) => io::vmsplice, Full;
    [280 88] utimensat(dirfd: DirFd, path: UserCStr, times: UserAddr, flags: Named<AtFlags>) => fs::utimensat, Full;
    [281 22] epoll_pwait(epoll: Fd, events: EventsOut, max: i32, timeout: i32, mask: UserPtr<u64>, mask_size: usize) => poll::epoll_pwait, Full;
    [282 -] signalfd(fd: i32, mask: UserPtr<u64>, size: usize) => ipc::signalfd, Full;
    [283 85] timerfd_create(clock: Named<Clock>, flags: Named<TimerfdFlags>) => ipc::timerfd_create, Full;
    [284 -] eventfd(initial: u32) => ipc::eventfd, Full;
    [285 47] fallocate(fd: Fd, mode: Named<AllocateMode>, offset: i64, len: i64) => fs::fallocate, Full;
    [286 86] timerfd_settime(fd: Fd, flags: Named<TimerFlags>, new: In<ItimerSpec>, old: Out<ItimerSpec>) => ipc::timerfd_settime, Full;
    [287 87] timerfd_gettime(fd: Fd, current: Out<ItimerSpec>) => ipc::timerfd_gettime, Full;
    [288 242] accept4(fd: Fd, addr: OutSocket, len: Out<Number>, flags: Named<SocketKind>) => net::accept4, Full;
    [289 74] signalfd4(fd: i32, mask: In<SignalSet>, size: usize, flags: Named<SignalfdFlags>) => ipc::signalfd4, Full;
    [290 19] eventfd2(initial: u32, flags: Named<EventFlags>) => ipc::eventfd2, Full;
    [291 20] epoll_create1(flags: Named<EpollFlags>) => poll::epoll_create1, Full;
    [292 24] dup3(old: Fd, new: Fd, flags: OpenFlags) => fs::dup3, Full;
    [293 59] pipe2(fds: Out<TwoFds>, flags: Named<PipeFlags>) => ipc::pipe2, Full;
    [294 26] inotify_init1(flags: Named<InotifyFlags>) => fs::inotify_init1, Full;
    [295 69] preadv(fd: Fd, vector: OutVectors, count: usize, offset: i64) => io::preadv, Full;
    [296 70] pwritev(fd: Fd, vector: InVectors, count: usize, offset: i64) => io::pwritev, Full;
    [297 240] rt_tgsigqueueinfo(tgid: i32, tid: i32, signal: Signal, info: UserPtr<SigInfo>) => signal::rt_tgsigqueueinfo, Full;
    [299 243] recvmmsg(fd: Fd, messages: UserPtr<net::MmsgHdr>, count: u32, flags: Named<MessageFlags>, timeout: UserPtr<TimeSpec>) => net::recvmmsg, Full;
    [302 261] prlimit64(pid: i32, resource: Named<Resource>, new: In<Limits>, old: Out<Limits>) => task::prlimit64, Full;
    [305 266] clock_adjtime(clock: Named<Clock>, values: UserPtr<time::Timex>) => time::clock_adjtime, Partial("the clock can be read, not steered");
    [306 267] syncfs(fd: Fd) => io::syncfs, Full;
    [307 269] sendmmsg(fd: Fd, messages: UserPtr<net::MmsgHdr>, count: u32, flags: Named<MessageFlags>) => net::sendmmsg, Full;
    [308 268] setns(fd: Fd, kind: i32) => task::setns, Refused("EINVAL: no namespaces");
    [309 168] getcpu(cpu: UserPtr<u32>, node: UserPtr<u32>) => task::getcpu, Full;
    [310 270] process_vm_readv(pid: i32, own: UserAddr, own_count: usize, theirs: UserAddr, their_count: usize, flags: u64) => others::process_vm_readv, Full;
    [311 271] process_vm_writev(pid: i32, own: UserAddr, own_count: usize, theirs: UserAddr, their_count: usize, flags: u64) => others::process_vm_writev, Full;
    [312 272] kcmp(first: i32, second: i32, what: i32, a: u64, b: u64) => others::kcmp, Partial("not KCMP_EPOLL_TFD");
    [314 274] sched_setattr(tid: i32, attributes: UserAddr, flags: Flags) => schedule::sched_setattr, Partial("kept and reported; every thread gets its turn alike");
    [315 275] sched_getattr(tid: i32, attributes: UserAddr, size: u32, flags: Flags) => schedule::sched_getattr, Full;
    [316 276] renameat2(old_dirfd: DirFd, old: UserCStr, new_dirfd: DirFd, new: UserCStr, flags: Named<RenameFlags>) => fs::renameat2, Full;
    [318 278] getrandom(buffer: OutBytes, len: usize, flags: Named<RandomFlags>) => misc::getrandom, Full;
    [319 279] memfd_create(name: UserCStr, flags: Named<MemfdFlags>) => fs::memfd_create, Full;
    [322 281] execveat(dirfd: DirFd, path: UserCStr, argv: Strings, envp: Environment, flags: Named<AtFlags>) => task::execveat, Full, frame;
    [324 283] membarrier(command: i32, flags: Flags, cpu: i32) => mm::membarrier, Full;
    [325 284] mlock2(addr: UserAddr, length: u64, flags: Flags) => mm::mlock2, Full;
    [326 285] copy_file_range(input: Fd, input_offset: UserPtr<i64>, output: Fd, output_offset: UserPtr<i64>, count: usize, flags: Flags) => io::copy_file_range, Full;
    [327 286] preadv2(fd: Fd, vector: OutVectors, count: usize, offset: i64, high: u64, flags: Flags) => io::preadv2, Full;
    [328 287] pwritev2(fd: Fd, vector: InVectors, count: usize, offset: i64, high: u64, flags: Flags) => io::pwritev2, Full;
    [332 291] statx(dirfd: DirFd, path: UserCStr, flags: Named<AtFlags>, mask: Named<StatxMask>, out: UserAddr) => fs::statx, Full;
    [334 293] rseq() => task::not_offered, Refused("ENOSYS: C libraries go on without");
    [425 425] io_uring_setup() => task::not_offered, Refused("ENOSYS: programs fall back to epoll");
    [426 426] io_uring_enter() => task::not_offered, Refused("ENOSYS");
    [427 427] io_uring_register() => task::not_offered, Refused("ENOSYS");
    [435 435] clone3(args: In<CloneArgs>, size: usize) => task::clone3, Partial("no namespaces, no pidfd, no chosen ids"), frame;
    [436 436] close_range(first: u32, last: u32, flags: Named<CloseRangeFlags>) => fs::close_range, Full;
    [437 437] openat2(dirfd: DirFd, path: UserCStr, how: UserAddr, size: usize) => fs::openat2, Full;
    [439 439] faccessat2(dirfd: DirFd, path: UserCStr, mode: Named<AccessMode>, flags: Named<AccessFlags>) => fs::faccessat2, Full;
    [441 441] epoll_pwait2(epoll: Fd, events: EventsOut, max: i32, timeout: UserPtr<[i64; 2]>, mask: UserPtr<u64>, mask_size: usize) => poll::epoll_pwait2, Full;
    [452 452] fchmodat2(dirfd: DirFd, path: UserCStr, mode: ModeArg, flags: Named<AtFlags>) => fs::fchmodat2, Full;
}

/// The row of a system call.
pub fn row(number: u64) -> Option<&'static Row> {
    let index = ROWS.binary_search_by_key(&number, |row| row.x86_64).ok()?;
    ROWS.get(index)
}

/// Name of a system call.
pub fn name(number: u64) -> Option<&'static str> {
    row(number).map(|row| row.name)
}

/// The ABI page of the documentation, in Markdown.
pub fn markdown() -> String {
    let mut out = String::from(
        "# System calls\n\nGenerated from the table in `guest-kernel/src/syscalls/table.rs`; \
         a test keeps it current.\nA call that is not listed answers ENOSYS, is counted, and \
         shown by `sprout run --stats`.\n\n\
         | x86-64 | arm64 | call | support |\n|---|---|---|---|\n",
    );
    for row in ROWS {
        let arm = row
            .aarch64
            .map_or_else(|| "-".into(), |number| alloc::format!("{number}"));
        let support = match row.support {
            Support::Full => "full".into(),
            Support::Partial(note) => alloc::format!("partial: {note}"),
            Support::Refused(note) => alloc::format!("refused: {note}"),
        };
        let names: Vec<&str> = row.arguments.iter().map(|argument| argument.name).collect();
        let arguments = names.join(", ");
        let _ = writeln!(
            out,
            "| {} | {arm} | `{}({arguments})` | {support} |",
            row.x86_64, row.name
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_order_and_unique() {
        assert!(ROWS.windows(2).all(|pair| pair[0].x86_64 < pair[1].x86_64));
        let mut arm: alloc::vec::Vec<u64> = ROWS.iter().filter_map(|row| row.aarch64).collect();
        arm.sort_unstable();
        assert!(arm.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
