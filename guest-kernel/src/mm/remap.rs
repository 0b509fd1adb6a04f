//! mremap.

use super::address_space::{AddressSpace, MAX_MAP_COUNT, MMAP_MIN_ADDR, Space};
use super::frame;
use super::page_table::{Flush, page_ceil};
use super::vma::{Vma, VmaFlags};
use crate::arch::page_table::{Entry, index};
use crate::errno::{Errno, Result};
use alloc::vec::Vec;
use bitflags::bitflags;
use sprout_abi::layout::{HUGE_PAGE_SIZE, PAGE_SIZE, USER_END};

bitflags! {
    /// Flags of mremap.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct RemapFlags: u32 {
        /// May move.
        const MAYMOVE = 1;
        /// Moves to the address given.
        const FIXED = 2;
        /// Leaves an empty area behind.
        const DONTUNMAP = 4;
    }
}

impl AddressSpace {
    /// mremap(2). Returns the new address.
    pub fn mremap(
        &self,
        addr: u64,
        old_len: u64,
        new_len: u64,
        flags: RemapFlags,
        new_addr: u64,
    ) -> Result<u64> {
        let fixed = flags.contains(RemapFlags::FIXED);
        let unknown = flags.bits() & !RemapFlags::all().bits() != 0;
        if unknown
            || fixed && !flags.contains(RemapFlags::MAYMOVE)
            || !addr.is_multiple_of(PAGE_SIZE)
        {
            return Err(Errno::EINVAL);
        }
        let old_len = page_ceil(old_len).ok_or(Errno::EINVAL)?;
        let new_len = page_ceil(new_len)
            .filter(|len| *len > 0)
            .ok_or(Errno::EINVAL)?;
        let old_end = addr.checked_add(old_len).filter(|end| *end <= USER_END);
        let old_end = old_end.ok_or(Errno::EFAULT)?;
        let keeps = flags.contains(RemapFlags::DONTUNMAP);
        if keeps && (!flags.contains(RemapFlags::MAYMOVE) || old_len != new_len) {
            return Err(Errno::EINVAL);
        }
        if fixed || keeps {
            let new_end = new_addr.checked_add(new_len).filter(|end| *end <= USER_END);
            let new_end = new_end.ok_or(Errno::EINVAL)?;
            let overlap = addr < new_end && new_addr < old_end;
            if !new_addr.is_multiple_of(PAGE_SIZE) || overlap {
                return Err(Errno::EINVAL);
            }
        }
        let new_end = new_addr.saturating_add(new_len);
        let mut space = self.lock();
        if fixed {
            if new_addr < MMAP_MIN_ADDR {
                return Err(Errno::EPERM);
            }
            space.check_source(addr, old_len, new_len)?;
            if keeps {
                space.check_limits(new_len)?;
            }
            space.unmap(new_addr, new_end)?;
            return space.move_area(addr, old_len, new_len, new_addr, keeps);
        }
        if old_len >= new_len && old_len > 0 && !keeps {
            if space.vmas.find(addr).is_none() {
                return Err(Errno::EFAULT);
            }
            space.unmap(addr + new_len, old_end)?;
            return Ok(addr);
        }
        let vma = space.check_source(addr, old_len, new_len)?;
        let grown_end = addr.checked_add(new_len).filter(|end| *end <= USER_END);
        if keeps {
            space.check_limits(new_len)?;
        }
        let in_place = old_len > 0
            && !keeps
            && vma.end == old_end
            && grown_end.is_some_and(|end| !space.vmas.any_in(old_end, end));
        if in_place {
            let (start, end) = (old_end, addr + new_len);
            let backing = vma.backing.advanced(old_end - vma.start);
            space.vmas.insert(Vma {
                start,
                end,
                backing,
                ..vma
            });
            if vma.flags.contains(VmaFlags::LOCKED) {
                space.populate(start, end);
            }
            return Ok(addr);
        }
        if !flags.contains(RemapFlags::MAYMOVE) {
            return Err(Errno::ENOMEM);
        }
        let part = vma.part(addr, vma.end);
        let hint = keeps && new_addr >= MMAP_MIN_ADDR && space.is_free(new_addr, new_end);
        let target = match hint {
            true => new_addr,
            false => {
                let room = space.find_room(new_len, space.mmap_base, &part.backing);
                room.ok_or(Errno::ENOMEM)?
            }
        };
        space.move_area(addr, old_len, new_len, target, keeps)
    }
}

impl Space {
    /// The area a remap starts from, checked as vma_to_resize does.
    fn check_source(&self, addr: u64, old_len: u64, new_len: u64) -> Result<Vma> {
        let vma = self.vmas.find(addr).ok_or(Errno::EFAULT)?;
        if old_len == 0 && vma.is_private() {
            return Err(Errno::EINVAL);
        }
        if old_len > vma.end - addr {
            return Err(Errno::EFAULT);
        }
        if vma.file_offset(addr).checked_add(new_len).is_none() {
            return Err(Errno::EINVAL);
        }
        if new_len > old_len {
            self.check_limits(new_len - old_len)?;
            if vma.is_accounted() && new_len - old_len > frame::total_frames() * PAGE_SIZE {
                return Err(Errno::ENOMEM);
            }
        }
        if self.vmas.count() + 3 > MAX_MAP_COUNT {
            return Err(Errno::ENOMEM);
        }
        Ok(vma.clone())
    }

    /// Moves `[addr, addr + old_len)` to `target`, where nothing is, as an area of `new_len` bytes.
    /// `old_len` 0: a second mapping of the same shared object. `keeps`: the old area stays, without
    /// its pages.
    fn move_area(
        &mut self,
        addr: u64,
        old_len: u64,
        new_len: u64,
        target: u64,
        keeps: bool,
    ) -> Result<u64> {
        let kept = old_len.min(new_len);
        let vma = self.vmas.find(addr).ok_or(Errno::EFAULT)?;
        let part = vma.part(addr, vma.end);
        let moved = Vma {
            start: target,
            end: target + new_len,
            ..part
        };
        self.move_leaves(addr, addr + kept, target)?;
        let locked = moved.flags.contains(VmaFlags::LOCKED);
        match keeps {
            true => self.vmas.change(addr, addr + old_len, |vma| {
                vma.flags -= VmaFlags::LOCKED;
            }),
            false => self.unmap(addr, addr + old_len)?,
        }
        self.vmas.insert(moved);
        if locked {
            self.populate(target, target + new_len);
        }
        Ok(target)
    }

    /// Moves the leaves of `[start, end)` to `target`. Nothing is moved when memory runs out.
    fn move_leaves(&mut self, start: u64, end: u64, target: u64) -> Result<()> {
        self.tables.split_at(start)?;
        self.tables.split_at(end)?;
        let congruent = start % HUGE_PAGE_SIZE == target % HUGE_PAGE_SIZE;
        // First everything that can fail: splits, and the tables of the new place.
        let mut leaves: Vec<(u64, Entry, bool)> = Vec::new();
        self.tables
            .update(start, end, &mut Flush::new(), |_, addr, leaf, huge| {
                leaves.push((addr, leaf, huge));
                leaf
            });
        for (addr, _, huge) in &leaves {
            let to = target + (addr - start);
            match huge {
                true if congruent => self.tables.reserve_huge(to)?,
                true => {
                    self.tables.leaves(*addr)?;
                    self.tables.leaves(to)?;
                    self.tables.leaves(to + HUGE_PAGE_SIZE - PAGE_SIZE)?;
                }
                false => {
                    self.tables.leaves(to)?;
                }
            }
        }
        for (addr, leaf, huge) in leaves {
            let to = target + (addr - start);
            if huge && congruent {
                self.tables.set_huge(to, leaf)?;
                continue;
            }
            let parts = if huge { HUGE_PAGE_SIZE / PAGE_SIZE } else { 1 };
            for part in 0..parts {
                let to = to + part * PAGE_SIZE;
                let leaf = if huge { leaf.part(part as usize) } else { leaf };
                self.tables.leaves(to)?.set(index(to, 1), leaf);
            }
        }
        let mut flush = Flush::new();
        self.tables
            .update(start, end, &mut flush, |flush, addr, leaf, _| {
                if leaf.is_present() {
                    flush.add(addr);
                }
                Entry::NONE
            });
        flush.finish();
        Ok(())
    }
}
