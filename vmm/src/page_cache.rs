//! Getting a file's page cache into 2 MiB folios.
//!
//! Every VM maps the same image files from the page cache. Where the cache holds 2 MiB folios, KVM
//! maps 2 MiB at once: one shadow fault instead of 512. How a file came into the cache decides its
//! folios (a mapping with MADV_HUGEPAGE reads it in large ones), so what is there in small ones is
//! dropped and read again. Costs a read of the file, once per boot of the host.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::mapping::Mapping;

/// Puts the file at `path` into large folios as far as the host does it; returns the bytes that are
/// mapped by large pages afterwards. A host without them is no error.
pub fn settle(path: &Path) -> io::Result<u64> {
    let file = File::open(path)?;
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let target =
        length as u64 / sprout_abi::layout::HUGE_PAGE_SIZE * sprout_abi::layout::HUGE_PAGE_SIZE;
    let before = touch(&file, length)?;
    if before >= target {
        return Ok(before);
    }
    // SAFETY: advice about a descriptor; no memory is involved.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    touch(&file, length)
}

/// Maps the whole file with large pages wanted, reads all of it in, and tells how many bytes the
/// mapping got by large pages.
fn touch(file: &File, length: usize) -> io::Result<u64> {
    let mapping = Mapping::read_only_file(file, length)?;
    mapping.advise(0, length, libc::MADV_POPULATE_READ)?;
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
    use std::io::Write;

    #[test]
    fn a_file_survives_being_settled() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let content: Vec<u8> = (0..5u32 << 20).map(|i| (i / 4096) as u8).collect();
        file.write_all(&content).unwrap();
        let large = settle(file.path()).unwrap();
        assert!(large <= content.len() as u64);
        assert_eq!(std::fs::read(file.path()).unwrap(), content);
        assert!(settle(Path::new("/nonexistent")).is_err());
    }
}
