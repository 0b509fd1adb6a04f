//! Host mappings that back guest-physical memory: 2 MiB-aligned, so that the host can use large
//! pages where the guest's tables do.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr;

use sprout_abi::layout::HUGE_PAGE_SIZE;

/// An address range of this process that is unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    start: *mut u8,
    size: usize,
}

// SAFETY: a mapping is plain memory; it belongs to no thread.
unsafe impl Send for Mapping {}
// SAFETY: shared references only hand out the address; access is by volatile or system-call means.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Zeroed private memory, readable and writable, in large pages where the host allows it.
    pub fn anonymous(size: usize) -> io::Result<Self> {
        let mapping = Self::reserve(size)?;
        mapping.replace_by_zero(0, size)?;
        Ok(mapping)
    }

    /// Turns a part of the mapping into zeroed memory of this process, in large pages where the
    /// host allows it. Whole large pages, please.
    pub fn replace_by_zero(&self, offset: usize, length: usize) -> io::Result<()> {
        self.place(
            offset,
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            None,
        )?;
        self.wish_for_large_pages(offset, length);
        Ok(())
    }

    /// Makes a part of the mapping a private view of the same part of `file` again.
    pub fn replace_by_file(&self, offset: usize, length: usize, file: &File) -> io::Result<()> {
        let at = libc::off_t::try_from(offset).map_err(|_| too_large())?;
        self.place_at(
            offset,
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_NORESERVE,
            Some((file, at)),
        )
    }

    /// `offset + length` must lie inside the mapping.
    fn wish_for_large_pages(&self, offset: usize, length: usize) {
        // A kernel without large pages refuses, and nothing else changes.
        let _ = self.advise(offset, length, libc::MADV_HUGEPAGE);
    }

    /// Copies `length` bytes at `offset` of `file` to the same place in the mapping.
    ///
    /// # Safety
    ///
    /// Nobody else may use these bytes meanwhile, neither a thread nor a guest.
    pub unsafe fn read_from(&self, file: &File, offset: u64, length: usize) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| too_large())?;
        if start.checked_add(length).is_none_or(|end| end > self.size) {
            return Err(too_large());
        }
        // SAFETY: the range lies in our mapping and is the caller's alone; bytes have no invalid
        // values.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.start.add(start), length) };
        file.read_exact_at(bytes, offset)
    }

    /// A private, writable view of the first `size` bytes of `file`: writes stay in this process.
    pub fn private_file(file: &File, size: usize) -> io::Result<Self> {
        let mapping = Self::reserve(size)?;
        mapping.place(
            0,
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_NORESERVE,
            Some(file),
        )?;
        Ok(mapping)
    }

    /// A read-only view of the first `size` bytes of `file`, which others may write.
    pub fn shared_file(file: &File, size: usize) -> io::Result<Self> {
        let mapping = Self::reserve(size)?;
        mapping.place(0, size, libc::PROT_READ, libc::MAP_SHARED, Some(file))?;
        Ok(mapping)
    }

    /// A read-only view of a whole file of `length` bytes, zero-padded to a multiple of 2 MiB.
    pub fn read_only_file(file: &File, length: usize) -> io::Result<Self> {
        let huge = HUGE_PAGE_SIZE as usize;
        let size = length
            .max(1)
            .checked_next_multiple_of(huge)
            .ok_or_else(too_large)?;
        let mapping = Self::reserve(size)?;
        let pages = length.next_multiple_of(4096);
        if pages > 0 {
            mapping.place(0, pages, libc::PROT_READ, libc::MAP_SHARED, Some(file))?;
            // SAFETY: the range is ours. What is read from now on comes in large folios where the
            // file system has them.
            unsafe { libc::madvise(mapping.start.cast(), pages, libc::MADV_HUGEPAGE) };
        }
        if pages < size {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            mapping.place(pages, size - pages, libc::PROT_READ, flags, None)?;
        }
        Ok(mapping)
    }

    /// Address space without memory, aligned to 2 MiB.
    fn reserve(size: usize) -> io::Result<Self> {
        let align = HUGE_PAGE_SIZE as usize;
        let padded = size.checked_add(align).ok_or_else(too_large)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing.
        let raw = unsafe { libc::mmap(ptr::null_mut(), padded, libc::PROT_NONE, flags, -1, 0) };
        if raw == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = raw as usize;
        let start = base.next_multiple_of(align);
        let (before, after) = (start - base, base + padded - (start + size));
        // SAFETY: both pieces lie in the mapping made above, outside the aligned part we keep.
        unsafe {
            if before > 0 {
                libc::munmap(raw, before);
            }
            if after > 0 {
                libc::munmap((start + size) as *mut _, after);
            }
        }
        Ok(Self {
            start: start as *mut u8,
            size,
        })
    }

    /// Replaces `length` bytes at `offset` of this reservation.
    fn place(
        &self,
        offset: usize,
        length: usize,
        protection: i32,
        flags: i32,
        file: Option<&File>,
    ) -> io::Result<()> {
        self.place_at(
            offset,
            length,
            protection,
            flags,
            file.map(|file| (file, 0)),
        )
    }

    /// As [`Self::place`], with the place in the file.
    fn place_at(
        &self,
        offset: usize,
        length: usize,
        protection: i32,
        flags: i32,
        file: Option<(&File, libc::off_t)>,
    ) -> io::Result<()> {
        if offset.checked_add(length).is_none_or(|end| end > self.size) {
            return Err(too_large());
        }
        let (fd, from) = file.map_or((-1, 0), |(file, from)| (file.as_raw_fd(), from));
        // SAFETY: the range lies inside our own reservation (checked above), so MAP_FIXED replaces
        // nothing else.
        let placed = unsafe {
            let at = self.start.add(offset).cast();
            libc::mmap(at, length, protection, flags | libc::MAP_FIXED, fd, from)
        };
        if placed == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        if protection & libc::PROT_WRITE != 0 {
            // What a guest has in its memory is nobody's business after a crash of ours.
            self.advise(offset, length, libc::MADV_DONTDUMP)?;
        }
        Ok(())
    }

    /// First byte.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start
    }

    /// Bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// `madvise` over part of the mapping.
    pub fn advise(&self, offset: usize, length: usize, advice: i32) -> io::Result<()> {
        if offset.checked_add(length).is_none_or(|end| end > self.size) {
            return Err(too_large());
        }
        // SAFETY: the range lies in our mapping; callers pass advice that keeps its content
        // (populate, huge pages, no dumps), as this type is private to the crate's memory code.
        let result = unsafe { libc::madvise(self.start.add(offset).cast(), length, advice) };
        if result != 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is ours and nothing refers to it any more.
        unsafe { libc::munmap(self.start.cast(), self.size) };
    }
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "range outside of the mapping")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn bytes(mapping: &Mapping) -> &[u8] {
        // SAFETY: the tests' mappings are readable and nobody writes to them meanwhile.
        unsafe { std::slice::from_raw_parts(mapping.as_ptr(), mapping.size()) }
    }

    #[test]
    fn mappings_are_aligned_to_large_pages() {
        let mapping = Mapping::anonymous(4 << 20).unwrap();
        assert_eq!(mapping.as_ptr() as u64 % HUGE_PAGE_SIZE, 0);
        assert!(bytes(&mapping).iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_short_file_is_padded_with_zeros() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0xab; 5000]).unwrap();
        let mapping = Mapping::read_only_file(&file, 5000).unwrap();
        assert_eq!(mapping.size() as u64, HUGE_PAGE_SIZE);
        assert!(bytes(&mapping)[..5000].iter().all(|byte| *byte == 0xab));
        assert!(bytes(&mapping)[5000..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn advice_outside_of_the_mapping_is_refused() {
        let mapping = Mapping::anonymous(2 << 20).unwrap();
        assert!(
            mapping
                .advise(1 << 20, 2 << 20, libc::MADV_POPULATE_READ)
                .is_err()
        );
        assert!(
            mapping
                .advise(usize::MAX, 2, libc::MADV_POPULATE_READ)
                .is_err()
        );
    }
}
