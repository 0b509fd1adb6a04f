//! Vector and floating-point state of a task, in XSAVE's standard format.
//!
//! The sentry itself uses none of these registers, so a task's values stay in the processor while
//! system calls run; they are saved only when another task takes over or a signal frame needs them.
//! Format: Intel SDM volume 1, chapter 13.

use crate::errno::Result;
use alloc::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use core::arch::asm;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of the XSAVE area for the components the VMM enabled in XCR0.
static AREA_SIZE: AtomicUsize = AtomicUsize::new(0);
/// XCR0.
static COMPONENTS: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);

/// Offset of the XSAVE header; XSTATE_BV is its first word.
const HEADER: usize = 512;
const MXCSR: usize = 24;
/// Bits MXCSR may have (Intel SDM volume 1, section 11.6.6; all processors since DAZ).
const MXCSR_MASK: u32 = 0xffff;

/// Reads the layout from CPUID; before the first task is made.
pub fn init() {
    let leaf = super::cpuid(0xd, 0);
    AREA_SIZE.store(leaf.ebx.max(576) as usize, Ordering::Relaxed);
    let (low, high): (u32, u32);
    // SAFETY: reads XCR0; OSXSAVE is set by the VMM.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack));
    }
    COMPONENTS.store(u64::from(high) << 32 | u64::from(low), Ordering::Relaxed);
}

/// One task's state.
pub struct FpuState {
    area: NonNull<u8>,
}

// SAFETY: the area is plain memory owned by this value.
unsafe impl Send for FpuState {}

impl Default for FpuState {
    fn default() -> Self {
        FpuState::new()
    }
}

impl FpuState {
    fn layout() -> Layout {
        let size = AREA_SIZE.load(Ordering::Relaxed).max(576);
        Layout::from_size_align(size, 64).unwrap_or(Layout::new::<[u64; 72]>())
    }

    /// The initial state: XSTATE_BV 0, so that XRSTOR initialises every component.
    pub fn new() -> FpuState {
        // SAFETY: the layout's size is not zero.
        let area = unsafe { alloc_zeroed(Self::layout()) };
        let Some(area) = NonNull::new(area) else {
            handle_alloc_error(Self::layout())
        };
        let mut state = FpuState { area };
        state.reset();
        state
    }

    /// Back to the initial state.
    pub fn reset(&mut self) {
        let bytes = self.bytes_mut();
        bytes[..HEADER + 64].fill(0);
        bytes[0..2].copy_from_slice(&0x37fu16.to_le_bytes());
        bytes[MXCSR..MXCSR + 4].copy_from_slice(&0x1f80u32.to_le_bytes());
        bytes[MXCSR + 4..MXCSR + 8].copy_from_slice(&MXCSR_MASK.to_le_bytes());
    }

    /// The processor's registers into this area.
    pub fn save(&mut self) {
        // SAFETY: the area is 64-byte aligned and as large as CPUID says XSAVE writes.
        unsafe {
            asm!("xsave64 [{}]", in(reg) self.area.as_ptr(), in("eax") -1, in("edx") -1,
                options(nostack, preserves_flags));
        }
    }

    /// This area into the processor's registers.
    pub fn restore(&self) {
        // SAFETY: the area holds what XSAVE or `load` put there, so XRSTOR cannot fault.
        unsafe {
            asm!("xrstor64 [{}]", in(reg) self.area.as_ptr(), in("eax") -1, in("edx") -1,
                options(nostack, preserves_flags));
        }
    }

    /// A copy (fork).
    pub fn copy_from(&mut self, other: &FpuState) {
        self.bytes_mut().copy_from_slice(other.bytes());
    }

    /// The area's bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: owned memory of that size, initialised at allocation.
        unsafe { core::slice::from_raw_parts(self.area.as_ptr(), Self::layout().size()) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.area.as_ptr(), Self::layout().size()) }
    }

    /// Takes over bytes a program supplied (signal return), made safe for XRSTOR: unknown
    /// components, compaction and reserved bits are dropped. `fill` gets the 512 legacy bytes and
    /// those behind them, and says whether it filled these too, header first.
    pub fn load(&mut self, fill: impl FnOnce(&mut [u8], &mut [u8]) -> Result<bool>) -> Result<()> {
        let area = self.bytes_mut();
        let (legacy, extended) = area.split_at_mut(HEADER);
        let filled = fill(legacy, extended);
        // Also when it failed: whatever is in the area, XRSTOR must take it.
        let mxcsr = u32::from_le_bytes([area[24], area[25], area[26], area[27]]) & MXCSR_MASK;
        area[MXCSR..MXCSR + 4].copy_from_slice(&mxcsr.to_le_bytes());
        let present = if filled == Ok(true) {
            let mut present = [0; 8];
            present.copy_from_slice(&area[HEADER..HEADER + 8]);
            u64::from_le_bytes(present) & COMPONENTS.load(Ordering::Relaxed)
        } else {
            // Only x87 and SSE were supplied.
            3
        };
        area[HEADER..HEADER + 8].copy_from_slice(&present.to_le_bytes());
        area[HEADER + 8..HEADER + 64].fill(0);
        filled.map(drop)
    }

    /// XCR0: the components a frame can hold.
    pub fn components() -> u64 {
        COMPONENTS.load(Ordering::Relaxed)
    }
}

impl Drop for FpuState {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout (its size is fixed at boot).
        unsafe { dealloc(self.area.as_ptr(), Self::layout()) }
    }
}
