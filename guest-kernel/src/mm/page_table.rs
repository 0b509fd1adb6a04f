//! Page tables of one address space: walking, filling, changing, freeing.
//!
//! Only leaves differ; inner entries allow everything. A table is freed as soon as its last entry
//! is cleared. Tables are reached through the direct map and accessed as atomics, because the
//! processor may walk them at any time.

use super::frame;
use super::phys::{self, phys_to_ptr};
use crate::arch::page_table::{ENTRIES, Entry, TOP_LEVEL, USER_TOP_ENTRIES, index, span};
use crate::arch::{is_strict, own_root, tlb};
use crate::errno::{Errno, Result};
use crate::smp;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use sprout_abi::layout::{
    BOOT_BLOB_GPA, BOOT_BLOB_MAX, HUGE_PAGE_SIZE, KERNEL_PML4_SLOTS, PAGE_SIZE,
};

/// One table.
#[derive(Clone, Copy)]
pub(super) struct Table(&'static [AtomicU64; ENTRIES]);

impl Table {
    fn at(phys: u64) -> Table {
        // SAFETY: `phys` is a frame that holds a page table: page-aligned, always mapped, and only
        // accessed as atomics while it is one.
        Table(unsafe { &*phys_to_ptr(phys).cast::<[AtomicU64; ENTRIES]>() })
    }

    /// An empty table; returns where it is.
    fn make() -> Result<u64> {
        frame::allocate_table().ok_or(Errno::ENOMEM)
    }

    /// Entry `index`, below [`ENTRIES`].
    #[inline]
    pub fn get(self, index: usize) -> Entry {
        Entry(self.0[index].load(Ordering::Relaxed))
    }

    /// Replaces entry `index`, below [`ENTRIES`].
    #[inline]
    pub fn set(self, index: usize, entry: Entry) {
        self.0[index].store(entry.0, Ordering::Release);
    }

    fn is_empty(self) -> bool {
        self.0
            .iter()
            .all(|entry| entry.load(Ordering::Relaxed) == 0)
    }
}

/// Puts entries of tables back as the VMM asks for it ([`sprout_abi::hypercall::event::UNDO`]). The
/// tables may not fit anything else until the VMM goes on; all that this and the way here needs is
/// the sentry's half.
pub fn undo() {
    let word = |at: u64| {
        let mut bytes = [0; 8];
        phys::read(BOOT_BLOB_GPA + at, &mut bytes);
        u64::from_le_bytes(bytes)
    };
    let most = (BOOT_BLOB_MAX - 8) / 16;
    for number in 0..word(0).min(most) {
        let [address, value] = [8, 16].map(|offset| word(16 * number + offset));
        let (table, offset) = (address & !(PAGE_SIZE - 1), address % PAGE_SIZE);
        Table::at(table).set(offset as usize / 8, Entry(value));
    }
    tlb::flush_local();
}

/// Which translations the processors must forget: a few pages one by one, more all at once.
pub(super) struct Flush {
    pages: [u64; Flush::SINGLE],
    count: usize,
    /// The address space they belong to, once it is known.
    space: Option<u64>,
}

impl Flush {
    const SINGLE: usize = 3;

    pub fn new() -> Flush {
        Flush {
            pages: [0; Flush::SINGLE],
            count: 0,
            space: None,
        }
    }

    /// For changes to `tables` outside of [`PageTable::update`].
    pub fn of(tables: &PageTable) -> Flush {
        Flush {
            space: Some(tables.root),
            ..Flush::new()
        }
    }

    pub fn add(&mut self, addr: u64) {
        if let Some(slot) = self.pages.get_mut(self.count) {
            *slot = addr;
        }
        self.count += 1;
    }

    pub fn finish(self) {
        match self.pages.get(..self.count) {
            Some([]) => {}
            Some(pages) => smp::flush(self.space, pages),
            None => smp::flush_all(self.space),
        }
    }
}

/// The tables of one address space. Frames and images that leaves name are the caller's business.
///
/// Each vCPU has a root of its own, because a part of the sentry's half differs (`arch` says why).
/// The program's half of all roots is the same.
pub(super) struct PageTable {
    /// The root of the first vCPU, which also names the address space.
    root: u64,
    /// The roots of the others.
    other_roots: Box<[u64]>,
    /// Table pages below the root.
    tables: u64,
    /// Nothing below the root is left to free.
    torn_down: bool,
}

impl PageTable {
    pub fn new() -> Result<PageTable> {
        // From the second root on dropping it gives back what it got.
        let mut tables = PageTable {
            root: PageTable::make_root(0)?,
            other_roots: Box::default(),
            tables: 0,
            torn_down: false,
        };
        if smp::count() > 1 {
            let mut others = Vec::new();
            for cpu in 1..smp::count() {
                match PageTable::make_root(cpu) {
                    Ok(root) => others.push(root),
                    Err(error) => {
                        tables.other_roots = others.into();
                        return Err(error);
                    }
                }
            }
            tables.other_roots = others.into();
        }
        Ok(tables)
    }

    /// A root for vCPU `cpu`: the kernel's half is as in the sentry's own tables, but that in strict
    /// mode only ring 0 has access to it here.
    fn make_root(cpu: usize) -> Result<u64> {
        let root = Table::make()?;
        for slot in KERNEL_PML4_SLOTS {
            let entry = Table::at(own_root(cpu)).get(slot);
            let entry = match is_strict() {
                true => entry.supervisor(),
                false => entry,
            };
            Table::at(root).set(slot, entry);
        }
        Ok(root)
    }

    /// The root of the first vCPU.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// The roots of the other vCPUs, in their order.
    pub fn other_roots(&self) -> &[u64] {
        &self.other_roots
    }

    /// Pages used for tables.
    pub fn pages(&self) -> u64 {
        self.tables + 1 + self.other_roots.len() as u64
    }

    /// The leaf for `addr` and whether it is a 2 MiB one; NONE when there is none.
    #[inline]
    pub fn lookup(&self, addr: u64) -> (Entry, bool) {
        let mut table = Table::at(self.root);
        for level in (2..=TOP_LEVEL).rev() {
            let entry = table.get(index(addr, level));
            if entry.is_none() {
                return (Entry::NONE, false);
            }
            if level == 2 && entry.is_huge() {
                return (entry, true);
            }
            table = Table::at(entry.phys());
        }
        (table.get(index(addr, 1)), false)
    }

    /// The table at `level` that covers `addr`, made if missing; a 2 MiB leaf in the way is split.
    fn descend(&mut self, addr: u64, to: u32) -> Result<Table> {
        let mut table = Table::at(self.root);
        for level in (to + 1..=TOP_LEVEL).rev() {
            let slot = index(addr, level);
            let entry = table.get(slot);
            let next = if entry.is_none() {
                let next = Table::make()?;
                self.tables += 1;
                table.set(slot, Entry::table(next));
                if level == TOP_LEVEL {
                    self.copy_top_entry(slot);
                }
                next
            } else if level == 2 && entry.is_huge() {
                self.split(table, slot)?
            } else {
                entry.phys()
            };
            table = Table::at(next);
        }
        Ok(table)
    }

    /// Entry `slot` of the first root into the others.
    fn copy_top_entry(&self, slot: usize) {
        let entry = Table::at(self.root).get(slot);
        (self.other_roots.iter()).for_each(|root| Table::at(*root).set(slot, entry));
    }

    /// The table of 4 KiB leaves around `addr`, made if missing.
    pub fn leaves(&mut self, addr: u64) -> Result<Table> {
        self.descend(addr, 1)
    }

    /// Whether nothing at all is mapped in the 2 MiB around `addr`, so that [`PageTable::set_huge`]
    /// may be used.
    pub fn huge_is_free(&self, addr: u64) -> bool {
        let mut table = Table::at(self.root);
        for level in (2..=TOP_LEVEL).rev() {
            let entry = table.get(index(addr, level));
            if entry.is_none() {
                return true;
            }
            if level == 2 {
                return false;
            }
            table = Table::at(entry.phys());
        }
        false
    }

    /// Sets the 2 MiB leaf for `addr`; there must be none and no table, or a leaf to replace.
    pub fn set_huge(&mut self, addr: u64, leaf: Entry) -> Result<()> {
        let table = self.descend(addr, 2)?;
        let slot = index(addr, 2);
        debug_assert!(table.get(slot).is_none() || table.get(slot).is_huge());
        table.set(slot, leaf);
        Ok(())
    }

    /// Puts a 2 MiB leaf for `addr` in the place of a table of 4 KiB leaves, which must be there.
    /// What those leaves hold is the caller's business.
    pub fn replace_by_huge(&mut self, addr: u64, leaf: Entry) {
        let mut table = Table::at(self.root);
        for level in (3..=TOP_LEVEL).rev() {
            table = Table::at(table.get(index(addr, level)).phys());
        }
        let slot = index(addr, 2);
        let leaves = table.get(slot);
        assert!(
            leaves.is_present() && !leaves.is_huge(),
            "no table of leaves at {addr:#x}"
        );
        table.set(slot, leaf);
        smp::flush_all(Some(self.root));
        frame::put(leaves.phys());
        self.tables -= 1;
    }

    /// Makes the table that [`PageTable::set_huge`] would need, so that it can't fail.
    pub fn reserve_huge(&mut self, addr: u64) -> Result<()> {
        self.descend(addr, 2).map(drop)
    }

    /// Replaces a 2 MiB leaf by a table of 4 KiB leaves that maps the same pages the same way: no
    /// flush is needed, either translation is right.
    fn split(&mut self, table: Table, slot: usize) -> Result<u64> {
        let leaf = table.get(slot);
        // Every entry is written: the frame need not be zero.
        let parts = frame::allocate(0).ok_or(Errno::ENOMEM)?.phys;
        self.tables += 1;
        for part in 0..ENTRIES {
            Table::at(parts).set(part, leaf.part(part));
        }
        table.set(slot, Entry::table(parts));
        Ok(parts)
    }

    /// Splits the 2 MiB leaf that `addr` lies inside of, if any.
    pub fn split_at(&mut self, addr: u64) -> Result<()> {
        if !addr.is_multiple_of(HUGE_PAGE_SIZE) && self.lookup(addr).1 {
            self.descend(addr, 1)?;
        }
        Ok(())
    }

    /// Calls `change(addr, leaf, huge)` for every leaf in `[start, end)` and stores what it returns.
    /// The ends must have been split. Frees tables that become empty, and has `flush` cover that.
    pub fn update(
        &mut self,
        start: u64,
        end: u64,
        flush: &mut Flush,
        mut change: impl FnMut(&mut Flush, u64, Entry, bool) -> Entry,
    ) {
        flush.space = Some(self.root);
        let mut walk = Walk {
            flush,
            change: &mut change,
            freed: 0,
            other_roots: &self.other_roots,
        };
        if start < end {
            walk.level(Table::at(self.root), TOP_LEVEL, start, end);
        }
        self.tables -= walk.freed;
    }
}

/// Frees the tables below the first `entries` entries of a table; calls `release(leaf, huge)` for
/// every leaf. Nothing is written: where a hypervisor shadows page tables, each write to one that
/// points to other tables costs an exit.
fn free(phys: u64, level: u32, entries: usize, release: &mut dyn FnMut(Entry, bool)) {
    let table = Table::at(phys);
    for entry in (0..entries)
        .map(|slot| table.get(slot))
        .filter(|entry| !entry.is_none())
    {
        if level == 1 || level == 2 && entry.is_huge() {
            release(entry, level == 2);
        } else {
            free(entry.phys(), level - 1, ENTRIES, release);
            frame::put(entry.phys());
        }
    }
}

impl PageTable {
    /// Ends the tables, which no program runs on any more: frees all but the root, and calls
    /// `release(leaf, huge)` for every leaf. Afterwards they may only be dropped.
    pub fn tear_down(&mut self, mut release: impl FnMut(Entry, bool)) {
        // The last thread of a process runs on its tables until the next one is scheduled.
        // Other vCPUs have left them (see `smp`).
        if self.root == tlb::root() || self.other_roots.contains(&tlb::root()) {
            smp::switch_to_own_root();
        }
        if !core::mem::replace(&mut self.torn_down, true) {
            free(self.root, TOP_LEVEL, USER_TOP_ENTRIES, &mut release);
        }
    }
}

impl Drop for PageTable {
    fn drop(&mut self) {
        self.tear_down(|_, _| debug_assert!(false, "leaf in dropped tables"));
        frame::put(self.root);
        self.other_roots.iter().for_each(|root| frame::put(*root));
    }
}

struct Walk<'a, F> {
    flush: &'a mut Flush,
    change: &'a mut F,
    freed: u64,
    other_roots: &'a [u64],
}

impl<F: FnMut(&mut Flush, u64, Entry, bool) -> Entry> Walk<'_, F> {
    /// Visits `[start, end)` of a table; returns whether an entry was cleared.
    fn level(&mut self, table: Table, level: u32, start: u64, end: u64) -> bool {
        let mut cleared = false;
        let mut addr = start;
        while addr < end {
            let slot = index(addr, level);
            let next = ((addr | (span(level) - 1)) + 1).min(end);
            let entry = table.get(slot);
            if entry.is_none() {
            } else if level == 1 || level == 2 && entry.is_huge() {
                debug_assert!(
                    next - addr == span(level),
                    "a leaf at {addr:#x} was not split"
                );
                let new = (self.change)(self.flush, addr, entry, level == 2);
                if new != entry {
                    table.set(slot, new);
                    cleared |= new.is_none();
                }
            } else {
                let below = Table::at(entry.phys());
                if self.level(below, level - 1, addr, next) && below.is_empty() {
                    table.set(slot, Entry::NONE);
                    if level == TOP_LEVEL {
                        self.other_roots
                            .iter()
                            .for_each(|root| Table::at(*root).set(slot, Entry::NONE));
                    }
                    // The processor may hold a pointer to this table even if no leaf of it was
                    // present; invalidating any page of it drops that too.
                    self.flush.add(addr);
                    frame::put(entry.phys());
                    self.freed += 1;
                    cleared = true;
                }
            }
            addr = next;
        }
        cleared
    }
}

/// Rounds down to a page.
pub(super) const fn page_floor(addr: u64) -> u64 {
    addr & !(PAGE_SIZE - 1)
}

/// Rounds up to a page; `None` beyond the last.
pub(super) const fn page_ceil(addr: u64) -> Option<u64> {
    addr.checked_next_multiple_of(PAGE_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clear(tables: &mut PageTable, start: u64, end: u64) -> usize {
        let mut seen = 0;
        tables.update(start, end, &mut Flush::new(), |_, _, _, _| {
            seen += 1;
            Entry::NONE
        });
        seen
    }

    #[test]
    fn tables_come_with_the_first_leaf_and_go_with_the_last() {
        let before = frame::LIVE.with(core::cell::Cell::get);
        let mut tables = PageTable::new().unwrap();
        let addr = 0x7f12_3456_7000;
        tables
            .leaves(addr)
            .unwrap()
            .set(index(addr, 1), Entry::leaf(0x1000, true, false, false));
        assert_eq!(tables.pages(), 4);
        assert_eq!(tables.lookup(addr).0.phys(), 0x1000);
        assert_eq!(tables.lookup(addr + 0x1000).0, Entry::NONE);
        assert_eq!(clear(&mut tables, 0x1_0000, 0x7fff_ffff_f000), 1);
        assert_eq!(tables.pages(), 1);
        drop(tables);
        assert_eq!(frame::LIVE.with(core::cell::Cell::get), before);
    }

    #[test]
    fn a_split_leaf_maps_the_same_pages() {
        let mut tables = PageTable::new().unwrap();
        let addr = 0x4000_0000;
        assert!(tables.huge_is_free(addr));
        tables
            .set_huge(addr, Entry::leaf(0x60_0000, true, true, true))
            .unwrap();
        assert!(!tables.huge_is_free(addr));
        tables.split_at(addr).unwrap();
        assert!(tables.lookup(addr).1, "an aligned boundary needs no split");
        tables.split_at(addr + 0x5000).unwrap();
        let (leaf, huge) = tables.lookup(addr + 0x5000);
        assert!(!huge && leaf.phys() == 0x60_5000 && leaf.is_writable() && leaf.is_executable());
        assert_eq!(clear(&mut tables, addr, addr + 0x5000), 5);
        assert_eq!(clear(&mut tables, addr, addr + HUGE_PAGE_SIZE), 507);
        assert_eq!(tables.pages(), 1);
    }

    #[test]
    fn parked_leaves_keep_their_page_and_come_back() {
        let leaf = Entry::leaf(0x60_0000, true, false, true);
        let parked = leaf.parked();
        assert!(!parked.is_present() && !parked.is_none() && parked.is_huge());
        assert_eq!(parked.part(3).phys(), 0x60_3000);
        assert_eq!(parked.with_permissions(true, false), leaf);
    }
}
