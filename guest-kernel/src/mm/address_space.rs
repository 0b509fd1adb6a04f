//! The address space of a process: the locked state, and what makes and ends it.

use super::fault::{Access, FaultError};
use super::frame;
use super::lock::FutureLock;
use super::page_table::{Flush, PageTable, page_floor};
use super::shared::KernelPages;
use super::vma::{Backing, FaultHistory, Prot, STACK_GUARD_GAP, Vma, VmaFlags, VmaSet};
use crate::arch::page_table::Entry;
use crate::errno::{Errno, Result};
use crate::smp;
use crate::sync::{Lock, LockGuard, Rank};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32};
use sprout_abi::layout::{HUGE_PAGE_SIZE, PAGE_SIZE, USER_END};

/// Lowest address a program gets (vm.mmap_min_addr).
pub const MMAP_MIN_ADDR: u64 = 0x1_0000;
/// Most areas of one address space (vm.max_map_count).
pub const MAX_MAP_COUNT: usize = 65_530;
/// Highest first address behind the main stack.
pub const STACK_TOP: u64 = USER_END;
/// Least room kept for the main stack below [`STACK_TOP`] (Linux: MIN_GAP).
const STACK_ROOM: u64 = 128 << 20;
/// What the main stack starts with.
const STACK_INITIAL: u64 = 132 << 10;

/// The resource limits that memory calls look at, in bytes; `u64::MAX`: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// RLIMIT_AS.
    pub address_space: u64,
    /// RLIMIT_DATA, for brk.
    pub data: u64,
    /// RLIMIT_STACK.
    pub stack: u64,
}

/// Sizes for /proc/PID/status and statm, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    /// All areas (VmSize).
    pub size: u64,
    /// Mapped frames that are the program's own (RssAnon).
    pub rss_anonymous: u64,
    /// Mapped pages of images (RssFile).
    pub rss_file: u64,
    /// Mapped pages of shared memory and tmpfs (RssShmem).
    pub rss_shared: u64,
    /// Largest sum of them so far (VmHWM).
    pub rss_peak: u64,
    /// Private writable areas (VmData).
    pub data: u64,
    /// The main stack (VmStk).
    pub stack: u64,
    /// Executable areas (VmExe and VmLib together).
    pub text: u64,
    /// Page tables (VmPTE).
    pub tables: u64,
    /// Locked areas (VmLck).
    pub locked: u64,
}

/// Pages mapped.
#[derive(Clone, Copy, Default)]
pub(super) struct Rss {
    pub anonymous: u64,
    pub file: u64,
    pub shared: u64,
    pub peak: u64,
}

impl Rss {
    /// Counts a leaf mapped.
    pub fn add(&mut self, leaf: Entry, huge: bool) {
        let pages = if huge { HUGE_PAGE_SIZE / PAGE_SIZE } else { 1 };
        *self.kind(leaf) += pages;
        self.peak = self.peak.max(self.anonymous + self.file + self.shared);
    }

    fn kind(&mut self, leaf: Entry) -> &mut u64 {
        if !frame::is_counted(leaf.phys()) {
            &mut self.file
        } else if leaf.is_of_file() {
            &mut self.shared
        } else {
            &mut self.anonymous
        }
    }

    /// Drops what a leaf held: its count and its reference.
    pub fn release(&mut self, leaf: Entry, huge: bool) {
        let pages = if huge { HUGE_PAGE_SIZE / PAGE_SIZE } else { 1 };
        *self.kind(leaf) -= pages;
        let phys = leaf.phys();
        if !frame::is_counted(phys) {
            return;
        }
        if huge {
            frame::put_huge(phys)
        } else {
            frame::put(phys)
        }
    }
}

/// Everything under the lock.
pub(super) struct Space {
    pub tables: PageTable,
    pub vmas: VmaSet,
    pub rss: Rss,
    pub limits: MemoryLimits,
    pub brk_start: u64,
    pub brk: u64,
    pub mmap_base: u64,
    /// An address inside the main stack, 0 before there is one.
    pub stack: u64,
    /// A system call could not have a page of the program: there was no memory.
    pub starved: bool,
    /// mlockall(MCL_FUTURE).
    pub future_lock: FutureLock,
}

impl Space {
    /// Removes every leaf in `[start, end)` and what it held.
    pub fn zap(&mut self, start: u64, end: u64) -> Result<()> {
        self.tables.split_at(start)?;
        self.tables.split_at(end)?;
        let mut flush = Flush::new();
        let rss = &mut self.rss;
        self.tables
            .update(start, end, &mut flush, |flush, addr, leaf, huge| {
                if leaf.is_present() {
                    flush.add(addr);
                }
                rss.release(leaf, huge);
                Entry::NONE
            });
        flush.finish();
        Ok(())
    }

    /// Adds an area where there is none.
    pub fn add(&mut self, start: u64, len: u64, prot: Prot, flags: VmaFlags, backing: Backing) {
        let end = start + len;
        self.vmas.insert(Vma {
            start,
            end,
            prot,
            flags,
            backing,
            history: FaultHistory::default(),
        });
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // Nothing to flush: no program runs on these tables any more.
        let rss = &mut self.rss;
        self.tables.tear_down(|leaf, huge| rss.release(leaf, huge));
    }
}

/// An address space, shared by the threads of a process.
pub struct AddressSpace {
    /// The root of its tables on the first vCPU, which also names it.
    root: u64,
    /// Those on the others.
    other_roots: Box<[u64]>,
    /// What its programs registered for with membarrier, as bits of its commands.
    pub barriers: AtomicU32,
    /// Some area was to be empty in copies (MADV_WIPEONFORK).
    pub(super) wipes: AtomicBool,
    space: Lock<Space>,
}

impl AddressSpace {
    /// An address space without areas, limits as Linux starts with.
    pub fn new() -> Result<AddressSpace> {
        let tables = PageTable::new()?;
        Ok(AddressSpace::from_space(Space {
            tables,
            vmas: VmaSet::default(),
            rss: Rss::default(),
            limits: MemoryLimits {
                address_space: u64::MAX,
                data: u64::MAX,
                stack: 8 << 20,
            },
            brk_start: 0,
            brk: 0,
            mmap_base: STACK_TOP - STACK_ROOM,
            stack: 0,
            starved: false,
            future_lock: FutureLock::None,
        }))
    }

    pub(super) fn from_space(space: Space) -> AddressSpace {
        AddressSpace {
            root: space.tables.root(),
            other_roots: space.tables.other_roots().into(),
            barriers: AtomicU32::new(0),
            wipes: AtomicBool::new(false),
            space: Lock::new(Rank::AddressSpace, space),
        }
    }

    pub(super) fn lock(&self) -> LockGuard<'_, Space> {
        self.space.lock()
    }

    /// A number that no other address space has while this one lives.
    pub fn id(&self) -> u64 {
        self.root
    }

    /// Makes it the one this vCPU uses. It must stay alive until the vCPU uses another one, or is
    /// dropped by it.
    pub fn activate(&self) {
        let root = match smp::this_cpu() {
            0 => self.root,
            cpu => self.other_roots[cpu - 1],
        };
        smp::switch_root(root, self.id());
    }

    /// Maps ahead what a program that starts will touch of the area around `addr`.
    pub fn prepare(&self, addr: u64) {
        self.lock().prepare(addr);
    }

    /// Sets the limits for the calls that follow.
    pub fn set_limits(&self, limits: MemoryLimits) {
        self.lock().limits = limits;
    }

    /// Makes the page at `addr` accessible in the way it was just found not to be.
    pub fn fault(&self, addr: u64, access: Access) -> Result<(), FaultError> {
        self.lock().fault(addr, access)
    }

    /// Makes the main stack for exec, `stack_shift` bytes below [`STACK_TOP`]; it grows down to
    /// RLIMIT_STACK. What mmap places goes below it, with room for `mmap_shift` bytes more between
    /// them. Both shifts are whole pages. Returns the address behind the stack.
    pub fn map_stack(&self, stack_shift: u64, mmap_shift: u64) -> Result<u64> {
        let mut space = self.lock();
        let top = STACK_TOP.checked_sub(stack_shift).ok_or(Errno::ENOMEM)?;
        let start = top.checked_sub(STACK_INITIAL).ok_or(Errno::ENOMEM)?;
        if space.vmas.any_in(start - STACK_GUARD_GAP, top) {
            return Err(Errno::ENOMEM);
        }
        // As Linux: room for the stack limit, but neither too little nor nearly everything.
        let room = space.limits.stack.saturating_add(STACK_GUARD_GAP);
        let room = room.clamp(STACK_ROOM, STACK_TOP / 6 * 5);
        let base = top.saturating_sub(room).saturating_sub(mmap_shift);
        space.mmap_base = page_floor(base.max(STACK_TOP / 6));
        space.stack = top - PAGE_SIZE;
        let flags = VmaFlags::GROWS_DOWN | VmaFlags::STACK;
        let prot = Prot::READ | Prot::WRITE;
        space.add(start, STACK_INITIAL, prot, flags, Backing::Anonymous);
        Ok(top)
    }

    /// Maps pages of the kernel (vDSO) read-only, one part behind the other, where there is room;
    /// returns the first address.
    pub fn map_kernel_pages(&self, parts: &[(Arc<KernelPages>, Prot)]) -> Result<u64> {
        let mut space = self.lock();
        let size = |part: &(Arc<KernelPages>, Prot)| super::FileMapping::size(&*part.0);
        let len = parts.iter().map(size).sum();
        let high = space.mmap_base;
        let start = space.vmas.find_room(len, MMAP_MIN_ADDR, high, PAGE_SIZE, 0);
        let start = start.ok_or(Errno::ENOMEM)?;
        let mut at = start;
        for part in parts {
            let (pages, prot) = part.clone();
            let backing = Backing::File {
                file: pages,
                offset: 0,
            };
            space.add(
                at,
                size(part),
                prot - Prot::WRITE,
                VmaFlags::empty(),
                backing,
            );
            at += size(part);
        }
        // Every program reads them as it starts.
        space.populate(start, start + len);
        Ok(start)
    }

    /// Whether a system call failed since the last call here because there was no memory for a page
    /// of the program.
    pub fn take_starved(&self) -> bool {
        core::mem::take(&mut self.lock().starved)
    }

    /// Sizes, for /proc.
    pub fn usage(&self) -> MemoryUsage {
        let space = self.lock();
        let sum = |wanted: &dyn Fn(&Vma) -> bool| -> u64 {
            space
                .vmas
                .iter()
                .filter(|vma| wanted(vma))
                .map(Vma::len)
                .sum()
        };
        MemoryUsage {
            size: space.vmas.bytes(),
            rss_anonymous: space.rss.anonymous * PAGE_SIZE,
            rss_file: space.rss.file * PAGE_SIZE,
            rss_shared: space.rss.shared * PAGE_SIZE,
            rss_peak: space.rss.peak * PAGE_SIZE,
            data: sum(&|vma| vma.is_private() && vma.prot.contains(Prot::WRITE)),
            stack: space.vmas.find(space.stack).map_or(0, Vma::len),
            text: sum(&|vma| vma.prot.contains(Prot::EXEC)),
            tables: space.tables.pages() * PAGE_SIZE,
            locked: sum(&|vma| vma.flags.contains(VmaFlags::LOCKED)),
        }
    }

    /// The areas now, ascending.
    pub(super) fn areas(&self) -> Vec<Vma> {
        self.lock().vmas.iter().cloned().collect()
    }
}
