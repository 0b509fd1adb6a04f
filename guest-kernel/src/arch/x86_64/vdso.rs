//! The vDSO: clock_gettime and its kin without entering the sentry.

use crate::errno::Result;
use crate::mm::AddressSpace;
use sprout_abi::boot::ClockReading;

/// Publishes new clock parameters to the vDSO's data page.
pub fn update(_reading: &ClockReading, _mult: u64, _realtime_offset: i64) {}

/// Maps the vDSO into a new program; its address, 0: none.
pub fn map(_space: &AddressSpace) -> Result<u64> {
    Ok(0)
}
