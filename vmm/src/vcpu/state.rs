//! A vCPU's state as it is kept in a snapshot.

use kvm_bindings::{
    Msrs, kvm_debugregs, kvm_msr_entry, kvm_regs, kvm_sregs, kvm_vcpu_events, kvm_xcrs, kvm_xsave,
};
use kvm_ioctls::VcpuFd;
use serde::{Deserialize, Serialize};

use crate::error::VmError;
use sprout_abi::layout::{PAGE_SIZE, PAGE_TABLES_GPA};

/// Model-specific registers a snapshot keeps (Intel SDM vol. 4; AMD APM vol. 2, appendix A). EFER
/// and the FS and GS bases are part of the special registers; the TSC is the clock's affair.
const KEPT_MSRS: [u32; 11] = [
    0xc000_0081, // STAR
    0xc000_0082, // LSTAR
    0xc000_0083, // CSTAR
    0xc000_0084, // SYSCALL_MASK
    0xc000_0102, // KERNEL_GS_BASE
    0xc000_0103, // TSC_AUX
    0x174,       // SYSENTER_CS
    0x175,       // SYSENTER_ESP
    0x176,       // SYSENTER_EIP
    0x277,       // PAT
    0x1a0,       // MISC_ENABLE
];

/// Everything KVM holds of a vCPU that has no interrupt controller.
#[derive(Debug, Serialize, Deserialize)]
pub struct VcpuState {
    regs: kvm_regs,
    sregs: kvm_sregs,
    xsave: kvm_xsave,
    xcrs: kvm_xcrs,
    msrs: Vec<(u32, u64)>,
    events: kvm_vcpu_events,
    debugregs: kvm_debugregs,
}

impl VcpuState {
    /// Reads the state; the vCPU must have no exit pending.
    pub fn save(vcpu: &VcpuFd) -> Result<Self, VmError> {
        Ok(Self {
            regs: vcpu
                .get_regs()
                .map_err(VmError::kvm("read the registers"))?,
            sregs: vcpu
                .get_sregs()
                .map_err(VmError::kvm("read the special registers"))?,
            xsave: vcpu
                .get_xsave()
                .map_err(VmError::kvm("read the extended state"))?,
            xcrs: vcpu.get_xcrs().map_err(VmError::kvm("read XCR0"))?,
            msrs: save_msrs(vcpu)?,
            events: vcpu
                .get_vcpu_events()
                .map_err(VmError::kvm("read pending events"))?,
            debugregs: vcpu
                .get_debug_regs()
                .map_err(VmError::kvm("read the debug registers"))?,
        })
    }

    /// The page-table root the vCPU has loaded.
    pub fn root(&self) -> u64 {
        self.sregs.cr3
    }

    /// Like [`Self::restore`] for a vCPU that has run, and has no exit pending: what it still knows
    /// of translations goes, and nothing is left of what was about to happen to it.
    pub fn rewind(&self, vcpu: &mut VcpuFd) -> Result<(), VmError> {
        let run = vcpu.get_kvm_run();
        run.request_interrupt_window = 0;
        run.immediate_exit = 0;
        // KVM flushes when the root changes, and only then.
        let mut elsewhere = self.sregs;
        elsewhere.cr3 = match self.sregs.cr3 {
            PAGE_TABLES_GPA => PAGE_TABLES_GPA + PAGE_SIZE,
            _ => PAGE_TABLES_GPA,
        };
        vcpu.set_sregs(&elsewhere)
            .map_err(VmError::kvm("set the special registers"))?;
        self.restore(vcpu)
    }

    /// Sets the state of a vCPU that has its CPUID.
    pub fn restore(&self, vcpu: &VcpuFd) -> Result<(), VmError> {
        vcpu.set_sregs(&self.sregs)
            .map_err(VmError::kvm("set the special registers"))?;
        vcpu.set_xcrs(&self.xcrs)
            .map_err(VmError::kvm("set XCR0"))?;
        // SAFETY: the structure has the 4 KiB that KVM reads without AMX, which is never enabled.
        unsafe { vcpu.set_xsave(&self.xsave) }.map_err(VmError::kvm("set the extended state"))?;
        let entries: Vec<_> = self
            .msrs
            .iter()
            .map(|(index, data)| kvm_msr_entry {
                index: *index,
                data: *data,
                ..Default::default()
            })
            .collect();
        let msrs = Msrs::from_entries(&entries)
            .map_err(|_| VmError::kvm("hold the MSRs")(kvm_ioctls::Error::new(libc::ENOMEM)))?;
        let set = vcpu.set_msrs(&msrs).map_err(VmError::kvm("set the MSRs"))?;
        if set != entries.len() {
            return Err(VmError::kvm("set all MSRs")(kvm_ioctls::Error::new(
                libc::EINVAL,
            )));
        }
        vcpu.set_debug_regs(&self.debugregs)
            .map_err(VmError::kvm("set the debug registers"))?;
        vcpu.set_vcpu_events(&self.events)
            .map_err(VmError::kvm("set pending events"))?;
        vcpu.set_regs(&self.regs)
            .map_err(VmError::kvm("set the registers"))
    }
}

/// The kept MSRs that this KVM has; one call each, because a call stops at the first it lacks.
fn save_msrs(vcpu: &VcpuFd) -> Result<Vec<(u32, u64)>, VmError> {
    let mut kept = Vec::new();
    for index in KEPT_MSRS {
        let mut one = super::one_msr(index, 0).map_err(VmError::kvm("hold an MSR"))?;
        if vcpu
            .get_msrs(&mut one)
            .map_err(VmError::kvm("read an MSR"))?
            == 1
        {
            kept.extend(one.as_slice().iter().map(|entry| (entry.index, entry.data)));
        }
    }
    Ok(kept)
}
