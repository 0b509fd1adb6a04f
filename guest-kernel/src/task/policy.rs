//! What a thread's scheduling is set to: policy, nice value, priorities.
//!
//! It is kept, inherited and reported as on Linux. The scheduler gives every thread its turn alike:
//! who waits for a vCPU are the threads of one program.

use crate::errno::{Errno, Result};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU16, Ordering};

/// Numbers of policies.
#[allow(missing_docs)]
pub mod class {
    pub const NORMAL: u32 = 0;
    pub const FIFO: u32 = 1;
    pub const RR: u32 = 2;
    pub const BATCH: u32 = 3;
    pub const IDLE: u32 = 5;
    pub const DEADLINE: u32 = 6;
}

/// Runtime, deadline and period of SCHED_DEADLINE, in ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadline {
    /// CPU time per period.
    pub runtime: u64,
    /// By when, from the period's start.
    pub deadline: u64,
    /// 0: as the deadline.
    pub period: u64,
}

impl Deadline {
    /// EINVAL unless Linux could keep it (`__checkparam_dl`).
    fn check(self) -> Result<()> {
        /// Shorter run times are not worth a switch.
        const SHORTEST: u64 = 1 << 10;
        const PERIODS: core::ops::RangeInclusive<u64> = 100_000..=(1 << 22) * 1000;
        let period = match self.period {
            0 => self.deadline,
            period => period,
        };
        let valid = self.deadline != 0
            && self.runtime >= SHORTEST
            && (self.deadline | self.period) >> 63 == 0
            && self.runtime <= self.deadline
            && self.deadline <= period
            && PERIODS.contains(&period);
        if valid { Ok(()) } else { Err(Errno::EINVAL) }
    }
}

/// What is set.
#[derive(Clone, Debug)]
pub struct Policy {
    /// [`class`].
    pub class: u32,
    /// -20 (gets most) to 19.
    pub nice: i32,
    /// 1 to 99 of SCHED_FIFO and SCHED_RR, else 0.
    pub priority: u32,
    /// Children start with the default instead of this.
    pub reset_on_fork: bool,
    /// Of SCHED_DEADLINE.
    pub deadline: Deadline,
    /// Further flags of SCHED_DEADLINE.
    pub deadline_flags: u64,
    /// Class and level of its input and output; threads made with CLONE_IO share it.
    pub io: Arc<AtomicU16>,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            class: class::NORMAL,
            nice: 0,
            priority: 0,
            reset_on_fork: false,
            deadline: Deadline::default(),
            deadline_flags: 0,
            io: Arc::default(),
        }
    }
}

impl Policy {
    /// Whether the nice value counts.
    pub fn is_fair(&self) -> bool {
        matches!(self.class, class::NORMAL | class::BATCH)
    }

    /// Whether it is one of the two with priorities.
    pub fn is_real_time(&self) -> bool {
        matches!(self.class, class::FIFO | class::RR)
    }

    /// EINVAL for what no thread can be set to.
    pub fn check(&self) -> Result<()> {
        let known = matches!(
            self.class,
            class::NORMAL | class::FIFO | class::RR | class::BATCH | class::IDLE | class::DEADLINE
        );
        if !known || self.priority > 99 {
            return Err(Errno::EINVAL);
        }
        if self.class == class::DEADLINE {
            self.deadline.check()?;
        }
        match self.is_real_time() == (self.priority != 0) {
            true => Ok(()),
            false => Err(Errno::EINVAL),
        }
    }

    /// What a new thread starts with; EAGAIN: SCHED_DEADLINE is not for children.
    pub fn forked(&self, share_io: bool) -> Result<Policy> {
        let mut child = self.clone();
        child.reset_on_fork = false;
        if self.reset_on_fork {
            if !self.is_fair() && self.class != class::IDLE {
                child.class = class::NORMAL;
                child.priority = 0;
                child.nice = 0;
            }
            child.nice = child.nice.max(0);
        } else if self.class == class::DEADLINE {
            return Err(Errno::EAGAIN);
        }
        if !share_io {
            child.io = Arc::new(AtomicU16::new(self.io.load(Ordering::Relaxed)));
        }
        Ok(child)
    }

    /// The priority that `/proc/PID/stat` has.
    pub fn shown_priority(&self) -> i32 {
        match self.class {
            class::DEADLINE => -101,
            class::FIFO | class::RR => -1 - self.priority as i32,
            _ => 20 + self.nice,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_time_policies_have_priorities_and_others_none() {
        let with = |class, priority| Policy {
            class,
            priority,
            ..Policy::default()
        };
        for (class, priority, valid) in [
            (class::NORMAL, 0, true),
            (class::NORMAL, 1, false),
            (class::FIFO, 0, false),
            (class::FIFO, 99, true),
            (class::RR, 100, false),
            (class::IDLE, 0, true),
            (4, 0, false),
            (class::DEADLINE, 0, false),
        ] {
            assert_eq!(
                with(class, priority).check().is_ok(),
                valid,
                "{class} {priority}"
            );
        }
        let mut deadline = with(class::DEADLINE, 0);
        deadline.deadline = Deadline {
            runtime: 10_000_000,
            deadline: 30_000_000,
            period: 0,
        };
        assert_eq!(deadline.check(), Ok(()));
        assert_eq!(deadline.forked(false).err(), Some(Errno::EAGAIN));
    }

    #[test]
    fn children_of_reset_on_fork_start_afresh() {
        let parent = Policy {
            class: class::RR,
            priority: 5,
            nice: -3,
            reset_on_fork: true,
            ..Policy::default()
        };
        let child = parent.forked(true).unwrap();
        assert_eq!(
            (child.class, child.priority, child.nice),
            (class::NORMAL, 0, 0)
        );
        assert!(!child.reset_on_fork);
        assert_eq!(parent.shown_priority(), -6);
        let kept = Policy {
            nice: 7,
            ..Policy::default()
        };
        assert_eq!(kept.forked(false).unwrap().nice, 7);
    }
}
