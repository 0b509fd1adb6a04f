//! Files through which tasks talk to each other or to the kernel: pipes, eventfd, timerfd,
//! signalfd, epoll. May use `fs` (the [`crate::fs::file::File`] trait), `mm`, `time`; never `task`.
//!
//! All are non-blocking state machines. None copies to or from user memory while its own lock is
//! held (an address space comes before them in the lock order), and all wake their queue after
//! letting go of it.

pub mod anon;
pub mod epoll;
pub mod eventfd;
pub mod pipe;
pub mod signalfd;
pub mod timerfd;
