//! fork: a copy-on-write duplicate of an address space.

use super::address_space::{AddressSpace, Rss, Space};
use super::frame;
use super::page_table::{Flush, PageTable};
use super::vma::{FaultHistory, Vma, VmaFlags, VmaSet};
use crate::arch::page_table::{Entry, index};
use crate::errno::{Errno, Result};
use alloc::vec::Vec;
use sprout_abi::layout::{HUGE_PAGE_SIZE, PAGE_SIZE};

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
        };
        // From here on dropping it gives back what it got.
        let child = AddressSpace::from_space(child);
        let mut flush = Flush::new();
        let result = parent.copy_into(&mut child.lock(), &mut flush);
        flush.finish();
        result.map(|()| child)
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
        for vma in areas {
            let copied = Vma {
                history: FaultHistory::default(),
                ..vma.clone()
            };
            if !vma.flags.contains(VmaFlags::WIPE_ON_FORK) {
                self.copy_leaves(child, &vma, flush)?;
            }
            child.vmas.insert(copied);
        }
        Ok(())
    }

    fn copy_leaves(&mut self, child: &mut Space, vma: &Vma, flush: &mut Flush) -> Result<()> {
        let private = vma.is_private();
        let mut failed = false;
        self.tables
            .update(vma.start, vma.end, flush, |flush, addr, leaf, huge| {
                // Pages of images come back by faults: most children exec before they touch them.
                if failed || !frame::is_counted(leaf.phys()) {
                    return leaf;
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
