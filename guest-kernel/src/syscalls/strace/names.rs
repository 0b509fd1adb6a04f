//! Names of flag bits and of constants, one type for each kind, for typed arguments in the table.

/// A kind of constants: bits that combine, or values of which one is chosen.
pub trait Names {
    /// Value and name. Of bits, wider masks come first.
    const NAMES: &'static [(u64, &'static str)];
    /// A field of the value that is an enumeration of its own (`clone`'s exit signal, ...).
    const CHOSEN: u64 = 0;
    /// What stands for no bits.
    const NONE: &'static str = "0";
}

macro_rules! names {
    ($(
        $(#[$doc:meta])*
        $kind:ident $(none $none:literal)? $(chosen $chosen:literal)? { $($name:ident = $value:expr),* $(,)? }
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $kind;

        impl Names for $kind {
            const NAMES: &'static [(u64, &'static str)] = &[$(($value, stringify!($name))),*];
            $(const NONE: &'static str = $none;)?
            $(const CHOSEN: u64 = $chosen;)?
        }
    )*};
}

names! {
    /// Protection of memory.
    Prot none "PROT_NONE" {
        PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4, PROT_GROWSDOWN = 0x0100_0000,
        PROT_GROWSUP = 0x0200_0000,
    }
    /// Flags of mmap; the kind of mapping is chosen.
    MapFlags chosen 0xf {
        MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_SHARED_VALIDATE = 3, MAP_FIXED = 0x10,
        MAP_ANONYMOUS = 0x20, MAP_32BIT = 0x40, MAP_GROWSDOWN = 0x100, MAP_DENYWRITE = 0x800,
        MAP_EXECUTABLE = 0x1000, MAP_LOCKED = 0x2000, MAP_NORESERVE = 0x4000,
        MAP_POPULATE = 0x8000, MAP_NONBLOCK = 0x1_0000, MAP_STACK = 0x2_0000,
        MAP_HUGETLB = 0x4_0000, MAP_SYNC = 0x8_0000, MAP_FIXED_NOREPLACE = 0x10_0000,
    }
    /// Flags of mremap.
    RemapFlags { MREMAP_MAYMOVE = 1, MREMAP_FIXED = 2, MREMAP_DONTUNMAP = 4 }
    /// Flags of msync.
    SyncFlags { MS_ASYNC = 1, MS_INVALIDATE = 2, MS_SYNC = 4 }
    /// Advice to madvise.
    Advice chosen 0xffff_ffff {
        MADV_NORMAL = 0, MADV_RANDOM = 1, MADV_SEQUENTIAL = 2, MADV_WILLNEED = 3,
        MADV_DONTNEED = 4, MADV_FREE = 8, MADV_REMOVE = 9, MADV_DONTFORK = 10, MADV_DOFORK = 11,
        MADV_MERGEABLE = 12, MADV_UNMERGEABLE = 13, MADV_HUGEPAGE = 14, MADV_NOHUGEPAGE = 15,
        MADV_DONTDUMP = 16, MADV_DODUMP = 17, MADV_WIPEONFORK = 18, MADV_KEEPONFORK = 19,
        MADV_COLD = 20, MADV_PAGEOUT = 21, MADV_POPULATE_READ = 22, MADV_POPULATE_WRITE = 23,
        MADV_COLLAPSE = 25,
    }
    /// Where lseek starts.
    Whence chosen 0xffff_ffff {
        SEEK_SET = 0, SEEK_CUR = 1, SEEK_END = 2, SEEK_DATA = 3, SEEK_HOLE = 4,
    }
    /// Modes of access.
    AccessMode none "F_OK" { R_OK = 4, W_OK = 2, X_OK = 1 }
    /// Flags of the *at calls.
    AtFlags {
        AT_SYMLINK_NOFOLLOW = 0x100, AT_REMOVEDIR = 0x200, AT_SYMLINK_FOLLOW = 0x400,
        AT_NO_AUTOMOUNT = 0x800, AT_EMPTY_PATH = 0x1000, AT_STATX_FORCE_SYNC = 0x2000,
        AT_STATX_DONT_SYNC = 0x4000, AT_RECURSIVE = 0x8000,
    }
    /// Flags of faccessat2, whose lowest bit means another thing.
    AccessFlags { AT_EACCESS = 0x200, AT_SYMLINK_NOFOLLOW = 0x100, AT_EMPTY_PATH = 0x1000 }
    /// Fields asked of statx.
    StatxMask {
        STATX_ALL = 0xfff, STATX_BASIC_STATS = 0x7ff, STATX_TYPE = 1, STATX_MODE = 2,
        STATX_NLINK = 4, STATX_UID = 8, STATX_GID = 16, STATX_ATIME = 32, STATX_MTIME = 64,
        STATX_CTIME = 128, STATX_INO = 256, STATX_SIZE = 512, STATX_BLOCKS = 1024,
        STATX_BTIME = 2048, STATX_MNT_ID = 4096,
    }
    /// Commands of fcntl.
    FcntlCommand chosen 0xffff_ffff {
        F_DUPFD = 0, F_GETFD = 1, F_SETFD = 2, F_GETFL = 3, F_SETFL = 4, F_GETLK = 5, F_SETLK = 6,
        F_SETLKW = 7, F_SETOWN = 8, F_GETOWN = 9, F_SETSIG = 10, F_GETSIG = 11, F_SETOWN_EX = 15,
        F_GETOWN_EX = 16, F_OFD_GETLK = 36, F_OFD_SETLK = 37, F_OFD_SETLKW = 38, F_SETLEASE = 1024,
        F_GETLEASE = 1025, F_DUPFD_CLOEXEC = 1030, F_SETPIPE_SZ = 1031, F_GETPIPE_SZ = 1032,
        F_ADD_SEALS = 1033, F_GET_SEALS = 1034,
    }
    /// Operations of flock.
    LockOperation { LOCK_SH = 1, LOCK_EX = 2, LOCK_NB = 4, LOCK_UN = 8 }
    /// Flags shared by pipe2, eventfd2, epoll_create1, ... under other names.
    PipeFlags { O_CLOEXEC = 0o2000000, O_NONBLOCK = 0o4000, O_DIRECT = 0o40000 }
    /// Flags of eventfd2.
    EventFlags { EFD_SEMAPHORE = 1, EFD_CLOEXEC = 0o2000000, EFD_NONBLOCK = 0o4000 }
    /// Flags of epoll_create1.
    EpollFlags { EPOLL_CLOEXEC = 0o2000000 }
    /// Flags of timerfd_create.
    TimerfdFlags { TFD_CLOEXEC = 0o2000000, TFD_NONBLOCK = 0o4000 }
    /// Flags of setting a timer.
    TimerFlags { TIMER_ABSTIME = 1, TFD_TIMER_CANCEL_ON_SET = 2 }
    /// Flags of signalfd4.
    SignalfdFlags { SFD_CLOEXEC = 0o2000000, SFD_NONBLOCK = 0o4000 }
    /// Flags of inotify_init1.
    InotifyFlags { IN_CLOEXEC = 0o2000000, IN_NONBLOCK = 0o4000 }
    /// Flags of memfd_create.
    MemfdFlags { MFD_CLOEXEC = 1, MFD_ALLOW_SEALING = 2, MFD_HUGETLB = 4, MFD_NOEXEC_SEAL = 8, MFD_EXEC = 16 }
    /// Flags of getrandom.
    RandomFlags { GRND_NONBLOCK = 1, GRND_RANDOM = 2, GRND_INSECURE = 4 }
    /// Flags of renameat2.
    RenameFlags { RENAME_NOREPLACE = 1, RENAME_EXCHANGE = 2, RENAME_WHITEOUT = 4 }
    /// Flags of fallocate.
    AllocateMode {
        FALLOC_FL_KEEP_SIZE = 1, FALLOC_FL_PUNCH_HOLE = 2, FALLOC_FL_COLLAPSE_RANGE = 8,
        FALLOC_FL_ZERO_RANGE = 16, FALLOC_FL_INSERT_RANGE = 32,
    }
    /// Flags of splice.
    SpliceFlags { SPLICE_F_MOVE = 1, SPLICE_F_NONBLOCK = 2, SPLICE_F_MORE = 4, SPLICE_F_GIFT = 8 }
    /// Flags of close_range.
    CloseRangeFlags { CLOSE_RANGE_UNSHARE = 2, CLOSE_RANGE_CLOEXEC = 4 }
    /// Options of wait4 and waitid.
    WaitOptions {
        WNOHANG = 1, WSTOPPED = 2, WEXITED = 4, WCONTINUED = 8, WNOWAIT = 0x100_0000,
        __WNOTHREAD = 0x2000_0000, __WALL = 0x4000_0000, __WCLONE = 0x8000_0000,
    }
    /// What waitid waits for.
    IdType chosen 0xffff_ffff { P_ALL = 0, P_PID = 1, P_PGID = 2, P_PIDFD = 3 }
    /// Flags of clone; the exit signal is chosen.
    CloneFlags chosen 0xff {
        SIGCHLD = 17, CLONE_VM = 0x100, CLONE_FS = 0x200, CLONE_FILES = 0x400,
        CLONE_SIGHAND = 0x800, CLONE_PIDFD = 0x1000, CLONE_PTRACE = 0x2000, CLONE_VFORK = 0x4000,
        CLONE_PARENT = 0x8000, CLONE_THREAD = 0x1_0000, CLONE_NEWNS = 0x2_0000,
        CLONE_SYSVSEM = 0x4_0000, CLONE_SETTLS = 0x8_0000, CLONE_PARENT_SETTID = 0x10_0000,
        CLONE_CHILD_CLEARTID = 0x20_0000, CLONE_DETACHED = 0x40_0000, CLONE_UNTRACED = 0x80_0000,
        CLONE_CHILD_SETTID = 0x100_0000, CLONE_NEWCGROUP = 0x200_0000, CLONE_NEWUTS = 0x400_0000,
        CLONE_NEWIPC = 0x800_0000, CLONE_NEWUSER = 0x1000_0000, CLONE_NEWPID = 0x2000_0000,
        CLONE_NEWNET = 0x4000_0000, CLONE_IO = 0x8000_0000,
    }
    /// How rt_sigprocmask changes the mask.
    MaskHow chosen 0xffff_ffff { SIG_BLOCK = 0, SIG_UNBLOCK = 1, SIG_SETMASK = 2 }
    /// Flags of sigaction.
    ActionFlags {
        SA_NOCLDSTOP = 1, SA_NOCLDWAIT = 2, SA_SIGINFO = 4, SA_RESTORER = 0x0400_0000,
        SA_ONSTACK = 0x0800_0000, SA_RESTART = 0x1000_0000, SA_NODEFER = 0x4000_0000,
        SA_RESETHAND = 0x8000_0000,
    }
    /// Operations of futex, and two flags.
    FutexOperation chosen 0x7f {
        FUTEX_WAIT = 0, FUTEX_WAKE = 1, FUTEX_FD = 2, FUTEX_REQUEUE = 3, FUTEX_CMP_REQUEUE = 4,
        FUTEX_WAKE_OP = 5, FUTEX_LOCK_PI = 6, FUTEX_UNLOCK_PI = 7, FUTEX_TRYLOCK_PI = 8,
        FUTEX_WAIT_BITSET = 9, FUTEX_WAKE_BITSET = 10, FUTEX_WAIT_REQUEUE_PI = 11,
        FUTEX_CMP_REQUEUE_PI = 12, FUTEX_PRIVATE_FLAG = 128, FUTEX_CLOCK_REALTIME = 256,
    }
    /// Clocks.
    Clock chosen 0xffff_ffff {
        CLOCK_REALTIME = 0, CLOCK_MONOTONIC = 1, CLOCK_PROCESS_CPUTIME_ID = 2,
        CLOCK_THREAD_CPUTIME_ID = 3, CLOCK_MONOTONIC_RAW = 4, CLOCK_REALTIME_COARSE = 5,
        CLOCK_MONOTONIC_COARSE = 6, CLOCK_BOOTTIME = 7, CLOCK_REALTIME_ALARM = 8,
        CLOCK_BOOTTIME_ALARM = 9, CLOCK_TAI = 11,
    }
    /// Interval timers.
    IntervalTimer chosen 0xffff_ffff { ITIMER_REAL = 0, ITIMER_VIRTUAL = 1, ITIMER_PROF = 2 }
    /// Resources with limits.
    Resource chosen 0xffff_ffff {
        RLIMIT_CPU = 0, RLIMIT_FSIZE = 1, RLIMIT_DATA = 2, RLIMIT_STACK = 3, RLIMIT_CORE = 4,
        RLIMIT_RSS = 5, RLIMIT_NPROC = 6, RLIMIT_NOFILE = 7, RLIMIT_MEMLOCK = 8, RLIMIT_AS = 9,
        RLIMIT_LOCKS = 10, RLIMIT_SIGPENDING = 11, RLIMIT_MSGQUEUE = 12, RLIMIT_NICE = 13,
        RLIMIT_RTPRIO = 14, RLIMIT_RTTIME = 15,
    }
    /// Whose usage.
    UsageWho chosen 0xffff_ffff { RUSAGE_SELF = 0, RUSAGE_THREAD = 1, RUSAGE_CHILDREN = 0xffff_ffff }
    /// Operations of arch_prctl.
    ArchPrctl chosen 0xffff_ffff {
        ARCH_SET_GS = 0x1001, ARCH_SET_FS = 0x1002, ARCH_GET_FS = 0x1003, ARCH_GET_GS = 0x1004,
        ARCH_CET_STATUS = 0x3001,
    }
    /// Operations of prctl.
    Prctl chosen 0xffff_ffff {
        PR_SET_PDEATHSIG = 1, PR_GET_PDEATHSIG = 2, PR_GET_DUMPABLE = 3, PR_SET_DUMPABLE = 4,
        PR_GET_KEEPCAPS = 7, PR_SET_KEEPCAPS = 8, PR_SET_NAME = 15, PR_GET_NAME = 16,
        PR_GET_SECCOMP = 21, PR_SET_SECCOMP = 22, PR_CAPBSET_READ = 23, PR_CAPBSET_DROP = 24,
        PR_SET_TIMERSLACK = 29, PR_GET_TIMERSLACK = 30, PR_SET_CHILD_SUBREAPER = 36,
        PR_GET_CHILD_SUBREAPER = 37, PR_SET_NO_NEW_PRIVS = 38, PR_GET_NO_NEW_PRIVS = 39,
        PR_SET_VMA = 0x5356_4d41,
    }
    /// Address families.
    Family chosen 0xffff_ffff {
        AF_UNSPEC = 0, AF_UNIX = 1, AF_INET = 2, AF_INET6 = 10, AF_NETLINK = 16, AF_PACKET = 17,
    }
    /// Types of sockets, and two flags.
    SocketKind chosen 0xf {
        SOCK_STREAM = 1, SOCK_DGRAM = 2, SOCK_RAW = 3, SOCK_SEQPACKET = 5,
        SOCK_CLOEXEC = 0o2000000, SOCK_NONBLOCK = 0o4000,
    }
    /// Flags of sending and receiving.
    MessageFlags {
        MSG_OOB = 1, MSG_PEEK = 2, MSG_DONTROUTE = 4, MSG_CTRUNC = 8, MSG_TRUNC = 0x20,
        MSG_DONTWAIT = 0x40, MSG_EOR = 0x80, MSG_WAITALL = 0x100, MSG_ERRQUEUE = 0x2000,
        MSG_NOSIGNAL = 0x4000, MSG_MORE = 0x8000, MSG_WAITFORONE = 0x1_0000,
        MSG_CMSG_CLOEXEC = 0x4000_0000,
    }
    /// What shutdown ends.
    ShutdownHow chosen 0xffff_ffff { SHUT_RD = 0, SHUT_WR = 1, SHUT_RDWR = 2 }
    /// Levels of socket options.
    OptionLevel chosen 0xffff_ffff {
        SOL_IP = 0, SOL_SOCKET = 1, SOL_TCP = 6, SOL_UDP = 17, SOL_IPV6 = 41, SOL_NETLINK = 270,
    }
    /// Operations of epoll_ctl.
    EpollOperation chosen 0xffff_ffff { EPOLL_CTL_ADD = 1, EPOLL_CTL_DEL = 2, EPOLL_CTL_MOD = 3 }
    /// Events of poll.
    PollBits {
        POLLIN = 1, POLLPRI = 2, POLLOUT = 4, POLLERR = 8, POLLHUP = 16, POLLNVAL = 32,
        POLLRDNORM = 64, POLLRDBAND = 128, POLLWRNORM = 256, POLLWRBAND = 512, POLLRDHUP = 0x2000,
    }
    /// Events of epoll.
    EpollBits {
        EPOLLIN = 1, EPOLLPRI = 2, EPOLLOUT = 4, EPOLLERR = 8, EPOLLHUP = 16, EPOLLRDNORM = 64,
        EPOLLRDBAND = 128, EPOLLWRNORM = 256, EPOLLWRBAND = 512, EPOLLRDHUP = 0x2000,
        EPOLLEXCLUSIVE = 0x1000_0000, EPOLLWAKEUP = 0x2000_0000, EPOLLONESHOT = 0x4000_0000,
        EPOLLET = 0x8000_0000,
    }
    /// Requests of ioctl.
    IoctlRequest chosen 0xffff_ffff {
        TCGETS = 0x5401, TCSETS = 0x5402, TCSETSW = 0x5403, TCSETSF = 0x5404, TCSBRK = 0x5409,
        TCXONC = 0x540a, TCFLSH = 0x540b, TIOCSCTTY = 0x540e, TIOCGPGRP = 0x540f,
        TIOCSPGRP = 0x5410, TIOCOUTQ = 0x5411, TIOCGWINSZ = 0x5413, TIOCSWINSZ = 0x5414,
        FIONREAD = 0x541b, FIONBIO = 0x5421, TIOCNOTTY = 0x5422, TIOCGSID = 0x5429,
        FIONCLEX = 0x5450, FIOCLEX = 0x5451, TIOCGPTN = 0x8004_5430, TIOCSPTLCK = 0x4004_5431,
        TIOCGPTPEER = 0x5441, FICLONE = 0x4004_9409, FIOSETOWN = 0x8901, SIOCSPGRP = 0x8902,
        FIOGETOWN = 0x8903, SIOCGPGRP = 0x8904, SIOCATMARK = 0x8905, SIOCGIFCONF = 0x8912,
    }
    /// Scheduling policies.
    Policy chosen 0xffff_ffff {
        SCHED_OTHER = 0, SCHED_FIFO = 1, SCHED_RR = 2, SCHED_BATCH = 3, SCHED_IDLE = 5,
    }
}

/// Names of the signals, by number.
pub const SIGNALS: [&str; 32] = [
    "0",
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// What C libraries say of an error number.
pub fn error_text(code: i32) -> &'static str {
    match code {
        1 => "Operation not permitted",
        2 => "No such file or directory",
        3 => "No such process",
        4 => "Interrupted system call",
        5 => "Input/output error",
        6 => "No such device or address",
        7 => "Argument list too long",
        8 => "Exec format error",
        9 => "Bad file descriptor",
        10 => "No child processes",
        11 => "Resource temporarily unavailable",
        12 => "Cannot allocate memory",
        13 => "Permission denied",
        14 => "Bad address",
        16 => "Device or resource busy",
        17 => "File exists",
        18 => "Invalid cross-device link",
        19 => "No such device",
        20 => "Not a directory",
        21 => "Is a directory",
        22 => "Invalid argument",
        23 => "Too many open files in system",
        24 => "Too many open files",
        25 => "Inappropriate ioctl for device",
        26 => "Text file busy",
        27 => "File too large",
        28 => "No space left on device",
        29 => "Illegal seek",
        30 => "Read-only file system",
        31 => "Too many links",
        32 => "Broken pipe",
        33 => "Numerical argument out of domain",
        34 => "Numerical result out of range",
        35 => "Resource deadlock avoided",
        36 => "File name too long",
        38 => "Function not implemented",
        39 => "Directory not empty",
        40 => "Too many levels of symbolic links",
        61 => "No data available",
        75 => "Value too large for defined data type",
        88 => "Socket operation on non-socket",
        89 => "Destination address required",
        90 => "Message too long",
        92 => "Protocol not available",
        93 => "Protocol not supported",
        95 => "Operation not supported",
        97 => "Address family not supported by protocol",
        98 => "Address already in use",
        99 => "Cannot assign requested address",
        101 => "Network is unreachable",
        103 => "Software caused connection abort",
        104 => "Connection reset by peer",
        105 => "No buffer space available",
        106 => "Transport endpoint is already connected",
        107 => "Transport endpoint is not connected",
        110 => "Connection timed out",
        111 => "Connection refused",
        113 => "No route to host",
        114 => "Operation already in progress",
        115 => "Operation now in progress",
        512 => "To be restarted if SA_RESTART is set",
        513 => "To be restarted",
        514 => "To be restarted if no handler",
        516 => "Interrupted by signal",
        _ => "",
    }
}
