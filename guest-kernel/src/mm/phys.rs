//! Guest-physical memory as the sentry sees it: the direct map on the target, an arena on the host.

#[cfg(target_os = "none")]
mod imp {
    use sprout_abi::layout::DIRECT_MAP_BASE;

    /// Where the byte at guest-physical `phys` is mapped.
    #[inline(always)]
    pub fn phys_to_ptr(phys: u64) -> *mut u8 {
        (DIRECT_MAP_BASE + phys) as *mut u8
    }

    /// Inverse of [`phys_to_ptr`].
    #[inline(always)]
    pub fn ptr_to_phys(ptr: *const u8) -> u64 {
        ptr as u64 - DIRECT_MAP_BASE
    }
}

#[cfg(not(target_os = "none"))]
mod imp {
    //! Unit tests on the host: RAM is one lazily zeroed allocation, images are leaked copies.

    use sprout_abi::layout::{HUGE_PAGE_SIZE, IMAGE_BASE};
    use std::alloc::{Layout, alloc_zeroed};
    use std::sync::{OnceLock, RwLock};
    use std::vec::Vec;

    /// Bytes of RAM the host arena plays.
    pub const HOST_RAM: u64 = 1 << 30;

    static RAM: OnceLock<usize> = OnceLock::new();
    static IMAGES: RwLock<Vec<(u64, usize, u64)>> = RwLock::new(Vec::new());

    fn allocate(bytes: u64) -> usize {
        let layout = Layout::from_size_align(bytes as usize, HUGE_PAGE_SIZE as usize)
            .expect("a whole number of huge pages is a valid layout");
        // SAFETY: the size is not zero.
        let base = unsafe { alloc_zeroed(layout) };
        assert!(!base.is_null(), "no memory for the host arena");
        base as usize
    }

    /// Where the byte at guest-physical `phys` is mapped.
    pub fn phys_to_ptr(phys: u64) -> *mut u8 {
        if phys < HOST_RAM {
            return (*RAM.get_or_init(|| allocate(HOST_RAM)) + phys as usize) as *mut u8;
        }
        let images = IMAGES
            .read()
            .expect("no test panics while it holds this lock");
        let found = images
            .iter()
            .find(|(base, _, len)| phys >= *base && phys < base + len);
        let (base, ptr, _) = found.expect("guest-physical address outside RAM and test images");
        (ptr + (phys - base) as usize) as *mut u8
    }

    /// Inverse of [`phys_to_ptr`] for RAM.
    pub fn ptr_to_phys(ptr: *const u8) -> u64 {
        ptr as u64 - phys_to_ptr(0) as u64
    }

    /// Host only: makes a copy of `bytes` appear as a read-only image at the guest-physical address
    /// returned (2 MiB aligned, zero-padded), for tests of image readers.
    pub fn host_image(bytes: &[u8]) -> u64 {
        let len = (bytes.len() as u64)
            .next_multiple_of(HUGE_PAGE_SIZE)
            .max(HUGE_PAGE_SIZE);
        let ptr = allocate(len);
        // SAFETY: a fresh allocation of at least `bytes.len()` bytes.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), ptr as *mut u8, bytes.len()) };
        let mut images = IMAGES
            .write()
            .expect("no test panics while it holds this lock");
        let base = images
            .last()
            .map_or(IMAGE_BASE, |(base, _, len)| base + len);
        images.push((base, ptr, len));
        base
    }
}

use crate::arch;
use core::sync::atomic::AtomicU32;
pub use imp::*;
use sprout_abi::layout::{IMAGE_BASE, PAGE_SIZE};

/// Whether `phys` lies in an image slot (read-only, not reference-counted).
#[inline]
pub fn is_image(phys: u64) -> bool {
    phys >= IMAGE_BASE
}

/// Reads image memory in place. `phys` and `len` come from the boot information's image slots and
/// must lie inside one.
pub fn image_slice(phys: u64, len: usize) -> &'static [u8] {
    assert!(
        is_image(phys),
        "image_slice of guest-physical {phys:#x}, which is RAM"
    );
    // SAFETY: image slots are mapped read-only for the whole life of the VM and never change.
    unsafe { core::slice::from_raw_parts(phys_to_ptr(phys), len) }
}

/// Reads what the VMM put into RAM before the first run (arguments, a program file). That memory
/// lies below `BootInfo::free_start`, so nothing ever writes it.
pub fn boot_slice(phys: u64, len: u64) -> &'static [u8] {
    if len == 0 {
        return &[];
    }
    assert!(
        !is_image(phys),
        "boot_slice of guest-physical {phys:#x}, which is no RAM"
    );
    // SAFETY: reserved by the VMM for the whole life of the VM, and read-only by convention.
    unsafe { core::slice::from_raw_parts(phys_to_ptr(phys), len as usize) }
}

/// Copies out of RAM or an image; `phys..phys + bytes.len()` must lie inside one page.
#[inline]
pub(super) fn read(phys: u64, bytes: &mut [u8]) {
    debug_assert!(phys % PAGE_SIZE + bytes.len() as u64 <= PAGE_SIZE);
    // SAFETY: guest-physical pages that page tables and frames name are always mapped; programs
    // may change them while they are copied, which for bytes means old or new values.
    unsafe { core::ptr::copy_nonoverlapping(phys_to_ptr(phys), bytes.as_mut_ptr(), bytes.len()) }
}

/// Copies into RAM; `phys..phys + bytes.len()` must lie inside one page the caller may write.
#[inline]
pub(super) fn write(phys: u64, bytes: &[u8]) {
    debug_assert!(phys % PAGE_SIZE + bytes.len() as u64 <= PAGE_SIZE && !is_image(phys));
    // SAFETY: as in `read`; the page belongs to a program or a file, no Rust object lives in it.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), phys_to_ptr(phys), bytes.len()) }
}

/// Zeroes RAM at `phys`.
#[inline]
pub(super) fn zero(phys: u64, len: u64) {
    debug_assert!(!is_image(phys));
    let whole = phys.next_multiple_of(PAGE_SIZE)..(phys + len).saturating_sub(PAGE_SIZE - 1);
    for page in whole.step_by(PAGE_SIZE as usize) {
        // SAFETY: as in `write`; a page is aligned, and the reference is gone after the call.
        arch::tlb::no_table(unsafe { &*phys_to_ptr(page).cast::<AtomicU32>() });
    }
    // SAFETY: as in `write`.
    unsafe { core::ptr::write_bytes(phys_to_ptr(phys), 0, len as usize) }
}

/// Copies the page at `from` (RAM or image) over the page at `to` (RAM).
#[inline]
pub(super) fn copy_page(from: u64, to: u64) {
    debug_assert!(!is_image(to) && from != to);
    // SAFETY: as in `write`; different pages don't overlap.
    unsafe {
        core::ptr::copy_nonoverlapping(phys_to_ptr(from), phys_to_ptr(to), PAGE_SIZE as usize)
    }
}
