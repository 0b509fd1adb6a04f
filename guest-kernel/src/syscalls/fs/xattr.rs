//! Extended attributes: there are none.

use super::{Target, usable_file};
use crate::errno::{Errno, Result};
use crate::fs::path::Follow;
use crate::syscalls::args::{DirFd, Fd, Flags, UserAddr, UserCStr};
use crate::task::Ctx;

/// What a file system without extended attributes says of a name: those of the kernel's own
/// namespaces could exist and don't, others can't.
fn missing_attribute(ctx: &Ctx, name: UserCStr) -> Result<u64> {
    const NAME_MAX: usize = 255;
    let name = name.read(ctx, NAME_MAX + 1).map_err(|error| match error {
        Errno::E2BIG => Errno::ERANGE,
        other => other,
    })?;
    let known: [&[u8]; 3] = [b"security.", b"trusted.", b"system."];
    match known.iter().any(|prefix| name.starts_with(prefix)) {
        true => Err(Errno::ENODATA),
        false => Err(Errno::EOPNOTSUPP),
    }
}

/// `getxattr(2)`.
pub fn getxattr(ctx: &Ctx, path: UserCStr, name: UserCStr, _: UserAddr, _: usize) -> Result<u64> {
    Target::find(ctx, DirFd::CWD, path, 0, Follow::Always)?;
    missing_attribute(ctx, name)
}

/// `lgetxattr(2)`.
pub fn lgetxattr(ctx: &Ctx, path: UserCStr, name: UserCStr, _: UserAddr, _: usize) -> Result<u64> {
    Target::find(ctx, DirFd::CWD, path, 0, Follow::IfSlash)?;
    missing_attribute(ctx, name)
}

/// `fgetxattr(2)`.
pub fn fgetxattr(ctx: &Ctx, fd: Fd, name: UserCStr, _: UserAddr, _: usize) -> Result<u64> {
    usable_file(ctx, fd)?;
    missing_attribute(ctx, name)
}

/// `setxattr(2)`.
pub fn setxattr(
    ctx: &Ctx,
    path: UserCStr,
    _: UserCStr,
    _: UserAddr,
    _: usize,
    _: Flags,
) -> Result<u64> {
    Target::find(ctx, DirFd::CWD, path, 0, Follow::Always)?;
    Err(Errno::EOPNOTSUPP)
}

/// `lsetxattr(2)`.
pub fn lsetxattr(
    ctx: &Ctx,
    path: UserCStr,
    _: UserCStr,
    _: UserAddr,
    _: usize,
    _: Flags,
) -> Result<u64> {
    Target::find(ctx, DirFd::CWD, path, 0, Follow::IfSlash)?;
    Err(Errno::EOPNOTSUPP)
}

/// `fsetxattr(2)`.
pub fn fsetxattr(ctx: &Ctx, fd: Fd, _: UserCStr, _: UserAddr, _: usize, _: Flags) -> Result<u64> {
    usable_file(ctx, fd)?;
    Err(Errno::EOPNOTSUPP)
}

/// `listxattr(2)`: there are none.
pub fn listxattr(ctx: &Ctx, path: UserCStr, _: UserAddr, _: usize) -> Result<u64> {
    Target::find(ctx, DirFd::CWD, path, 0, Follow::Always)?;
    Ok(0)
}

/// `llistxattr(2)`: there are none.
pub fn llistxattr(ctx: &Ctx, path: UserCStr, _: UserAddr, _: usize) -> Result<u64> {
    Target::find(ctx, DirFd::CWD, path, 0, Follow::IfSlash)?;
    Ok(0)
}

/// `flistxattr(2)`: there are none.
pub fn flistxattr(ctx: &Ctx, fd: Fd, _: UserAddr, _: usize) -> Result<u64> {
    usable_file(ctx, fd)?;
    Ok(0)
}

/// `removexattr(2)`.
pub fn removexattr(ctx: &Ctx, path: UserCStr, name: UserCStr) -> Result<u64> {
    Target::find(ctx, DirFd::CWD, path, 0, Follow::Always)?;
    missing_attribute(ctx, name)
}

/// `lremovexattr(2)`.
pub fn lremovexattr(ctx: &Ctx, path: UserCStr, name: UserCStr) -> Result<u64> {
    Target::find(ctx, DirFd::CWD, path, 0, Follow::IfSlash)?;
    missing_attribute(ctx, name)
}

/// `fremovexattr(2)`.
pub fn fremovexattr(ctx: &Ctx, fd: Fd, name: UserCStr) -> Result<u64> {
    usable_file(ctx, fd)?;
    missing_attribute(ctx, name)
}
