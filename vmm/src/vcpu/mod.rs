//! A vCPU: its thread, its registers at boot, its state in snapshots, and the ioctls that kvm-ioctls
//! does not wrap.

pub mod boot;
pub mod desk;
pub mod kick;
pub mod report;
pub mod run;
pub mod state;

use std::os::fd::AsRawFd;

use kvm_bindings::{KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET, Msrs, kvm_device_attr, kvm_msr_entry};
use kvm_ioctls::VcpuFd;

use crate::clock::{Tsc, host_tsc};

/// The time-stamp counter's model-specific register.
const IA32_TSC: u32 = 0x10;

/// `KVM_SET_DEVICE_ATTR`: `_IOW(0xAE, 0xe1, struct kvm_device_attr)`.
const KVM_SET_DEVICE_ATTR: libc::c_ulong = 0x4018_aee1;

/// `KVM_INTERRUPT`: `_IOW(0xAE, 0x86, u32)`.
const KVM_INTERRUPT: libc::c_ulong = 0x4004_ae86;

/// Queues an external interrupt; the vCPU must be ready for it.
pub fn interrupt(vcpu: &VcpuFd, vector: u8) -> std::io::Result<()> {
    let number = u32::from(vector);
    // SAFETY: the ioctl reads one u32 (`struct kvm_interrupt`) through the pointer.
    match unsafe { libc::ioctl(vcpu.as_raw_fd(), KVM_INTERRUPT, &raw const number) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Makes the guest's TSC equal to the host's where KVM lets us, and tells how they relate.
pub fn synchronise_tsc(vcpu: &VcpuFd) -> Result<Tsc, kvm_ioctls::Error> {
    let khz = u64::from(vcpu.get_tsc_khz()?);
    let zero = 0u64;
    let attribute = kvm_device_attr {
        group: KVM_VCPU_TSC_CTRL,
        attr: u64::from(KVM_VCPU_TSC_OFFSET),
        addr: (&raw const zero) as u64,
        flags: 0,
    };
    // SAFETY: the ioctl reads the attribute, and through its address the u64 `zero`; both live.
    let set = unsafe { libc::ioctl(vcpu.as_raw_fd(), KVM_SET_DEVICE_ATTR, &raw const attribute) };
    if set == 0 {
        return Ok(Tsc { khz, offset: 0 });
    }
    let mut msrs = one_msr(IA32_TSC, host_tsc())?;
    vcpu.set_msrs(&msrs)?;
    let before = host_tsc();
    vcpu.get_msrs(&mut msrs)?;
    let guest = msrs.as_slice().first().map_or(0, |entry| entry.data);
    let host = before.midpoint(host_tsc());
    let offset = guest.wrapping_sub(host).cast_signed();
    // Where the write is ignored or exact, the difference is only the time the ioctl took.
    let offset = if offset.unsigned_abs() < khz / 20 {
        0
    } else {
        offset
    };
    Ok(Tsc { khz, offset })
}

fn one_msr(index: u32, data: u64) -> Result<Msrs, kvm_ioctls::Error> {
    Msrs::from_entries(&[kvm_msr_entry {
        index,
        data,
        ..Default::default()
    }])
    .map_err(|_| kvm_ioctls::Error::new(libc::EINVAL))
}
