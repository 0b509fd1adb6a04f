//! Before a snapshot: a program's own memory is rearranged so that restored guests find what they
//! use in few large pages.
//!
//! A restored guest pays for each page it touches for the first time, a 2 MiB page costing hardly
//! more than a 4 KiB one; but a 2 MiB page must be loaded whole. So where it is known which pages an
//! answer touches ([`Hot`]), anonymous memory touched all over becomes large pages, all other
//! touched pages of the program move next to each other, and the rest stays out of their way. Where
//! it is not known, well-filled memory becomes large pages and everything else moves together.
//! Either way what is free is zero again: the snapshot does not store it, and who allocates it need
//! not clear it.

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
const DENSE: usize = 128;
/// Aligned groups of 8 pages, the 64th part of a large page: what software KVM maps at one fault.
const GROUP_SIZE: u64 = 8 * PAGE_SIZE;
/// So many touched groups cost a restored guest more faults than loading a large page takes time.
const HOT_GROUPS: usize = 32;
/// Share of RAM that stays free: large pages are taken from what is left.
const RESERVE_SHARE: u64 = 8;

/// Which pages of RAM an answer touches.
#[derive(Debug)]
pub struct Hot {
    /// A bit for each page, from guest-physical 0 on, the lowest bit of a byte first.
    bits: Vec<u8>,
}

impl Hot {
    /// From a bitmap; pages beyond its end are not touched.
    pub fn new(bits: Vec<u8>) -> Self {
        Self { bits }
    }

    fn contains(&self, phys: u64) -> bool {
        let page = phys / PAGE_SIZE;
        let byte = usize::try_from(page / 8).ok();
        byte.and_then(|byte| self.bits.get(byte))
            .is_some_and(|byte| byte >> (page % 8) & 1 != 0)
    }
}

/// Compacts these address spaces and clears the frames that are free afterwards. Nothing in them
/// may run meanwhile.
pub fn compact(spaces: &[Arc<AddressSpace>], hot: Option<&Hot>) {
    for space in spaces {
        space.lock().collapse(hot);
    }
    let mut packer = Packer::default();
    for space in spaces {
        space.lock().pack(&mut packer, hot);
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

/// How many aligned groups of pages have one in `pages`, which are ascending addresses.
fn groups(pages: impl Iterator<Item = u64>) -> usize {
    let mut last = None;
    pages
        .map(|addr| addr / GROUP_SIZE)
        .filter(|group| last.replace(*group) != Some(*group))
        .count()
}

impl Space {
    /// Makes large pages of the 2 MiB of anonymous memory that are worth it, and none of others.
    fn collapse(&mut self, hot: Option<&Hot>) {
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
            let (leaf, is_huge) = self.tables.lookup(base);
            match hot {
                Some(hot) if is_huge => self.split_block(base, leaf, hot),
                _ => self.collapse_block(base, prot, hot),
            }
        }
    }

    /// Splits the large page at `base` if an answer touches too little of it. Without memory for
    /// the table it stays.
    fn split_block(&mut self, base: u64, leaf: Entry, hot: &Hot) {
        let pages = (0..HUGE_PAGE_SIZE).step_by(PAGE_SIZE as usize);
        let touched = pages.filter(|offset| hot.contains(leaf.phys() + offset));
        if groups(touched) < HOT_GROUPS {
            let _ = self.tables.leaves(base);
        }
    }

    /// Makes one large page of the 2 MiB at `base`, all inside one area, if that is worth it.
    fn collapse_block(&mut self, base: u64, prot: Prot, hot: Option<&Hot>) {
        let mut leaves: Vec<(u64, Entry)> = Vec::new();
        let mut suitable = true;
        let end = base + HUGE_PAGE_SIZE;
        self.tables
            .update(base, end, &mut Flush::new(), |_, addr, leaf, huge| {
                suitable &= !huge && is_own(leaf);
                leaves.push((addr, leaf));
                leaf
            });
        let worth_it = match hot {
            None => leaves.len() >= DENSE,
            Some(hot) => {
                let touched = leaves.iter().filter(|(_, leaf)| hot.contains(leaf.phys()));
                groups(touched.map(|(addr, _)| *addr)) >= HOT_GROUPS
            }
        };
        if !suitable || !worth_it {
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

    /// Moves the program's other pages, those an answer needs if that is known, next to each other.
    fn pack(&mut self, packer: &mut Packer, hot: Option<&Hot>) {
        let mut flush = Flush::new();
        let (vmas, tables) = (&self.vmas, &mut self.tables);
        // Copies of a private file's pages are the program's own as well.
        for vma in vmas.iter().filter(|vma| vma.is_private()) {
            let mut pages = Vec::new();
            tables.update(vma.start, vma.end, &mut flush, |_, addr, leaf, huge| {
                if !huge && is_own(leaf) {
                    let touched = hot.is_none_or(|hot| hot.contains(leaf.phys()));
                    pages.push((addr, touched));
                }
                leaf
            });
            for addr in needed(&pages) {
                let Some(frame) = packer.take() else {
                    break;
                };
                tables.update(
                    addr,
                    addr + PAGE_SIZE,
                    &mut flush,
                    |flush, addr, leaf, _| {
                        phys::copy_page(leaf.phys(), frame);
                        frame::put(leaf.phys());
                        flush.add(addr);
                        leaf.moved_to(frame)
                    },
                );
            }
        }
        flush.finish();
    }
}

/// The pages to have at hand where those marked are touched. On a fault software KVM maps the
/// others of the same group too, from the first up to one that is not at hand: so of a group that
/// would cost several faults, all pages before the last one touched are among them.
fn needed(pages: &[(u64, bool)]) -> Vec<u64> {
    pages
        .chunk_by(|(a, _), (b, _)| a / GROUP_SIZE == b / GROUP_SIZE)
        .flat_map(|group| {
            let touched = group.iter().filter(|(_, touched)| *touched).count();
            let last = group.iter().rposition(|(_, touched)| *touched);
            let first = if touched == 1 { last } else { Some(0) };
            let range = first.zip(last).map(|(first, last)| first..=last);
            range.and_then(|range| group.get(range)).unwrap_or_default()
        })
        .map(|(addr, _)| *addr)
        .collect()
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
        compact(core::slice::from_ref(&space), None);
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
        compact(core::slice::from_ref(&space), None);
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

    /// A bitmap with the pages that now lie behind these pages of the space.
    fn hot(space: &AddressSpace, pages: impl Iterator<Item = u64>) -> Hot {
        let mut bits = alloc::vec![0; (phys::HOST_RAM / PAGE_SIZE / 8) as usize];
        for page in pages {
            let (leaf, huge) = space.lock().tables.lookup(BASE + page * PAGE_SIZE);
            let inside = if huge { page % 512 } else { 0 };
            let frame = leaf.phys() / PAGE_SIZE + inside;
            bits[frame as usize / 8] |= 1 << (frame % 8);
        }
        Hot::new(bits)
    }

    fn phys_of(space: &AddressSpace, page: u64) -> u64 {
        let (leaf, huge) = space.lock().tables.lookup(BASE + page * PAGE_SIZE);
        leaf.phys() + if huge { page % 512 * PAGE_SIZE } else { 0 }
    }

    #[test]
    fn memory_touched_all_over_becomes_a_large_page_and_other_touched_pages_neighbours() {
        let before = frame::LIVE.with(core::cell::Cell::get);
        let len = 4 * HUGE_PAGE_SIZE;
        let space = mapped(len);
        // Touched in half of its groups; in three groups; well filled but not touched at all.
        let filled = || (0..512).chain(512..1024).chain(1024..1536);
        fill(&space, filled());
        allow_huge(&space, len);
        let touched = (0..256).map(|page| page * 2).chain([513, 517, 600, 900]);
        let hot = hot(&space, touched);
        let untouched = phys_of(&space, 1100);
        compact(core::slice::from_ref(&space), Some(&hot));
        assert!(space.lock().tables.lookup(BASE).1);
        assert!(!space.lock().tables.lookup(BASE + HUGE_PAGE_SIZE).1);
        // 513 and 517 need 512 to 517 for one fault to do; the others are alone in their groups.
        let frames: Vec<u64> = (512..518)
            .chain([600, 900])
            .map(|page| phys_of(&space, page))
            .collect();
        assert!(
            frames.windows(2).all(|pair| pair[0] + PAGE_SIZE == pair[1]),
            "{frames:x?}"
        );
        assert_eq!(phys_of(&space, 1100), untouched);
        check(&space, filled());
        drop(space);
        assert_eq!(frame::LIVE.with(core::cell::Cell::get), before);
    }

    #[test]
    fn a_large_page_touched_in_few_places_is_split() {
        let space = mapped(HUGE_PAGE_SIZE);
        fill(&space, 0..512);
        allow_huge(&space, HUGE_PAGE_SIZE);
        compact(core::slice::from_ref(&space), None);
        assert!(space.lock().tables.lookup(BASE).1);
        let (usage, cold) = (space.usage(), phys_of(&space, 9));
        let hot = hot(&space, [100, 300].into_iter());
        compact(core::slice::from_ref(&space), Some(&hot));
        assert!(!space.lock().tables.lookup(BASE).1);
        assert_eq!(
            phys_of(&space, 100) + PAGE_SIZE,
            phys_of(&space, 300),
            "they are neighbours"
        );
        assert_eq!(phys_of(&space, 9), cold);
        assert_eq!(space.usage().rss_anonymous, usage.rss_anonymous);
        check(&space, 0..512);
    }

    #[test]
    fn what_is_shared_stays_where_it_is() {
        let space = mapped(HUGE_PAGE_SIZE);
        fill(&space, 0..300);
        let child = Arc::new(space.fork().unwrap());
        allow_huge(&space, HUGE_PAGE_SIZE);
        let frame = |space: &AddressSpace| space.lock().tables.lookup(BASE).0.phys();
        let shared = frame(&space);
        compact(&[space.clone(), child.clone()], None);
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
        compact(core::slice::from_ref(&space), None);
        let mut byte = [0];
        assert_eq!(space.read_some(BASE, &mut byte), 0);
        space
            .mprotect(BASE, HUGE_PAGE_SIZE, Prot::READ, false)
            .unwrap();
        check(&space, 0..300);
    }
}
