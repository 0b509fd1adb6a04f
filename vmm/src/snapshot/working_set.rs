//! What a restored guest touches while it answers a request, so that the next one can have it made
//! ahead.
//!
//! Memory is 2 MiB *blocks*. One that is touched in many places is loaded whole, as a large page:
//! that costs less than half of what its touched pages would cost one by one, and a guest that maps
//! it with a large page of its own touches it at the price of a single fault. Elsewhere runs of
//! pages are copied one by one. Pages that are only read are copied like the others: on software
//! KVM a page that is present and writable costs the guest no fault of its own when one of its
//! neighbours is touched, and each fault costs more than copying several pages.
//!
//! File content, little-endian `u32`: the number of blocks, the number of each block, then start
//! and end of each run of pages. Inside of blocks the runs are the pages that are not zero.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Pages of a block.
pub const BLOCK: u32 = 512;

/// A block with at least so many touched pages (with their neighbours) is loaded whole.
const DENSE: usize = 96;
/// Zero pages between others that are read along with them rather than left out.
const GAP: u32 = 3;

/// KVM's shadow MMU looks at so many neighbours of a page that faults, up to the first that is not
/// present (`PTE_PREFETCH_NUM`).
const GROUP: u32 = 8;

// Bits of /proc/PID/pagemap (admin-guide/mm/pagemap.rst).
const PRESENT: u64 = 1 << 63;
const FILE: u64 = 1 << 61;

/// Runs of page numbers, ascending and disjoint.
pub type Runs = Vec<Range<u32>>;

/// What to make ahead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkingSet {
    blocks: Vec<u32>,
    runs: Runs,
}

/// The pages an answer touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Those it read or wrote.
    pub all: Runs,
    /// Those it wrote.
    pub written: Runs,
}

/// The pages of `start..start + size`, a private mapping of a file in this process, that are
/// present, and those of them that are copies.
pub fn touched_pages(start: u64, size: u64) -> io::Result<Touched> {
    let map = File::open("/proc/self/pagemap")?;
    let mut entries = vec![0; 8 * (size / PAGE) as usize];
    map.read_exact_at(&mut entries, start / PAGE * 8)?;
    let entries = entries.as_chunks::<8>().0.iter();
    let bits = entries.map(|entry| u64::from_ne_bytes(*entry) & (PRESENT | FILE));
    Ok(Touched {
        all: runs_of(bits.clone().map(|bits| bits & PRESENT != 0)),
        written: runs_of(bits.map(|bits| bits == PRESENT)),
    })
}

/// A bit for each of `count` pages, set for those in `runs`; the lowest bit of a byte comes first.
pub fn bitmap(runs: &[Range<u32>], count: u64) -> Vec<u8> {
    let mut bits = vec![0; count.div_ceil(8) as usize];
    for page in runs.iter().cloned().flatten() {
        if let Some(byte) = bits.get_mut(page as usize / 8) {
            *byte |= 1 << (page % 8);
        }
    }
    bits
}

/// The runs of pages for which `flags` are true.
fn runs_of(flags: impl Iterator<Item = bool>) -> Runs {
    let mut runs = Runs::new();
    for page in (0u32..)
        .zip(flags)
        .filter_map(|(page, set)| set.then_some(page))
    {
        extend(&mut runs, page..page.saturating_add(1));
    }
    runs
}

/// Adds a run behind the others, joined with the last one when they touch.
fn extend(runs: &mut Runs, run: Range<u32>) {
    match runs.last_mut() {
        Some(last) if run.start <= last.end => last.end = last.end.max(run.end),
        _ => runs.push(run),
    }
}

/// The runs with the neighbours of each page: aligned groups of [`GROUP`].
fn with_neighbours(runs: &[Range<u32>]) -> Runs {
    let mut wide = Runs::new();
    for run in runs {
        let group = run.start / GROUP * GROUP..run.end.next_multiple_of(GROUP);
        extend(&mut wide, group);
    }
    wide
}

impl WorkingSet {
    /// From the pages that were touched and the content of memory.
    pub fn new(touched: &Touched, memory: &[u8]) -> Self {
        let wide = with_neighbours(&touched.all);
        let blocks = memory.chunks((PAGE * u64::from(BLOCK)) as usize);
        let mut set = Self::default();
        for (number, content) in (0u32..).zip(blocks) {
            let end = number * BLOCK + (content.len() as u64 / PAGE) as u32;
            let block = number * BLOCK..end;
            let inside = |run: &Range<u32>| run.start.max(block.start)..run.end.min(block.end);
            let pages = wide.iter().map(inside).filter(|run| !run.is_empty());
            let mut written = touched.written.iter().map(inside);
            // Runs do not cross from one block into the next, which may be loaded otherwise.
            let first = set.runs.len();
            let runs = &mut set.runs;
            let mut add = |run: Range<u32>, gap: u32| match runs.get_mut(first..) {
                Some([.., last]) if run.start <= last.end.saturating_add(gap) => last.end = run.end,
                _ => runs.push(run),
            };
            // RAM may end with less than a block.
            let whole = content.len() as u64 == PAGE * u64::from(BLOCK);
            if !whole || pages.clone().map(|run| run.len()).sum::<usize>() < DENSE {
                pages.for_each(|run| add(run, 0));
                continue;
            }
            if written.all(|run| run.is_empty()) {
                continue;
            }
            set.blocks.push(number);
            let pages = content.as_chunks::<{ PAGE as usize }>().0;
            for run in runs_of(pages.iter().map(|page| page.iter().any(|byte| *byte != 0))) {
                add(block.start + run.start..block.start + run.end, GAP);
            }
        }
        set
    }

    /// Blocks to load whole: every page of theirs that is in no run is zero.
    pub fn blocks(&self) -> &[u32] {
        &self.blocks
    }

    /// Runs of pages, and whether each lies in a block that is loaded whole.
    pub fn runs(&self) -> impl Iterator<Item = (Range<u32>, bool)> {
        self.runs
            .iter()
            .map(|run| (run.clone(), self.is_loaded(run.start / BLOCK)))
    }

    fn is_loaded(&self, block: u32) -> bool {
        self.blocks.binary_search(&block).is_ok()
    }

    /// Number of pages copied.
    pub fn len(&self) -> usize {
        self.runs.iter().map(|run| run.len()).sum()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.blocks.is_empty()
    }

    /// File content.
    pub fn encode(&self) -> Vec<u8> {
        let runs = self.runs.iter().flat_map(|run| [run.start, run.end]);
        [self.blocks.len() as u32]
            .into_iter()
            .chain(self.blocks.iter().copied())
            .chain(runs)
            .flat_map(u32::to_le_bytes)
            .collect()
    }

    /// From file content; `None` for what is no working set of `memory_size` bytes. Empty content
    /// is an empty set.
    pub fn decode(bytes: &[u8], memory_size: u64) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<4>();
        let words: Vec<u32> = words.iter().map(|word| u32::from_le_bytes(*word)).collect();
        let Some((count, words)) = words.split_first() else {
            return rest.is_empty().then(Self::default);
        };
        let (blocks, runs) = words.split_at_checked(*count as usize)?;
        let (pairs, odd) = runs.as_chunks::<2>();
        let pages = memory_size / PAGE;
        let in_order = blocks.is_sorted_by(|a, b| a < b)
            && blocks
                .last()
                .is_none_or(|last| (u64::from(*last) + 1) * u64::from(BLOCK) <= pages);
        if !rest.is_empty() || !odd.is_empty() || !in_order {
            return None;
        }
        let mut set = Self {
            blocks: blocks.to_vec(),
            runs: Runs::with_capacity(pairs.len()),
        };
        let mut last = 0;
        for [start, end] in pairs {
            let run = *start..*end;
            if run.is_empty() || run.start < last || u64::from(run.end) > pages {
                return None;
            }
            let (first_block, last_block) = (run.start / BLOCK, (run.end - 1) / BLOCK);
            if first_block != last_block
                && (first_block..=last_block).any(|block| set.is_loaded(block))
            {
                return None;
            }
            last = run.end;
            set.runs.push(run);
        }
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::mapping::Mapping;

    #[test]
    fn pages_of_a_private_file_mapping_are_found() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(2 << 20).unwrap();
        let mapping = Mapping::private_file(&file, 2 << 20).unwrap();
        for page in [3usize, 4, 100] {
            // SAFETY: inside the mapping, which only this test uses.
            unsafe { mapping.as_ptr().add(page * 4096).write_volatile(1) };
        }
        // SAFETY: as above.
        unsafe { mapping.as_ptr().add(200 * 4096).read_volatile() };
        let touched = touched_pages(mapping.as_ptr() as u64, 2 << 20).unwrap();
        assert_eq!(touched.written, [3..5, 100..101]);
        assert!(touched.all.iter().any(|run| run.contains(&200)));
        assert_eq!(with_neighbours(&touched.written), [0..8, 96..104]);
    }

    #[test]
    fn a_bitmap_has_a_bit_for_each_page() {
        assert_eq!(bitmap(&[1..3, 8..9, 30..40], 20), [0b110, 1, 0]);
    }

    #[test]
    fn groups_that_touch_become_one_run() {
        let runs = [1..3, 6..9, 17..18, 40..41];
        assert_eq!(with_neighbours(&runs), [0..24, 40..48]);
    }

    fn all_written(runs: &[Range<u32>]) -> Touched {
        Touched {
            all: runs.to_vec(),
            written: runs.to_vec(),
        }
    }

    #[test]
    fn blocks_that_are_only_read_stay_in_the_page_cache() {
        let memory = vec![1; (2 * BLOCK as u64 * PAGE) as usize];
        let mut touched = Touched {
            all: vec![0..600, 600..1000],
            written: vec![600..601, 700..701],
        };
        assert_eq!(WorkingSet::new(&touched, &memory).blocks(), [1]);
        touched.written.push(3..4);
        assert_eq!(WorkingSet::new(&touched, &memory).blocks(), [0, 1]);
    }

    #[test]
    fn memory_that_ends_inside_a_block_has_runs_up_to_its_end() {
        let memory = vec![1; ((BLOCK as u64 + 300) * PAGE) as usize];
        let touched = all_written(&[100..101, 600..812]);
        let set = WorkingSet::new(&touched, &memory);
        assert!(set.blocks().is_empty());
        let runs: Vec<_> = set.runs().map(|(run, _)| run).collect();
        assert_eq!(runs, [96..104, 600..812]);
        let size = memory.len() as u64;
        assert_eq!(WorkingSet::decode(&set.encode(), size), Some(set));
    }

    /// Three blocks: one touched here and there, one all over with few pages in use, one untouched.
    fn example() -> (WorkingSet, usize) {
        let mut memory = vec![0; (3 * BLOCK as u64 * PAGE) as usize];
        for page in [2usize, 510, 513, 515, 600, 1023, 1024] {
            memory[page * PAGE as usize + 17] = 1;
        }
        let touched = all_written(&[2..3, 508..650]);
        (WorkingSet::new(&touched, &memory), memory.len())
    }

    #[test]
    fn blocks_touched_all_over_are_loaded_whole_and_others_by_pages() {
        let (set, _) = example();
        assert_eq!(set.blocks(), [1]);
        let runs: Vec<_> = set.runs().collect();
        assert_eq!(
            runs,
            [
                (0..8, false),
                (504..512, false),
                (513..516, true),
                (600..601, true),
                (1023..1024, true)
            ]
        );
        assert_eq!(set.len(), 8 + 8 + 3 + 1 + 1);
    }

    #[test]
    fn runs_end_where_their_block_does() {
        let memory = vec![1; (4 * BLOCK as u64 * PAGE) as usize];
        // Loaded, page by page, page by page, loaded.
        let touched = all_written(&[0..520, 1016..1032, 1500..2048]);
        let set = WorkingSet::new(&touched, &memory);
        assert_eq!(set.blocks(), [0, 3]);
        let runs: Vec<_> = set.runs().map(|(run, _)| run).collect();
        assert_eq!(
            runs,
            [
                0..512,
                512..520,
                1016..1024,
                1024..1032,
                1496..1536,
                1536..2048
            ]
        );
        let size = memory.len() as u64;
        assert_eq!(WorkingSet::decode(&set.encode(), size), Some(set));
    }

    #[test]
    fn damaged_files_are_refused() {
        let (set, size) = example();
        let size = size as u64;
        let bytes = set.encode();
        assert_eq!(WorkingSet::decode(&bytes, size), Some(set));
        assert_eq!(
            WorkingSet::decode(&bytes, 2 * BLOCK as u64 * PAGE - PAGE),
            None
        );
        assert_eq!(WorkingSet::decode(&bytes[1..], size), None);
        assert_eq!(WorkingSet::decode(&bytes[..12], size), None);
        assert_eq!(WorkingSet::decode(&[], size), Some(WorkingSet::default()));
        let words = |words: &[u32]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_le_bytes()).collect()
        };
        for damaged in [
            // More blocks than there are words; blocks out of order, twice, beyond memory.
            words(&[3, 1, 2]),
            words(&[2, 1, 0]),
            words(&[2, 1, 1]),
            words(&[1, 3]),
            // Runs out of order, empty, beyond memory, across the edge of a loaded block.
            words(&[0, 7, 9, 1, 3]),
            words(&[0, 7, 7]),
            words(&[0, 1500, 1537]),
            words(&[1, 1, 500, 520]),
            words(&[1, u32::MAX]),
            words(&[u32::MAX]),
        ] {
            assert_eq!(WorkingSet::decode(&damaged, size), None, "{damaged:?}");
        }
    }
}
