//! Sockets. May use `fs` (the [`crate::fs::file::File`] trait, inodes that sockets are bound to),
//! `mm` and `ipc::anon`; never `task`.
//!
//! [`socket::Socket`] is what every kind offers, [`socket::SocketFile`] makes it a file. AF_UNIX is
//! in [`unix`], TCP and UDP between programs of this VM in [`inet`], and [`netlink`] answers what
//! interfaces there are. A route to anywhere but this VM would begin in [`inet::route`].
//!
//! Like pipes, sockets are non-blocking state machines which copy to and from user memory, and wake
//! their queues, without holding a lock. No two sockets' locks are held at once.

pub mod address;
pub mod buffer;
pub mod counters;
pub mod inet;
pub mod netlink;
pub mod options;
pub mod registry;
pub mod socket;
pub mod unix;
