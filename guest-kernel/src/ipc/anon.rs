//! What all files without a name have in common.

use crate::errno::{Errno, Result};
use crate::fs::inode::{DeviceNumber, FileKind, InodeId, Metadata};
use crate::mm::AddressSpace;
use alloc::format;
use alloc::vec::Vec;

/// `ioctl`: how many bytes can be read.
pub const FIONREAD: u32 = 0x541b;

/// What fstat tells of eventfd, epoll, timerfd and signalfd: on Linux they share one inode.
pub fn metadata() -> Metadata {
    let id = InodeId {
        dev: DeviceNumber::ANONYMOUS,
        ino: 1,
    };
    Metadata::anonymous(id, FileKind::Anonymous, 0o600)
}

/// `pipe:[7]`, `socket:[7]`.
pub fn describe(kind: &str, id: InodeId) -> Vec<u8> {
    format!("{kind}:[{}]", id.ino).into_bytes()
}

/// Stores an `int` result of an ioctl.
pub fn put_int(space: &AddressSpace, addr: u64, value: usize) -> Result<u64> {
    let bytes = i32::try_from(value).unwrap_or(i32::MAX).to_ne_bytes();
    if space.write_some(addr, &bytes) < bytes.len() {
        return Err(Errno::EFAULT);
    }
    Ok(0)
}
