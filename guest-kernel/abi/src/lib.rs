//! What the sentry (inside the VM) and the VMM (outside) must agree on: the memory map, the boot
//! information, the page both sides share, the doorbell hypercalls, and their versions.
//!
//! Everything here is `#[repr(C)]` plain data whose layout is asserted at compile time. Changing
//! any of it is a deliberate act: bump [`ABI_VERSION`], which snapshots record and restores check.

#![no_std]
#![forbid(unsafe_code)]

pub mod boot;
pub mod hypercall;
pub mod layout;

/// Version of everything in this crate. A snapshot restores only under the version it was made in.
pub const ABI_VERSION: u32 = 5;
