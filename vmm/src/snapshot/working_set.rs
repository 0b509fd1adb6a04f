//! Pages of RAM that a restored guest touches while it answers a request, so that the next one can
//! have them made ahead.
//!
//! Pages that are only read are in it, too, and are copied like the others: on software KVM a page
//! that is present and writable costs the guest no fault of its own when one of its neighbours is
//! touched, and each fault costs more than copying several pages.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{SnapshotError, WORKING_SET_FILE, read_bounded};

const PAGE: u64 = 4096;

/// KVM's shadow MMU looks at so many neighbours of a page that faults, up to the first that is not
/// present (`PTE_PREFETCH_NUM`).
const GROUP: u32 = 8;

// Bits of /proc/PID/pagemap (admin-guide/mm/pagemap.rst).
const PRESENT: u64 = 1 << 63;

/// Runs of page numbers, ascending and disjoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkingSet {
    runs: Vec<Range<u32>>,
}

impl WorkingSet {
    /// The pages of `start..start + size` of this process that are present.
    pub fn present_pages(start: u64, size: u64) -> io::Result<Self> {
        let map = File::open("/proc/self/pagemap")?;
        let mut entries = vec![0; 8 * (size / PAGE) as usize];
        map.read_exact_at(&mut entries, start / PAGE * 8)?;
        let mut set = Self::default();
        for (page, entry) in (0u32..).zip(entries.as_chunks::<8>().0) {
            if u64::from_ne_bytes(*entry) & PRESENT != 0 {
                set.push(page);
            }
        }
        Ok(set)
    }

    fn push(&mut self, page: u32) {
        match self.runs.last_mut() {
            Some(run) if run.end == page => run.end += 1,
            _ => self.runs.push(page..page.saturating_add(1)),
        }
    }

    /// The set with the neighbours of each page: aligned groups of [`GROUP`].
    pub fn with_neighbours(&self) -> Self {
        let mut wide = Self::default();
        for run in &self.runs {
            let group = run.start / GROUP * GROUP..run.end.next_multiple_of(GROUP);
            match wide.runs.last_mut() {
                Some(last) if last.end >= group.start => last.end = last.end.max(group.end),
                _ => wide.runs.push(group),
            }
        }
        wide
    }

    /// Runs of pages.
    pub fn runs(&self) -> &[Range<u32>] {
        &self.runs
    }

    /// Number of pages.
    pub fn len(&self) -> usize {
        self.runs.iter().map(|run| run.len()).sum()
    }

    /// Whether no page is in it.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// File content: start and end of each run, little-endian.
    pub fn encode(&self) -> Vec<u8> {
        self.runs
            .iter()
            .flat_map(|run| [run.start, run.end])
            .flat_map(u32::to_le_bytes)
            .collect()
    }

    /// From the file of the snapshot in `directory`; runs outside of `memory_size` are damage.
    pub fn read(directory: &Path, memory_size: u64) -> Result<Self, SnapshotError> {
        let bytes = read_bounded(&directory.join(WORKING_SET_FILE))?;
        Self::decode(&bytes, memory_size).ok_or_else(|| SnapshotError::Corrupt {
            path: directory.to_owned(),
            reason: format!("{WORKING_SET_FILE}: not a list of pages"),
        })
    }

    fn decode(bytes: &[u8], memory_size: u64) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<4>();
        let (pairs, odd) = words.as_chunks::<2>();
        if !rest.is_empty() || !odd.is_empty() {
            return None;
        }
        let mut runs = Vec::with_capacity(pairs.len());
        let mut last = 0;
        for [start, end] in pairs {
            let run = u32::from_le_bytes(*start)..u32::from_le_bytes(*end);
            if run.is_empty() || run.start < last || u64::from(run.end) > memory_size / PAGE {
                return None;
            }
            last = run.end;
            runs.push(run);
        }
        Some(Self { runs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::Mapping;

    #[test]
    fn pages_of_a_private_file_mapping_are_found() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(2 << 20).unwrap();
        let mapping = Mapping::private_file(&file, 2 << 20).unwrap();
        for page in [3usize, 4, 100] {
            // SAFETY: inside the mapping, which only this test uses.
            unsafe { mapping.as_ptr().add(page * 4096).write_volatile(1) };
        }
        let set = WorkingSet::present_pages(mapping.as_ptr() as u64, 2 << 20).unwrap();
        assert_eq!(set.runs(), [3..5, 100..101]);
        assert_eq!(set.len(), 3);
        assert_eq!(set.with_neighbours().runs(), [0..8, 96..104]);
        assert_eq!(WorkingSet::decode(&set.encode(), 2 << 20), Some(set));
    }

    #[test]
    fn groups_that_touch_become_one_run() {
        let set = WorkingSet {
            runs: vec![1..3, 6..9, 17..18, 40..41],
        };
        assert_eq!(set.with_neighbours().runs(), [0..24, 40..48]);
    }

    #[test]
    fn damaged_files_are_refused() {
        let set = WorkingSet {
            runs: vec![1..3, 7..9],
        };
        let bytes = set.encode();
        assert_eq!(WorkingSet::decode(&bytes, 9 * PAGE), Some(set));
        assert_eq!(WorkingSet::decode(&bytes, 8 * PAGE), None);
        assert_eq!(WorkingSet::decode(&bytes[1..], 9 * PAGE), None);
        assert_eq!(WorkingSet::decode(&bytes[..12], 9 * PAGE), None);
        let reversed: Vec<u8> = [bytes[8..].to_vec(), bytes[..8].to_vec()].concat();
        assert_eq!(WorkingSet::decode(&reversed, 9 * PAGE), None);
    }
}
