//! fork: a duplicate of an address space.
//!
//! Pages become copy-on-write, but for those of areas that hold few: a fault on each side costs far
//! more than the copy, and stack and data of a small program are written at once on both.

use super::address_space::{AddressSpace, Rss, Space};
use super::frame;
use super::page_table::{Flush, PageTable};
use super::phys;
use super::vma::{FaultHistory, Vma, VmaFlags, VmaSet};
use crate::arch::page_table::{ENTRIES, Entry, index};
use crate::errno::{Errno, Result};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use sprout_abi::layout::{HUGE_PAGE_SIZE, PAGE_SIZE};

/// Areas with at most so many pages of their own are copied.
const COPIED_AREA: usize = 16;
/// Most pages copied in one fork.
const COPIED: usize = 64;

impl AddressSpace {
    /// A duplicate: shared areas stay shared, the frames of private ones become copy-on-write in
    /// both. ENOMEM leaves this space as it was (some pages read-only until they are written).
    pub fn fork(&self) -> Result<AddressSpace> {
        let mut parent = self.lock();
        let child = Space {
            tables: PageTable::new()?,
            vmas: VmaSet::default(),
            rss: Rss::default(),
            limits: parent.limits,
            brk_start: parent.brk_start,
            brk: parent.brk,
            mmap_base: parent.mmap_base,
            stack: parent.stack,
            starved: false,
            // Locks are not inherited (mlock(2)).
            future_lock: Default::default(),
        };
        // From here on dropping it gives back what it got.
        let child = AddressSpace::from_space(child);
        let registered = self.barriers.load(Ordering::Relaxed);
        child.barriers.store(registered, Ordering::Relaxed);
        let wipes = self.wipes.load(Ordering::Relaxed);
        child.wipes.store(wipes, Ordering::Relaxed);
        let mut flush = Flush::new();
        let result = parent.copy_into(&mut child.lock(), &mut flush);
        flush.finish();
        result.map(|()| child)
    }
}

impl AddressSpace {
    /// This space has become a copy of one that goes on elsewhere, by a restore: empties what fork
    /// would leave empty in the child.
    pub fn wipe_copy(&self) -> Result<()> {
        if !self.wipes.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut space = self.lock();
        let areas: Vec<(u64, u64)> = (space.vmas.iter())
            .filter(|vma| vma.flags.contains(VmaFlags::WIPE_ON_FORK))
            .map(|vma| (vma.start, vma.end))
            .collect();
        (areas.into_iter()).try_for_each(|(start, end)| space.zap(start, end))
    }
}

impl Space {
    fn copy_into(&mut self, child: &mut Space, flush: &mut Flush) -> Result<()> {
        let areas: Vec<Vma> = self
            .vmas
            .iter()
            .filter(|vma| !vma.flags.contains(VmaFlags::DONT_FORK))
            .cloned()
            .collect();
        let mut budget = COPIED;
        for vma in areas {
            let copied = Vma {
                history: FaultHistory::default(),
                flags: vma.flags - VmaFlags::LOCKED,
                ..vma.clone()
            };
            if !vma.flags.contains(VmaFlags::WIPE_ON_FORK) {
                self.copy_leaves(child, &vma, flush, &mut budget)?;
            }
            child.vmas.insert(copied);
        }
        Ok(())
    }

    fn copy_leaves(
        &mut self,
        child: &mut Space,
        vma: &Vma,
        flush: &mut Flush,
        budget: &mut usize,
    ) -> Result<()> {
        let private = vma.is_private();
        let own = if private { self.own_pages(vma) } else { 0 };
        let copied = own <= COPIED_AREA.min(*budget);
        if copied {
            *budget -= own;
        }
        let mut failed = false;
        self.tables
            .update(vma.start, vma.end, flush, |flush, addr, leaf, huge| {
                // Pages of images come back by faults: most children exec before they touch them.
                if failed || !frame::is_counted(leaf.phys()) {
                    return leaf;
                }
                if copied && is_own(leaf, huge) {
                    // Without memory for the copy it is shared.
                    if child.adopt_copy(addr, leaf).is_ok() {
                        return leaf;
                    }
                }
                let shared = if private && leaf.is_writable() {
                    flush.add(addr);
                    leaf.with_permissions(false, leaf.is_executable())
                } else {
                    leaf
                };
                match child.adopt(addr, shared, huge) {
                    Ok(()) => shared,
                    Err(_) => {
                        failed = true;
                        leaf
                    }
                }
            });
        if failed { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// How many writable pages of a private area nobody else has; many, if there are large ones.
    fn own_pages(&mut self, vma: &Vma) -> usize {
        let mut count = 0;
        self.tables
            .update(vma.start, vma.end, &mut Flush::new(), |_, _, leaf, huge| {
                count += if huge {
                    ENTRIES
                } else {
                    usize::from(is_own(leaf, huge))
                };
                leaf
            });
        count
    }

    /// Maps a copy of another space's page here.
    fn adopt_copy(&mut self, addr: u64, leaf: Entry) -> Result<()> {
        let table = self.tables.leaves(addr)?;
        let block = frame::allocate_for_program().ok_or(Errno::ENOMEM)?;
        phys::copy_page(leaf.phys(), block.phys);
        let copy = leaf.moved_to(block.phys);
        table.set(index(addr, 1), copy);
        self.rss.add(copy, false);
        Ok(())
    }

    /// Maps a leaf of another space here, with references of its own.
    fn adopt(&mut self, addr: u64, leaf: Entry, huge: bool) -> Result<()> {
        if huge {
            self.tables.set_huge(addr, leaf)?;
            let parts = HUGE_PAGE_SIZE / PAGE_SIZE;
            (0..parts).for_each(|part| frame::get(leaf.phys() + part * PAGE_SIZE));
        } else {
            self.tables.leaves(addr)?.set(index(addr, 1), leaf);
            frame::get(leaf.phys());
        }
        self.rss.add(leaf, huge);
        Ok(())
    }
}

/// Whether a leaf is a page that may be written and that nobody else has.
fn is_own(leaf: Entry, huge: bool) -> bool {
    !huge && leaf.is_writable() && frame::is_counted(leaf.phys()) && frame::is_unique(leaf.phys())
}
