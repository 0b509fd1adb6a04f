//! The virtual machine monitor: one process, one micro-VM, one vCPU thread.
//!
//! It depends on `sprout-abi` alone among our crates: that crate is the contract with the sentry.

pub mod host;
pub mod worker;
