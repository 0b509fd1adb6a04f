//! Stand-in for host unit tests: no traps, no switches, the host's clock.

#![allow(missing_docs)]

use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Nanoseconds since the first call: a TSC of 1 GHz.
pub fn tsc() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// One vCPU.
pub fn cpu_count() -> usize {
    1
}

/// The first.
pub fn cpu_index() -> usize {
    0
}

/// The sentry's own root on it: what the VMM leaves in unit tests, an empty table.
pub fn own_root(_: usize) -> u64 {
    sprout_abi::layout::PAGE_TABLES_GPA
}

/// No privilege mode, so not the strict one.
pub fn is_strict() -> bool {
    false
}

/// No program jumps there.
pub fn syscall_entry_address() -> u64 {
    0
}

pub fn spin_ticks(ns: u64) -> u64 {
    ns
}

/// Translation caches: none.
pub mod tlb {
    /// Forgets one page.
    pub fn flush_page(_: u64) {}
    /// Forgets every page.
    pub fn flush_local() {}
    /// A page that is no page table: none is.
    pub fn no_table(_: &core::sync::atomic::AtomicU32) {}
    /// The root in use: none.
    pub fn root() -> u64 {
        0
    }
    /// Switches to another address space.
    pub fn load_root(_: u64) {}
}

/// The vDSO's data page: none.
pub mod vdso {
    /// Publishes new clock parameters.
    pub fn update(_: &sprout_abi::boot::ClockReading, _: u64, _: i64) {}
    /// Maps nothing.
    pub fn map(_: &crate::mm::AddressSpace) -> crate::errno::Result<u64> {
        Ok(0)
    }
}

/// Nothing beyond the areas.
pub const GATE_AREA: &str = "";

pub const MACHINE: &[u8] = b"x86_64";

pub fn hwcap() -> u64 {
    0
}

pub fn hwcap2() -> u64 {
    0
}

pub fn minimum_signal_stack() -> u64 {
    2048
}

pub fn reset_thread_pointers() {}

pub fn arch_prctl(
    _: u32,
    _: u64,
    _: impl FnOnce(u64) -> crate::errno::Result<()>,
) -> crate::errno::Result<u64> {
    Err(crate::errno::Errno::EINVAL)
}

pub fn switch(_: Option<Arc<crate::task::Task>>, _: Arc<crate::task::Task>) {
    unreachable!("host unit tests do not switch tasks")
}

pub fn switch_to_idle(_: Arc<crate::task::Task>) {
    unreachable!("host unit tests do not switch tasks")
}

/// No stack.
pub struct KernelStack;

impl KernelStack {
    pub fn new() -> crate::errno::Result<KernelStack> {
        Ok(KernelStack)
    }

    pub fn prepare(&self, _: &super::TrapFrame) -> u64 {
        0
    }
}

/// No registers.
#[derive(Default)]
pub struct ThreadRegisters(());

impl ThreadRegisters {
    pub fn set_kernel_sp(&self, _: u64) {}
    pub fn set_tls(&self, _: u64) {}
    pub fn copy_current_bases(&self) {}
}

/// A zeroed XSAVE area of x87 and SSE state.
pub struct FpuState(Vec<u8>);

impl Default for FpuState {
    fn default() -> Self {
        FpuState::new()
    }
}

impl FpuState {
    pub fn new() -> FpuState {
        FpuState(vec![0; 576])
    }
    pub fn reset(&mut self) {}
    pub fn save(&mut self) {}
    pub fn restore(&self) {}
    pub fn copy_from(&mut self, other: &FpuState) {
        self.0.copy_from_slice(&other.0);
    }
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
    pub fn load(
        &mut self,
        fill: impl FnOnce(&mut [u8], &mut [u8]) -> crate::errno::Result<bool>,
    ) -> crate::errno::Result<()> {
        let (legacy, extended) = self.0.split_at_mut(512);
        fill(legacy, extended).map(drop)
    }
    pub fn components() -> u64 {
        3
    }
}
