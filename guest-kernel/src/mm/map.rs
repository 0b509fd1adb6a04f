//! mmap, munmap, mprotect and brk.

use super::address_space::{AddressSpace, MAX_MAP_COUNT, MMAP_MIN_ADDR, Space};
use super::file::FileMapping;
use super::frame;
use super::lock::FutureLock;
use super::page_table::{Flush, page_ceil};
use super::shared::SharedMemory;
use super::vma::{Backing, Prot, STACK_GUARD_GAP, Vma, VmaFlags};
use crate::errno::{Errno, Result};
use alloc::sync::Arc;
use bitflags::bitflags;
use sprout_abi::layout::{HUGE_PAGE_SIZE, PAGE_SIZE, USER_END};

bitflags! {
    /// Flags of mmap, with x86-64's values.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct MapFlags: u32 {
        #[allow(missing_docs)] const SHARED = 0x01;
        #[allow(missing_docs)] const PRIVATE = 0x02;
        #[allow(missing_docs)] const FIXED = 0x10;
        #[allow(missing_docs)] const ANONYMOUS = 0x20;
        #[allow(missing_docs)] const BIT_32 = 0x40;
        #[allow(missing_docs)] const GROWSDOWN = 0x100;
        #[allow(missing_docs)] const DENYWRITE = 0x800;
        #[allow(missing_docs)] const EXECUTABLE = 0x1000;
        #[allow(missing_docs)] const LOCKED = 0x2000;
        #[allow(missing_docs)] const NORESERVE = 0x4000;
        #[allow(missing_docs)] const POPULATE = 0x8000;
        #[allow(missing_docs)] const NONBLOCK = 0x1_0000;
        #[allow(missing_docs)] const STACK = 0x2_0000;
        #[allow(missing_docs)] const HUGETLB = 0x4_0000;
        #[allow(missing_docs)] const SYNC = 0x8_0000;
        #[allow(missing_docs)] const FIXED_NOREPLACE = 0x10_0000;
    }
}

/// `MAP_SHARED_VALIDATE`: unlike MAP_SHARED, unknown flags are errors.
const SHARED_VALIDATE: u32 = 0x03;
/// Flags MAP_SHARED_VALIDATE accepts (LEGACY_MAP_MASK of Linux).
const VALIDATED: MapFlags = MapFlags::all().difference(MapFlags::SYNC);
/// End of what MAP_32BIT gives.
const LOW_END: u64 = 0x8000_0000;

/// Hints from here on are looked at more closely than Linux does: see [`Space::place`].
const HIGH_HINTS: u64 = 1 << 32;
/// From here on lie the mappings whose hints are not followed, each size in a zone of its own, one
/// below the other: pieces of one size leave no gaps.
const GATHERED: u64 = 1 << 44;
/// Addresses of one zone.
const GATHERED_ZONE: u64 = 1 << 36;
/// A hint with nothing so near is lonely: neither beside something nor where something was.
const NEIGHBOURHOOD: u64 = 1 << 30;
/// Larger mappings are followed wherever they want to be.
const GATHERED_MAX: u64 = 1 << 20;

/// The file of a mapping.
#[derive(Clone)]
pub struct MapFile {
    /// Its pages.
    pub file: Arc<dyn FileMapping>,
    /// File offset, page-aligned.
    pub offset: u64,
    /// Whether the descriptor can read.
    pub readable: bool,
    /// Whether the descriptor can write.
    pub writable: bool,
}

/// Arguments of [`AddressSpace::mmap`].
#[derive(Clone, Default)]
pub struct MapRequest {
    /// Where, or a hint, or 0.
    pub addr: u64,
    /// Bytes; rounded up to pages.
    pub len: u64,
    /// What the program may do.
    pub prot: Prot,
    /// How.
    pub flags: MapFlags,
    /// `None` for anonymous memory.
    pub file: Option<MapFile>,
}

/// Rounds a length up to pages; ENOMEM when that is more than there are addresses.
fn whole_pages(len: u64) -> Result<u64> {
    page_ceil(len)
        .filter(|len| *len <= USER_END)
        .ok_or(Errno::ENOMEM)
}

/// A page-aligned range inside the program's half: (start, end).
pub(super) fn user_range(addr: u64, len: u64, error: Errno) -> Result<(u64, u64)> {
    let len = page_ceil(len).ok_or(error)?;
    let end = addr
        .checked_add(len)
        .filter(|end| *end <= USER_END)
        .ok_or(error)?;
    Ok((addr, end))
}

impl AddressSpace {
    /// mmap(2). Returns the address.
    pub fn mmap(&self, request: &MapRequest) -> Result<u64> {
        let (flags, backing) = classify(request)?;
        let len = whole_pages(request.len)?;
        let mut space = self.lock();
        if space.vmas.count() >= MAX_MAP_COUNT {
            return Err(Errno::ENOMEM);
        }
        let start = space.place(request, len, &backing)?;
        let replaced: u64 = space
            .vmas
            .overlapping(start, start + len)
            .map(|vma| vma.end.min(start + len) - vma.start.max(start))
            .sum();
        space.check_limits(len.saturating_sub(replaced))?;
        let shared_or_stack = VmaFlags::SHARED | VmaFlags::GROWS_DOWN;
        if request.prot.contains(Prot::WRITE) && !flags.intersects(shared_or_stack) {
            space.check_data_limit(len.saturating_sub(replaced))?;
        }
        let accounted = flags & (VmaFlags::SHARED | VmaFlags::NORESERVE) == VmaFlags::empty()
            && request.prot.contains(Prot::WRITE);
        if accounted && len > frame::total_frames() * PAGE_SIZE {
            return Err(Errno::ENOMEM);
        }
        space.unmap(start, start + len)?;
        let mut flags = flags | space.future_lock.flags();
        flags.set(
            VmaFlags::LOCKED,
            flags.contains(VmaFlags::LOCKED) || request.flags.contains(MapFlags::LOCKED),
        );
        space.add(start, len, request.prot, flags, backing);
        let fill = request.flags.contains(MapFlags::POPULATE)
            && !request.flags.contains(MapFlags::NONBLOCK);
        let locks = flags.contains(VmaFlags::LOCKED) && space.future_lock != FutureLock::OnFault;
        if fill || locks {
            space.populate(start, start + len);
        }
        Ok(start)
    }

    /// munmap(2).
    pub fn munmap(&self, addr: u64, len: u64) -> Result<()> {
        if !addr.is_multiple_of(PAGE_SIZE) || len == 0 {
            return Err(Errno::EINVAL);
        }
        let (start, end) = user_range(addr, len, Errno::EINVAL)?;
        self.lock().unmap(start, end)
    }

    /// mprotect(2). `grows_down` (PROT_GROWSDOWN): from the start of the area, which must be one
    /// that grows downward.
    pub fn mprotect(&self, addr: u64, len: u64, prot: Prot, grows_down: bool) -> Result<()> {
        if !addr.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        if len == 0 {
            return Ok(());
        }
        let (mut start, end) = user_range(addr, len, Errno::ENOMEM)?;
        let mut space = self.lock();
        if grows_down {
            let vma = space
                .vmas
                .overlapping(start, end)
                .next()
                .ok_or(Errno::ENOMEM)?;
            if !vma.flags.contains(VmaFlags::GROWS_DOWN) {
                return Err(Errno::EINVAL);
            }
            start = vma.start;
        }
        space.protect(start, end, prot)
    }

    /// Sets where the heap starts, for exec: behind the program's data.
    pub fn set_brk_start(&self, addr: u64) -> Result<()> {
        let mut space = self.lock();
        space.brk_start = page_ceil(addr)
            .filter(|addr| *addr < USER_END)
            .ok_or(Errno::ENOMEM)?;
        space.brk = space.brk_start;
        Ok(())
    }

    /// brk(2): returns the end of the heap, moved to `addr` if that is possible.
    pub fn brk(&self, addr: u64) -> u64 {
        let mut space = self.lock();
        if addr >= space.brk_start && space.move_brk(addr).is_ok() {
            space.brk = addr;
        }
        space.brk
    }
}

/// What kind of area a request makes, by the rules of do_mmap.
fn classify(request: &MapRequest) -> Result<(VmaFlags, Backing)> {
    let kind = request.flags.bits() & SHARED_VALIDATE;
    if kind == 0 || request.len == 0 {
        return Err(Errno::EINVAL);
    }
    if kind == SHARED_VALIDATE && request.flags.bits() & !VALIDATED.bits() != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if request.flags.contains(MapFlags::HUGETLB) {
        // As on a machine without reserved huge pages.
        return Err(Errno::ENOMEM);
    }
    let shared = request.flags.contains(MapFlags::SHARED);
    let mut flags = VmaFlags::empty();
    flags.set(VmaFlags::SHARED, shared);
    flags.set(
        VmaFlags::NORESERVE,
        request.flags.contains(MapFlags::NORESERVE),
    );
    flags.set(VmaFlags::STACK, request.flags.contains(MapFlags::STACK));
    let grows_down = request.flags.contains(MapFlags::GROWSDOWN);
    flags.set(VmaFlags::GROWS_DOWN, grows_down);
    let Some(map) = &request.file else {
        if kind == SHARED_VALIDATE || shared && grows_down {
            return Err(Errno::EINVAL);
        }
        let backing = if shared {
            let size = whole_pages(request.len)?;
            Backing::File {
                file: SharedMemory::new(size),
                offset: 0,
            }
        } else {
            Backing::Anonymous
        };
        return Ok((flags, backing));
    };
    if !map.offset.is_multiple_of(PAGE_SIZE) || grows_down {
        return Err(Errno::EINVAL);
    }
    if map.offset.checked_add(whole_pages(request.len)?).is_none() {
        return Err(Errno::EOVERFLOW);
    }
    if !map.readable || shared && request.prot.contains(Prot::WRITE) && !map.writable {
        return Err(Errno::EACCES);
    }
    let writes = request.prot.contains(Prot::WRITE);
    let may_write = shared && map.writable && map.file.begin_shared(writes)?;
    flags.set(VmaFlags::NEVER_WRITE, shared && !may_write);
    Ok((
        flags,
        Backing::File {
            file: map.file.clone(),
            offset: map.offset,
        },
    ))
}

impl Space {
    /// Where a mapping of `len` bytes goes.
    ///
    /// A hint is followed where the addresses are free, with one exception: a small anonymous
    /// mapping that wants a lonely place far up is put beside others that did. V8 spreads the
    /// pieces of its heap over all addresses for the sake of randomness, 256 KiB each; together
    /// they fill large pages and need few page tables (see `compact`).
    fn place(&self, request: &MapRequest, len: u64, backing: &Backing) -> Result<u64> {
        let fixed = MapFlags::FIXED | MapFlags::FIXED_NOREPLACE;
        if request.flags.intersects(fixed) {
            let end = request.addr.checked_add(len).filter(|end| *end <= USER_END);
            let end = end.ok_or(Errno::ENOMEM)?;
            if !request.addr.is_multiple_of(PAGE_SIZE) {
                return Err(Errno::EINVAL);
            }
            if request.addr < MMAP_MIN_ADDR {
                return Err(Errno::EPERM);
            }
            let replaces = self.vmas.any_in(request.addr, end);
            if replaces && request.flags.contains(MapFlags::FIXED_NOREPLACE) {
                return Err(Errno::EEXIST);
            }
            return Ok(request.addr);
        }
        if request.addr != 0 {
            // As Linux: a hint is rounded up to a page and into the allowed range.
            let hint = page_ceil(request.addr).unwrap_or(0).max(MMAP_MIN_ADDR);
            let end = hint.checked_add(len).filter(|end| *end <= USER_END);
            if let Some(end) = end.filter(|end| self.is_free(hint, *end)) {
                if len > GATHERED_MAX || !self.is_lonely(hint, end, backing) {
                    return Ok(hint);
                }
                let zone = GATHERED + len / PAGE_SIZE * GATHERED_ZONE;
                return Ok(self.find_room(len, zone, backing).unwrap_or(hint));
            }
        }
        let high = match request.flags.contains(MapFlags::BIT_32) {
            true => LOW_END.min(self.mmap_base),
            false => self.mmap_base,
        };
        self.find_room(len, high, backing).ok_or(Errno::ENOMEM)
    }

    /// Room for `len` bytes below `high`, aligned so that 2 MiB pages can be used.
    pub(super) fn find_room(&self, len: u64, high: u64, backing: &Backing) -> Option<u64> {
        if len >= HUGE_PAGE_SIZE {
            let phase = match backing {
                Backing::Anonymous => 0,
                Backing::File { file, offset } => match file.image_run() {
                    Some((image, _)) => image.wrapping_add(*offset) % HUGE_PAGE_SIZE,
                    None => 0,
                },
            };
            let room = self
                .vmas
                .find_room(len, MMAP_MIN_ADDR, high, HUGE_PAGE_SIZE, phase);
            if room.is_some() {
                return room;
            }
        }
        self.vmas.find_room(len, MMAP_MIN_ADDR, high, PAGE_SIZE, 0)
    }

    /// Whether nothing is near these high addresses.
    fn is_lonely(&self, start: u64, end: u64, backing: &Backing) -> bool {
        start >= HIGH_HINTS
            && matches!(backing, Backing::Anonymous)
            && !self.vmas.any_in(start - NEIGHBOURHOOD, end + NEIGHBOURHOOD)
    }

    /// Whether `[start, end)` can be given out without FIXED: free, and not in the way of a stack.
    pub(super) fn is_free(&self, start: u64, end: u64) -> bool {
        let stack = |vma: &Vma| vma.flags.contains(VmaFlags::GROWS_DOWN);
        !self.vmas.any_in(start, end)
            && self
                .vmas
                .next_above(end)
                .is_none_or(|above| !stack(above) || above.start - end >= STACK_GUARD_GAP)
    }

    /// RLIMIT_AS for `more` bytes.
    pub(super) fn check_limits(&self, more: u64) -> Result<()> {
        let total = self.vmas.bytes().saturating_add(more);
        if total > self.limits.address_space {
            Err(Errno::ENOMEM)
        } else {
            Ok(())
        }
    }

    /// RLIMIT_DATA for `more` bytes of private writable memory.
    fn check_data_limit(&self, more: u64) -> Result<()> {
        if self.limits.data == u64::MAX {
            return Ok(());
        }
        let shared_or_stack = VmaFlags::SHARED | VmaFlags::GROWS_DOWN;
        let data: u64 = self
            .vmas
            .overlapping(0, USER_END)
            .filter(|vma| vma.prot.contains(Prot::WRITE) && !vma.flags.intersects(shared_or_stack))
            .map(|vma| vma.end - vma.start)
            .sum();
        match data.saturating_add(more) > self.limits.data {
            true => Err(Errno::ENOMEM),
            false => Ok(()),
        }
    }

    /// Removes everything in `[start, end)`.
    pub(super) fn unmap(&mut self, start: u64, end: u64) -> Result<()> {
        if !self.vmas.any_in(start, end) {
            return Ok(());
        }
        if self.vmas.count() >= MAX_MAP_COUNT
            && self
                .vmas
                .find(start)
                .is_some_and(|vma| vma.start < start && vma.end > end)
        {
            return Err(Errno::ENOMEM);
        }
        self.zap(start, end)?;
        // Dropped after the leaves: an area's file may own their frames.
        drop(self.vmas.remove(start, end));
        Ok(())
    }

    /// Faults every page of `[start, end)` in; stops quietly where that is not possible.
    pub(super) fn populate(&mut self, start: u64, end: u64) {
        let mut addr = start;
        while addr < end {
            let Some(vma) = self.vmas.find(addr) else {
                return;
            };
            let write = vma.prot.contains(Prot::WRITE) && vma.is_private();
            let access = if write {
                super::Access::Write
            } else {
                super::Access::Read
            };
            let (leaf, huge) = self.tables.lookup(addr);
            let ready = leaf.is_present() && (!write || leaf.is_writable());
            if !ready && self.fault(addr, access).is_err() {
                return;
            }
            addr = match huge {
                true => (addr & !(HUGE_PAGE_SIZE - 1)) + HUGE_PAGE_SIZE,
                false => addr + PAGE_SIZE,
            };
        }
    }

    /// mprotect of `[start, end)`. As on Linux, areas before a hole are changed all the same.
    fn protect(&mut self, start: u64, end: u64, prot: Prot) -> Result<()> {
        let mut reached = start;
        let mut result = Ok(());
        for vma in self.vmas.overlapping(start, end) {
            if vma.start > reached {
                break;
            }
            if prot.contains(Prot::WRITE) {
                if vma.flags.contains(VmaFlags::NEVER_WRITE) {
                    result = Err(Errno::EACCES);
                    break;
                }
                let more = vma.end.min(end) - vma.start.max(start);
                let was = vma.is_accounted() || vma.flags.contains(VmaFlags::NORESERVE);
                if !was && vma.is_private() && more > frame::total_frames() * PAGE_SIZE {
                    result = Err(Errno::ENOMEM);
                    break;
                }
            }
            reached = vma.end.min(end);
        }
        if result.is_ok() && reached < end {
            result = Err(Errno::ENOMEM);
        }
        if reached <= start {
            return result;
        }
        if self.vmas.count() + 2 > MAX_MAP_COUNT {
            return Err(Errno::ENOMEM);
        }
        self.tables.split_at(start)?;
        self.tables.split_at(reached)?;
        self.protect_leaves(start, reached, prot);
        self.vmas.change(start, reached, |vma| vma.prot = prot);
        result
    }

    fn protect_leaves(&mut self, start: u64, end: u64, prot: Prot) {
        let mut flush = Flush::new();
        let executable = prot.contains(Prot::EXEC);
        let (vmas, tables) = (&self.vmas, &mut self.tables);
        for vma in vmas.overlapping(start, end) {
            let private = vma.is_private();
            let (low, high) = (vma.start.max(start), vma.end.min(end));
            tables.update(low, high, &mut flush, |flush, addr, leaf, huge| {
                let new = if prot.is_empty() {
                    leaf.parked()
                } else {
                    // A page that others share stays read-only until it is copied; giving write
                    // permission to one that is ours alone saves its fault.
                    let parts = if huge { HUGE_PAGE_SIZE / PAGE_SIZE } else { 1 };
                    let ours = (0..parts)
                        .map(|part| leaf.phys() + part * PAGE_SIZE)
                        .all(|phys| {
                            frame::is_counted(phys) && (!private || frame::is_unique(phys))
                        });
                    let writable = prot.contains(Prot::WRITE) && ours;
                    leaf.with_permissions(writable, executable)
                };
                let weaker = leaf.is_present()
                    && (!new.is_present()
                        || leaf.is_writable() && !new.is_writable()
                        || leaf.is_executable() && !new.is_executable());
                if weaker {
                    flush.add(addr);
                }
                new
            });
        }
        flush.finish();
    }

    fn move_brk(&mut self, addr: u64) -> Result<()> {
        let old = page_ceil(self.brk).ok_or(Errno::ENOMEM)?;
        let new = page_ceil(addr)
            .filter(|new| *new < USER_END)
            .ok_or(Errno::ENOMEM)?;
        if addr - self.brk_start > self.limits.data {
            return Err(Errno::ENOMEM);
        }
        if new < old {
            return self.unmap(new, old);
        }
        if new == old {
            return Ok(());
        }
        let len = new - old;
        self.check_limits(len)?;
        if !self.is_free(old, new) || len > frame::total_frames() * PAGE_SIZE {
            return Err(Errno::ENOMEM);
        }
        let prot = Prot::READ | Prot::WRITE;
        let flags = self.future_lock.flags();
        self.add(old, len, prot, flags, Backing::Anonymous);
        if self.future_lock == FutureLock::AtOnce {
            self.populate(old, new);
        }
        // Who asks for it uses it next; without memory the fault will say so.
        let _ = self.fault(old, super::Access::Write);
        Ok(())
    }
}
