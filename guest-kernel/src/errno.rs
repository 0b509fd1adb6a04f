//! Linux error numbers, as values of one type.

use core::fmt;

/// A Linux error number (`include/uapi/asm-generic/errno*.h`), or one of the kernel-internal
/// restart codes that never reach a program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(i32);

/// Result of everything that can fail with an errno.
pub type Result<T, E = Errno> = core::result::Result<T, E>;

macro_rules! errnos {
    ($($name:ident = $value:literal),* $(,)?) => {
        #[allow(missing_docs)]
        impl Errno {
            $(pub const $name: Errno = Errno($value);)*
        }
        impl Errno {
            /// The symbolic name, as strace prints it.
            pub fn name(self) -> &'static str {
                match self.0 {
                    $($value => stringify!($name),)*
                    _ => "E?",
                }
            }
        }
    };
}

errnos! {
    EPERM = 1, ENOENT = 2, ESRCH = 3, EINTR = 4, EIO = 5, ENXIO = 6, E2BIG = 7, ENOEXEC = 8,
    EBADF = 9, ECHILD = 10, EAGAIN = 11, ENOMEM = 12, EACCES = 13, EFAULT = 14, ENOTBLK = 15,
    EBUSY = 16, EEXIST = 17, EXDEV = 18, ENODEV = 19, ENOTDIR = 20, EISDIR = 21, EINVAL = 22,
    ENFILE = 23, EMFILE = 24, ENOTTY = 25, ETXTBSY = 26, EFBIG = 27, ENOSPC = 28, ESPIPE = 29,
    EROFS = 30, EMLINK = 31, EPIPE = 32, EDOM = 33, ERANGE = 34, EDEADLK = 35, ENAMETOOLONG = 36,
    ENOSYS = 38, ENOTEMPTY = 39, ELOOP = 40, ENOMSG = 42, ENODATA = 61, ETIME = 62, EPROTO = 71, ELIBBAD = 80,
    EBADMSG = 74, EOVERFLOW = 75, EILSEQ = 84, ENOTSOCK = 88, EDESTADDRREQ = 89, EMSGSIZE = 90,
    EPROTOTYPE = 91, ENOPROTOOPT = 92, EPROTONOSUPPORT = 93, ESOCKTNOSUPPORT = 94,
    EOPNOTSUPP = 95, EPFNOSUPPORT = 96, EAFNOSUPPORT = 97, EADDRINUSE = 98, EADDRNOTAVAIL = 99,
    ENETDOWN = 100, ENETUNREACH = 101, ECONNABORTED = 103, ECONNRESET = 104, ENOBUFS = 105,
    EISCONN = 106, ENOTCONN = 107, ETIMEDOUT = 110, ECONNREFUSED = 111, EHOSTUNREACH = 113,
    EALREADY = 114, EINPROGRESS = 115, ESTALE = 116, EDQUOT = 122, ECANCELED = 125,
    EOWNERDEAD = 130, ENOTRECOVERABLE = 131,
    ERESTARTSYS = 512, ERESTARTNOINTR = 513, ERESTARTNOHAND = 514, ERESTART_RESTARTBLOCK = 516,
}

impl Errno {
    /// The positive number.
    pub const fn code(self) -> i32 {
        self.0
    }

    /// What a system call returns for it.
    pub const fn to_return(self) -> u64 {
        -(self.0 as i64) as u64
    }

    /// From a negative return value of a hypercall; unknown values become EIO.
    pub fn from_return(value: i64) -> Errno {
        match i32::try_from(-value) {
            Ok(code @ 1..=133) => Errno(code),
            _ => Errno::EIO,
        }
    }
}

impl Errno {
    /// The restart code in a system call's return value, if it is one.
    pub fn from_restart(value: i64) -> Option<Errno> {
        [
            Errno::ERESTARTSYS,
            Errno::ERESTARTNOINTR,
            Errno::ERESTARTNOHAND,
        ]
        .into_iter()
        .chain([Errno::ERESTART_RESTARTBLOCK])
        .find(|errno| -i64::from(errno.0) == value)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}
