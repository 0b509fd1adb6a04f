//! The memory map, guest-physical and guest-virtual.
//!
//! ```text
//! guest-physical                         guest-virtual
//! 0x0000_0000 null page, never mapped    0x0000_0000_0001_0000 .. 0x0000_8000_0000_0000  program
//! 0x0000_1000 BootInfo                   DIRECT_MAP_BASE + gpa   all RAM (RW, NX), image (R, NX)
//! 0x0000_2000 SharedPage                 KERNEL_BASE + gpa       the sentry's ELF segments
//! 0x0000_3000 hypercall request page
//! 0x0000_4000 RestoreInfo
//! 0x0000_5000 command line blob
//! 0x0002_0000 page tables made by the VMM (BootInfo::free_start tells where they end)
//! 0x0020_0000 the sentry, then free RAM
//! IMAGE_BASE  the root image, read-only; further images every IMAGE_STRIDE
//! ```

/// Size of a base page.
pub const PAGE_SIZE: u64 = 4096;
/// Size of a large page; RAM and image slots are multiples of it.
pub const HUGE_PAGE_SIZE: u64 = 2 << 20;

/// [`crate::boot::BootInfo`], written by the VMM before the first run.
pub const BOOT_INFO_GPA: u64 = 0x1000;
/// [`crate::boot::SharedPage`], read and written by both sides while the guest runs.
pub const SHARED_PAGE_GPA: u64 = 0x2000;
/// The page the sentry builds its [`crate::hypercall::Request`]s in, one slot for each vCPU.
pub const HYPERCALL_PAGE_GPA: u64 = 0x3000;

/// Where vCPU `cpu` builds its requests.
pub const fn hypercall_slot_gpa(cpu: usize) -> u64 {
    HYPERCALL_PAGE_GPA + (cpu * size_of::<crate::hypercall::Request>()) as u64
}

/// Most vCPUs of a guest.
pub const MAX_VCPUS: usize = 16;
/// [`crate::boot::RestoreInfo`], written by the VMM before a restored guest resumes.
pub const RESTORE_INFO_GPA: u64 = 0x4000;
/// Arguments, environment and mount description (see [`crate::boot::BootInfo::args`]), used at boot;
/// in a rewind the list of [`crate::hypercall::event::UNDO`].
pub const BOOT_BLOB_GPA: u64 = 0x5000;
/// Largest boot blob: everything up to [`PAGE_TABLES_GPA`].
pub const BOOT_BLOB_MAX: u64 = PAGE_TABLES_GPA - BOOT_BLOB_GPA;
/// First page of the tables that the VMM builds.
pub const PAGE_TABLES_GPA: u64 = 0x2_0000;
/// Where the sentry's ELF is loaded: virtual [`KERNEL_BASE`] + this.
pub const KERNEL_GPA: u64 = 0x20_0000;
/// Guest-physical base of the read-only image slots (64 GiB: above any RAM size allowed).
pub const IMAGE_BASE: u64 = 64 << 30;
/// Distance of two image slots, so also the largest image: 16 GiB.
pub const IMAGE_STRIDE: u64 = 16 << 30;

/// Guest-physical base of image slot `index`.
pub const fn image_base(index: usize) -> u64 {
    IMAGE_BASE + index as u64 * IMAGE_STRIDE
}
/// Most RAM a guest can have.
pub const MAX_RAM: u64 = 32 << 30;

/// All of guest-physical memory appears here (PML4 slot 257; slot 256 does not work at CPL3 on
/// software KVM, see `docs/hosts.md`).
pub const DIRECT_MAP_BASE: u64 = 0xffff_8080_0000_0000;
/// The sentry's link base (PML4 slot 511, the top 2 GiB, as `code-model=kernel` wants).
pub const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;
/// First address a program can't have.
pub const USER_END: u64 = 0x0000_7fff_ffff_f000;

/// PML4 slots whose U bit is the difference between the privilege modes. The VMM sets it (the
/// boot probe runs ring-3 code of the sentry); the sentry clears it when it finds real hardware.
pub const KERNEL_PML4_SLOTS: [usize; 2] = [257, 511];

/// x86 I/O port of the doorbell: a 32-bit OUT of the guest-physical address of a request.
pub const DOORBELL_PORT: u16 = 0x0e70;
/// Interrupt vector the VMM injects for preemption.
pub const PREEMPT_VECTOR: u8 = 0x20;

/// Selectors of the GDT the sentry loads. Ring 3 sees the same values natively under software KVM,
/// so they are Linux's.
pub mod selector {
    /// Ring-0 code.
    pub const KERNEL_CODE: u16 = 0x10;
    /// Ring-0 data.
    pub const KERNEL_DATA: u16 = 0x18;
    /// Ring-3 data and stack.
    pub const USER_DATA: u16 = 0x2b;
    /// Ring-3 64-bit code.
    pub const USER_CODE: u16 = 0x33;
    /// Task state segment (16 bytes).
    pub const TSS: u16 = 0x40;
}

const _: () = {
    assert!(DIRECT_MAP_BASE == 0xffff_0000_0000_0000 | (257u64 << 39));
    assert!((KERNEL_BASE >> 39) & 511 == 511);
    assert!(MAX_RAM <= IMAGE_BASE);
    assert!(hypercall_slot_gpa(MAX_VCPUS) <= HYPERCALL_PAGE_GPA + PAGE_SIZE);
};
