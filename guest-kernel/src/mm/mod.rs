//! Memory management: what lies behind a program's addresses.
//!
//! A program sees a sparse address space made of *VMAs* (virtual memory areas): ranges with one
//! protection and one kind of content, created by mmap. Page tables tell the processor what is
//! behind each page right now; they are filled lazily by page faults. Physical memory is handed out
//! in 4 KiB *frames* with a reference count each.
//!
//! | file | idea |
//! |---|---|
//! | `phys` | guest-physical memory through the direct map (an arena in host unit tests) |
//! | `frame` | frames: buddy allocator, reference counts, `Frame` handles |
//! | `heap` | the sentry's own allocator |
//! | `page_table` | four-level tables: walk, map, unmap, split |
//! | `file` | what a file offers to be mapped |
//! | `vma` | the areas of one address space: find, split, merge, find room |
//! | `address_space` | the type the rest of the sentry holds; mapping calls in `map`, `remap`, `advise` |
//! | `fault` | demand paging and copy-on-write |
//! | `user` | access to user memory: walk and fault in software, then the direct map |
//! | `fork`, `report` | duplicates; /proc/PID/maps and smaps |
//! | `reclaim` | freed memory goes back to the host |
//! | `compact` | before a snapshot: few large pages instead of many small ones |
//!
//! # Invariants
//!
//! - A present entry never allows more than its VMA does; an entry may allow less (copy-on-write).
//! - Every present or parked entry of RAM holds one reference to its frame; image pages have none.
//! - Kernel code never goes through user addresses, so the sentry itself never faults.
//! - Entries are removed or weakened under the space's lock and flushed before it is released.
//!
//! Files must not be truncated under a mapping and expect SIGBUS for pages already mapped: there is
//! no reverse map, mapped pages of a truncated file stay readable until they are unmapped.

#![allow(unsafe_code)]

mod address_space;
mod advise;
mod compact;
mod fault;
mod file;
mod fork;
pub mod frame;
pub mod heap;
mod lock;
mod map;
mod page_table;
mod phys;
mod pointer;
pub mod reclaim;
mod remap;
mod report;
mod shared;
mod user;
mod vma;

pub use address_space::{AddressSpace, MMAP_MIN_ADDR, MemoryLimits, MemoryUsage, STACK_TOP};
pub use advise::advice;
pub use compact::{Hot, compact};
pub use fault::{Access, FaultError};
pub use file::{FileMapping, FilePage};
pub use frame::{Frame, FrameStats};
pub use lock::FutureLock;
pub use map::{MapFile, MapFlags, MapRequest};
pub use page_table::undo as undo_tables;
#[cfg(not(target_os = "none"))]
pub use phys::host_image;
pub use phys::{boot_slice, image_slice};
pub use pointer::{UserAddr, UserPtr};
pub use remap::RemapFlags;
pub use shared::{KernelPages, SharedMemory};
pub use vma::Prot;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
