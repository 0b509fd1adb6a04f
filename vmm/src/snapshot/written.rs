//! Which pages of a private mapping this process has copies of, because they were written.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use super::working_set::{PAGE, Runs};
use crate::memory::mapping::Mapping;

/// `PAGEMAP_SCAN`: `_IOWR('f', 16, struct pm_scan_arg)` (linux/fs.h, since Linux 6.7).
pub const PAGEMAP_SCAN: libc::c_ulong = 0xc060_6610;

// Categories of pages (admin-guide/mm/pagemap.rst).
const IS_FILE: u64 = 1 << 2;
const IS_PRESENT: u64 = 1 << 3;
const IS_SWAPPED: u64 = 1 << 4;

// Bits of an entry of /proc/PID/pagemap.
const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const FILE: u64 = 1 << 61;

/// `struct pm_scan_arg` (linux/fs.h).
#[repr(C)]
#[derive(Default)]
struct ScanArgument {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    region_count: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region` (linux/fs.h).
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// Regions taken from the kernel at once.
const REGIONS: usize = 512;

/// Looks at this process's own pages.
#[derive(Debug)]
pub(crate) struct Pages {
    pagemap: File,
}

impl Pages {
    /// Opens this process's own page map.
    pub fn open() -> io::Result<Self> {
        let pagemap = File::open("/proc/self/pagemap")?;
        Ok(Self { pagemap })
    }

    /// Pages that are copies: neither the file's nor untouched. Swapped ones, too.
    pub fn copied(&self, mapping: &Mapping) -> io::Result<Runs> {
        self.scan(mapping, IS_FILE)
            .or_else(|_| self.read(mapping, |bits| bits & FILE == 0))
    }

    /// Pages that are there, whosever they are.
    pub fn there(&self, mapping: &Mapping) -> io::Result<Runs> {
        self.scan(mapping, 0)
            .or_else(|_| self.read(mapping, |_| true))
    }

    fn scan(&self, mapping: &Mapping, but: u64) -> io::Result<Runs> {
        let base = mapping.as_ptr() as u64;
        let end = base + mapping.size() as u64;
        let mut runs = Runs::new();
        let mut regions = vec![Region::default(); REGIONS];
        let mut start = base;
        while start < end {
            let mut argument = ScanArgument {
                size: size_of::<ScanArgument>() as u64,
                start,
                end,
                regions: regions.as_mut_ptr() as u64,
                region_count: REGIONS as u64,
                category_inverted: but,
                category_mask: but,
                category_anyof_mask: IS_PRESENT | IS_SWAPPED,
                return_mask: IS_PRESENT,
                ..ScanArgument::default()
            };
            // SAFETY: the argument and the regions it names are ours and live; the kernel writes no
            // more regions than it is told there are.
            let count = unsafe {
                let fd = self.pagemap.as_raw_fd();
                libc::ioctl(fd, PAGEMAP_SCAN, &raw mut argument)
            };
            let Ok(count) = usize::try_from(count) else {
                return Err(io::Error::last_os_error());
            };
            for region in regions.iter().take(count) {
                let page = |address: u64| ((address - base) / PAGE) as u32;
                push(&mut runs, page(region.start)..page(region.end));
            }
            if argument.walk_end <= start {
                return Err(io::Error::other(
                    "the scan of this process's pages stands still",
                ));
            }
            start = argument.walk_end;
        }
        Ok(runs)
    }

    /// As [`Self::scan`] on an older kernel.
    fn read(&self, mapping: &Mapping, wanted: impl Fn(u64) -> bool) -> io::Result<Runs> {
        let mut entries = vec![0; 8 * mapping.size() / PAGE as usize];
        let start = mapping.as_ptr() as u64 / PAGE * 8;
        self.pagemap.read_exact_at(&mut entries, start)?;
        let mut runs = Runs::new();
        for (page, entry) in (0u32..).zip(entries.as_chunks::<8>().0) {
            let bits = u64::from_ne_bytes(*entry);
            if bits & (PRESENT | SWAPPED) != 0 && wanted(bits) {
                push(&mut runs, page..page + 1);
            }
        }
        Ok(runs)
    }
}

fn push(runs: &mut Runs, run: Range<u32>) {
    match runs.last_mut() {
        Some(last) if last.end == run.start => last.end = run.end,
        _ => runs.push(run),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn copies_are_told_from_the_file_s_pages_in_either_way() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; 64 * PAGE as usize]).unwrap();
        let mapping = Mapping::private_file(&file, 64 * PAGE as usize).unwrap();
        for page in [3, 4, 40] {
            // SAFETY: inside of the mapping, which is writable.
            unsafe { mapping.as_ptr().add(page * PAGE as usize).write(1) };
        }
        // SAFETY: as above.
        assert_eq!(unsafe { mapping.as_ptr().add(9 * PAGE as usize).read() }, 7);
        let pages = Pages::open().unwrap();
        let written = [3..5, 40..41];
        assert_eq!(pages.copied(&mapping).unwrap(), written);
        let by_reading = pages.read(&mapping, |bits| bits & FILE == 0).unwrap();
        assert_eq!(by_reading, written);
        for there in [pages.there(&mapping), pages.read(&mapping, |_| true)] {
            let there: Vec<u32> = there.unwrap().into_iter().flatten().collect();
            assert!([3, 4, 9, 40].iter().all(|page| there.contains(page)));
        }
    }
}
