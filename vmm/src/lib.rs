//! The virtual machine monitor: one process, one micro-VM, a thread for each vCPU.
//!
//! Depends on `sprout-abi`, the contract with the sentry, and `sprout-text`. What guest and outside
//! say to each other over the request channel is not its affair.
//!
//! [`vm`] draws a VM's life: a shell without a guest, a guest that runs after [`boot`], one that waits
//! and can be kept as a [`snapshot`] or made a copy of, the end. [`vm::Vm::run`] enters the guest and
//! serves its [`hypercall`]s from a [`backend::Backend`].

mod ahead;
pub mod backend;
pub mod boot;
pub mod clock;
pub mod cpuid;
pub mod error;
pub mod host;
pub mod hypercall;
pub mod isolation;
pub mod kernel;
mod kick;
mod mapping;
pub mod memory;
pub mod page_cache;
mod paging;
pub mod probe;
pub mod program;
pub mod shell;
pub mod snapshot;
pub mod stats;
mod symbols;
mod vcpu;
pub mod vm;
