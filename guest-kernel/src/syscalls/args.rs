//! Typed system-call arguments: a handler never sees a bare register.

use crate::errno::{Errno, Result};
use crate::fs::file::OpenFlags;
use crate::fs::path::PATH_MAX;
pub use crate::mm::{UserAddr, UserPtr};
use crate::task::Ctx;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

/// A system call as its arguments see it when they are shown.
pub struct Call<'a> {
    /// Who calls.
    pub ctx: &'a Ctx,
    /// All argument registers.
    pub args: [u64; 6],
    /// Which of them is shown.
    pub index: usize,
    /// How the call ended, once it has.
    pub result: Option<Result<u64>>,
}

impl Call<'_> {
    /// The argument `further` on from the one that is shown.
    pub fn argument(&self, further: usize) -> u64 {
        self.args.get(self.index + further).copied().unwrap_or(0)
    }

    /// The argument before the one that is shown.
    pub fn before(&self) -> u64 {
        let index = self.index.checked_sub(1);
        index
            .and_then(|index| self.args.get(index))
            .copied()
            .unwrap_or(0)
    }

    /// The result of a call that went well.
    pub fn value(&self) -> u64 {
        match self.result {
            Some(Ok(value)) => value,
            _ => 0,
        }
    }
}

/// What an argument is about, for classes of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing in particular.
    Plain,
    /// The path of a file.
    Path,
    /// A descriptor.
    Descriptor,
}

/// A value that can come out of an argument register, and be shown in a trace.
pub trait Arg: Sized {
    /// Whether the call writes what it points to, so that it can be shown only afterwards.
    const OUT: bool = false;
    /// What it is about.
    const KIND: Kind = Kind::Plain;
    /// From the register, as C's conversion would.
    fn from_raw(raw: u64) -> Self;
    /// Appends it in strace's style.
    fn trace(&self, call: &Call<'_>, out: &mut String);
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl Arg for $t {
            fn from_raw(raw: u64) -> Self {
                raw as $t
            }
            fn trace(&self, _: &Call<'_>, out: &mut String) {
                let _ = write!(out, "{self}");
            }
        }
    )*};
}
integers!(i32, u32, i64, u64, usize);

/// A file descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fd(pub i32);

impl Arg for Fd {
    const KIND: Kind = Kind::Descriptor;
    fn from_raw(raw: u64) -> Self {
        Fd(raw as i32)
    }
    fn trace(&self, _: &Call<'_>, out: &mut String) {
        let _ = write!(out, "{}", self.0);
    }
}

/// A directory descriptor, or AT_FDCWD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirFd(pub i32);

impl DirFd {
    /// `AT_FDCWD`: relative to the working directory.
    pub const CWD: DirFd = DirFd(-100);
}

impl Arg for DirFd {
    const KIND: Kind = Kind::Descriptor;
    fn from_raw(raw: u64) -> Self {
        DirFd(raw as i32)
    }
    fn trace(&self, _: &Call<'_>, out: &mut String) {
        let _ = match *self {
            DirFd::CWD => write!(out, "AT_FDCWD"),
            DirFd(fd) => write!(out, "{fd}"),
        };
    }
}

impl Arg for UserAddr {
    fn from_raw(raw: u64) -> Self {
        UserAddr(raw)
    }
    fn trace(&self, _: &Call<'_>, out: &mut String) {
        let _ = match self.0 {
            0 => write!(out, "NULL"),
            addr => write!(out, "{addr:#x}"),
        };
    }
}

impl<T> Arg for UserPtr<T> {
    fn from_raw(raw: u64) -> Self {
        UserPtr::new(raw)
    }
    fn trace(&self, call: &Call<'_>, out: &mut String) {
        UserAddr(self.addr()).trace(call, out)
    }
}

/// Address of a NUL-terminated string in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserCStr(pub UserAddr);

impl UserCStr {
    /// Copies it in as a path: without the NUL; ENAMETOOLONG from [`PATH_MAX`] on.
    pub fn read_path(self, ctx: &Ctx) -> Result<Vec<u8>> {
        self.read(ctx, PATH_MAX).map_err(|error| match error {
            Errno::E2BIG => Errno::ENAMETOOLONG,
            other => other,
        })
    }

    /// Copies it in without the NUL; E2BIG if there is no NUL in the first `limit` bytes.
    pub fn read(self, ctx: &Ctx, limit: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut addr = self.0.0;
        while bytes.len() < limit {
            let to_page_end = 4096 - (addr % 4096) as usize;
            let mut chunk = [0u8; 256];
            let want = to_page_end.min(chunk.len()).min(limit - bytes.len());
            let got = ctx.space().read_some(addr, &mut chunk[..want]);
            if let Some(end) = chunk[..got].iter().position(|&byte| byte == 0) {
                bytes.extend_from_slice(&chunk[..end]);
                return Ok(bytes);
            }
            if got < want {
                return Err(Errno::EFAULT);
            }
            bytes.extend_from_slice(&chunk[..got]);
            addr = addr.wrapping_add(got as u64);
        }
        Err(Errno::E2BIG)
    }
}

impl Arg for UserCStr {
    const KIND: Kind = Kind::Path;
    fn from_raw(raw: u64) -> Self {
        UserCStr(UserAddr(raw))
    }
    fn trace(&self, call: &Call<'_>, out: &mut String) {
        if self.0.is_null() {
            out.push_str("NULL");
            return;
        }
        match self.read(call.ctx, PATH_MAX) {
            Ok(bytes) => {
                let _ = write!(out, "\"{}\"", bytes.escape_ascii());
            }
            Err(_) => self.0.trace(call, out),
        }
    }
}

/// File mode bits of open, mkdir, chmod, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeArg(pub u32);

impl Arg for ModeArg {
    fn from_raw(raw: u64) -> Self {
        ModeArg(raw as u32)
    }
    fn trace(&self, _: &Call<'_>, out: &mut String) {
        let _ = write!(out, "0{:02o}", self.0);
    }
}

/// A set of flag bits, shown in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Arg for Flags {
    fn from_raw(raw: u64) -> Self {
        Flags(raw as u32)
    }
    fn trace(&self, _: &Call<'_>, out: &mut String) {
        let _ = write!(out, "{:#x}", self.0);
    }
}

impl Arg for OpenFlags {
    fn from_raw(raw: u64) -> Self {
        OpenFlags::from_bits_retain(raw as u32)
    }
    fn trace(&self, _: &Call<'_>, out: &mut String) {
        out.push_str(match (self.writable(), self.readable()) {
            (true, true) => "O_RDWR",
            (true, false) => "O_WRONLY",
            _ => "O_RDONLY",
        });
        for (name, _) in (*self - OpenFlags::WRONLY - OpenFlags::RDWR).iter_names() {
            let _ = write!(out, "|O_{name}");
        }
    }
}
