//! The guest's life outside system calls: boot, idling, events from outside, restore.

#[cfg(target_os = "none")]
mod boot;
#[cfg(target_os = "none")]
mod entry;
pub mod events;
#[cfg(target_os = "none")]
mod idle;
pub mod restore;
