//! The vCPUs: which one this is, and how the others start.
//!
//! Entry code finds its stacks, scratch space and descriptor tables at fixed addresses, the same on
//! every vCPU (see `tables`). What lies there differs, because each vCPU has page-table roots of its
//! own: in them the tables' pages are its own, everything else is shared. So there is one copy of
//! the entry code, it needs no register to find its data, and it is the same in both privilege modes.
//! A program's address space has a root for each vCPU (`mm/page_table.rs`).

use super::tables::{TABLES_RANGE, copy_for, local};
use super::{boot, in_ring3_mode, is_strict};
use crate::arch::kernel;
use crate::errno::{Errno, Result};
use crate::mm::frame;
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering};
use sprout_abi::layout::{DIRECT_MAP_BASE, HUGE_PAGE_SIZE, MAX_VCPUS, PAGE_SIZE, PAGE_TABLES_GPA};

unsafe extern "C" {
    fn start_secondary_ring3();
    fn start_secondary_hardware();
}

/// The sentry's own page-table root on each vCPU.
static OWN_ROOTS: [AtomicU64; MAX_VCPUS] = [const { AtomicU64::new(PAGE_TABLES_GPA) }; MAX_VCPUS];

/// Address bits of a page-table entry.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const ENTRIES: usize = 512;

/// vCPUs of this VM; 1 until they are prepared.
#[inline]
pub fn cpu_count() -> usize {
    local().count.load(Ordering::Relaxed) as usize
}

/// The vCPU this runs on.
#[inline]
pub fn cpu_index() -> usize {
    local().index.load(Ordering::Relaxed) as usize
}

/// The sentry's own page-table root on vCPU `cpu`.
pub fn own_root(cpu: usize) -> u64 {
    OWN_ROOTS[cpu].load(Ordering::Relaxed)
}

/// `ns` in ticks of the TSC. Takes no lock.
pub fn spin_ticks(ns: u64) -> u64 {
    boot::boot_info().clock.tsc_khz * ns / 1_000_000
}

/// Boot, when there are frames and before there are address spaces: makes the tables of `count`
/// vCPUs. They start at [`secondary_entry`].
pub fn prepare(count: usize) -> Result<()> {
    if count == 1 {
        return Ok(());
    }
    // The others' tables are copies.
    local().count.store(count as u32, Ordering::Relaxed);
    for (cpu, own_root) in OWN_ROOTS.iter().enumerate().take(count).skip(1) {
        let size = TABLES_RANGE.end - TABLES_RANGE.start;
        let order = (size / PAGE_SIZE).next_power_of_two().trailing_zeros();
        let tables = frame::allocate(order).ok_or(Errno::ENOMEM)?.phys;
        let root = root_over(tables)?;
        // SAFETY: a fresh block at least as large.
        unsafe { copy_for(cpu as u16, tables, root) };
        own_root.store(root, Ordering::Relaxed);
    }
    Ok(())
}

/// Where another vCPU than the first begins, on [`own_root`].
pub fn secondary_entry() -> u64 {
    let entry = if in_ring3_mode() {
        start_secondary_ring3 as *const ()
    } else {
        start_secondary_hardware as *const ()
    };
    entry.addr() as u64
}

/// The sentry's own tables with the pages of [`TABLES_RANGE`] at guest-physical `tables`.
fn root_over(tables: u64) -> Result<u64> {
    let index = |level: u32| (TABLES_RANGE.start >> (12 + 9 * (level - 1))) as usize % ENTRIES;
    // The range begins at a multiple of 2 MiB and is shorter, so there is one table at each level.
    const { assert!(TABLES_RANGE.start.is_multiple_of(HUGE_PAGE_SIZE)) };
    const { assert!(TABLES_RANGE.end - TABLES_RANGE.start <= HUGE_PAGE_SIZE) };
    let mut original = PAGE_TABLES_GPA;
    let mut root = 0;
    let mut above: Option<*mut u64> = None;
    for level in (1..=4).rev() {
        let copy = frame::allocate(0).ok_or(Errno::ENOMEM)?.phys;
        let entries = (DIRECT_MAP_BASE + copy) as *mut u64;
        // SAFETY: a table of the boot tables, into a fresh frame; the entry of the copy above is in
        // a frame of ours that no processor uses yet.
        unsafe {
            let from = (DIRECT_MAP_BASE + original) as *const u64;
            ptr::copy_nonoverlapping(from, entries, ENTRIES);
            match above {
                None => root = copy,
                Some(entry) => *entry = *entry & !ADDRESS | copy,
            }
            if level > 1 {
                let entry = entries.add(index(level));
                original = *entry & ADDRESS;
                above = Some(entry);
            } else {
                for page in 0..((TABLES_RANGE.end - TABLES_RANGE.start) / PAGE_SIZE) as usize {
                    let entry = entries.add(page);
                    *entry = *entry & !ADDRESS | (tables + page as u64 * PAGE_SIZE);
                }
            }
        }
    }
    Ok(root)
}

/// First Rust code on another vCPU than the first, on its boot stack.
pub(super) extern "C" fn secondary_main() -> ! {
    if is_strict() {
        boot::load_strict_idt();
    } else if !in_ring3_mode() {
        boot::protect();
    }
    kernel::sentry_online()
}

/// What a vCPU without a task does, on its boot stack.
pub(super) extern "C" fn idle_main() -> ! {
    kernel::sentry_idle()
}
