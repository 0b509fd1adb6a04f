//! Memory that programs freed goes back to the host.
//!
//! Only whole free blocks of 2 MiB, and not at once: a program that frees much often needs as much
//! again a moment later, and each block costs the host a fraction of a millisecond to make anew.
//! Clean pages need nothing of the kind. Files of images are mapped as they lie in the host's page
//! cache, which the host shrinks when it likes, and so are the pages of a restored VM that it never
//! wrote.

use super::frame;
use crate::platform;
use crate::time;
use crate::time::timers::{self, TimerTarget};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use sprout_abi::hypercall::Segment;
use sprout_abi::layout::HUGE_PAGE_SIZE;

/// How long blocks stay free before they go back: Linux's delay of free page reporting is 2 s
/// (mm/page_reporting.c), for guests that live long.
const DELAY_NS: u64 = 1_000_000_000;

/// Whether the timer is armed.
static ARMED: AtomicBool = AtomicBool::new(false);
/// The VMM refused once, so it will again.
static REFUSED: AtomicBool = AtomicBool::new(false);
static GIVEN_BACK: AtomicU64 = AtomicU64::new(0);

struct Reclaim;

impl TimerTarget for Reclaim {
    fn expired(&self, _: u64) {
        ARMED.store(false, Ordering::Relaxed);
        let blocks = frame::give_back(|blocks| {
            let mut segments = [Segment::default(); frame::GIVE_BACK];
            for (segment, block) in segments.iter_mut().zip(blocks) {
                *segment = Segment {
                    gpa: *block,
                    len: HUGE_PAGE_SIZE,
                };
            }
            let done = platform::give_back(&segments[..blocks.len()]).is_ok();
            REFUSED.store(!done, Ordering::Relaxed);
            done
        });
        GIVEN_BACK.fetch_add(blocks * HUGE_PAGE_SIZE, Ordering::Relaxed);
    }
}

/// Sees to it that what is free now and still is after a while goes back. Cheap when nothing is.
#[inline]
pub fn consider() {
    if frame::has_used_blocks() && !ARMED.load(Ordering::Relaxed) {
        arm();
    }
}

fn arm() {
    if !REFUSED.load(Ordering::Relaxed) {
        ARMED.store(true, Ordering::Relaxed);
        let due = time::monotonic_ns().saturating_add(DELAY_NS);
        timers::arm(due, Arc::new(Reclaim));
    }
}

/// Bytes given back so far.
pub fn given_back() -> u64 {
    GIVEN_BACK.load(Ordering::Relaxed)
}
