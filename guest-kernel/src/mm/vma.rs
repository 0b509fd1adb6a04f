//! Virtual memory areas: which ranges a program may touch, how, and what is there.

use super::file::FileMapping;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bitflags::bitflags;
use core::cell::Cell;
use sprout_abi::layout::PAGE_SIZE;

bitflags! {
    /// Protection, with the values of `PROT_*`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Prot: u32 {
        /// May be read.
        const READ = 1;
        /// May be written (and read: x86 has no write-only pages).
        const WRITE = 2;
        /// May be executed (and read).
        const EXEC = 4;
    }
}

bitflags! {
    /// What else is known about an area.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct VmaFlags: u32 {
        /// Writes go to the object behind it.
        const SHARED = 1 << 0;
        /// A shared file mapping whose descriptor could not write: WRITE can't be given to it.
        const NEVER_WRITE = 1 << 1;
        /// MAP_NORESERVE.
        const NORESERVE = 1 << 2;
        /// MAP_STACK: small pages, most of it will never be touched.
        const STACK = 1 << 3;
        /// Grows downward on faults just below it.
        const GROWS_DOWN = 1 << 4;
        /// fork does not copy it.
        const DONT_FORK = 1 << 5;
        /// fork gives the child zeroes instead.
        const WIPE_ON_FORK = 1 << 6;
        /// MADV_HUGEPAGE.
        const HUGE = 1 << 7;
        /// MADV_NOHUGEPAGE.
        const NO_HUGE = 1 << 8;
        /// MADV_DONTDUMP.
        const DONT_DUMP = 1 << 9;
        /// mlock: its pages stay.
        const LOCKED = 1 << 10;
    }
}

/// What is behind an area.
#[derive(Clone)]
pub enum Backing {
    /// Zeroes at first, private.
    Anonymous,
    /// A file (or another object with pages), from `offset`, which is page-aligned.
    File {
        /// Its pages.
        file: Arc<dyn FileMapping>,
        /// File offset of the area's first byte.
        offset: u64,
    },
}

impl Backing {
    /// The backing of the part that starts `distance` bytes into the area.
    pub fn advanced(&self, distance: u64) -> Backing {
        match self {
            Backing::Anonymous => Backing::Anonymous,
            Backing::File { file, offset } => Backing::File {
                file: file.clone(),
                offset: offset.wrapping_add(distance),
            },
        }
    }

    /// Whether `next` continues this backing after `len` bytes.
    fn continues(&self, len: u64, next: &Backing) -> bool {
        match (self, next) {
            (Backing::Anonymous, Backing::Anonymous) => true,
            (Backing::File { file: a, offset: x }, Backing::File { file: b, offset: y }) => {
                Arc::ptr_eq(a, b) && x.wrapping_add(len) == *y
            }
            _ => false,
        }
    }
}

/// Where the last faults of an area were: sequential ones get larger windows.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultHistory {
    /// First address of the last window filled.
    pub start: u64,
    /// End of it.
    pub end: u64,
    /// Its size in pages.
    pub pages: u32,
}

/// One area.
#[derive(Clone)]
pub struct Vma {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// What the program may do.
    pub prot: Prot,
    /// More about it.
    pub flags: VmaFlags,
    /// What is there.
    pub backing: Backing,
    /// For the size of the next fault's window.
    pub history: FaultHistory,
}

impl Vma {
    /// Bytes.
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Whether writes stay private to this address space.
    pub fn is_private(&self) -> bool {
        !self.flags.contains(VmaFlags::SHARED)
    }

    /// Whether it is private memory without a file.
    pub fn is_anonymous(&self) -> bool {
        matches!(self.backing, Backing::Anonymous)
    }

    /// Whether it counts against the overcommit check: what it needs can't be had from a file.
    pub fn is_accounted(&self) -> bool {
        self.is_private()
            && self.prot.contains(Prot::WRITE)
            && !self.flags.contains(VmaFlags::NORESERVE)
    }

    /// File offset of `addr`, for a file's area.
    pub fn file_offset(&self, addr: u64) -> u64 {
        match &self.backing {
            Backing::Anonymous => 0,
            Backing::File { offset, .. } => offset.wrapping_add(addr - self.start),
        }
    }

    /// The part `[start, end)` of it.
    pub fn part(&self, start: u64, end: u64) -> Vma {
        Vma {
            start,
            end,
            backing: self.backing.advanced(start - self.start),
            ..self.clone()
        }
    }

    /// Where room for others ends below it.
    fn room_below(&self) -> u64 {
        match self.flags.contains(VmaFlags::GROWS_DOWN) {
            true => self.start.saturating_sub(STACK_GUARD_GAP),
            false => self.start,
        }
    }

    fn merges_with(&self, next: &Vma) -> bool {
        self.end == next.start
            && self.prot == next.prot
            && self.flags == next.flags
            && self.backing.continues(self.len(), &next.backing)
    }
}

/// Room kept below an area that grows downward (Linux: stack_guard_gap).
pub const STACK_GUARD_GAP: u64 = 256 * PAGE_SIZE;

/// The areas of an address space, by address; they don't overlap.
#[derive(Default)]
pub struct VmaSet {
    areas: BTreeMap<u64, Vma>,
    bytes: u64,
    searched: Cell<Searched>,
}

/// What the last search for room below `high` saw, or the next one would look at all areas again:
/// no hole in `[from, high)` is longer than `hole`.
#[derive(Clone, Copy, Default)]
struct Searched {
    high: u64,
    from: u64,
    hole: u64,
}

impl VmaSet {
    /// Number of areas.
    pub fn count(&self) -> usize {
        self.areas.len()
    }

    /// Bytes in all areas.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = &Vma> {
        self.areas.values()
    }

    /// The area `addr` lies in.
    pub fn find(&self, addr: u64) -> Option<&Vma> {
        self.areas
            .range(..=addr)
            .next_back()
            .map(|(_, vma)| vma)
            .filter(|vma| vma.end > addr)
    }

    /// As [`VmaSet::find`]; the bounds must not be changed.
    pub fn find_mut(&mut self, addr: u64) -> Option<&mut Vma> {
        self.areas
            .range_mut(..=addr)
            .next_back()
            .map(|(_, vma)| vma)
            .filter(|vma| vma.end > addr)
    }

    /// The first area that starts at or above `addr`.
    pub fn next_above(&self, addr: u64) -> Option<&Vma> {
        self.areas.range(addr..).next().map(|(_, vma)| vma)
    }

    /// The last area that ends at or below `addr`.
    pub fn last_below(&self, addr: u64) -> Option<&Vma> {
        self.areas
            .range(..addr)
            .next_back()
            .map(|(_, vma)| vma)
            .filter(|vma| vma.end <= addr)
    }

    /// The areas that overlap `[start, end)`, ascending.
    pub fn overlapping(&self, start: u64, end: u64) -> impl Iterator<Item = &Vma> {
        let first = self.find(start).map_or(start, |vma| vma.start);
        let end = if start < end { end } else { first };
        self.areas.range(first..end).map(|(_, vma)| vma)
    }

    /// Whether an area overlaps `[start, end)`.
    pub fn any_in(&self, start: u64, end: u64) -> bool {
        self.overlapping(start, end).next().is_some()
    }

    /// Whether all of `[start, end)` lies in areas.
    pub fn covers(&self, start: u64, end: u64) -> bool {
        let mut reached = start;
        for vma in self.overlapping(start, end) {
            if vma.start > reached {
                return false;
            }
            reached = vma.end;
        }
        reached >= end
    }

    /// Makes `addr` a boundary.
    pub fn split_at(&mut self, addr: u64) {
        let Some(vma) = self.find_mut(addr).filter(|vma| vma.start < addr) else {
            return;
        };
        let upper = vma.part(addr, vma.end);
        vma.end = addr;
        self.areas.insert(addr, upper);
    }

    /// Removes and returns the areas in `[start, end)`, splitting at the ends.
    pub fn remove(&mut self, start: u64, end: u64) -> Vec<Vma> {
        self.split_at(start);
        self.split_at(end);
        let keys: Vec<u64> = self.areas.range(start..end).map(|(key, _)| *key).collect();
        let removed: Vec<Vma> = keys
            .iter()
            .filter_map(|key| self.areas.remove(key))
            .collect();
        self.bytes -= removed.iter().map(Vma::len).sum::<u64>();
        let mut searched = self.searched.get();
        if !removed.is_empty() && end > searched.from {
            // A stack keeps its distance even with something else in between.
            let first = self.next_above(end).map_or(u64::MAX, |vma| vma.start);
            let near = self.areas.range(end..first.saturating_add(STACK_GUARD_GAP));
            let above = near.map(|(_, vma)| vma.room_below()).min();
            searched.from = above.unwrap_or(first).min(searched.high);
            self.searched.set(searched);
        }
        removed
    }

    /// Adds an area where there is none, joined with equal neighbours.
    pub fn insert(&mut self, vma: Vma) {
        debug_assert!(!self.any_in(vma.start, vma.end));
        self.bytes += vma.len();
        if vma.room_below() < vma.start {
            // Keeps others away from where they could have been.
            self.searched.take();
        }
        let (start, end) = (vma.start, vma.end);
        self.areas.insert(start, vma);
        self.join(end);
        self.join(start);
    }

    /// Joins the areas that meet at `addr` if they are equal.
    pub fn join(&mut self, addr: u64) {
        let Some(below) = self.last_below(addr).filter(|below| below.end == addr) else {
            return;
        };
        let key = below.start;
        if self
            .areas
            .get(&addr)
            .is_some_and(|above| below.merges_with(above))
            && let Some(above) = self.areas.remove(&addr)
            && let Some(below) = self.areas.get_mut(&key)
        {
            below.end = above.end;
            if above.history.pages > below.history.pages {
                below.history = above.history;
            }
        }
    }

    /// Applies `change` to the areas in `[start, end)`, split at the ends, and joins them again.
    pub fn change(&mut self, start: u64, end: u64, mut change: impl FnMut(&mut Vma)) {
        self.split_at(start);
        self.split_at(end);
        let mut bounds: Vec<u64> = Vec::new();
        for (key, vma) in self.areas.range_mut(start..end) {
            change(vma);
            bounds.push(*key);
        }
        bounds
            .into_iter()
            .chain([end])
            .for_each(|bound| self.join(bound));
    }

    /// Extends the area that starts at `start` down to `new_start`.
    pub fn grow_down(&mut self, start: u64, new_start: u64) {
        if let Some(mut vma) = self.areas.remove(&start) {
            self.bytes += start - new_start;
            vma.start = new_start;
            if vma.room_below() < self.searched.get().high {
                self.searched.take();
            }
            self.areas.insert(new_start, vma);
        }
    }

    /// The highest free `len` bytes inside `[low, high)` whose start is `phase` modulo `align`
    /// (a power of two).
    pub fn find_room(&self, len: u64, low: u64, high: u64, align: u64, phase: u64) -> Option<u64> {
        let known = self.searched.get();
        let mut searched = if known.high == high && len > known.hole {
            known
        } else {
            let (from, hole) = (high, 0);
            Searched { high, from, hole }
        };
        let mut top = searched.from;
        let mut look = |bottom: u64, top: u64| {
            let hole = top.saturating_sub(bottom);
            let highest = top.checked_sub(len)?;
            let start = highest.checked_sub(highest.wrapping_sub(phase) & (align - 1))?;
            if start < bottom {
                searched.hole = searched.hole.max(hole);
                return None;
            }
            // What alignment leaves above is a hole, too.
            searched.hole = searched.hole.max(top - (start + len));
            searched.from = start + len;
            Some(start)
        };
        let mut found = None;
        for vma in self.areas.range(..top).rev().map(|(_, vma)| vma) {
            if vma.end < low {
                break;
            }
            found = look(vma.end.max(low), top);
            if found.is_some() {
                break;
            }
            top = top.min(vma.room_below());
        }
        found = found.or_else(|| look(low, top));
        if found.is_some() {
            self.searched.set(searched);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: u64 = 0x1_0000;
    const HIGH: u64 = 0x4000_0000;

    fn area(start: u64, len: u64, flags: VmaFlags) -> Vma {
        Vma {
            start,
            end: start + len,
            // Neighbours are not joined.
            prot: Prot::from_bits_truncate((start / PAGE_SIZE % 8) as u32),
            flags,
            backing: Backing::Anonymous,
            history: FaultHistory::default(),
        }
    }

    #[test]
    fn room_is_the_highest_there_is_whatever_was_searched_before() {
        let mut seed = 0x2545_f491_4f6c_dd1du64;
        let mut random = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % below
        };
        let mut set = VmaSet::default();
        for step in 0..20_000 {
            let magnitude = random(9);
            let len = (1 + random(1 << magnitude)) * PAGE_SIZE;
            match random(10) {
                0..=5 => {
                    let align = PAGE_SIZE << (9 * random(2));
                    let high = if random(20) == 0 { HIGH / 2 } else { HIGH };
                    let found = set.find_room(len, LOW, high, align, 0);
                    let fresh = VmaSet {
                        areas: set.areas.clone(),
                        ..VmaSet::default()
                    };
                    assert_eq!(
                        found,
                        fresh.find_room(len, LOW, high, align, 0),
                        "step {step}"
                    );
                    // Not everything that finds room is mapped.
                    if let Some(start) = found.filter(|_| random(8) > 0) {
                        let grows = random(30) == 0;
                        let flags = if grows {
                            VmaFlags::GROWS_DOWN
                        } else {
                            VmaFlags::empty()
                        };
                        set.insert(area(start, len, flags));
                    }
                }
                6 => {
                    let start = LOW + random((HIGH - LOW) / PAGE_SIZE) * PAGE_SIZE;
                    set.remove(start, start + len);
                    set.insert(area(start, len, VmaFlags::empty()));
                }
                7 => {
                    let growing = set
                        .iter()
                        .find(|vma| vma.flags.contains(VmaFlags::GROWS_DOWN));
                    if let Some(start) = growing.map(|vma| vma.start)
                        && start > LOW + STACK_GUARD_GAP
                        && !set.any_in(start - STACK_GUARD_GAP, start)
                    {
                        set.grow_down(start, start - PAGE_SIZE);
                    }
                }
                _ => {
                    let start = LOW + random((HIGH - LOW) / PAGE_SIZE) * PAGE_SIZE;
                    set.remove(start, start + random(64) * len);
                }
            }
        }
    }

    #[test]
    fn many_areas_are_placed_without_looking_at_all_of_them() {
        let mut set = VmaSet::default();
        for _ in 0..20_000 {
            let start = set.find_room(2 * PAGE_SIZE, LOW, HIGH, PAGE_SIZE, 0);
            // Every other page stays free.
            set.insert(area(
                start.unwrap() + PAGE_SIZE,
                PAGE_SIZE,
                VmaFlags::empty(),
            ));
            assert!(HIGH - set.searched.get().from <= 4 * PAGE_SIZE * set.count() as u64);
        }
        let lowest = set.iter().next().unwrap().start;
        assert!(set.searched.get().from <= lowest + 2 * PAGE_SIZE);
    }
}
