//! The virtual machine monitor: one process, one micro-VM, a thread for each vCPU.
//!
//! Depends on `sprout-abi`, the contract with the sentry, and `sprout-text`. What guest and outside
//! say to each other over the request channel is not its affair.
//!
//! [`vm`] draws a VM's life: a shell without a guest, a guest that runs after [`boot`], one that waits
//! and can be kept as a [`snapshot`] or made a copy of, the end. [`vm::Vm::run`] enters the guest and
//! serves its [`hypercall`]s from a [`backend::Backend`].
//!
//! | room | what is in it |
//! |---|---|
//! | [`host`] | what KVM and the processor offer: the device, CPUID, privilege modes, counters |
//! | [`memory`] | a guest's memory, its mappings, memory made ready ahead, the page cache under images |
//! | [`clock`] | the guest's clocks |
//! | [`backend`] | what stands behind the hypercalls: a terminal, requests at hand |
//! | [`hypercall`] | the doorbell's requests, as functions |
//! | [`error`] | what the rooms below it share when something goes wrong |
//! | `vcpu` | a vCPU's thread, where the threads meet, registers, kicks |
//! | [`vm`] | the life of a VM |
//! | [`boot`] | the sentry's file, a program's, both in fresh memory; a probe that boots |
//! | [`snapshot`] | writing, restoring, rewinding |

pub mod backend;
pub mod boot;
pub mod clock;
pub mod error;
pub mod host;
pub mod hypercall;
pub mod memory;
pub mod snapshot;
mod vcpu;
pub mod vm;
