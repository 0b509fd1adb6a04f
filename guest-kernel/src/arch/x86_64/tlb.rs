//! Translation caches. Called after entries were removed or weakened; new or widened entries need
//! no flush. In ring-3 mode both go through the ring-0 service gate, 5-7 us each.
//!
//! In strict mode there is nothing to do: the sentry's tables map no program, and every return to
//! a program loads CR3, which forgets all of it.

use super::{in_ring3_mode, is_strict, ring0, tables};
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};
use sprout_abi::layout::PAGE_TABLES_GPA;

/// Guest-physical address of the page-table root in use.
static ROOT: AtomicU64 = AtomicU64::new(PAGE_TABLES_GPA);

/// Forgets the translation of one page.
pub fn flush_page(va: u64) {
    if is_strict() {
        return;
    }
    // SAFETY: forgetting translations is always sound.
    unsafe {
        if in_ring3_mode() {
            ring0::call(ring0::INVLPG, va, 0);
        } else {
            asm!("invlpg [{}]", in(reg) va, options(nostack, preserves_flags));
        }
    }
}

/// Forgets all translations of the program's half.
pub fn flush_all() {
    load_root(ROOT.load(Ordering::Relaxed));
}

/// The root in use.
pub fn root() -> u64 {
    ROOT.load(Ordering::Relaxed)
}

/// Switches to the address space whose PML4 is at `root`, if it is another one.
pub fn switch_root(root: u64) {
    if ROOT.load(Ordering::Relaxed) != root {
        load_root(root);
    }
}

fn load_root(root: u64) {
    ROOT.store(root, Ordering::Relaxed);
    if is_strict() {
        tables::set_program_root(root);
        return;
    }
    // SAFETY: every root the sentry makes has the kernel's slots of the boot tables, so the code,
    // stack and data in use stay mapped.
    unsafe {
        if in_ring3_mode() {
            ring0::call(ring0::LOAD_CR3, root, 0);
        } else {
            asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags));
        }
    }
}
