//! Before a snapshot: a program's own memory is rearranged so that restored guests find it in few
//! large pages.
//!
//! A restored guest pays for each page it touches for the first time, a 2 MiB page costing hardly
//! more than a 4 KiB one. So anonymous memory that fills most of an aligned 2 MiB becomes one large
//! page, other pages of the program move next to each other, and what is free is zero again: the
//! snapshot does not store it, and who allocates it need not clear it.

use super::address_space::{AddressSpace, Space};
use super::frame;
use super::page_table::Flush;
use super::phys;
use super::vma::{Prot, Vma, VmaFlags};
use crate::arch::page_table::Entry;
use alloc::sync::Arc;
use alloc::vec::Vec;
use sprout_abi::layout::{HUGE_PAGE_SIZE, PAGE_SIZE};

/// Pages in use that make a large page worth its size.
const DENSE: u64 = 128;
/// Share of RAM that stays free: large pages are taken from what is left.
const RESERVE_SHARE: u64 = 8;

/// Compacts these address spaces and clears the frames that are free afterwards. Nothing in them
/// may run meanwhile.
pub fn compact(spaces: &[Arc<AddressSpace>]) {
    for space in spaces {
        space.lock().collapse();
    }
    let mut packer = Packer::default();
    for space in spaces {
        space.lock().pack(&mut packer);
    }
    frame::scrub();
    // Last, so that these are the next frames handed out: their neighbours are in use already.
    drop(packer);
}

fn reserve() -> u64 {
    frame::total_frames() / RESERVE_SHARE
}

/// Hands out neighbouring frames of 2 MiB blocks; dropping it frees those left.
#[derive(Default)]
struct Packer {
    next: u64,
    end: u64,
}

impl Packer {
    fn take(&mut self) -> Option<u64> {
        if self.next == self.end {
            self.next = frame::allocate_zero_huge(reserve())?;
            self.end = self.next + HUGE_PAGE_SIZE;
        }
        let frame = self.next;
        self.next += PAGE_SIZE;
        Some(frame)
    }
}

impl Drop for Packer {
    fn drop(&mut self) {
        // Falling, so that the lowest, beside those in use, is handed out first.
        while self.end > self.next {
            self.end -= PAGE_SIZE;
            frame::put(self.end);
        }
    }
}

/// Whether a leaf's frame belongs to this mapping alone.
fn is_own(leaf: Entry) -> bool {
    frame::is_counted(leaf.phys()) && frame::is_unique(leaf.phys())
}

/// Whether the area's pages are this program's own, and may lie anywhere.
fn is_movable(vma: &Vma) -> bool {
    vma.is_private() && vma.is_anonymous()
}

impl Space {
    /// Turns well-filled 2 MiB of anonymous memory into large pages.
    fn collapse(&mut self) {
        let huge = |addr: u64| addr.next_multiple_of(HUGE_PAGE_SIZE);
        let blocks: Vec<(u64, Prot)> = self
            .vmas
            .iter()
            .filter(|vma| is_movable(vma) && !vma.prot.is_empty())
            .filter(|vma| !vma.flags.contains(VmaFlags::NO_HUGE))
            .flat_map(|vma| {
                let (start, end, prot) = (huge(vma.start), vma.end, vma.prot);
                (start..end)
                    .step_by(HUGE_PAGE_SIZE as usize)
                    .filter(move |base| base + HUGE_PAGE_SIZE <= end)
                    .map(move |base| (base, prot))
            })
            .collect();
        for (base, prot) in blocks {
            self.collapse_block(base, prot);
        }
    }

    /// Does so for the 2 MiB at `base`, all inside one area, if that is worth it.
    fn collapse_block(&mut self, base: u64, prot: Prot) {
        let mut leaves: Vec<(u64, Entry)> = Vec::new();
        let mut suitable = true;
        let end = base + HUGE_PAGE_SIZE;
        self.tables
            .update(base, end, &mut Flush::new(), |_, addr, leaf, huge| {
                suitable &= !huge && is_own(leaf);
                leaves.push((addr, leaf));
                leaf
            });
        if !suitable || (leaves.len() as u64) < DENSE {
            return;
        }
        let Some(block) = frame::allocate_zero_huge(reserve()) else {
            return;
        };
        for (addr, leaf) in &leaves {
            phys::copy_page(leaf.phys(), block + (addr - base));
        }
        let (writable, executable) = (prot.contains(Prot::WRITE), prot.contains(Prot::EXEC));
        let leaf = Entry::leaf(block, writable, executable, true);
        self.tables.replace_by_huge(base, leaf);
        for (_, leaf) in leaves {
            self.rss.release(leaf, false);
        }
        self.rss.add(leaf, true);
    }

    /// Moves the program's other pages next to each other.
    fn pack(&mut self, packer: &mut Packer) {
        let mut flush = Flush::new();
        let (vmas, tables) = (&self.vmas, &mut self.tables);
        for vma in vmas.iter() {
            // Copies of a private file's pages are the program's own as well.
            if !vma.is_private() {
                continue;
            }
            tables.update(vma.start, vma.end, &mut flush, |flush, addr, leaf, huge| {
                if huge || !is_own(leaf) {
                    return leaf;
                }
                let Some(frame) = packer.take() else {
                    return leaf;
                };
                phys::copy_page(leaf.phys(), frame);
                frame::put(leaf.phys());
                flush.add(addr);
                leaf.moved_to(frame)
            });
        }
        flush.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::super::map::{MapFlags, MapRequest};
    use super::*;

    const BASE: u64 = 0x4000_0000;

    fn mapped(len: u64) -> Arc<AddressSpace> {
        let space = AddressSpace::new().unwrap();
        space
            .mmap(&MapRequest {
                addr: BASE,
                len,
                prot: Prot::READ | Prot::WRITE,
                flags: MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::FIXED,
                file: None,
            })
            .unwrap();
        // Page by page, as programs fill it: large pages at once are what faults do themselves.
        space
            .madvise(BASE, len, super::super::advice::NOHUGEPAGE)
            .unwrap();
        Arc::new(space)
    }

    fn fill(space: &AddressSpace, pages: impl Iterator<Item = u64>) {
        for page in pages {
            let addr = BASE + page * PAGE_SIZE;
            assert_eq!(space.write_some(addr, &page.to_le_bytes()), 8);
        }
    }

    fn check(space: &AddressSpace, pages: impl Iterator<Item = u64>) {
        for page in pages {
            let mut bytes = [0; 8];
            assert_eq!(space.read_some(BASE + page * PAGE_SIZE, &mut bytes), 8);
            assert_eq!(u64::from_le_bytes(bytes), page);
        }
    }

    fn allow_huge(space: &AddressSpace, len: u64) {
        space
            .madvise(BASE, len, super::super::advice::HUGEPAGE)
            .unwrap();
    }

    #[test]
    fn well_filled_memory_becomes_large_pages_and_keeps_its_content() {
        let before = frame::LIVE.with(core::cell::Cell::get);
        let len = 2 * HUGE_PAGE_SIZE + 5 * PAGE_SIZE;
        let space = mapped(len);
        let used = || (0..400).chain(512..520).chain(1024..1029);
        fill(&space, used());
        allow_huge(&space, len);
        let usage = space.usage();
        compact(core::slice::from_ref(&space));
        assert!(space.lock().tables.lookup(BASE).1);
        let sparse = BASE + HUGE_PAGE_SIZE;
        assert!(!space.lock().tables.lookup(sparse).1);
        check(&space, used());
        assert!(space.usage().rss_anonymous >= usage.rss_anonymous);
        // What is unmapped later is split as any large page.
        space.munmap(BASE + PAGE_SIZE, PAGE_SIZE).unwrap();
        check(&space, used().filter(|page| *page != 1));
        drop(space);
        assert_eq!(frame::LIVE.with(core::cell::Cell::get), before);
    }

    #[test]
    fn scattered_pages_become_neighbours() {
        let space = mapped(HUGE_PAGE_SIZE * 8);
        let used = || (0..8).map(|block| block * 512 + 7);
        fill(&space, used());
        compact(core::slice::from_ref(&space));
        let frames: Vec<u64> = used()
            .map(|page| space.lock().tables.lookup(BASE + page * PAGE_SIZE).0.phys())
            .collect();
        let first = frames[0] & !(HUGE_PAGE_SIZE - 1);
        assert!(
            frames
                .iter()
                .all(|frame| frame & !(HUGE_PAGE_SIZE - 1) == first)
        );
        check(&space, used());
    }

    #[test]
    fn what_is_shared_stays_where_it_is() {
        let space = mapped(HUGE_PAGE_SIZE);
        fill(&space, 0..300);
        let child = Arc::new(space.fork().unwrap());
        allow_huge(&space, HUGE_PAGE_SIZE);
        let frame = |space: &AddressSpace| space.lock().tables.lookup(BASE).0.phys();
        let shared = frame(&space);
        compact(&[space.clone(), child.clone()]);
        assert_eq!((frame(&space), frame(&child)), (shared, shared));
        check(&space, 0..300);
        check(&child, 0..300);
    }

    #[test]
    fn memory_without_access_keeps_its_content_and_its_protection() {
        let space = mapped(HUGE_PAGE_SIZE);
        fill(&space, 0..300);
        space
            .mprotect(BASE, HUGE_PAGE_SIZE, Prot::empty(), false)
            .unwrap();
        compact(core::slice::from_ref(&space));
        let mut byte = [0];
        assert_eq!(space.read_some(BASE, &mut byte), 0);
        space
            .mprotect(BASE, HUGE_PAGE_SIZE, Prot::READ, false)
            .unwrap();
        check(&space, 0..300);
    }
}
