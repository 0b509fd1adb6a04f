//! Access to a program's memory on behalf of system calls.
//!
//! Never through the program's own addresses: the tables are walked in software, missing pages are
//! faulted in under the rules of their areas, and the bytes move through the direct map. A page
//! that can't be had ends the copy; callers turn that into EFAULT or a short count.

use super::address_space::{AddressSpace, Space};
use super::fault::{Access, FaultError};
use super::phys;
use crate::errno::{Errno, Result};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use sprout_abi::hypercall::Segment;
use sprout_abi::layout::{PAGE_SIZE, USER_END};
use zerocopy::{FromBytes, Immutable, IntoBytes};

impl Space {
    /// Guest-physical address of the byte at `addr`, which may then be accessed in this way.
    #[inline]
    fn translate(&mut self, addr: u64, access: Access) -> Result<u64, FaultError> {
        if addr >= USER_END {
            return Err(FaultError::NotMapped);
        }
        // A fault leaves the page accessible, but look at what it left.
        for attempt in 0..2 {
            let (leaf, huge) = self.tables.lookup(addr);
            let usable = match access {
                Access::Write => leaf.is_writable(),
                Access::Read | Access::Execute => leaf.is_present(),
            };
            if usable {
                let offset = if huge {
                    addr % (512 * PAGE_SIZE)
                } else {
                    addr % PAGE_SIZE
                };
                return Ok(leaf.phys() + offset);
            }
            if attempt == 0
                && let Err(error) = self.fault(addr, access)
            {
                self.starved |= error == FaultError::OutOfMemory;
                return Err(error);
            }
        }
        Err(FaultError::NotAllowed)
    }

    /// Calls `each(done, phys, n)` for the pieces of `[addr, addr + len)`, each inside one page, as
    /// far as they are accessible. Returns the bytes done.
    #[inline]
    fn pieces(
        &mut self,
        addr: u64,
        len: usize,
        access: Access,
        mut each: impl FnMut(usize, u64, usize),
    ) -> usize {
        let mut done = 0;
        while done < len {
            let Some(at) = addr.checked_add(done as u64) else {
                break;
            };
            let n = (len - done).min((PAGE_SIZE - at % PAGE_SIZE) as usize);
            let Ok(phys) = self.translate(at, access) else {
                break;
            };
            each(done, phys, n);
            done += n;
        }
        done
    }
}

impl AddressSpace {
    /// Copies to the program's memory; returns the bytes copied before a page that is not writable.
    pub fn write_some(&self, addr: u64, bytes: &[u8]) -> usize {
        self.lock()
            .pieces(addr, bytes.len(), Access::Write, |done, phys, n| {
                phys::write(phys, &bytes[done..done + n]);
            })
    }

    /// Copies from the program's memory; returns the bytes copied before a page that is not readable.
    pub fn read_some(&self, addr: u64, bytes: &mut [u8]) -> usize {
        self.lock()
            .pieces(addr, bytes.len(), Access::Read, |done, phys, n| {
                phys::read(phys, &mut bytes[done..done + n]);
            })
    }

    /// Zeroes the program's memory; returns the bytes zeroed before a page that is not writable.
    pub fn zero_some(&self, addr: u64, len: usize) -> usize {
        self.lock().pieces(addr, len, Access::Write, |_, phys, n| {
            phys::zero(phys, n as u64)
        })
    }

    /// Copies a value in; EFAULT if not all of it is readable.
    pub fn read_obj<T: FromBytes + IntoBytes>(&self, addr: u64) -> Result<T> {
        let mut value = T::new_zeroed();
        let bytes = value.as_mut_bytes();
        if self.read_some(addr, bytes) == bytes.len() {
            Ok(value)
        } else {
            Err(Errno::EFAULT)
        }
    }

    /// Copies a value out; EFAULT if not all of it is writable.
    pub fn write_obj<T: IntoBytes + Immutable>(&self, addr: u64, value: &T) -> Result<()> {
        let bytes = value.as_bytes();
        if self.write_some(addr, bytes) == bytes.len() {
            Ok(())
        } else {
            Err(Errno::EFAULT)
        }
    }

    /// Guest-physical address of the byte at `addr`, faulted in for `access`. For keys of shared
    /// futexes and the like; the page may change behind it as soon as the program runs.
    pub fn translate(&self, addr: u64, access: Access) -> Result<u64, FaultError> {
        self.lock().translate(addr, access)
    }

    /// Whether `addr` lies in a shared mapping; EFAULT where there is none.
    pub fn is_shared(&self, addr: u64) -> Result<bool> {
        let space = self.lock();
        space
            .vmas
            .find(addr)
            .map(|vma| !vma.is_private())
            .ok_or(Errno::EFAULT)
    }

    /// Reads the u32 at `addr` atomically. EINVAL if it is not aligned, EFAULT if not readable.
    pub fn load_u32(&self, addr: u64) -> Result<u32> {
        self.with_u32(addr, Access::Read, |word| word.load(Ordering::SeqCst))
    }

    /// Replaces the u32 at `addr` by `new` if it is `old`, atomically; returns what was there.
    pub fn compare_exchange_u32(&self, addr: u64, old: u32, new: u32) -> Result<u32> {
        self.with_u32(addr, Access::Write, |word| {
            word.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst)
                .unwrap_or_else(|seen| seen)
        })
    }

    /// Changes the u32 at `addr` atomically; returns what was there.
    pub fn update_u32(&self, addr: u64, mut change: impl FnMut(u32) -> u32) -> Result<u32> {
        self.with_u32(addr, Access::Write, |word| {
            let changed = word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |value| {
                Some(change(value))
            });
            changed.unwrap_or_else(|value| value)
        })
    }

    fn with_u32<R>(
        &self,
        addr: u64,
        access: Access,
        operation: impl FnOnce(&AtomicU32) -> R,
    ) -> Result<R> {
        if !addr.is_multiple_of(4) {
            return Err(Errno::EINVAL);
        }
        let mut space = self.lock();
        let phys = space.translate(addr, access).map_err(|_| Errno::EFAULT)?;
        // SAFETY: an aligned word of a page that is mapped while the space is locked; the program's
        // own accesses to it are the processor's, as for any futex. Image pages are only read.
        Ok(operation(unsafe {
            AtomicU32::from_ptr(phys::phys_to_ptr(phys).cast())
        }))
    }

    /// Guest-physical pieces of `[addr, addr + len)` for a hypercall that moves data in place, at
    /// most `max` of them, contiguous ones joined. They end early at a page that is not accessible,
    /// or not in RAM (the VMM takes no image addresses): the caller copies or fails from there.
    pub fn user_segments(&self, addr: u64, len: u64, access: Access, max: usize) -> Vec<Segment> {
        let mut segments: Vec<Segment> = Vec::new();
        let mut space = self.lock();
        let mut done = 0;
        while done < len {
            let Some(at) = addr.checked_add(done) else {
                break;
            };
            let n = (len - done).min(PAGE_SIZE - at % PAGE_SIZE);
            let Ok(gpa) = space.translate(at, access) else {
                break;
            };
            if phys::is_image(gpa) {
                break;
            }
            let full = segments.len() == max;
            match segments.last_mut() {
                Some(last) if last.gpa + last.len == gpa => last.len += n,
                _ if full => break,
                _ => segments.push(Segment { gpa, len: n }),
            }
            done += n;
        }
        segments
    }
}
