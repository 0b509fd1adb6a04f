use super::*;
use std::vec::Vec;

/// An allocator over RAM of its own, borrowed from the arena.
fn small(mib: u64) -> (FrameAllocator, u64) {
    let blocks = (mib / 2) as u32;
    let block = super::allocator()
        .allocate_run(blocks * HUGE_FRAMES)
        .unwrap();
    phys::zero(block.phys, mib << 20);
    (
        FrameAllocator::new(block.phys, block.phys + (mib << 20)),
        block.phys,
    )
}

#[test]
fn all_memory_can_be_allocated_and_joins_again() {
    let (mut allocator, _) = small(16);
    let free = allocator.free_frames();
    let mut blocks = Vec::new();
    while let Some(block) = allocator.allocate(0) {
        blocks.push(block.phys);
    }
    assert_eq!(allocator.free_frames(), 0);
    blocks.sort_unstable();
    blocks.dedup();
    assert_eq!(blocks.len() as u32, free);
    for phys in blocks {
        allocator.record(frame_of(phys)).store(0, Ordering::Relaxed);
        allocator.release(phys, 0);
    }
    assert_eq!(allocator.free_frames(), free);
    // Seven whole blocks are left beside the records.
    let huge: Vec<_> = (0..8)
        .map_while(|_| allocator.allocate(MAX_ORDER))
        .collect();
    assert_eq!(huge.len(), 7);
}

fn frame_of(phys: u64) -> u32 {
    (phys / PAGE_SIZE) as u32
}

#[test]
fn untouched_memory_is_known_to_be_zero_and_freed_memory_is_not() {
    let (mut allocator, _) = small(8);
    let first = allocator.allocate(0).unwrap();
    assert!(first.zero);
    allocator.release(first.phys, 0);
    let again = allocator.allocate(0).unwrap();
    assert_eq!(
        again,
        Block {
            phys: first.phys,
            zero: false
        }
    );
    let huge = allocator.allocate_zero_huge().unwrap();
    assert!(huge.zero && huge.phys % HUGE_PAGE_SIZE == 0);
}

#[test]
fn last_freed_is_first_reused() {
    let (mut allocator, _) = small(8);
    let frames: Vec<_> = (0..200)
        .map(|_| allocator.allocate(0).unwrap().phys)
        .collect();
    for phys in &frames {
        allocator.release(*phys, 0);
    }
    for phys in frames.iter().rev().take(HOT / 2) {
        assert_eq!(allocator.allocate(0).unwrap().phys, *phys);
    }
}

#[test]
fn a_dirty_page_does_not_spoil_its_zero_block_but_joins_under_pressure() {
    let (mut allocator, _) = small(4);
    let page = allocator.allocate(0).unwrap();
    allocator.release(page.phys, 0);
    let mut zeroes = 0;
    let mut taken = Vec::new();
    while let Some(block) = allocator.allocate(6) {
        zeroes += u32::from(block.zero);
        taken.push(block.phys);
    }
    assert!(zeroes > 10);
    for phys in taken {
        allocator.release(phys, 6);
    }
    assert!(allocator.allocate(MAX_ORDER).is_some());
}

#[test]
fn runs_longer_than_a_block_are_contiguous_and_reusable() {
    let (mut allocator, _) = small(32);
    let free = allocator.free_frames();
    let run = allocator.allocate_run(1500).unwrap();
    assert_eq!(run.phys % HUGE_PAGE_SIZE, 0);
    for block in 0..3 {
        allocator.release(run.phys + block * HUGE_PAGE_SIZE, MAX_ORDER);
    }
    assert_eq!(allocator.free_frames(), free);
    assert_eq!(allocator.allocate_run(1500).unwrap().phys, run.phys);
    assert!(allocator.allocate_run(16 * 512).is_none());
}

#[test]
fn random_allocation_never_overlaps_and_never_leaks() {
    let (mut allocator, _) = small(16);
    let free = allocator.free_frames();
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let mut live: Vec<(u64, u32)> = Vec::new();
    for _ in 0..20_000 {
        if random(100) < 55 {
            let order = random(10).min(random(10)) as u32;
            if let Some(block) = allocator.allocate(order) {
                let end = block.phys + (PAGE_SIZE << order);
                assert!(
                    live.iter()
                        .all(|(phys, o)| end <= *phys || *phys + (PAGE_SIZE << o) <= block.phys)
                );
                assert_eq!(block.phys % (PAGE_SIZE << order), 0);
                live.push((block.phys, order));
            }
        } else if !live.is_empty() {
            let (phys, order) = live.swap_remove(random(live.len() as u64) as usize);
            allocator.release(phys, order);
        }
    }
    for (phys, order) in live {
        allocator.release(phys, order);
    }
    assert_eq!(allocator.free_frames(), free);
}

#[test]
fn frame_handles_count_references() {
    let before = LIVE.with(core::cell::Cell::get);
    let frame = Frame::zeroed().unwrap();
    frame.write(100, b"hello");
    let copy = frame.copy().unwrap();
    let shared = frame.clone();
    assert!(!frame.is_unique() && copy.is_unique());
    drop(frame);
    assert!(shared.is_unique());
    let mut bytes = [0; 6];
    copy.read(100, &mut bytes);
    assert_eq!(&bytes, b"hello\0");
    drop((shared, copy));
    assert_eq!(LIVE.with(core::cell::Cell::get), before);
}

#[test]
fn used_blocks_are_taken_once_and_come_back_as_zero() {
    let (mut allocator, _) = small(16);
    let free = allocator.free_frames();
    let huge: Vec<_> = (0..3)
        .map_while(|_| allocator.allocate(MAX_ORDER))
        .collect();
    let single = allocator.allocate(0).unwrap();
    assert_eq!(allocator.used_blocks, 0);
    for block in &huge {
        allocator.release(block.phys, MAX_ORDER);
    }
    allocator.release(single.phys, 0);
    assert_eq!(allocator.used_blocks, 3);
    let mut room = [0; 2];
    assert_eq!(allocator.take_used(&mut room), 2);
    assert_eq!((allocator.used_blocks, allocator.free_frames()), (1, free));
    // The host refused.
    allocator.put_back(&room, false);
    assert_eq!(allocator.used_blocks, 3);
    let mut room = [0; 8];
    assert_eq!(allocator.take_used(&mut room), 3);
    allocator.put_back(&room[..3], true);
    assert_eq!(
        (allocator.used_blocks, allocator.take_used(&mut room)),
        (0, 0)
    );
    assert!(
        allocator
            .allocate_zero_huge()
            .is_some_and(|block| block.zero)
    );
    allocator.scrub();
    assert_eq!(allocator.used_blocks, 0);
}

#[test]
fn who_takes_much_is_taken_for_somebody_who_takes_more() {
    let (mut allocator, start) = small(64);
    let take = |allocator: &mut FrameAllocator| {
        allocator.allocate(MAX_ORDER).unwrap();
        allocator.wanted_ahead()
    };
    let mut told: Vec<Segment> = Vec::new();
    for _ in 1..AHEAD {
        assert_eq!(take(&mut allocator), None);
    }
    while allocator.untouched < allocator.end - HUGE_FRAMES {
        let untouched = u64::from(allocator.untouched + HUGE_FRAMES) * PAGE_SIZE;
        if let Some(range) = take(&mut allocator) {
            let before = told.last().map_or(0, |last| last.gpa + last.len);
            assert!(range.gpa >= untouched.max(before));
            told.push(range);
        }
    }
    // From the first on, up to the end or nearly so, in few steps.
    assert!((2..=7).contains(&told.len()), "{told:x?}");
    assert_eq!(told[0].gpa, start + (u64::from(AHEAD) + 1) * HUGE_PAGE_SIZE);
    let last = told[told.len() - 1];
    let left = start + (64 << 20) - (last.gpa + last.len);
    assert!(left < u64::from(AHEAD / 2) * HUGE_PAGE_SIZE, "{left:#x}");
    allocator.scrub();
    assert_eq!(take(&mut allocator), None);
}
