//! Guest-physical memory as the VMM sees it: RAM (read and written through `vm-memory`, so every
//! access is checked against its bounds) and the read-only image slots.

mod ahead;
pub(crate) mod mapping;
pub mod page_cache;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use sprout_abi::boot::{BootInfo, ClockReading, MAX_IMAGES, RestoreInfo, SharedPage};
use sprout_abi::hypercall::TerminalState;
use sprout_abi::layout::{
    HUGE_PAGE_SIZE, HYPERCALL_PAGE_GPA, IMAGE_STRIDE, KERNEL_GPA, MAX_RAM, PAGE_SIZE,
    SHARED_PAGE_GPA, image_base,
};
use vm_memory::{
    Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestRegionMmap, MmapRegion,
    VolatileSlice,
};

use crate::memory::ahead::Ahead;
use crate::memory::mapping::Mapping;

/// Least RAM of a guest: the sentry, its tables, and something to run in.
pub const MIN_RAM: u64 = 16 << 20;

/// Most replaced parts of RAM that are remembered.
const MOST_REPLACED: usize = 256;

/// Why memory could not be set up or a guest-physical address was refused.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The RAM size is out of bounds.
    #[error(
        "{size} bytes of memory: it must be a multiple of 4 KiB between {min} MiB and {max} GiB",
        min = MIN_RAM >> 20,
        max = MAX_RAM >> 30
    )]
    RamSize {
        /// The size asked for.
        size: u64,
    },
    /// Mapping failed.
    #[error("cannot map {what}: {cause}")]
    Map {
        /// What was to be mapped.
        what: String,
        /// The system's reason.
        cause: io::Error,
    },
    /// An image is larger than a slot.
    #[error("image {} has {size} bytes; at most {IMAGE_STRIDE} fit a slot", path.display())]
    ImageSize {
        /// The image.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
    /// Too many images.
    #[error("{0} images; a guest has room for {MAX_IMAGES}")]
    ImageCount(usize),
    /// A guest-physical range that a request may not name.
    #[error("guest-physical range {gpa:#x}+{len:#x} is outside of what a request may name")]
    Range {
        /// First byte.
        gpa: u64,
        /// Bytes.
        len: u64,
    },
}

impl MemoryError {
    pub(crate) fn map(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |cause| Self::Map { what, cause }
    }
}

/// Values that have no padding and are valid for any bytes, so they can be written as bytes.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Wire<T>(pub T);

// SAFETY: `repr(C)` integers and arrays only; the abi crate asserts the sizes, which leave no room
// for padding.
unsafe impl vm_memory::ByteValued for Wire<BootInfo> {}
// SAFETY: as above.
unsafe impl vm_memory::ByteValued for Wire<RestoreInfo> {}
// SAFETY: as above.
unsafe impl vm_memory::ByteValued for Wire<ClockReading> {}
// SAFETY: as above.
unsafe impl vm_memory::ByteValued for Wire<TerminalState> {}

/// A read-only image, mapped.
#[derive(Debug)]
pub struct Image {
    /// Where it came from.
    pub path: PathBuf,
    /// Guest-physical base.
    pub gpa: u64,
    mapping: Mapping,
}

impl Image {
    /// Maps the file for image slot `index`.
    pub fn open(path: &Path, index: usize) -> Result<Self, MemoryError> {
        if index >= MAX_IMAGES {
            return Err(MemoryError::ImageCount(index + 1));
        }
        let file =
            File::open(path).map_err(MemoryError::map(format!("image {}", path.display())))?;
        let size = file
            .metadata()
            .map_err(MemoryError::map(format!("image {}", path.display())))?
            .len();
        match usize::try_from(size) {
            Ok(length) if size <= IMAGE_STRIDE && size > 0 => {
                let mapping = Mapping::read_only_file(&file, length)
                    .map_err(MemoryError::map(format!("image {}", path.display())))?;
                Ok(Self {
                    path: path.to_owned(),
                    gpa: image_base(index),
                    mapping,
                })
            }
            _ => Err(MemoryError::ImageSize {
                path: path.to_owned(),
                size,
            }),
        }
    }

    /// Maps the files for the image slots, in order.
    pub fn open_all<'a>(paths: impl Iterator<Item = &'a Path>) -> Result<Vec<Self>, MemoryError> {
        paths
            .enumerate()
            .map(|(index, path)| Self::open(path, index))
            .collect()
    }

    /// Bytes of the slot, a multiple of 2 MiB.
    pub fn size(&self) -> u64 {
        self.mapping.size() as u64
    }

    /// Where it is mapped in this process.
    pub fn host_address(&self) -> u64 {
        self.mapping.as_ptr() as u64
    }
}

/// Direction of a transfer that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The host reads guest memory: RAM or an image.
    Read,
    /// The host writes guest memory: RAM only.
    Write,
}

/// RAM and images of one guest.
#[derive(Debug)]
pub struct GuestMemory {
    ram: GuestMemoryMmap<()>,
    images: GuestMemoryMmap<()>,
    image_slots: Vec<Image>,
    /// Whether RAM that was never used lies in a snapshot's file.
    restored: bool,
    ahead: Ahead,
    /// Parts of RAM that are no longer the snapshot's file: offset and length.
    replaced: Mutex<Vec<(usize, usize)>>,
    // Declared last: the views above point into it.
    backing: Arc<Mapping>,
}

impl GuestMemory {
    /// Fresh zeroed RAM.
    pub fn fresh(ram_size: u64, images: Vec<Image>) -> Result<Self, MemoryError> {
        let size = checked_ram_size(ram_size)?;
        let backing = Mapping::anonymous(size).map_err(MemoryError::map(format!(
            "{} MiB of guest memory",
            ram_size >> 20
        )))?;
        Self::over(backing, images, false)
    }

    /// Memory of a snapshot's guest, its working set loaded.
    pub(crate) fn loaded(ram: Mapping, images: Vec<Image>) -> Result<Self, MemoryError> {
        Self::over(ram, images, true)
    }

    fn over(
        backing: Mapping,
        image_slots: Vec<Image>,
        restored: bool,
    ) -> Result<Self, MemoryError> {
        if image_slots.len() > MAX_IMAGES {
            return Err(MemoryError::ImageCount(image_slots.len()));
        }
        let ram = view(&[(0, &backing, libc::PROT_READ | libc::PROT_WRITE)])?;
        let slots: Vec<_> = image_slots
            .iter()
            .map(|image| (image.gpa, &image.mapping, libc::PROT_READ))
            .collect();
        let images = view(&slots)?;
        Ok(Self {
            ram,
            images,
            image_slots,
            restored,
            ahead: Ahead::default(),
            replaced: Mutex::default(),
            backing: Arc::new(backing),
        })
    }

    /// Bytes of RAM.
    pub fn ram_size(&self) -> u64 {
        self.backing.size() as u64
    }

    /// Where RAM is mapped in this process.
    pub fn ram_host_address(&self) -> u64 {
        self.backing.as_ptr() as u64
    }

    /// The host mapping of RAM, for advice about paging.
    pub(crate) fn ram_mapping(&self) -> &Mapping {
        &self.backing
    }

    /// The images, in slot order.
    pub fn images(&self) -> &[Image] {
        &self.image_slots
    }

    /// All of RAM, for the VMM's own use (loading, snapshots). Requests of the guest go through
    /// [`Self::slice`].
    pub fn ram(&self) -> &GuestMemoryMmap<()> {
        &self.ram
    }

    /// The bytes a request names, if it may name them: RAM from the sentry upwards, the hypercall
    /// page, and for reading the images. Boot structures and the first page tables are off limits.
    pub fn slice(
        &self,
        gpa: u64,
        len: u64,
        access: Access,
    ) -> Result<VolatileSlice<'_>, MemoryError> {
        let refused = || MemoryError::Range { gpa, len };
        let end = gpa.checked_add(len).ok_or_else(refused)?;
        let size = usize::try_from(len).map_err(|_| refused())?;
        let hypercall_page = gpa >= HYPERCALL_PAGE_GPA && end <= HYPERCALL_PAGE_GPA + PAGE_SIZE;
        let memory = if hypercall_page || (gpa >= KERNEL_GPA && end <= self.ram_size()) {
            &self.ram
        } else if access == Access::Read {
            &self.images
        } else {
            return Err(refused());
        };
        memory
            .get_slice(GuestAddress(gpa), size)
            .map_err(|_| refused())
    }

    /// Gives the host back the memory behind a range of RAM, whole large pages: it is zero then.
    pub fn discard(&self, gpa: u64, len: u64) -> io::Result<()> {
        let (offset, length) = self.large_pages(gpa, len)?;
        // In a restored guest it must not show the snapshot's content again.
        self.note_replaced((offset, length));
        self.backing.replace_by_zero(offset, length)
    }

    /// Before it happens: a replacement that fails may have done a part.
    fn note_replaced(&self, part: (usize, usize)) {
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        if self.restored && !replaced.contains(&part) && replaced.len() <= MOST_REPLACED {
            replaced.push(part);
        }
    }

    /// The parts of a restored guest's RAM that were replaced since this was asked last; `None` if
    /// they were too many to remember.
    pub(crate) fn take_replaced(&self) -> Option<Vec<(usize, usize)>> {
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = std::mem::take(&mut *replaced);
        (parts.len() <= MOST_REPLACED).then_some(parts)
    }

    /// Has memory for a range of RAM that was never used made ready, whole large pages. Whether
    /// somebody does.
    pub fn populate(&self, gpa: u64, len: u64) -> io::Result<bool> {
        let (offset, length) = self.large_pages(gpa, len)?;
        if self.restored {
            // Large pages can't be had from a file. Now, before the guest uses it.
            self.note_replaced((offset, length));
            self.backing.replace_by_zero(offset, length)?;
        }
        Ok(self.ahead.populate(&self.backing, (offset, length)))
    }

    /// Offset and length of a range of whole large pages of RAM; EINVAL if it is none.
    pub fn large_pages(&self, gpa: u64, len: u64) -> io::Result<(usize, usize)> {
        let whole = (gpa | len).is_multiple_of(HUGE_PAGE_SIZE) && len > 0;
        let inside = gpa
            .checked_add(len)
            .is_some_and(|end| end <= self.ram_size());
        if whole && inside {
            Ok((gpa as usize, len as usize))
        } else {
            Err(io::Error::from_raw_os_error(libc::EINVAL))
        }
    }

    /// Copies `N` little-endian words a request names.
    pub fn read_words<const N: usize>(&self, gpa: u64) -> Result<[u64; N], MemoryError> {
        let len = 8 * N as u64;
        let slice = self.slice(gpa, len, Access::Read)?;
        let mut words = [0; N];
        for (index, word) in words.iter_mut().enumerate() {
            *word = slice
                .read_obj(8 * index)
                .map_err(|_| MemoryError::Range { gpa, len })?;
        }
        Ok(words)
    }

    /// Writes bytes where a request asked for them.
    pub fn write_bytes(&self, gpa: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        let slice = self.slice(gpa, bytes.len() as u64, Access::Write)?;
        slice.copy_from(bytes);
        Ok(())
    }

    /// The page both sides share while the guest runs.
    pub fn shared(&self) -> &SharedPage {
        // SAFETY: the page lies in RAM (MIN_RAM is larger), is page-aligned and lives as long as
        // `self`; all its fields are atomics, so concurrent access by the guest is no data race.
        unsafe {
            &*self
                .backing
                .as_ptr()
                .add(SHARED_PAGE_GPA as usize)
                .cast::<SharedPage>()
        }
    }

    /// The privilege mode the sentry reported; anything, where programs can write it.
    pub fn privilege_mode(&self) -> u32 {
        self.shared().privilege_mode.load(Ordering::Relaxed)
    }
}

pub(crate) fn checked_ram_size(size: u64) -> Result<usize, MemoryError> {
    let valid = (MIN_RAM..=MAX_RAM).contains(&size) && size.is_multiple_of(PAGE_SIZE);
    usize::try_from(size)
        .ok()
        .filter(|_| valid)
        .ok_or(MemoryError::RamSize { size })
}

/// A `vm-memory` view of mappings at their guest-physical addresses.
fn view(mappings: &[(u64, &Mapping, i32)]) -> Result<GuestMemoryMmap<()>, MemoryError> {
    let invalid = |error: &dyn std::fmt::Display| MemoryError::Map {
        what: "the view of guest memory".into(),
        cause: io::Error::other(error.to_string()),
    };
    if mappings.is_empty() {
        return Ok(GuestMemoryMmap::new());
    }
    let mut regions = Vec::new();
    for (gpa, mapping, protection) in mappings {
        let flags = libc::MAP_PRIVATE | libc::MAP_NORESERVE;
        // SAFETY: the mapping outlives the view (they sit in one struct, the view first), and
        // `build_raw` regions are not unmapped by vm-memory.
        let region =
            unsafe { MmapRegion::build_raw(mapping.as_ptr(), mapping.size(), *protection, flags) }
                .map_err(|error| invalid(&error))?;
        let region = GuestRegionMmap::new(region, GuestAddress(*gpa))
            .ok_or_else(|| invalid(&"address overflow"))?;
        regions.push(region);
    }
    GuestMemoryMmap::from_regions(regions).map_err(|error| invalid(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn memory_with_image() -> GuestMemory {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"image content").unwrap();
        let image = Image::open(file.path(), 0).unwrap();
        GuestMemory::fresh(MIN_RAM, vec![image]).unwrap()
    }

    #[test]
    fn ram_sizes_are_checked() {
        for size in [
            0,
            MIN_RAM - 1,
            MIN_RAM + 4095,
            MAX_RAM + HUGE_PAGE_SIZE,
            u64::MAX,
        ] {
            assert!(matches!(
                GuestMemory::fresh(size, vec![]),
                Err(MemoryError::RamSize { .. })
            ));
        }
    }

    #[test]
    fn requests_may_name_ram_above_the_tables_and_the_hypercall_page() {
        let memory = memory_with_image();
        for (gpa, len, allowed) in [
            (KERNEL_GPA, 16, true),
            (MIN_RAM - 16, 16, true),
            (MIN_RAM - 16, 17, false),
            (KERNEL_GPA - 8, 16, false),
            (HYPERCALL_PAGE_GPA, PAGE_SIZE, true),
            (HYPERCALL_PAGE_GPA + 8, PAGE_SIZE, false),
            (SHARED_PAGE_GPA, 8, false),
            (0, 1, false),
            (u64::MAX - 7, 16, false),
            (KERNEL_GPA, u64::MAX, false),
        ] {
            assert_eq!(
                memory.slice(gpa, len, Access::Write).is_ok(),
                allowed,
                "{gpa:#x}+{len:#x}"
            );
            assert_eq!(
                memory.slice(gpa, len, Access::Read).is_ok(),
                allowed,
                "{gpa:#x}+{len:#x}"
            );
        }
    }

    #[test]
    fn images_can_be_read_and_never_written() {
        let memory = memory_with_image();
        let base = image_base(0);
        let mut text = [0; 13];
        memory
            .slice(base, 13, Access::Read)
            .unwrap()
            .copy_to(&mut text);
        assert_eq!(&text, b"image content");
        assert!(memory.slice(base, 13, Access::Write).is_err());
        assert!(
            memory
                .slice(base + HUGE_PAGE_SIZE - 1, 2, Access::Read)
                .is_err()
        );
        assert!(memory.slice(image_base(1), 1, Access::Read).is_err());
    }

    proptest! {
        #[test]
        fn no_range_reaches_outside(gpa in any::<u64>(), len in any::<u64>()) {
            let memory = GuestMemory::fresh(MIN_RAM, vec![]).unwrap();
            if let Ok(slice) = memory.slice(gpa, len, Access::Write) {
                prop_assert_eq!(slice.len() as u64, len);
                prop_assert!(gpa + len <= MIN_RAM);
            }
        }
    }
}
