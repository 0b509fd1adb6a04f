//! `/proc` and `/sys`: what the kernel tells about itself, as files.
//!
//! Nothing here is stored: a node is a name with a function behind it, and its text is made when it
//! is read from the start.
//!
//! | file | idea |
//! |---|---|
//! | `source` | what `task` tells about processes, through a trait |
//! | `text` | an open file of such text |
//! | `fixed` | trees of fixed names: `/sys`, and `/proc` but for its processes |
//! | `system` | the texts of the fixed `/proc` |
//! | `network` | the texts of `/proc/net` and `/sys/class/net` |
//! | `process` | `/proc/PID` |
//! | `render` | the texts in it |

mod fixed;
mod network;
mod process;
mod render;
mod source;
mod system;
#[cfg(test)]
mod tests;
mod text;

use crate::fs::inode::Inode;
use alloc::sync::Arc;
pub use source::{ProcSource, ProcessInfo, SystemInfo, ThreadInfo, set_source};

/// The root of `/proc`.
pub fn proc_root() -> Arc<dyn Inode> {
    fixed::FixedNode::root(&fixed::PROC)
}

/// The root of `/sys`.
pub fn sys_root() -> Arc<dyn Inode> {
    fixed::FixedNode::root(&fixed::SYS)
}
