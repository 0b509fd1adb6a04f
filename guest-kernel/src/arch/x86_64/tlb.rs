//! Translation caches. Called after entries were removed or weakened; new or widened entries need
//! no flush. In ring-3 mode both go through the ring-0 service gate, 5-7 us each.
//!
//! Each vCPU has roots of its own (see `cpu`), and knows which one it has loaded.
//!
//! In strict mode there is nothing to do on this vCPU: the sentry's tables map no program, and every
//! return to a program loads CR3, which forgets all of it.

use super::tables::{self, local};
use super::{in_ring3_mode, is_strict, ring0};
use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};

/// Forgets the translation of one page on this vCPU.
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

/// Forgets all translations of the program's half on this vCPU.
pub fn flush_local() {
    load_root(local().root.load(Ordering::Relaxed));
}

/// The root in use on this vCPU.
pub fn root() -> u64 {
    local().root.load(Ordering::Relaxed)
}

/// The page that `word` lies in is no page table any more, if it ever was one. Nobody may write the
/// word meanwhile.
///
/// A KVM with shadow page tables has its own copy of each table and watches writes to it, until it
/// learns otherwise. Clearing the page with REP STOS, as kernels clear tables, does not teach it:
/// KVM carries out all 512 stores itself (270 µs). An addition is nothing that changes tables: it
/// drops its copy and lets the processor write. (`x86_page_table_writing_insn` of Linux's KVM.)
#[inline]
pub fn no_table(word: &AtomicU32) {
    // SAFETY: a word that may be written, and that keeps its value.
    unsafe { asm!("add dword ptr [{}], 0", in(reg) word.as_ptr(), options(nostack)) };
}

/// Loads `root`: forgets all translations of the program's half on this vCPU.
pub fn load_root(root: u64) {
    local().root.store(root, Ordering::Relaxed);
    if is_strict() {
        tables::set_program_root(root);
        return;
    }
    // SAFETY: every root the sentry makes has the kernel's slots of the boot tables, so the code,
    // stack and data in use stay mapped.
    unsafe {
        if in_ring3_mode() {
            ring0::load_cr3(root);
        } else {
            asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags));
        }
    }
}
