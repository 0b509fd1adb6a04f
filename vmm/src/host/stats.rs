//! KVM's own counters, exact and free of noise: exits, emulated instructions, page faults.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;

use kvm_ioctls::VcpuFd;

/// `KVM_GET_STATS_FD`: `_IO(0xAE, 0xce)`.
const KVM_GET_STATS_FD: libc::c_ulong = 0xaece;

/// `struct kvm_stats_header` (linux/kvm.h).
const HEADER_SIZE: usize = 24;
/// `struct kvm_stats_desc` without its name.
const DESCRIPTOR_SIZE: usize = 16;
/// Bounds on what the kernel may report, so that a surprise is an error and not an allocation.
const MAX_NAME: usize = 256;
const MAX_DESCRIPTORS: usize = 1024;
/// Bytes of values read: more than any kernel has.
const MAX_DATA: usize = 64 << 10;

/// All scalar counters of a vCPU that are not zero.
pub fn vcpu_counters(vcpu: &VcpuFd) -> io::Result<Vec<(String, u64)>> {
    // SAFETY: the ioctl takes no argument and returns a new file descriptor.
    let fd = unsafe { libc::ioctl(vcpu.as_raw_fd(), KVM_GET_STATS_FD, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just made and nobody else owns it.
    read_counters(&unsafe { File::from_raw_fd(fd) })
}

fn read_counters(file: &File) -> io::Result<Vec<(String, u64)>> {
    let mut header = [0; HEADER_SIZE];
    file.read_exact_at(&mut header, 0)?;
    let [_, name_size, count, _, descriptors_at, data_at] =
        std::array::from_fn(|index| word(&header, 4 * index) as usize);
    if name_size > MAX_NAME || count > MAX_DESCRIPTORS {
        return Err(io::Error::other("unexpected layout of KVM's counters"));
    }
    let stride = DESCRIPTOR_SIZE + name_size;
    let mut descriptors = vec![0; stride * count];
    file.read_exact_at(&mut descriptors, descriptors_at as u64)?;
    let mut data = vec![0; MAX_DATA];
    let length = file.read_at(&mut data, data_at as u64)?;
    data.truncate(length);
    let mut counters = Vec::new();
    for descriptor in descriptors.chunks_exact(stride) {
        // flags u32, exponent s16, size u16, offset u32, bucket_size u32, name.
        let size = word(descriptor, 4) >> 16;
        let offset = word(descriptor, 8) as usize;
        if size != 1 {
            continue;
        }
        let value = data
            .get(offset..)
            .and_then(|bytes| bytes.first_chunk())
            .map_or(0, |bytes| u64::from_ne_bytes(*bytes));
        if value != 0 {
            let name = descriptor[DESCRIPTOR_SIZE..]
                .split(|byte| *byte == 0)
                .next();
            let name = String::from_utf8_lossy(name.unwrap_or_default());
            counters.push((format!("kvm.{name}"), value));
        }
    }
    Ok(counters)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|four| four.try_into().ok())
        .map_or(0, u32::from_ne_bytes)
}
