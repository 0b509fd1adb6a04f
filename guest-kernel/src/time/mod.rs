//! Clocks and timers.
//!
//! Every clock is computed from the TSC and one [`ClockReading`] the VMM took at boot or restore:
//! no exit. CLOCK_MONOTONIC goes on at restore where it stood at the snapshot; CLOCK_REALTIME is
//! the host's.

mod cpu_time;
pub mod timers;

pub use cpu_time::CpuTime;

use crate::sync::{Lock, Rank};
use sprout_abi::boot::ClockReading;

/// Nanoseconds in a second.
pub const NSEC_PER_SEC: u64 = 1_000_000_000;

#[derive(Clone, Copy)]
struct Base {
    reading: ClockReading,
    /// ns = (ticks * mult) >> 32.
    mult: u64,
    /// What clock_settime added to CLOCK_REALTIME.
    realtime_offset: i64,
}

/// Until the VMM's reading is set, a TSC of 1 GHz from 0: what host unit tests run on.
static BASE: Lock<Base> = Lock::new(
    Rank::Clock,
    Base {
        reading: ClockReading {
            tsc: 0,
            tsc_khz: 1_000_000,
            realtime_ns: 0,
            monotonic_ns: 0,
        },
        mult: 1 << 32,
        realtime_offset: 0,
    },
);

/// Starts the clocks (boot), or puts them right (restore).
pub fn set_base(reading: ClockReading) {
    let mult = (1_000_000u64 << 32)
        .checked_div(reading.tsc_khz)
        .unwrap_or(0);
    *BASE.lock() = Base {
        reading,
        mult,
        realtime_offset: 0,
    };
    crate::arch::vdso::update(&reading, mult, 0);
}

impl Base {
    fn elapsed(&self) -> u64 {
        let ticks = crate::arch::tsc().saturating_sub(self.reading.tsc);
        ((u128::from(ticks) * u128::from(self.mult)) >> 32) as u64
    }
}

/// Frequency of the TSC in kHz.
pub fn tsc_khz() -> u64 {
    BASE.lock().reading.tsc_khz
}

/// `ticks` of the TSC in ns.
pub fn ticks_to_ns(ticks: u64) -> u64 {
    let mult = BASE.lock().mult;
    ((u128::from(ticks) * u128::from(mult)) >> 32) as u64
}

/// CLOCK_MONOTONIC in ns.
pub fn monotonic_ns() -> u64 {
    let base = *BASE.lock();
    base.reading.monotonic_ns + base.elapsed()
}

/// CLOCK_REALTIME in ns since 1970.
pub fn realtime_ns() -> u64 {
    let base = *BASE.lock();
    (base.reading.realtime_ns + base.elapsed()).wrapping_add_signed(base.realtime_offset)
}

/// clock_settime(CLOCK_REALTIME): moves this guest's idea of the time.
pub fn set_realtime_ns(now: u64) {
    let current = realtime_ns();
    let mut base = BASE.lock();
    base.realtime_offset += now.wrapping_sub(current) as i64;
    let (reading, mult, offset) = (base.reading, base.mult, base.realtime_offset);
    drop(base);
    crate::arch::vdso::update(&reading, mult, offset);
}

/// The monotonic moment at which CLOCK_REALTIME will read `realtime`.
pub fn monotonic_of_realtime(realtime: u64) -> u64 {
    let offset = realtime_ns() as i64 - monotonic_ns() as i64;
    realtime.saturating_add_signed(-offset)
}
