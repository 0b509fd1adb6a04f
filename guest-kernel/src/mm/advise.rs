//! madvise, msync and mincore.

use super::address_space::{AddressSpace, Space};
use super::fault::Access;
use super::map::user_range;
use super::vma::{Backing, Prot, Vma, VmaFlags};
use crate::errno::{Errno, Result};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use sprout_abi::layout::{PAGE_SIZE, USER_END};

/// Advice values of madvise(2).
pub mod advice {
    #![allow(missing_docs)]
    pub const NORMAL: u32 = 0;
    pub const RANDOM: u32 = 1;
    pub const SEQUENTIAL: u32 = 2;
    pub const WILLNEED: u32 = 3;
    pub const DONTNEED: u32 = 4;
    pub const FREE: u32 = 8;
    pub const REMOVE: u32 = 9;
    pub const DONTFORK: u32 = 10;
    pub const DOFORK: u32 = 11;
    pub const MERGEABLE: u32 = 12;
    pub const UNMERGEABLE: u32 = 13;
    pub const HUGEPAGE: u32 = 14;
    pub const NOHUGEPAGE: u32 = 15;
    pub const DONTDUMP: u32 = 16;
    pub const DODUMP: u32 = 17;
    pub const WIPEONFORK: u32 = 18;
    pub const KEEPONFORK: u32 = 19;
    pub const COLD: u32 = 20;
    pub const PAGEOUT: u32 = 21;
    pub const POPULATE_READ: u32 = 22;
    pub const POPULATE_WRITE: u32 = 23;
    pub const DONTNEED_LOCKED: u32 = 24;
}

/// What an advice does to an area.
enum Action {
    Nothing,
    Flags { set: VmaFlags, clear: VmaFlags },
    Discard,
    Populate(Access),
}

/// The action for `advice`, and whether only private anonymous memory takes it.
fn action(advice: u32) -> Result<(Action, bool)> {
    let none = VmaFlags::empty();
    let flags = |set, clear| Action::Flags { set, clear };
    Ok(match advice {
        // Reading ahead has nothing to read from: images are already in memory.
        advice::NORMAL | advice::RANDOM | advice::SEQUENTIAL | advice::WILLNEED => {
            (Action::Nothing, false)
        }
        advice::COLD | advice::PAGEOUT | advice::MERGEABLE | advice::UNMERGEABLE => {
            (Action::Nothing, false)
        }
        advice::DONTNEED | advice::DONTNEED_LOCKED => (Action::Discard, false),
        advice::FREE => (Action::Discard, true),
        advice::DONTFORK => (flags(VmaFlags::DONT_FORK, none), false),
        advice::DOFORK => (flags(none, VmaFlags::DONT_FORK), false),
        advice::HUGEPAGE => (flags(VmaFlags::HUGE, VmaFlags::NO_HUGE), false),
        advice::NOHUGEPAGE => (flags(VmaFlags::NO_HUGE, VmaFlags::HUGE), false),
        advice::DONTDUMP => (flags(VmaFlags::DONT_DUMP, none), false),
        advice::DODUMP => (flags(none, VmaFlags::DONT_DUMP), false),
        advice::WIPEONFORK => (flags(VmaFlags::WIPE_ON_FORK, none), true),
        advice::KEEPONFORK => (flags(none, VmaFlags::WIPE_ON_FORK), false),
        advice::POPULATE_READ => (Action::Populate(Access::Read), false),
        advice::POPULATE_WRITE => (Action::Populate(Access::Write), false),
        // MADV_REMOVE and what is newer: as a kernel without them.
        _ => return Err(Errno::EINVAL),
    })
}

impl AddressSpace {
    /// madvise(2).
    pub fn madvise(&self, addr: u64, len: u64, advice: u32) -> Result<()> {
        let (action, anonymous_only) = action(advice)?;
        if !addr.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        let (start, end) = match user_range(addr, len, Errno::EINVAL) {
            Ok(range) => range,
            // Beyond the program's half, but not beyond all addresses: a hole.
            Err(_)
                if addr
                    .checked_add(len)
                    .is_some_and(|end| end < u64::MAX - PAGE_SIZE) =>
            {
                return Err(Errno::ENOMEM);
            }
            Err(error) => return Err(error),
        };
        if advice == advice::WIPEONFORK {
            self.wipes.store(true, Ordering::Relaxed);
        }
        let mut space = self.lock();
        // Holes are reported, but everything else is done first.
        let whole = space.vmas.covers(start, end);
        let ranges: Vec<(u64, u64, bool, bool)> = space
            .vmas
            .overlapping(start, end)
            .map(|vma| {
                (
                    vma.start.max(start),
                    vma.end.min(end),
                    is_private_anonymous(vma),
                    vma.flags.contains(VmaFlags::LOCKED),
                )
            })
            .collect();
        for (low, high, anonymous, locked) in ranges {
            if anonymous_only && !anonymous || locked && takes_pages(advice) {
                return Err(Errno::EINVAL);
            }
            space.advise(low, high, &action)?;
        }
        if whole { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// msync(2): nothing needs writing back, so only the arguments matter.
    pub fn msync(&self, addr: u64, len: u64, flags: u32) -> Result<()> {
        const ASYNC: u32 = 1;
        const INVALIDATE: u32 = 2;
        const SYNC: u32 = 4;
        if flags & !(ASYNC | INVALIDATE | SYNC) != 0
            || flags & (ASYNC | SYNC) == ASYNC | SYNC
            || !addr.is_multiple_of(PAGE_SIZE)
        {
            return Err(Errno::EINVAL);
        }
        // What wraps around is nothing when it is rounded up.
        let len = len.wrapping_add(PAGE_SIZE - 1) & !(PAGE_SIZE - 1);
        let (start, end) = user_range(addr, len, Errno::ENOMEM)?;
        let space = self.lock();
        let locked = |vma: &Vma| vma.flags.contains(VmaFlags::LOCKED);
        if flags & INVALIDATE != 0 && space.vmas.overlapping(start, end).any(locked) {
            return Err(Errno::EBUSY);
        }
        match space.vmas.covers(start, end) {
            true => Ok(()),
            false => Err(Errno::ENOMEM),
        }
    }

    /// mincore(2) for a range of few pages: one byte each, 1 for those in memory.
    pub fn mincore(&self, addr: u64, len: u64) -> Result<Vec<u8>> {
        if !addr.is_multiple_of(PAGE_SIZE) {
            return Err(Errno::EINVAL);
        }
        let (start, end) = user_range(addr, len, Errno::ENOMEM)?;
        let space = self.lock();
        let mut bytes = Vec::new();
        for page in (start..end).step_by(PAGE_SIZE as usize) {
            let vma = space.vmas.find(page).ok_or(Errno::ENOMEM)?;
            // A file's pages are in memory whether they are mapped yet or not.
            let file = matches!(vma.backing, Backing::File { .. });
            bytes.push(u8::from(file || !space.tables.lookup(page).0.is_none()));
        }
        Ok(bytes)
    }
}

/// Advice that would take pages away, which those of locked memory must not be.
fn takes_pages(advice: u32) -> bool {
    matches!(
        advice,
        advice::DONTNEED | advice::FREE | advice::COLD | advice::PAGEOUT
    )
}

fn is_private_anonymous(vma: &Vma) -> bool {
    vma.is_private() && vma.is_anonymous()
}

impl Space {
    fn advise(&mut self, start: u64, end: u64, action: &Action) -> Result<()> {
        match *action {
            Action::Nothing => Ok(()),
            Action::Flags { set, clear } => {
                self.vmas
                    .change(start, end, |vma| vma.flags = (vma.flags - clear) | set);
                Ok(())
            }
            Action::Discard => self.zap(start, end),
            Action::Populate(access) => self.populate_for(start, end, access),
        }
    }

    pub(super) fn populate_for(&mut self, start: u64, end: u64, access: Access) -> Result<()> {
        for page in (start..end.min(USER_END)).step_by(PAGE_SIZE as usize) {
            let leaf = self.tables.lookup(page).0;
            let writable = self
                .vmas
                .find(page)
                .is_some_and(|vma| vma.prot.contains(Prot::WRITE));
            if leaf.is_present() && (access != Access::Write || leaf.is_writable()) {
                continue;
            }
            if access == Access::Write && !writable {
                return Err(Errno::EINVAL);
            }
            self.fault(page, access).map_err(|error| match error {
                super::FaultError::OutOfMemory => Errno::ENOMEM,
                super::FaultError::BeyondFile => Errno::EFAULT,
                _ => Errno::EINVAL,
            })?;
        }
        Ok(())
    }
}
