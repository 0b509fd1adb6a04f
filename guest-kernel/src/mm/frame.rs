//! Physical frames of RAM.
//!
//! A buddy allocator over `[free_start, ram_size)` with blocks of 4 KiB to 2 MiB, and a reference
//! count for every frame. Larger blocks are only frames that happen to be contiguous: each has its
//! own count, so a 2 MiB mapping can be split, shared and freed page by page.
//!
//! What shapes it: the first touch of a page costs microseconds in the host, most of all in a
//! restored VM. So
//!
//! - free lists are linked through an array of 8-byte records (one page of it for each 2 MiB of
//!   RAM), not through the free pages;
//! - memory that was never used stays out of the lists behind a watermark, its records untouched;
//! - blocks remember that they are still zero from the host, and are not zeroed again;
//! - frames freed last are handed out first: the host already backs them;
//! - the host is told when much memory is used, and makes more ready meanwhile;
//! - blocks that stay free go back to the host after a while ([`super::reclaim`]).

use super::phys;
use crate::errno::{Errno, Result};
use crate::platform;
use crate::sync::{Lock, LockGuard, Rank};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use sprout_abi::hypercall::Segment;
use sprout_abi::layout::{HUGE_PAGE_SIZE, PAGE_SIZE};

/// Largest order: 2 MiB.
pub const MAX_ORDER: u32 = 9;
const HUGE_FRAMES: u32 = 1 << MAX_ORDER;
const HOT: usize = 64;
/// Blocks taken before the host is told about the next ones, and most it is told about: 16 MiB.
const AHEAD: u32 = 8;

// A record of an allocated frame is its reference count; of the first frame of a free block FREE,
// the order and the links; of all others 0.
const FREE: u64 = 1 << 63;
const ZERO: u64 = 1 << 62;
const ORDER_SHIFT: u32 = 56;
const LINK_BITS: u32 = 24;
const LINK_MASK: u64 = (1 << LINK_BITS) - 1;

/// A block of frames just allocated, every frame with one reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Guest-physical address.
    pub phys: u64,
    /// Whether its content is known to be zero.
    pub zero: bool,
}

/// Frame counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameStats {
    /// Frames of RAM the VM has, with what the sentry itself was loaded into.
    pub total: u64,
    /// Frames that can be allocated now.
    pub free: u64,
    /// Those of them that programs and files can get.
    pub available: u64,
}

/// The allocator for one range of RAM.
pub struct FrameAllocator {
    records: u64,
    first: u32,
    end: u32,
    untouched: u32,
    lists: [u32; MAX_ORDER as usize + 1],
    hot: [u32; HOT],
    hot_len: usize,
    free: u32,
    /// Free 2 MiB blocks that are not known to be zero: the host backs them for nothing.
    used_blocks: u32,
    /// 2 MiB blocks taken from behind the watermark since the start (or the snapshot).
    taken_blocks: u32,
    /// The host makes memory ready up to here.
    populated: u32,
}

impl FrameAllocator {
    const fn empty() -> Self {
        FrameAllocator {
            records: 0,
            first: 0,
            end: 0,
            untouched: 0,
            lists: [0; MAX_ORDER as usize + 1],
            hot: [0; HOT],
            hot_len: 0,
            free: 0,
            used_blocks: 0,
            taken_blocks: 0,
            populated: 0,
        }
    }

    /// Manages `[start, end)`, which must be zero and not at 0; takes its records from the start.
    pub fn new(start: u64, end: u64) -> Self {
        let start = start.next_multiple_of(PAGE_SIZE).max(PAGE_SIZE);
        let (first, end) = ((start / PAGE_SIZE) as u32, (end / PAGE_SIZE) as u32);
        let mut allocator = FrameAllocator {
            records: start,
            first,
            end,
            ..FrameAllocator::empty()
        };
        let record_frames = (u64::from(end - first) * 8).div_ceil(PAGE_SIZE) as u32;
        let usable = first + record_frames;
        assert!(usable < end, "no RAM left beyond the sentry");
        allocator.untouched = usable.next_multiple_of(HUGE_FRAMES).min(end);
        allocator.list_zero(usable, allocator.untouched);
        // Less than 2 MiB at the end: taken as soon as anything, or it would never be.
        let whole = end / HUGE_FRAMES * HUGE_FRAMES;
        allocator.list_zero(whole.max(allocator.untouched), end);
        allocator.free = end - usable;
        allocator
    }

    /// Lists `[frame, end)` as the largest aligned blocks that fit, all zero.
    fn list_zero(&mut self, mut frame: u32, end: u32) {
        while frame < end {
            let fit = (end - frame).ilog2();
            let order = frame.trailing_zeros().min(fit).min(MAX_ORDER);
            self.push(frame, order, ZERO);
            frame += 1 << order;
        }
    }

    fn record(&self, frame: u32) -> &AtomicU64 {
        debug_assert!(frame >= self.first && frame < self.end);
        record_at(self.records + u64::from(frame - self.first) * 8)
    }

    fn get(&self, frame: u32) -> u64 {
        self.record(frame).load(Ordering::Relaxed)
    }

    fn set(&self, frame: u32, value: u64) {
        self.record(frame).store(value, Ordering::Relaxed);
    }

    fn push(&mut self, frame: u32, order: u32, zero: u64) {
        if order == MAX_ORDER && zero == 0 {
            self.used_blocks += 1;
        }
        let next = self.lists[order as usize];
        self.set(
            frame,
            FREE | zero | u64::from(order) << ORDER_SHIFT | u64::from(next),
        );
        if next != 0 {
            let links = self.get(next) & !(LINK_MASK << LINK_BITS);
            self.set(next, links | u64::from(frame) << LINK_BITS);
        }
        self.lists[order as usize] = frame;
    }

    /// Takes a free block off its list; its record becomes 0. Returns its ZERO bit.
    fn unlink(&mut self, frame: u32) -> u64 {
        let record = self.get(frame);
        let order = (record >> ORDER_SHIFT & 0xf) as usize;
        let next = (record & LINK_MASK) as u32;
        let previous = (record >> LINK_BITS & LINK_MASK) as u32;
        if previous == 0 {
            self.lists[order] = next;
        } else {
            let links = self.get(previous) & !LINK_MASK;
            self.set(previous, links | u64::from(next));
        }
        if next != 0 {
            let links = self.get(next) & !(LINK_MASK << LINK_BITS);
            self.set(next, links | u64::from(previous) << LINK_BITS);
        }
        self.set(frame, 0);
        if order == MAX_ORDER as usize && record & ZERO == 0 {
            self.used_blocks -= 1;
        }
        record & ZERO
    }

    /// Gives the upper parts of a block of order `have` back until it has order `want`.
    fn trim(&mut self, frame: u32, mut have: u32, want: u32, zero: u64) {
        while have > want {
            have -= 1;
            self.push(frame + (1 << have), have, zero);
        }
    }

    fn take_listed(&mut self, order: u32) -> Option<(u32, u64)> {
        let have = (order..=MAX_ORDER).find(|have| self.lists[*have as usize] != 0)?;
        let frame = self.lists[have as usize];
        let zero = self.unlink(frame);
        self.trim(frame, have, order, zero);
        Some((frame, zero))
    }

    fn take_untouched(&mut self, order: u32) -> Option<(u32, u64)> {
        if self.end - self.untouched < HUGE_FRAMES {
            return None;
        }
        let frame = self.untouched;
        self.untouched += HUGE_FRAMES;
        self.taken_blocks += 1;
        self.trim(frame, MAX_ORDER, order, ZERO);
        Some((frame, ZERO))
    }

    /// What the host should make ready: who took much takes more. Half as much again, but no more
    /// than [`AHEAD`], in steps of half of that, because each takes an exit.
    fn wanted_ahead(&mut self) -> Option<Segment> {
        if self.taken_blocks < AHEAD {
            return None;
        }
        let window = (self.taken_blocks / 2).min(AHEAD) * HUGE_FRAMES;
        let last = self.end / HUGE_FRAMES * HUGE_FRAMES;
        let start = self.populated.max(self.untouched);
        let end = (self.untouched + window).min(last);
        if end < start + window / 2 {
            return None;
        }
        self.populated = end;
        Some(Segment {
            gpa: u64::from(start) * PAGE_SIZE,
            len: u64::from(end - start) * PAGE_SIZE,
        })
    }

    /// Allocates a block of `1 << order` frames.
    pub fn allocate(&mut self, order: u32) -> Option<Block> {
        let (frame, zero) = self.take(order)?;
        Some(self.hand_out(frame, 1 << order, zero))
    }

    fn take(&mut self, order: u32) -> Option<(u32, u64)> {
        if order > MAX_ORDER {
            return None;
        }
        if order == 0 && self.hot_len > 0 {
            self.hot_len -= 1;
            return Some((self.hot[self.hot_len], 0));
        }
        if let Some(found) = self
            .take_listed(order)
            .or_else(|| self.take_untouched(order))
        {
            return Some(found);
        }
        self.join_everything();
        self.take_listed(order)
    }

    /// Allocates a 2 MiB block that is known to be zero, if there is one without joining blocks.
    pub fn allocate_zero_huge(&mut self) -> Option<Block> {
        let head = self.lists[MAX_ORDER as usize];
        let (frame, zero) = if head != 0 && self.get(head) & ZERO != 0 {
            (head, self.unlink(head))
        } else {
            self.take_untouched(MAX_ORDER)?
        };
        Some(self.hand_out(frame, HUGE_FRAMES, zero))
    }

    /// Allocates `count` contiguous frames, more than a block: whole 2 MiB blocks side by side.
    pub fn allocate_run(&mut self, count: u32) -> Option<Block> {
        let blocks = count.div_ceil(HUGE_FRAMES);
        let frames = blocks.checked_mul(HUGE_FRAMES)?;
        let mut start = self.first.next_multiple_of(HUGE_FRAMES);
        let mut frame = start;
        while frame < self.untouched && frame - start < frames {
            let whole = FREE | u64::from(MAX_ORDER) << ORDER_SHIFT;
            if self.get(frame) & (FREE | 0xf << ORDER_SHIFT) != whole {
                start = frame + HUGE_FRAMES;
            }
            frame += HUGE_FRAMES;
        }
        if start.checked_add(frames)? > self.end {
            return None;
        }
        let mut zero = ZERO;
        for block in (start..start + frames).step_by(HUGE_FRAMES as usize) {
            if block < self.untouched {
                zero &= self.unlink(block);
            } else {
                self.untouched = block + HUGE_FRAMES;
            }
        }
        Some(self.hand_out(start, frames, zero))
    }

    fn hand_out(&mut self, frame: u32, count: u32, zero: u64) -> Block {
        self.free -= count;
        for frame in frame..frame + count {
            self.set(frame, 1);
        }
        Block {
            phys: u64::from(frame) * PAGE_SIZE,
            zero: zero != 0,
        }
    }

    /// Frees a block (or part of one) whose frames have no other reference.
    pub fn release(&mut self, phys: u64, order: u32) {
        let frame = (phys / PAGE_SIZE) as u32;
        self.free += 1 << order;
        if order > 0 {
            for frame in frame..frame + (1 << order) {
                self.set(frame, 0);
            }
            return self.join(frame, order, 0);
        }
        self.set(frame, 0);
        if self.hot_len == HOT {
            // The older half goes back to the lists.
            for i in 0..HOT / 2 {
                self.join(self.hot[i], 0, 0);
            }
            self.hot.copy_within(HOT / 2.., 0);
            self.hot_len = HOT / 2;
        }
        self.hot[self.hot_len] = frame;
        self.hot_len += 1;
    }

    /// Lists a free block, joined with its free buddies. Zero blocks stay apart from others, or
    /// one used page would cost the knowledge about a whole 2 MiB.
    fn join(&mut self, mut frame: u32, mut order: u32, zero: u64) {
        while order < MAX_ORDER {
            let buddy = frame ^ 1 << order;
            if buddy < self.first || buddy + (1 << order) > self.end {
                break;
            }
            let same = FREE | zero | u64::from(order) << ORDER_SHIFT;
            if self.get(buddy) & (FREE | ZERO | 0xf << ORDER_SHIFT) != same {
                break;
            }
            self.unlink(buddy);
            frame = frame.min(buddy);
            order += 1;
        }
        self.push(frame, order, zero);
    }

    /// Last resort before failing: forgets which blocks are zero and which frames are hot, so that
    /// all buddies can be joined.
    fn join_everything(&mut self) {
        for i in 0..core::mem::take(&mut self.hot_len) {
            self.join(self.hot[i], 0, 0);
        }
        for order in 0..MAX_ORDER {
            let mut frame = self.lists[order as usize];
            while frame != 0 {
                let record = self.get(frame);
                let next = (record & LINK_MASK) as u32;
                if record & ZERO != 0 {
                    self.set(frame, record & !ZERO);
                }
                frame = next;
            }
        }
        self.join_buddies(0);
    }

    /// Joins all free buddies; every free block has this ZERO bit.
    fn join_buddies(&mut self, zero: u64) {
        for order in 0..MAX_ORDER {
            // Joining only ever removes later entries of this list or adds to longer ones; start
            // again at the head after each join.
            let mut frame = self.lists[order as usize];
            while frame != 0 {
                let buddy = frame ^ 1 << order;
                let mine = FREE | u64::from(order) << ORDER_SHIFT;
                let inside = buddy >= self.first && buddy + (1 << order) <= self.end;
                if inside && self.get(buddy) & (FREE | 0xf << ORDER_SHIFT) == mine {
                    self.unlink(frame);
                    self.join(frame, order, zero);
                    frame = self.lists[order as usize];
                } else {
                    frame = (self.get(frame) & LINK_MASK) as u32;
                }
            }
        }
    }

    /// Clears every free frame that is not known to be zero.
    pub fn scrub(&mut self) {
        for i in 0..core::mem::take(&mut self.hot_len) {
            phys::zero(u64::from(self.hot[i]) * PAGE_SIZE, PAGE_SIZE);
            self.join(self.hot[i], 0, ZERO);
        }
        for order in 0..=MAX_ORDER {
            let mut frame = self.lists[order as usize];
            while frame != 0 {
                let record = self.get(frame);
                if record & ZERO == 0 {
                    phys::zero(u64::from(frame) * PAGE_SIZE, PAGE_SIZE << order);
                    self.set(frame, record | ZERO);
                }
                frame = (record & LINK_MASK) as u32;
            }
        }
        self.used_blocks = 0;
        self.taken_blocks = 0;
        self.join_buddies(ZERO);
    }

    /// Takes free 2 MiB blocks that are not known to be zero off the list, as many as there is room
    /// for: what the host gets back. They count as free all the while. How many.
    fn take_used(&mut self, blocks: &mut [u64]) -> usize {
        for i in 0..core::mem::take(&mut self.hot_len) {
            self.join(self.hot[i], 0, 0);
        }
        let mut taken = 0;
        let mut frame = self.lists[MAX_ORDER as usize];
        while frame != 0 && taken < blocks.len() {
            let record = self.get(frame);
            if record & ZERO == 0 {
                self.unlink(frame);
                blocks[taken] = u64::from(frame) * PAGE_SIZE;
                taken += 1;
            }
            frame = (record & LINK_MASK) as u32;
        }
        taken
    }

    /// Lists blocks that [`Self::take_used`] took.
    fn put_back(&mut self, blocks: &[u64], zero: bool) {
        for block in blocks {
            let zero = if zero { ZERO } else { 0 };
            self.push((block / PAGE_SIZE) as u32, MAX_ORDER, zero);
        }
    }

    /// Frames that can be allocated.
    pub fn free_frames(&self) -> u32 {
        self.free
    }
}

/// The record at a guest-physical address inside the record array.
#[inline]
fn record_at(phys: u64) -> &'static AtomicU64 {
    // SAFETY: the array lies in RAM the allocator keeps for itself for ever, 8-byte aligned, and is
    // only accessed as atomics.
    unsafe { &*phys::phys_to_ptr(phys).cast::<AtomicU64>() }
}

static ALLOCATOR: Lock<FrameAllocator> = Lock::new(Rank::Frames, FrameAllocator::empty());
/// Guest-physical address the record of frame 0 would have, for counting without the lock.
static RECORDS: AtomicU64 = AtomicU64::new(0);
/// First address the allocator manages; pages below (the sentry) and images are not counted.
static FIRST: AtomicU64 = AtomicU64::new(u64::MAX);
static TOTAL: AtomicU64 = AtomicU64::new(0);
/// See [`is_scarce`].
static SCARCE: AtomicBool = AtomicBool::new(false);
/// See [`has_used_blocks`].
static USED_BLOCKS: AtomicBool = AtomicBool::new(false);

/// Gives the allocator its RAM: `[free_start, ram_size)` of the boot information. Called once.
pub fn init(free_start: u64, ram_size: u64) {
    let allocator = FrameAllocator::new(free_start, ram_size);
    let origin = allocator
        .records
        .wrapping_sub(u64::from(allocator.first) * 8);
    RECORDS.store(origin, Ordering::Relaxed);
    FIRST.store(allocator.records, Ordering::Relaxed);
    TOTAL.store(ram_size / PAGE_SIZE, Ordering::Relaxed);
    *ALLOCATOR.lock() = allocator;
}

#[cfg(not(target_os = "none"))]
fn host_init() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| init(HUGE_PAGE_SIZE, phys::HOST_RAM));
}

fn allocator() -> LockGuard<'static, FrameAllocator> {
    #[cfg(not(target_os = "none"))]
    host_init();
    ALLOCATOR.lock()
}

fn global_record(phys: u64) -> &'static AtomicU64 {
    record_at(
        RECORDS
            .load(Ordering::Relaxed)
            .wrapping_add(phys / PAGE_SIZE * 8),
    )
}

/// Counts of frames.
pub fn stats() -> FrameStats {
    let free = u64::from(allocator().free_frames());
    FrameStats {
        total: TOTAL.load(Ordering::Relaxed),
        free,
        available: free.saturating_sub(kernel_reserve()),
    }
}

/// Frames of RAM the VM has.
pub(super) fn total_frames() -> u64 {
    TOTAL.load(Ordering::Relaxed)
}

/// Allocates `1 << order` contiguous frames, one reference each.
pub(crate) fn allocate(order: u32) -> Option<Block> {
    let mut allocator = allocator();
    let block = allocator.allocate(order)?;
    watch(&allocator);
    live(1 << order);
    Some(block)
}

/// Frames kept for page tables and the sentry's heap when programs and files have used up the rest.
const KERNEL_RESERVE: u64 = 1024;

/// [`KERNEL_RESERVE`], less in a small VM.
fn kernel_reserve() -> u64 {
    KERNEL_RESERVE.min(total_frames() / 32)
}

/// Whether the sentry itself has used up half of its reserve: a program has to go before an
/// allocation of the sentry fails.
pub fn is_scarce() -> bool {
    SCARCE.load(Ordering::Relaxed)
}

/// Whether programs get no more frames.
pub fn is_used_up() -> bool {
    u64::from(allocator().free_frames()) <= kernel_reserve()
}

/// Whether there are whole free blocks that the host still backs. Looked at without the lock.
#[inline]
pub(super) fn has_used_blocks() -> bool {
    USED_BLOCKS.load(Ordering::Relaxed)
}

/// Hands free 2 MiB blocks that the host backs to `give_back`, some at a time, until there are none
/// or it fails; it says whether they read as zero now. Their number.
pub(super) fn give_back(mut give_back: impl FnMut(&[u64]) -> bool) -> u64 {
    let mut blocks = [0; GIVE_BACK];
    let mut total = 0;
    loop {
        let taken = allocator().take_used(&mut blocks);
        let done = taken > 0 && give_back(&blocks[..taken]);
        let mut allocator = allocator();
        allocator.put_back(&blocks[..taken], done);
        watch(&allocator);
        if !done {
            return total;
        }
        total += taken as u64;
    }
}

/// Blocks given back at a time.
pub(super) const GIVE_BACK: usize = 32;

/// Called after the count of free frames changed.
fn watch(allocator: &FrameAllocator) {
    let scarce = u64::from(allocator.free_frames()) < kernel_reserve() / 2;
    if scarce != is_scarce() {
        SCARCE.store(scarce, Ordering::Relaxed);
    }
    let used = allocator.used_blocks > 0;
    if used != has_used_blocks() {
        USED_BLOCKS.store(used, Ordering::Relaxed);
    }
}

/// Allocates a frame for a program or a file: `None` while the sentry itself could still go on.
pub(super) fn allocate_for_program() -> Option<Block> {
    let mut allocator = allocator();
    if u64::from(allocator.free_frames()) <= kernel_reserve() {
        return None;
    }
    let block = allocator.allocate(0)?;
    look_ahead(allocator);
    live(1);
    Some(block)
}

/// Tells the host what will be needed, until it refuses.
fn look_ahead(mut allocator: LockGuard<'static, FrameAllocator>) {
    static REFUSED: AtomicBool = AtomicBool::new(false);
    let wanted = allocator.wanted_ahead();
    drop(allocator);
    if let Some(range) = wanted
        && !REFUSED.load(Ordering::Relaxed)
    {
        REFUSED.store(platform::populate(range).is_err(), Ordering::Relaxed);
    }
}

/// Allocates `count` contiguous frames when that is more than [`MAX_ORDER`] gives. Rounded up to
/// whole 2 MiB.
pub(super) fn allocate_run(count: u32) -> Option<Block> {
    let mut allocator = allocator();
    let block = allocator.allocate_run(count)?;
    watch(&allocator);
    live(i64::from(count.next_multiple_of(HUGE_FRAMES)));
    Some(block)
}

/// Allocates 2 MiB known to be zero while at least `reserve` frames stay free.
pub(super) fn allocate_zero_huge(reserve: u64) -> Option<u64> {
    let mut allocator = allocator();
    if u64::from(allocator.free_frames()) < reserve + u64::from(HUGE_FRAMES) {
        return None;
    }
    let block = allocator.allocate_zero_huge()?;
    look_ahead(allocator);
    live(i64::from(HUGE_FRAMES));
    Some(block.phys)
}

/// Clears every free frame that is not known to be zero.
pub(super) fn scrub() {
    allocator().scrub();
}

/// Allocates one frame of zeroes for a page table.
///
/// It is cleared even if it is known to be zero. A block that was given back may have had tables in
/// it, and a KVM with shadow page tables does not learn that the host replaced them: it would go on
/// using what they said. What the guest writes, it sees.
pub(super) fn allocate_table() -> Option<u64> {
    let block = allocate(0)?;
    phys::zero(block.phys, PAGE_SIZE);
    Some(block.phys)
}

/// Frees a block nobody else refers to.
pub(super) fn release(phys: u64, order: u32) {
    live(-(1 << order));
    let mut allocator = allocator();
    allocator.release(phys, order);
    watch(&allocator);
}

/// Whether the page at `phys` is a frame of this allocator: not an image's, nor one of the pages
/// the sentry was loaded into. Only those have references.
#[inline]
pub(super) fn is_counted(phys: u64) -> bool {
    phys >= FIRST.load(Ordering::Relaxed) && !phys::is_image(phys)
}

/// Adds a reference to a frame.
#[inline]
pub(super) fn get(phys: u64) {
    global_record(phys).fetch_add(1, Ordering::Relaxed);
}

/// Drops a reference to a frame; the last one frees it.
#[inline]
pub(super) fn put(phys: u64) {
    let before = global_record(phys).fetch_sub(1, Ordering::AcqRel);
    debug_assert!(
        before & FREE == 0 && before > 0,
        "frame {phys:#x} freed twice"
    );
    if before == 1 {
        release(phys, 0);
    }
}

/// Drops a reference to each of the 512 frames at `phys`; as one block when all were the last.
pub(super) fn put_huge(phys: u64) {
    let frames = (phys..phys + HUGE_PAGE_SIZE).step_by(PAGE_SIZE as usize);
    if frames.clone().all(is_unique) {
        release(phys, MAX_ORDER);
    } else {
        frames.for_each(put);
    }
}

/// References to a frame.
pub(super) fn references(phys: u64) -> u64 {
    global_record(phys).load(Ordering::Relaxed)
}

/// Whether a frame has exactly one reference.
#[inline]
pub(super) fn is_unique(phys: u64) -> bool {
    global_record(phys).load(Ordering::Acquire) == 1
}

#[cfg(not(test))]
#[inline(always)]
fn live(_: i64) {}

#[cfg(test)]
std::thread_local! {
    /// Frames this test's thread allocated and did not free: leak checks that other tests don't
    /// disturb.
    pub(super) static LIVE: core::cell::Cell<i64> = const { core::cell::Cell::new(0) };
}

#[cfg(test)]
fn live(change: i64) {
    LIVE.with(|live| live.set(live.get() + change));
}

/// A reference to a 4 KiB frame of RAM: clones share it, the last one frees it.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    phys: u64,
}

impl Frame {
    /// A new frame of zeroes. ENOMEM when RAM is used up.
    pub fn zeroed() -> Result<Frame> {
        let block = allocate_for_program().ok_or(Errno::ENOMEM)?;
        if !block.zero {
            phys::zero(block.phys, PAGE_SIZE);
        }
        Ok(Frame { phys: block.phys })
    }

    /// Gives up the handle but not its reference.
    pub(super) fn into_counted(self) -> u64 {
        let phys = self.phys;
        core::mem::forget(self);
        phys
    }

    /// A new frame with the same content.
    pub fn copy(&self) -> Result<Frame> {
        let block = allocate_for_program().ok_or(Errno::ENOMEM)?;
        phys::copy_page(self.phys, block.phys);
        Ok(Frame { phys: block.phys })
    }

    /// Its guest-physical address.
    pub fn phys(&self) -> u64 {
        self.phys
    }

    /// Whether this is the only reference: no mapping and no other handle sees changes.
    pub fn is_unique(&self) -> bool {
        is_unique(self.phys)
    }

    /// Copies from the frame. `offset + bytes.len()` must not exceed 4096.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        assert!(
            offset + bytes.len() <= PAGE_SIZE as usize,
            "read beyond a frame"
        );
        phys::read(self.phys + offset as u64, bytes);
    }

    /// Copies into the frame. `offset + bytes.len()` must not exceed 4096.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(
            offset + bytes.len() <= PAGE_SIZE as usize,
            "write beyond a frame"
        );
        phys::write(self.phys + offset as u64, bytes);
    }

    /// Zeroes a part of the frame. `offset + len` must not exceed 4096.
    pub fn zero(&self, offset: usize, len: usize) {
        assert!(offset + len <= PAGE_SIZE as usize, "zeroing beyond a frame");
        phys::zero(self.phys + offset as u64, len as u64);
    }
}

impl Clone for Frame {
    fn clone(&self) -> Self {
        get(self.phys);
        Frame { phys: self.phys }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        put(self.phys);
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
