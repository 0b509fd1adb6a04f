//! The guest's clocks. Guest monotonic time is a function of the guest TSC alone, the same on both
//! sides of the VM boundary, so a deadline means the same instant to the sentry and to the VMM.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sprout_abi::boot::ClockReading;

/// How the guest's time-stamp counter relates to the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tsc {
    /// Frequency in kHz.
    pub khz: u64,
    /// Guest value minus host value; 0 where KVM lets us choose.
    pub offset: i64,
}

impl Tsc {
    /// The guest's counter now.
    pub fn now(&self) -> u64 {
        host_tsc().wrapping_add_signed(self.offset)
    }
}

/// The host's time-stamp counter.
pub fn host_tsc() -> u64 {
    // SAFETY: every x86-64 processor has RDTSC, and it touches no memory.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Guest monotonic time: a TSC value and what the clock showed then.
#[derive(Clone, Copy, Debug)]
pub struct GuestClock {
    tsc: Tsc,
    origin: u64,
    monotonic_at_origin: u64,
}

impl GuestClock {
    /// A clock that shows `monotonic_ns` now.
    pub fn starting_at(tsc: Tsc, monotonic_ns: u64) -> Self {
        Self {
            tsc,
            origin: tsc.now(),
            monotonic_at_origin: monotonic_ns,
        }
    }

    /// Guest CLOCK_MONOTONIC in ns.
    pub fn now(&self) -> u64 {
        self.at(self.tsc.now())
    }

    /// What the clock showed when it was started.
    pub fn origin_ns(&self) -> u64 {
        self.monotonic_at_origin
    }

    fn at(&self, tsc: u64) -> u64 {
        let ticks = u128::from(tsc.saturating_sub(self.origin));
        let elapsed = ticks * 1_000_000 / u128::from(self.tsc.khz.max(1));
        self.monotonic_at_origin
            .saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    /// All clocks at one moment.
    pub fn reading(&self) -> ClockReading {
        let tsc = self.tsc.now();
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        ClockReading {
            tsc,
            tsc_khz: self.tsc.khz,
            realtime_ns: u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX),
            monotonic_ns: self.at(tsc),
        }
    }

    /// How long until `deadline` (guest ns): `None` for the end of time, zero when it has passed.
    pub fn until(&self, deadline: u64) -> Option<Duration> {
        (deadline != u64::MAX).then(|| Duration::from_nanos(deadline.saturating_sub(self.now())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_ticks_is_a_second() {
        let tsc = Tsc {
            khz: 2_500_000,
            offset: 0,
        };
        let clock = GuestClock {
            tsc,
            origin: 1_000,
            monotonic_at_origin: 7,
        };
        assert_eq!(clock.at(1_000 + 2_500_000_000), 1_000_000_007);
        assert_eq!(clock.at(0), 7, "never backwards");
        assert_eq!(
            clock.at(u64::MAX) / 1_000_000_000,
            (u64::MAX - 1_000) / 2_500_000_000
        );
    }

    #[test]
    fn deadlines_are_relative_to_the_guests_clock() {
        let clock = GuestClock::starting_at(
            Tsc {
                khz: 2_500_000,
                offset: -5,
            },
            1_000_000_000_000,
        );
        assert_eq!(clock.until(u64::MAX), None);
        assert_eq!(clock.until(5), Some(Duration::ZERO));
        let left = clock.until(1_060_000_000_000).unwrap();
        assert!(left > Duration::from_secs(50) && left <= Duration::from_secs(60));
    }
}
