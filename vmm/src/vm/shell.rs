//! A VM without memory: everything that can be made before it is known which guest it will be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kvm_bindings::{CpuId, KVM_MEM_READONLY, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};

use crate::clock::Tsc;
use crate::error::VmError;
use crate::host;
use crate::host::cpuid::{self, Features};
use crate::host::isolation::PrivilegeMode;
use crate::memory::GuestMemory;
use crate::vcpu;
use sprout_abi::layout::MAX_VCPUS;

/// Memory slot of RAM; the images follow.
const RAM_SLOT: u32 = 0;

/// A VM with one vCPU whose CPUID and TSC are set; more can be added.
///
/// Field order is drop order: the vCPUs before their VM.
#[derive(Debug)]
pub struct Shell {
    pub(crate) vcpu: VcpuFd,
    /// The vCPUs after the first.
    pub(crate) others: Vec<VcpuFd>,
    vm: VmFd,
    pub(crate) kvm: Arc<Kvm>,
    pub(crate) cpuid: CpuId,
    pub(crate) tsc: Tsc,
    software: bool,
    created_in: Duration,
}

impl Shell {
    /// Opens `/dev/kvm` and creates the VM and its vCPU.
    pub fn new() -> Result<Self, VmError> {
        Self::with(Arc::new(host::open_kvm()?))
    }

    /// Creates the VM and its vCPU.
    pub fn with(kvm: Arc<Kvm>) -> Result<Self, VmError> {
        let start = Instant::now();
        let vm = kvm.create_vm().map_err(VmError::kvm("create a VM"))?;
        let supported = kvm
            .get_supported_cpuid(cpuid::MAX_ENTRIES)
            .map_err(VmError::kvm("read the supported CPUID"))?;
        let software = cpuid::is_software_kvm(&supported, cpuid::host_leaf);
        let cpuid = cpuid::table_for_guest(supported, cpuid::host_leaf);
        let (vcpu, tsc) = create_vcpu(&vm, 0, &cpuid)?;
        Ok(Self {
            vcpu,
            others: Vec::new(),
            vm,
            kvm,
            cpuid,
            tsc,
            software,
            created_in: start.elapsed(),
        })
    }

    /// Makes it a VM with `count` vCPUs.
    pub(crate) fn set_vcpus(&mut self, count: usize) -> Result<(), VmError> {
        if !(1..=MAX_VCPUS).contains(&count) {
            return Err(VmError::Vcpus(count));
        }
        if count == 1 {
            return Ok(());
        }
        // At most `MAX_VCPUS`, so no cast below loses anything.
        let table = |index: usize| cpuid::for_vcpu(&self.cpuid, index as u8, count as u8);
        self.vcpu
            .set_cpuid2(&table(0))
            .map_err(VmError::kvm("set the guest's CPUID"))?;
        for index in 1 + self.others.len()..count {
            let (vcpu, tsc) = create_vcpu(&self.vm, index as u64, &table(index))?;
            // The sentry computes time from the counter of whichever vCPU it runs on.
            if tsc.offset != self.tsc.offset {
                return Err(VmError::Unsynchronised);
            }
            self.others.push(vcpu);
        }
        Ok(())
    }

    /// All vCPUs, in order.
    pub(crate) fn vcpus(&self) -> impl Iterator<Item = &VcpuFd> {
        std::iter::once(&self.vcpu).chain(&self.others)
    }

    /// All vCPUs, in order.
    pub(crate) fn vcpus_mut(&mut self) -> impl Iterator<Item = &mut VcpuFd> {
        std::iter::once(&mut self.vcpu).chain(&mut self.others)
    }

    /// How long [`Self::new`] took.
    pub fn created_in(&self) -> Duration {
        self.created_in
    }

    /// Frequency of the guest's TSC in kHz.
    pub fn tsc_khz(&self) -> u64 {
        self.tsc.khz
    }

    /// The privilege mode the sentry will find, `strict` if it is asked to keep page tables of its
    /// own. It decides by behaviour; from outside, software KVM shows by a CPUID table that lacks
    /// what the processor has.
    pub fn expected_mode(&self, strict: bool) -> PrivilegeMode {
        match (self.software, strict) {
            (false, _) => PrivilegeMode::Hardware,
            (true, false) => PrivilegeMode::Ring3,
            (true, true) => PrivilegeMode::Ring3Strict,
        }
    }

    /// The processor features a guest finds here.
    pub fn features(&self) -> Features {
        Features::of(&self.cpuid)
    }

    /// Gives the VM its memory; `memory` must outlive the shell.
    pub(crate) fn attach(&self, memory: &GuestMemory) -> Result<(), VmError> {
        let ram = kvm_userspace_memory_region {
            slot: RAM_SLOT,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: memory.ram_size(),
            userspace_addr: memory.ram_host_address(),
        };
        let images = memory
            .images()
            .iter()
            .zip(RAM_SLOT + 1..)
            .map(|(image, slot)| kvm_userspace_memory_region {
                slot,
                flags: KVM_MEM_READONLY,
                guest_phys_addr: image.gpa,
                memory_size: image.size(),
                userspace_addr: image.host_address(),
            });
        for region in std::iter::once(ram).chain(images) {
            // SAFETY: the range is a live mapping of `memory`, which `Vm` keeps until after the
            // VM's file descriptors are closed; slots do not overlap (RAM ends below the images).
            unsafe { self.vm.set_user_memory_region(region) }
                .map_err(VmError::kvm("give the VM its memory"))?;
        }
        Ok(())
    }
}

fn create_vcpu(vm: &VmFd, index: u64, cpuid: &CpuId) -> Result<(VcpuFd, Tsc), VmError> {
    let vcpu = vm
        .create_vcpu(index)
        .map_err(VmError::kvm("create a vCPU"))?;
    vcpu.set_cpuid2(cpuid)
        .map_err(VmError::kvm("set the guest's CPUID"))?;
    let tsc = vcpu::synchronise_tsc(&vcpu).map_err(VmError::kvm("read the TSC"))?;
    Ok((vcpu, tsc))
}
