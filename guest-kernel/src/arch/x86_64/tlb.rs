//! Translation caches. Called after entries were removed or weakened; new or widened entries need
//! no flush. In ring-3 mode both go through the ring-0 service gate, 5-7 us each.

use super::in_ring3_mode;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};
use sprout_abi::layout::PAGE_TABLES_GPA;

/// Guest-physical address of the page-table root in use.
static ROOT: AtomicU64 = AtomicU64::new(PAGE_TABLES_GPA);

/// Forgets the translation of one page.
pub fn flush_page(va: u64) {
    // SAFETY: forgetting translations is always sound; the service gate clobbers nothing else.
    unsafe {
        if in_ring3_mode() {
            asm!("int 4", in("rax") 1, in("rdi") va, options(nostack));
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
    // SAFETY: every root the sentry makes has the kernel's slots of the boot tables, so the code,
    // stack and data in use stay mapped.
    unsafe {
        if in_ring3_mode() {
            asm!("int 4", in("rax") 0, in("rdi") root, options(nostack));
        } else {
            asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags));
        }
    }
}
