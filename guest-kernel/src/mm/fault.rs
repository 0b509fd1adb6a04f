//! Page faults: what a program touches comes into being here.
//!
//! A fault is dear (tens of microseconds in a VM on software KVM), an additional page table entry
//! is not. So a fault fills a window of pages around the address: much for image pages, which cost
//! nothing but their entries; for anonymous memory as much as the area's faults look sequential;
//! and whole 2 MiB pages where the area allows it and untouched zero memory is at hand.

use super::address_space::Space;
use super::file::{FileMapping, FilePage};
use super::frame;
use super::page_table::{Flush, page_floor};
use super::phys;
use super::vma::{Backing, FaultHistory, Prot, STACK_GUARD_GAP, Vma, VmaFlags};
use crate::arch::page_table::{ENTRIES, Entry, index};
use crate::arch::tlb;
use crate::errno::Errno;
use alloc::sync::Arc;
use core::ops::Range;
use sprout_abi::layout::{HUGE_PAGE_SIZE, PAGE_SIZE};

/// What a program (or the kernel for it) does to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads data.
    Read,
    /// Writes data.
    Write,
    /// Fetches instructions.
    Execute,
}

/// Why an access can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// There is no area: SIGSEGV, SEGV_MAPERR.
    NotMapped,
    /// The area does not allow it: SIGSEGV, SEGV_ACCERR.
    NotAllowed,
    /// The page lies beyond the end of its file: SIGBUS, BUS_ADRERR.
    BeyondFile,
    /// RAM is used up: the process is killed.
    OutOfMemory,
}

impl From<Errno> for FaultError {
    fn from(error: Errno) -> Self {
        if error == Errno::ENOMEM {
            FaultError::OutOfMemory
        } else {
            FaultError::BeyondFile
        }
    }
}

/// Pages around a fault on an image: they cost only their entries.
const IMAGE_WINDOW: u64 = 64;
/// Pages around a fault on another file: their frames are already there.
const FILE_WINDOW: u64 = 64;
/// First window of anonymous memory, and what sequential faults let it grow to.
const ANONYMOUS_WINDOW: Range<u32> = 16..64;
/// First window of pages copied for writing, and what it grows to.
const COPY_WINDOW: Range<u32> = 1..16;
/// Areas up to this size (a program's data, as a rule) are copied whole at the first write.
const COPIED_WHOLE: u64 = 16 * PAGE_SIZE;
/// Largest area of a file in RAM that is mapped whole when a program starts.
const PREPARED_FILE: u64 = 512 * PAGE_SIZE;
/// The same of an image, most of it in large pages.
const PREPARED_IMAGE: u64 = 256 << 20;
/// How much of a first anonymous window is filled if the frames have to be zeroed.
const ZEROED_WINDOW: u64 = 8;
/// A quarter of RAM stays out of 2 MiB pages that programs did not ask for.
const HUGE_RESERVE_SHARE: u64 = 4;

impl Space {
    /// Makes the page at `addr` accessible for `access`.
    pub fn fault(&mut self, addr: u64, access: Access) -> Result<(), FaultError> {
        let addr = page_floor(addr);
        if self.vmas.find(addr).is_none() {
            self.grow_stack(addr)?;
        }
        let vma = self.vmas.find(addr).ok_or(FaultError::NotMapped)?;
        let allowed = match access {
            Access::Read => !vma.prot.is_empty(),
            Access::Write => vma.prot.contains(Prot::WRITE),
            Access::Execute => vma.prot.contains(Prot::EXEC),
        };
        if !allowed {
            return Err(FaultError::NotAllowed);
        }
        let (leaf, huge) = self.tables.lookup(addr);
        if leaf.is_present() {
            if access == Access::Write && !leaf.is_writable() {
                return self.unshare(addr, leaf, huge);
            }
            // The tables are right, so the processor had an old translation.
            tlb::flush_page(addr);
            return Ok(());
        }
        debug_assert!(leaf.is_none(), "an accessible area has a parked leaf");
        match &vma.backing {
            Backing::Anonymous => self.fault_anonymous(addr),
            Backing::File { file, .. } => {
                let file = file.clone();
                if access == Access::Write && vma.is_private() {
                    self.fault_copies(addr, &*file)
                } else {
                    self.fault_file(addr, access, &file)
                }
            }
        }
    }

    /// Maps ahead what a program that starts will touch of the area around `addr`, as far as that
    /// is cheap: pages of files that are there, and data that is small enough to be copied whole.
    /// What can't be mapped now comes with its fault.
    pub fn prepare(&mut self, addr: u64) {
        let Some(vma) = self.vmas.find(addr) else {
            return;
        };
        let most = match &vma.backing {
            _ if vma.is_private() && vma.prot.contains(Prot::WRITE) => COPIED_WHOLE,
            Backing::File { file, .. } if file.image_run().is_some() => PREPARED_IMAGE,
            Backing::File { .. } => PREPARED_FILE,
            Backing::Anonymous => 0,
        };
        let (start, end) = (vma.start, vma.end);
        if end - start <= most {
            self.populate(start, end);
        }
    }

    /// Extends an area that grows downward to cover `addr`, if that is allowed.
    fn grow_stack(&mut self, addr: u64) -> Result<(), FaultError> {
        let above = self.vmas.next_above(addr).ok_or(FaultError::NotMapped)?;
        let (start, end) = (above.start, above.end);
        let prot = above.prot;
        let floor = self
            .vmas
            .last_below(start)
            .map_or(super::MMAP_MIN_ADDR, |below| {
                // Accessible neighbours are kept at a distance; PROT_NONE ones are guards themselves.
                if below.prot.is_empty() {
                    below.end
                } else {
                    below.end + STACK_GUARD_GAP
                }
            });
        let size = end - addr;
        if !above.flags.contains(VmaFlags::GROWS_DOWN)
            || prot.is_empty()
            || addr < floor
            || size > self.limits.stack
            || self.vmas.bytes() + (start - addr) > self.limits.address_space
        {
            return Err(FaultError::NotMapped);
        }
        self.vmas.grow_down(start, addr);
        Ok(())
    }

    /// A write to a present page that is mapped read-only in a writable area.
    fn unshare(&mut self, addr: u64, leaf: Entry, huge: bool) -> Result<(), FaultError> {
        let vma = self.vmas.find(addr).ok_or(FaultError::NotMapped)?;
        let executable = vma.prot.contains(Prot::EXEC);
        let phys = leaf.phys();
        if !vma.is_private() && !frame::is_counted(phys) {
            // A shared mapping of a page that can't change.
            return Err(FaultError::NotAllowed);
        }
        let mine = |phys| frame::is_counted(phys) && frame::is_unique(phys);
        let all_mine = !vma.is_private()
            || if huge {
                (0..ENTRIES as u64).all(|part| mine(phys + part * PAGE_SIZE))
            } else {
                mine(phys)
            };
        if all_mine {
            if huge {
                let leaf = leaf.with_permissions(true, executable);
                self.tables.set_huge(addr, leaf)?;
                return Ok(());
            }
            // After a child is gone its parent's pages are its own again: those around go along.
            let range = match vma.is_private() {
                true => self.copy_window(addr),
                false => addr..addr + PAGE_SIZE,
            };
            let table = self.tables.leaves(addr)?;
            for page in pages(&range) {
                let leaf = table.get(index(page, 1));
                let shut = leaf.is_present() && !leaf.is_writable();
                if page == addr || shut && mine(leaf.phys()) {
                    table.set(index(page, 1), leaf.with_permissions(true, executable));
                }
            }
            return Ok(());
        }
        let range = self.copy_window(addr);
        let table = self.tables.leaves(addr)?;
        let mut flush = Flush::of(&self.tables);
        for page in pages(&range) {
            let leaf = table.get(index(page, 1));
            if page != addr && (!leaf.is_present() || leaf.is_writable() || mine(leaf.phys())) {
                continue;
            }
            // `mine` can hold for the page itself after a 2 MiB leaf was split.
            if mine(leaf.phys()) {
                table.set(index(page, 1), leaf.with_permissions(true, executable));
                continue;
            }
            let Some(block) = frame::allocate_for_program() else {
                if page != addr {
                    continue;
                }
                flush.finish();
                return Err(FaultError::OutOfMemory);
            };
            phys::copy_page(leaf.phys(), block.phys);
            let copy = Entry::leaf(block.phys, true, executable, false);
            table.set(index(page, 1), copy);
            flush.add(page);
            self.rss.add(copy, false);
            self.rss.release(leaf, false);
        }
        flush.finish();
        Ok(())
    }

    /// First touch of anonymous memory.
    fn fault_anonymous(&mut self, addr: u64) -> Result<(), FaultError> {
        let vma = self.vmas.find(addr).ok_or(FaultError::NotMapped)?;
        let writable = vma.prot.contains(Prot::WRITE);
        let executable = vma.prot.contains(Prot::EXEC);
        let base = addr & !(HUGE_PAGE_SIZE - 1);
        if wants_huge(vma, base) && self.tables.huge_is_free(base) {
            let asked = vma.flags.contains(VmaFlags::HUGE);
            let reserve = if asked {
                0
            } else {
                frame::total_frames() / HUGE_RESERVE_SHARE
            };
            if let Some(phys) = frame::allocate_zero_huge(reserve) {
                let leaf = Entry::leaf(phys, writable, executable, true);
                if let Err(error) = self.tables.set_huge(base, leaf) {
                    frame::put_huge(phys);
                    return Err(error.into());
                }
                self.rss.add(leaf, true);
                return Ok(());
            }
        }
        let range = self.next_window(addr, ANONYMOUS_WINDOW);
        let table = self.tables.leaves(addr)?;
        let mut zeroed = 0;
        let first_window = range.end - range.start <= u64::from(ANONYMOUS_WINDOW.start) * PAGE_SIZE;
        // The page asked for first: the others are only taken while they are cheap.
        for page in core::iter::once(addr).chain(pages(&range).filter(|page| *page != addr)) {
            if !table.get(index(page, 1)).is_none() {
                continue;
            }
            let Some(block) = frame::allocate_for_program() else {
                return if page == addr {
                    Err(FaultError::OutOfMemory)
                } else {
                    Ok(())
                };
            };
            if !block.zero {
                phys::zero(block.phys, PAGE_SIZE);
                zeroed += 1;
            }
            let leaf = Entry::leaf(block.phys, writable, executable, false);
            table.set(index(page, 1), leaf);
            self.rss.add(leaf, false);
            if first_window && zeroed == ZEROED_WINDOW {
                if let Some(vma) = self.vmas.find_mut(addr).filter(|_| range.start == addr) {
                    vma.history.end = page + PAGE_SIZE;
                }
                break;
            }
        }
        Ok(())
    }

    /// First write to pages of a private file mapping: they are copied at once.
    fn fault_copies(&mut self, addr: u64, file: &dyn FileMapping) -> Result<(), FaultError> {
        let vma = self.vmas.find(addr).ok_or(FaultError::NotMapped)?;
        let executable = vma.prot.contains(Prot::EXEC);
        let (start, offset) = (vma.start, vma.file_offset(vma.start) / PAGE_SIZE);
        let range = self.copy_window(addr);
        let table = self.tables.leaves(addr)?;
        for page in pages(&range) {
            if page != addr && !table.get(index(page, 1)).is_none() {
                continue;
            }
            match copy_of(file, offset.wrapping_add((page - start) / PAGE_SIZE)) {
                Ok(phys) => {
                    let leaf = Entry::leaf(phys, true, executable, false);
                    table.set(index(page, 1), leaf);
                    self.rss.add(leaf, false);
                }
                Err(error) if page == addr => return Err(error.into()),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// First touch of a file's page that is not to be copied: reads, and all of shared mappings.
    fn fault_file(
        &mut self,
        addr: u64,
        access: Access,
        file: &Arc<dyn FileMapping>,
    ) -> Result<(), FaultError> {
        let vma = self.vmas.find(addr).ok_or(FaultError::NotMapped)?;
        let executable = vma.prot.contains(Prot::EXEC);
        // Private pages stay read-only until they are copied.
        let writable = !vma.is_private() && vma.prot.contains(Prot::WRITE);
        let run = file.image_run();
        if let Some((image, len)) = run {
            let base = addr & !(HUGE_PAGE_SIZE - 1);
            if vma.start <= base
                && base + HUGE_PAGE_SIZE <= vma.end
                && !vma.prot.contains(Prot::WRITE)
            {
                let offset = vma.file_offset(base);
                let fits = offset
                    .checked_add(HUGE_PAGE_SIZE)
                    .is_some_and(|end| end <= len);
                let aligned = image.wrapping_add(offset).is_multiple_of(HUGE_PAGE_SIZE);
                if fits && aligned && self.tables.huge_is_free(base) {
                    let leaf = Entry::leaf(image + offset, false, executable, true);
                    self.tables.set_huge(base, leaf)?;
                    self.rss.add(leaf, true);
                    return Ok(());
                }
            }
        }
        let (window, last) = match run {
            Some((_, len)) => (IMAGE_WINDOW, len.div_ceil(PAGE_SIZE)),
            None => (FILE_WINDOW, file.size().div_ceil(PAGE_SIZE)),
        };
        let (start, offset) = (vma.start, vma.file_offset(vma.start) / PAGE_SIZE);
        let around = addr & !(window * PAGE_SIZE - 1);
        let range = self.clip(addr, around..around + window * PAGE_SIZE);
        let table = self.tables.leaves(addr)?;
        for page in pages(&range) {
            let slot = index(page, 1);
            let number = offset.wrapping_add((page - start) / PAGE_SIZE);
            if page != addr && (number >= last || !table.get(slot).is_none()) {
                continue;
            }
            let content = match run {
                Some((image, _)) if number < last => {
                    Ok(FilePage::Image(image + number * PAGE_SIZE))
                }
                Some(_) => Err(Errno::EIO),
                None => file.page(number),
            };
            match content {
                Ok(content) => {
                    let leaf = match content {
                        FilePage::Image(_) if writable && access == Access::Write => {
                            // A shared mapping of a page that can't change.
                            return Err(FaultError::NotAllowed);
                        }
                        FilePage::Image(phys) => Entry::leaf(phys, false, executable, false),
                        FilePage::Frame(frame) => {
                            Entry::leaf(frame.into_counted(), writable, executable, false).of_file()
                        }
                    };
                    table.set(slot, leaf);
                    self.rss.add(leaf, false);
                }
                Err(error) if page == addr => return Err(error.into()),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// The part of `window` that shares an area and a page table with `addr`.
    fn clip(&self, addr: u64, window: Range<u64>) -> Range<u64> {
        let base = addr & !(HUGE_PAGE_SIZE - 1);
        let (low, high) = match self.vmas.find(addr) {
            Some(vma) => (vma.start, vma.end),
            None => (addr, addr + PAGE_SIZE),
        };
        window.start.max(base).max(low)..window.end.min(base + HUGE_PAGE_SIZE).min(high)
    }

    /// The window for a write at `addr` that needs a copy.
    fn copy_window(&mut self, addr: u64) -> Range<u64> {
        match self.vmas.find(addr) {
            Some(vma) if vma.len() <= COPIED_WHOLE => {
                let whole = vma.start..vma.end;
                self.clip(addr, whole)
            }
            _ => self.next_window(addr, COPY_WINDOW),
        }
    }

    /// The window for a fault at `addr`: `sizes.start` pages from there on; four times the last
    /// window, up to `sizes.end`, when the fault continues it. Runs of falling addresses get theirs
    /// below.
    fn next_window(&mut self, addr: u64, sizes: Range<u32>) -> Range<u64> {
        let near = u64::from(sizes.start) * PAGE_SIZE;
        let last = self
            .vmas
            .find(addr)
            .map_or(FaultHistory::default(), |vma| vma.history);
        let rising = last.pages > 0 && addr >= last.end && addr - last.end < near;
        let falling = last.pages > 0 && addr < last.start && last.start - addr <= near;
        let pages = if rising || falling {
            last.pages.saturating_mul(4).clamp(sizes.start, sizes.end)
        } else {
            sizes.start
        };
        let bytes = u64::from(pages) * PAGE_SIZE;
        let end = addr + PAGE_SIZE;
        let window = if falling {
            end.saturating_sub(bytes)..end
        } else {
            addr..addr + bytes
        };
        let window = self.clip(addr, window);
        if let Some(vma) = self.vmas.find_mut(addr) {
            vma.history = FaultHistory {
                start: window.start,
                end: window.end,
                pages,
            };
        }
        window
    }
}

/// Whether a fault in the 2 MiB at `base` should map all of them at once.
fn wants_huge(vma: &Vma, base: u64) -> bool {
    let inside = vma.start <= base && base + HUGE_PAGE_SIZE <= vma.end;
    let refused = vma.flags.contains(VmaFlags::NO_HUGE);
    let sparse = vma.flags.intersects(VmaFlags::STACK | VmaFlags::GROWS_DOWN);
    inside && !refused && (!sparse || vma.flags.contains(VmaFlags::HUGE))
}

fn pages(range: &Range<u64>) -> impl Iterator<Item = u64> + use<> {
    range.clone().step_by(PAGE_SIZE as usize)
}

/// A new frame with the content of page `number`.
fn copy_of(file: &dyn FileMapping, number: u64) -> Result<u64, Errno> {
    let page = file.page(number)?;
    let block = frame::allocate_for_program().ok_or(Errno::ENOMEM)?;
    phys::copy_page(page.phys(), block.phys);
    Ok(block.phys)
}
