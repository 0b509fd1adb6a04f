//! The page tables the sentry starts on. They are written before the first run and never touched
//! by the VMM afterwards: software KVM would not notice (see the host notes).
//!
//! * `DIRECT_MAP_BASE`: all RAM writable and each image read-only, 2 MiB pages, never executable;
//! * `KERNEL_BASE`: the sentry's segments, no page both writable and executable; code that has
//!   whole 2 MiB of its own in 2 MiB pages, everything else in 4 KiB pages;
//! * the lower half is empty: the sentry maps programs there.
//!
//! Every entry has the accessed and dirty bits set (so the hardware never writes them) and the U
//! bit: ring 3 reaches these pages until the sentry clears U in the top-level entries
//! (`KERNEL_PML4_SLOTS`), which it does on real hardware.

use sprout_abi::layout::{
    DIRECT_MAP_BASE, HUGE_PAGE_SIZE, KERNEL_BASE, KERNEL_GPA, PAGE_SIZE, PAGE_TABLES_GPA,
};

use std::ops::Range;

use crate::boot::kernel::{Kernel, Segment};

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

const TABLE: u64 = PRESENT | WRITABLE | USER | ACCESSED;
const LEAF: u64 = PRESENT | USER | ACCESSED | DIRTY;

const ENTRIES: usize = 512;

/// The tables do not fit below the sentry: the guest is too large.
#[derive(Debug, thiserror::Error)]
#[error("the page tables for this much memory do not fit below the sentry")]
pub struct TablesFull;

/// Page tables under construction; table `i` will lie at `PAGE_TABLES_GPA + i * PAGE_SIZE`.
#[derive(Debug)]
pub struct PageTables {
    tables: Vec<[u64; ENTRIES]>,
}

impl PageTables {
    /// Tables for a guest with `ram_size` bytes, images at `(gpa, size)`, and the sentry.
    pub fn build(
        ram_size: u64,
        images: impl IntoIterator<Item = (u64, u64)>,
        kernel: &Kernel,
    ) -> Result<Self, TablesFull> {
        let mut tables = Self {
            tables: vec![[0; ENTRIES]],
        };
        tables.map_direct(0, ram_size, LEAF | WRITABLE | NO_EXECUTE)?;
        for (gpa, size) in images {
            tables.map_direct(gpa, size, LEAF | NO_EXECUTE)?;
        }
        for segment in kernel.segments() {
            let writable = if segment.writable { WRITABLE } else { 0 };
            let no_execute = if segment.executable { 0 } else { NO_EXECUTE };
            if let Some(large) = own_large_pages(segment, kernel) {
                for page in large.step_by(HUGE_PAGE_SIZE as usize) {
                    tables.set(page, 2, (page - KERNEL_BASE) | LEAF | no_execute | LARGE)?;
                }
                continue;
            }
            for page in segment.pages().step_by(PAGE_SIZE as usize) {
                let leaf = (page - KERNEL_BASE) | LEAF | writable | no_execute;
                tables.set(page, 1, leaf)?;
            }
        }
        Ok(tables)
    }

    /// The value of CR3.
    pub fn root(&self) -> u64 {
        PAGE_TABLES_GPA
    }

    /// All tables as the bytes to write at `PAGE_TABLES_GPA`.
    pub fn bytes(&self) -> Vec<u8> {
        self.tables
            .iter()
            .flatten()
            .flat_map(|entry| entry.to_le_bytes())
            .collect()
    }

    fn map_direct(&mut self, gpa: u64, size: u64, flags: u64) -> Result<(), TablesFull> {
        for page in (gpa..gpa + size).step_by(HUGE_PAGE_SIZE as usize) {
            self.set(DIRECT_MAP_BASE + page, 2, page | flags | LARGE)?;
        }
        Ok(())
    }

    /// Sets the entry for `address` in its table of `level` (1: 4 KiB pages, 2: 2 MiB pages).
    fn set(&mut self, address: u64, level: u32, entry: u64) -> Result<(), TablesFull> {
        let mut table = 0;
        for above in (level + 1..=4).rev() {
            table = self.descend(table, slot(address, above))?;
        }
        if let Some(place) = self.tables.get_mut(table) {
            place[slot(address, level)] = entry;
        }
        Ok(())
    }

    /// The table below entry `slot` of `table`, made if there is none.
    fn descend(&mut self, table: usize, slot: usize) -> Result<usize, TablesFull> {
        let entry = self.tables.get(table).map_or(0, |table| table[slot]);
        if entry != 0 {
            return Ok((((entry & ADDRESS) - PAGE_TABLES_GPA) / PAGE_SIZE) as usize);
        }
        let new = self.tables.len();
        let gpa = PAGE_TABLES_GPA + new as u64 * PAGE_SIZE;
        if gpa >= KERNEL_GPA {
            return Err(TablesFull);
        }
        self.tables.push([0; ENTRIES]);
        if let Some(place) = self.tables.get_mut(table) {
            place[slot] = gpa | TABLE;
        }
        Ok(new)
    }
}

/// The 2 MiB pages of a segment that is never written and shares none of them: neither with another
/// segment nor with the RAM behind the sentry.
fn own_large_pages(segment: &Segment, kernel: &Kernel) -> Option<Range<u64>> {
    let start = segment.virtual_address;
    let end = segment.pages().end.next_multiple_of(HUGE_PAGE_SIZE);
    let alone = kernel
        .segments()
        .iter()
        .all(|other| other == segment || other.pages().start >= end || other.pages().end <= start);
    let suitable = !segment.writable
        && start.is_multiple_of(HUGE_PAGE_SIZE)
        && alone
        && end - KERNEL_BASE <= kernel.end_gpa();
    suitable.then_some(start..end)
}

fn slot(address: u64, level: u32) -> usize {
    ((address >> (12 + 9 * (level - 1))) & 511) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::kernel::tests::elf_with;
    use sprout_abi::layout::{IMAGE_STRIDE, MAX_RAM, image_base};

    /// Walks the tables as the processor does: the physical address and the combined rights
    /// (writable, user, executable).
    fn translate(tables: &PageTables, address: u64) -> Option<(u64, [bool; 3])> {
        let mut table = 0;
        let mut rights = [true; 3];
        for level in (1..=4).rev() {
            let entry = tables.tables[table][slot(address, level)];
            if entry & PRESENT == 0 {
                return None;
            }
            assert_ne!(entry & ACCESSED, 0);
            for (right, bit) in [WRITABLE, USER].into_iter().enumerate() {
                rights[right] &= entry & bit != 0;
            }
            rights[2] &= entry & NO_EXECUTE == 0;
            if level == 1 || entry & LARGE != 0 {
                assert_ne!(entry & DIRTY, 0);
                let size = 1u64 << (12 + 9 * (level - 1));
                return Some(((entry & ADDRESS) / size * size + address % size, rights));
            }
            table = (((entry & ADDRESS) - PAGE_TABLES_GPA) / PAGE_SIZE) as usize;
        }
        None
    }

    #[test]
    fn ram_images_and_sentry_are_mapped_with_their_rights() {
        let kernel = Kernel::parse(elf_with(&[0x90; 5000])).unwrap();
        let image = (image_base(1), 4 << 20);
        let tables = PageTables::build(64 << 20, [image], &kernel).unwrap();

        let at = |address| translate(&tables, address);
        assert_eq!(at(DIRECT_MAP_BASE + 5), Some((5, [true, true, false])));
        assert_eq!(
            at(DIRECT_MAP_BASE + (64 << 20) - 1).unwrap().0,
            (64 << 20) - 1
        );
        assert_eq!(at(DIRECT_MAP_BASE + (64 << 20)), None);
        let in_image = DIRECT_MAP_BASE + image.0 + 0x123;
        assert_eq!(at(in_image), Some((image.0 + 0x123, [false, true, false])));
        assert_eq!(at(DIRECT_MAP_BASE + image.0 + (4 << 20)), None);
        let entry = kernel.entry();
        assert_eq!(at(entry), Some((KERNEL_GPA, [false, true, true])));
        assert_eq!(
            at(entry + 4096),
            Some((KERNEL_GPA + 4096, [false, true, true]))
        );
        assert_eq!(at(entry + 8192), None);
        assert_eq!(at(0x40_0000), None);
    }

    #[test]
    fn the_sentrys_code_is_one_large_page_and_nothing_is_writable_and_executable() {
        let kernel = Kernel::embedded().unwrap();
        let tables = PageTables::build(64 << 20, [], &kernel).unwrap();
        let code = kernel.entry() / HUGE_PAGE_SIZE * HUGE_PAGE_SIZE;
        for address in [code, kernel.entry(), code + HUGE_PAGE_SIZE - 1] {
            let expected = Some((address - KERNEL_BASE, [false, true, true]));
            assert_eq!(translate(&tables, address), expected);
        }
        for page in (KERNEL_BASE..KERNEL_BASE + (64 << 20)).step_by(PAGE_SIZE as usize) {
            let [writable, _, executable] = translate(&tables, page).map_or([false; 3], |at| at.1);
            assert!(!(writable && executable), "{page:#x}");
            assert!(!executable || page / HUGE_PAGE_SIZE == code / HUGE_PAGE_SIZE);
        }
    }

    #[test]
    fn the_largest_guest_fits() {
        let kernel = Kernel::parse(elf_with(&[0x90; 16])).unwrap();
        let images = (0..4).map(|index| (image_base(index), IMAGE_STRIDE));
        let tables = PageTables::build(MAX_RAM, images, &kernel).unwrap();
        assert!(tables.bytes().len() as u64 <= KERNEL_GPA - PAGE_TABLES_GPA);
    }
}
