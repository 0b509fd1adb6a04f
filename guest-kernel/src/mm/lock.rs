//! The mlock family. Nothing is ever paged out: a locked area is one that is faulted in at once,
//! and whose pages msync and madvise must not take away.

use super::address_space::{AddressSpace, Space};
use super::fault::Access;
use super::map::user_range;
use super::vma::{Prot, Vma, VmaFlags};
use crate::errno::{Errno, Result};
use alloc::vec::Vec;
use sprout_abi::layout::USER_END;

/// What mlockall(MCL_FUTURE) wants of mappings to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FutureLock {
    /// Nothing.
    #[default]
    None,
    /// They are locked, and faulted in when they are made.
    AtOnce,
    /// They are locked, page by page as they are touched (MCL_ONFAULT).
    OnFault,
}

impl FutureLock {
    /// The flags of a new area.
    pub fn flags(self) -> VmaFlags {
        match self {
            FutureLock::None => VmaFlags::empty(),
            FutureLock::AtOnce | FutureLock::OnFault => VmaFlags::LOCKED,
        }
    }
}

impl AddressSpace {
    /// mlock(2) of whole pages, and mlock2(2), where `on_fault` means MLOCK_ONFAULT.
    pub fn mlock(&self, addr: u64, len: u64, on_fault: bool) -> Result<()> {
        let (start, end) = user_range(addr, len, Errno::ENOMEM)?;
        let mut space = self.lock();
        space.set_locked(start, end, true)?;
        match on_fault {
            true => Ok(()),
            false => space.fault_in(start, end).map_err(|error| match error {
                Errno::ENOMEM => Errno::EAGAIN,
                _ => Errno::ENOMEM,
            }),
        }
    }

    /// munlock(2) of whole pages.
    pub fn munlock(&self, addr: u64, len: u64) -> Result<()> {
        let (start, end) = user_range(addr, len, Errno::ENOMEM)?;
        self.lock().set_locked(start, end, false)
    }

    /// mlockall(2): `current` (and with it `on_fault`) for what there is.
    pub fn mlockall(&self, current: bool, on_fault: bool, future: FutureLock) {
        let mut space = self.lock();
        space.future_lock = future;
        if !current {
            return;
        }
        space.vmas.change(0, USER_END, |vma| {
            vma.flags |= VmaFlags::LOCKED;
        });
        if !on_fault {
            // What can't be had is no error here.
            let areas: Vec<(u64, u64)> = space.vmas.iter().map(|v| (v.start, v.end)).collect();
            for (start, end) in areas {
                let _ = space.fault_in(start, end);
            }
        }
    }

    /// munlockall(2).
    pub fn munlockall(&self) {
        let mut space = self.lock();
        space.future_lock = FutureLock::None;
        space.vmas.change(0, USER_END, |vma| {
            vma.flags -= VmaFlags::LOCKED;
        });
    }
}

impl Space {
    /// Locks or unlocks `[start, end)`; ENOMEM at the first hole, with what is before it done.
    fn set_locked(&mut self, start: u64, end: u64, locked: bool) -> Result<()> {
        let mut reached = start;
        for vma in self.vmas.overlapping(start, end) {
            if vma.start > reached {
                break;
            }
            reached = vma.end.min(end);
        }
        self.vmas.change(start, reached, |vma| {
            vma.flags.set(VmaFlags::LOCKED, locked);
        });
        match reached < end {
            true => Err(Errno::ENOMEM),
            false => Ok(()),
        }
    }

    /// Faults in every page of `[start, end)`, writable ones for writing; EINVAL where the program
    /// has no access.
    pub(super) fn fault_in(&mut self, start: u64, end: u64) -> Result<()> {
        let parts: Vec<Vma> = self.vmas.overlapping(start, end).cloned().collect();
        for vma in parts {
            if vma.prot.is_empty() {
                return Err(Errno::EINVAL);
            }
            let access = match vma.prot.contains(Prot::WRITE) && vma.is_private() {
                true => Access::Write,
                false => Access::Read,
            };
            self.populate_for(vma.start.max(start), vma.end.min(end), access)?;
        }
        Ok(())
    }
}
