//! How much of a file is in large folios.
//!
//! The kernel tells of no folio's size directly. But a page of a mapping that is touched gets a
//! large mapping if, and only if, its folio is large; and PAGEMAP_SCAN (Linux 6.7) tells for all
//! pages at once how they are mapped, `/proc/self/smaps` at least for how many.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

use sprout_abi::layout::{HUGE_PAGE_SIZE, PAGE_SIZE};

use crate::memory::mapping::Mapping;

/// So much is mapped at a time, which a process shows as its own memory.
pub(super) const WINDOW: u64 = 8 * HUGE_PAGE_SIZE;

/// What of a file is in the page cache, in bytes; counted in whole large pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// The file.
    pub whole: u64,
    /// What of it is in large folios.
    pub large: u64,
    /// What of it is there in small folios, at least in part.
    pub small: Vec<Range<u64>>,
}

impl Share {
    /// Looks at the first `whole` bytes of `file`, a multiple of large pages, through `mapping`,
    /// which has it mapped with large pages wanted.
    pub fn of(file: &File, mapping: &Mapping, whole: u64) -> io::Result<Share> {
        let mut share = Share {
            whole,
            ..Share::default()
        };
        for start in (0..whole).step_by(WINDOW as usize) {
            share.add(file, mapping, start..whole.min(start + WINDOW))?;
        }
        Ok(share)
    }

    /// Looks at one window more, the one behind those before.
    fn add(&mut self, file: &File, mapping: &Mapping, window: Range<u64>) -> io::Result<()> {
        let mut resident = Vec::new();
        for start in window.clone().step_by(HUGE_PAGE_SIZE as usize) {
            let block = start..start + HUGE_PAGE_SIZE;
            if let Some(page) = cached_page(file, mapping, &block) {
                // Present already, so nothing is read. Gone meanwhile: then it is read, no harm.
                mapping.advise(page as usize, PAGE_SIZE as usize, libc::MADV_POPULATE_READ)?;
                resident.push(block);
            }
        }
        let is_large = large_blocks(mapping, &window)?;
        let length = (window.end - window.start) as usize;
        mapping.advise(window.start as usize, length, libc::MADV_DONTNEED)?;
        for block in resident {
            let large = is_large
                .get(((block.start - window.start) / HUGE_PAGE_SIZE) as usize)
                .is_some_and(|large| *large);
            match self.small.last_mut() {
                _ if large => self.large += HUGE_PAGE_SIZE,
                Some(last) if last.end == block.start => last.end = block.end,
                _ => self.small.push(block),
            }
        }
        Ok(())
    }

    /// Bytes that are there in small folios, at least in part.
    pub fn small_bytes(&self) -> u64 {
        self.small.iter().map(|range| range.end - range.start).sum()
    }
}

/// Offset of a page of `block` that is in the page cache.
fn cached_page(file: &File, mapping: &Mapping, block: &Range<u64>) -> Option<u64> {
    // The first one nearly always is, if any.
    let first = block.start..block.start + PAGE_SIZE;
    let counts = |range: &Range<u64>| pages_in_cache(file, range);
    match counts(&first) {
        Some(0) if counts(block) == Some(0) => None,
        Some(1..) => Some(block.start),
        // Somewhere in the middle, or a kernel that does not count: page by page.
        _ => resident_page(mapping, block),
    }
}

/// `struct cachestat_range` and `struct cachestat` (`linux/mman.h`).
#[repr(C)]
struct CacheRange {
    offset: u64,
    length: u64,
}

/// See [`CacheRange`].
#[repr(C)]
#[derive(Default)]
struct CacheCounts {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// Number of the system call cachestat, the same on all architectures.
const SYS_CACHESTAT: libc::c_long = 451;

/// Pages of a range that are in the cache; `None` before Linux 6.5.
fn pages_in_cache(file: &File, range: &Range<u64>) -> Option<u64> {
    let asked = CacheRange {
        offset: range.start,
        length: range.end - range.start,
    };
    let mut counts = CacheCounts::default();
    // SAFETY: both structures are the kernel's, live for the call, and only the second is written.
    let result = unsafe { libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), &asked, &mut counts, 0) };
    (result == 0).then_some(counts.cached)
}

fn resident_page(mapping: &Mapping, block: &Range<u64>) -> Option<u64> {
    let mut pages = [0u8; (HUGE_PAGE_SIZE / PAGE_SIZE) as usize];
    let end = usize::try_from(block.end).ok()?;
    if end > mapping.size() {
        return None;
    }
    // SAFETY: the range lies in the mapping (checked above), and there is a byte for each page.
    let result = unsafe {
        let start = mapping.as_ptr().add(block.start as usize);
        libc::mincore(start.cast(), HUGE_PAGE_SIZE as usize, pages.as_mut_ptr())
    };
    let index = pages.iter().position(|page| page & 1 == 1);
    (result == 0)
        .then_some(index)?
        .map(|index| block.start + index as u64 * PAGE_SIZE)
}

/// For each large page of a window, the only one that is mapped, whether it is mapped as one.
fn large_blocks(mapping: &Mapping, window: &Range<u64>) -> io::Result<Vec<bool>> {
    if let Some(blocks) = scan(mapping, window)? {
        return Ok(blocks);
    }
    // Only the sum is known: all are large, or none counts as such.
    let length = window.end - window.start;
    let large = large_bytes(mapping)?;
    Ok(vec![large >= length; (length / HUGE_PAGE_SIZE) as usize])
}

/// `struct page_region` (`linux/fs.h`).
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

/// `struct pm_scan_arg` (`linux/fs.h`).
#[repr(C)]
#[derive(Default)]
struct ScanArguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vector: u64,
    vector_length: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: libc::c_ulong = 0xc060_6610;
const PAGE_IS_HUGE: u64 = 1 << 6;

/// As [`large_blocks`]; `None` before Linux 6.7.
fn scan(mapping: &Mapping, window: &Range<u64>) -> io::Result<Option<Vec<bool>>> {
    let pagemap = File::open("/proc/self/pagemap")?;
    let base = mapping.as_ptr() as u64 + window.start;
    let whole = window.end - window.start;
    let mut blocks = vec![false; (whole / HUGE_PAGE_SIZE) as usize];
    let mut regions = [PageRegion::default(); 64];
    let mut at = base;
    while at < base + whole {
        let mut arguments = ScanArguments {
            size: size_of::<ScanArguments>() as u64,
            start: at,
            end: base + whole,
            vector: regions.as_mut_ptr() as u64,
            vector_length: regions.len() as u64,
            category_mask: PAGE_IS_HUGE,
            return_mask: PAGE_IS_HUGE,
            ..ScanArguments::default()
        };
        // SAFETY: the structure is the kernel's and live for the call, which writes to it and to
        // at most `vector_length` regions.
        let found = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN, &mut arguments) };
        let Ok(found) = usize::try_from(found) else {
            return Ok(None);
        };
        for region in regions.iter().take(found) {
            let index = |address: u64| ((address - base) / HUGE_PAGE_SIZE) as usize;
            let large = blocks.get_mut(index(region.start)..index(region.end));
            large.unwrap_or_default().fill(true);
        }
        if arguments.walk_end <= at {
            break;
        }
        at = arguments.walk_end;
    }
    Ok(Some(blocks))
}

/// Bytes of the mapping that are mapped by large pages.
fn large_bytes(mapping: &Mapping) -> io::Result<u64> {
    let start = format!("{:x}-", mapping.as_ptr() as usize);
    let smaps = std::fs::read_to_string("/proc/self/smaps")?;
    let kib = smaps
        .lines()
        .skip_while(|line| !line.starts_with(&start))
        .find_map(|line| line.strip_prefix("FilePmdMapped:"))
        .and_then(|value| value.trim().strip_suffix("kB"))
        .and_then(|value| value.trim().parse::<u64>().ok());
    Ok(kib.unwrap_or(0) * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_are_as_the_kernel_has_them() {
        assert_eq!(size_of::<ScanArguments>(), 96);
        assert_eq!(size_of::<PageRegion>(), 24);
        assert_eq!(size_of::<CacheCounts>(), 40);
    }
}
