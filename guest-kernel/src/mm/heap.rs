//! The sentry's own allocator.
//!
//! Small objects come from slabs: one 4 KiB frame of objects of one size class, its header at the
//! start of the frame, found from any object by masking its address. The object freed last is
//! handed out first, and slabs that become empty give their frame back. What is larger than half a
//! page is a block of frames, contiguous in the direct map.

use super::frame;
use super::phys::{phys_to_ptr, ptr_to_phys};
use crate::sync::{Lock, Rank};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};
use sprout_abi::layout::{HUGE_PAGE_SIZE, PAGE_SIZE};

const PAGE: usize = PAGE_SIZE as usize;
/// Bytes before the first object: keeps objects aligned to 64.
const HEADER: usize = 64;
/// Object sizes: whole numbers of them fill a slab well, small steps where sizes are common.
const CLASSES: [usize; 20] = [
    16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 576, 672, 1008, 1344, 2016,
];
/// An empty slab is kept for each class, so that one object allocated and freed in turn is cheap.
const KEPT_EMPTY: u32 = 1;

/// At the start of a slab's frame.
struct Slab {
    next: *mut Slab,
    previous: *mut Slab,
    /// Objects freed, linked through their first word.
    free: *mut FreeObject,
    /// Objects in use.
    used: u16,
    /// Objects from here on were never handed out: they are not touched before they are needed.
    fresh: u16,
    class: u16,
}

struct FreeObject {
    next: *mut FreeObject,
}

#[derive(Clone, Copy)]
struct Class {
    /// Slabs with room, the one freed to last first.
    slabs: *mut Slab,
    /// How many of them are empty.
    empty: u32,
}

/// Slabs of every class.
pub struct Heap {
    classes: [Class; CLASSES.len()],
}

// SAFETY: a heap owns the slabs its pointers lead to.
unsafe impl Send for Heap {}

/// How a layout is served.
enum Kind {
    Small(usize),
    /// A block of `1 << order` frames.
    Block(u32),
    /// More than a block: so many frames.
    Run(u32),
}

fn kind(layout: Layout) -> Option<Kind> {
    if layout.size() <= CLASSES[CLASSES.len() - 1] && layout.align() <= HEADER {
        let fits = |size: &usize| *size >= layout.size() && size.is_multiple_of(layout.align());
        if let Some(class) = CLASSES.iter().position(fits) {
            return Some(Kind::Small(class));
        }
    }
    let size = layout.size().max(layout.align());
    let frames = u32::try_from(size.div_ceil(PAGE)).ok()?;
    let order = frames.checked_next_power_of_two()?.ilog2();
    if order <= frame::MAX_ORDER {
        Some(Kind::Block(order))
    } else if layout.align() as u64 <= HUGE_PAGE_SIZE {
        Some(Kind::Run(frames))
    } else {
        None
    }
}

impl Heap {
    /// A heap without slabs.
    pub const fn new() -> Self {
        Heap {
            classes: [Class {
                slabs: ptr::null_mut(),
                empty: 0,
            }; CLASSES.len()],
        }
    }

    fn allocate_small(&mut self, class: usize) -> Option<NonNull<u8>> {
        if self.classes[class].slabs.is_null() {
            self.add_slab(class)?;
        }
        let slab = self.classes[class].slabs;
        // SAFETY: slabs in the list are live frames with a header this heap wrote; the lock around
        // the heap makes this the only access.
        let header = unsafe { &mut *slab };
        if header.used == 0 {
            self.classes[class].empty -= 1;
        }
        header.used += 1;
        let object = if header.free.is_null() {
            let offset = HEADER + usize::from(header.fresh) * CLASSES[class];
            header.fresh += 1;
            // SAFETY: `fresh` stays below the slab's capacity, or the slab would not be listed.
            unsafe { slab.cast::<u8>().add(offset) }
        } else {
            let object = header.free;
            // SAFETY: a freed object of this slab, whose first word is the link.
            header.free = unsafe { (*object).next };
            object.cast()
        };
        if header.free.is_null() && usize::from(header.fresh) == capacity(class) {
            self.unlink(class, slab);
        }
        NonNull::new(object)
    }

    fn add_slab(&mut self, class: usize) -> Option<()> {
        let slab = phys_to_ptr(frame::allocate(0)?.phys).cast::<Slab>();
        let (next, previous, free) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        let header = Slab {
            next,
            previous,
            free,
            used: 0,
            fresh: 0,
            class: class as u16,
        };
        // SAFETY: a fresh frame, page-aligned, larger than the header.
        unsafe { slab.write(header) };
        self.link(class, slab);
        self.classes[class].empty += 1;
        Some(())
    }

    /// # Safety
    /// `object` must have come from [`Heap::allocate_small`] with this class and be unused now.
    unsafe fn free_small(&mut self, object: NonNull<u8>, class: usize) {
        let object = object.as_ptr().cast::<FreeObject>();
        let slab = object.map_addr(|addr| addr & !(PAGE - 1)).cast::<Slab>();
        // SAFETY: the object's frame is a live slab of this heap, which is locked.
        let header = unsafe { &mut *slab };
        debug_assert_eq!(
            usize::from(header.class),
            class,
            "freed with another layout"
        );
        let was_full = header.free.is_null() && usize::from(header.fresh) == capacity(class);
        // SAFETY: the object is unused and large enough for the link.
        unsafe { object.write(FreeObject { next: header.free }) };
        header.free = object;
        header.used -= 1;
        if was_full {
            self.link(class, slab);
        }
        if header.used > 0 {
            return;
        }
        if self.classes[class].empty < KEPT_EMPTY {
            self.classes[class].empty += 1;
        } else {
            self.unlink(class, slab);
            frame::release(ptr_to_phys(slab.cast()), 0);
        }
    }

    fn link(&mut self, class: usize, slab: *mut Slab) {
        let first = self.classes[class].slabs;
        // SAFETY: both are live slabs of this heap.
        unsafe {
            (*slab).previous = ptr::null_mut();
            (*slab).next = first;
            if !first.is_null() {
                (*first).previous = slab;
            }
        }
        self.classes[class].slabs = slab;
    }

    fn unlink(&mut self, class: usize, slab: *mut Slab) {
        // SAFETY: a listed slab of this heap; so are its neighbours.
        unsafe {
            let (previous, next) = ((*slab).previous, (*slab).next);
            if previous.is_null() {
                self.classes[class].slabs = next;
            } else {
                (*previous).next = next;
            }
            if !next.is_null() {
                (*next).previous = previous;
            }
        }
    }
}

impl Default for Heap {
    fn default() -> Self {
        Heap::new()
    }
}

/// Objects in a slab.
const fn capacity(class: usize) -> usize {
    (PAGE - HEADER) / CLASSES[class]
}

/// The allocator as Rust wants it.
pub struct KernelHeap(Lock<Heap>);

impl KernelHeap {
    /// An empty heap; it grows from the frame allocator, which must have been initialised.
    pub const fn new() -> Self {
        KernelHeap(Lock::new(Rank::Heap, Heap::new()))
    }

    /// Memory for a layout and whether it is known to be zero.
    fn obtain(&self, layout: Layout) -> Option<(NonNull<u8>, bool)> {
        let block = match kind(layout)? {
            Kind::Small(class) => {
                return self
                    .0
                    .lock()
                    .allocate_small(class)
                    .map(|object| (object, false));
            }
            Kind::Block(order) => frame::allocate(order)?,
            Kind::Run(frames) => frame::allocate_run(frames)?,
        };
        NonNull::new(phys_to_ptr(block.phys)).map(|memory| (memory, block.zero))
    }
}

impl Default for KernelHeap {
    fn default() -> Self {
        KernelHeap::new()
    }
}

// SAFETY: memory handed out belongs to nobody else until it is freed: slabs never hand an object
// out twice, blocks come from the frame allocator. Sizes and alignments are those of the class or
// of whole pages, never less than asked for.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.obtain(layout)
            .map_or(ptr::null_mut(), |(memory, _)| memory.as_ptr())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some((memory, zero)) = self.obtain(layout) else {
            return ptr::null_mut();
        };
        if !zero {
            // SAFETY: just allocated with at least this size.
            unsafe { memory.as_ptr().write_bytes(0, layout.size()) };
        }
        memory.as_ptr()
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        let (Some(kind), Some(object)) = (kind(layout), NonNull::new(memory)) else {
            return;
        };
        match kind {
            // SAFETY: by the caller's contract it was allocated with this layout, so this class.
            Kind::Small(class) => unsafe { self.0.lock().free_small(object, class) },
            Kind::Block(order) => frame::release(ptr_to_phys(memory), order),
            Kind::Run(frames) => {
                let blocks = u64::from(frames).div_ceil(HUGE_PAGE_SIZE / PAGE_SIZE);
                for block in 0..blocks {
                    let phys = ptr_to_phys(memory) + block * HUGE_PAGE_SIZE;
                    frame::release(phys, frame::MAX_ORDER);
                }
            }
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(new_size, layout.align()) else {
            return ptr::null_mut();
        };
        let fits = match (kind(layout), kind(new)) {
            (Some(Kind::Small(a)), Some(Kind::Small(b))) => a == b,
            (Some(Kind::Block(a)), Some(Kind::Block(b))) => a == b,
            _ => false,
        };
        if fits {
            return memory;
        }
        // SAFETY: both blocks are at least as large as what is copied; the old one is the caller's
        // to give up.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(memory, moved, layout.size().min(new_size));
                self.dealloc(memory, layout);
            }
            moved
        }
    }
}

#[cfg(target_os = "none")]
#[global_allocator]
static KERNEL_HEAP: KernelHeap = KernelHeap::new();

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn live() -> i64 {
        frame::LIVE.with(core::cell::Cell::get)
    }

    #[test]
    fn every_class_serves_its_sizes_and_alignments() {
        for class in CLASSES {
            assert!(
                class.is_multiple_of(16) && (PAGE - HEADER) / class >= 2,
                "class {class}"
            );
        }
        let heap = KernelHeap::new();
        for align in [1, 8, 16, 64, 128, 4096, 1 << 21] {
            for size in [
                1,
                15,
                16,
                17,
                100,
                2016,
                2017,
                4096,
                5000,
                1 << 21,
                (1 << 21) + 1,
            ] {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: the layout is not empty; freed with the same one.
                unsafe {
                    let memory = heap.alloc_zeroed(layout);
                    assert!(
                        memory.addr().is_multiple_of(align),
                        "{size} aligned {align}"
                    );
                    assert!((0..size).all(|i| *memory.add(i) == 0));
                    memory.write_bytes(0xa5, size);
                    heap.dealloc(memory, layout);
                }
            }
        }
    }

    #[test]
    fn objects_never_overlap_and_empty_slabs_go_back() {
        let before = live();
        let heap = KernelHeap::new();
        let mut seed = 42u64;
        let mut objects: Vec<(*mut u8, Layout, u8)> = Vec::new();
        for round in 0..20_000u64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let size = (seed >> 40) as usize % 3000 + 1;
            // SAFETY: objects are used within their layout and freed once.
            unsafe {
                if seed >> 63 == 0 || objects.is_empty() {
                    let layout = Layout::from_size_align(size, 8).unwrap();
                    let memory = heap.alloc(layout);
                    memory.write_bytes(round as u8, size);
                    objects.push((memory, layout, round as u8));
                } else {
                    let (memory, layout, tag) = objects.swap_remove(size % objects.len());
                    let grown = heap.realloc(memory, layout, layout.size() * 2);
                    assert!((0..layout.size()).all(|i| *grown.add(i) == tag));
                    let layout = Layout::from_size_align(layout.size() * 2, 8).unwrap();
                    heap.dealloc(grown, layout);
                }
            }
        }
        for (memory, layout, tag) in objects {
            // SAFETY: as above.
            unsafe {
                assert!((0..layout.size()).all(|i| *memory.add(i) == tag));
                heap.dealloc(memory, layout);
            }
        }
        assert!(
            live() - before <= CLASSES.len() as i64,
            "one empty slab a class may stay"
        );
    }

    #[test]
    fn the_object_freed_last_is_reused_first() {
        let heap = KernelHeap::new();
        let layout = Layout::new::<[u64; 5]>();
        // SAFETY: used as the contract says.
        unsafe {
            let (first, second) = (heap.alloc(layout), heap.alloc(layout));
            heap.dealloc(first, layout);
            assert_eq!(heap.alloc(layout), first);
            heap.dealloc(first, layout);
            heap.dealloc(second, layout);
        }
    }
}
