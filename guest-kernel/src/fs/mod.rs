//! Files: inodes, the file systems, path resolution and descriptor tables.
//!
//! Linux keeps names (dentries), inodes and open files apart. Here a directory inode knows its
//! parent and its own name, so a path can be told from any directory without a name cache; a mount
//! is a pair of directory inodes; an open file remembers the path it was opened under.
//!
//! May use `mm` (frames, image memory), `io`, `wait`, `time`, `random`, `platform`; the process
//! information that `/proc` shows comes through a trait which `task` implements.

pub mod devfs;
pub mod directory;
pub mod dnotify;
pub mod erofs;
pub mod fd;
pub mod file;
pub mod init;
pub mod inode;
pub mod inotify;
pub mod locks;
pub mod mount;
pub mod owner;
pub mod path;
pub mod procfs;
pub mod rootfs;
#[cfg(test)]
pub(crate) mod testing;
