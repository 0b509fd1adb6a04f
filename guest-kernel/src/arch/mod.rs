//! Everything that depends on the processor. The rest of the sentry sees the names exported here;
//! host unit tests see a stand-in with the same ones.

#[cfg(all(target_os = "none", target_arch = "x86_64"))]
mod x86_64;
#[cfg(all(target_os = "none", target_arch = "x86_64"))]
pub use x86_64::*;

#[cfg(not(target_os = "none"))]
mod host;
#[cfg(not(target_os = "none"))]
#[path = "x86_64/page_table.rs"]
pub mod page_table;
#[cfg(not(target_os = "none"))]
pub use host::*;

#[path = "x86_64/frame.rs"]
mod frame;
pub use frame::TrapFrame;

#[cfg(not(target_os = "none"))]
#[path = "x86_64/signal_frame.rs"]
pub mod signal_frame;

#[path = "x86_64/cpuinfo.rs"]
mod cpuinfo;
pub use cpuinfo::cpu_information;
