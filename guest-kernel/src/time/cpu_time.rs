//! CPU time of threads and processes.

/// CPU time, and how much of it passed in the sentry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// In programs and in the sentry, in ns.
    pub total_ns: u64,
    /// In the sentry, in ns.
    pub system_ns: u64,
}

impl CpuTime {
    /// In programs, in ns.
    pub fn user_ns(self) -> u64 {
        self.total_ns.saturating_sub(self.system_ns)
    }
}

impl core::ops::Add for CpuTime {
    type Output = CpuTime;

    fn add(self, other: CpuTime) -> CpuTime {
        CpuTime {
            total_ns: self.total_ns + other.total_ns,
            system_ns: self.system_ns + other.system_ns,
        }
    }
}

impl core::iter::Sum for CpuTime {
    fn sum<I: Iterator<Item = CpuTime>>(times: I) -> CpuTime {
        times.fold(CpuTime::default(), |sum, time| sum + time)
    }
}
