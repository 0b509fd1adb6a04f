//! eventfd: a 64-bit counter as a file.

use crate::errno::{Errno, Result};
use crate::fs::file::File;
use crate::fs::inode::Metadata;
use crate::io::{Destination, Source};
use crate::ipc::anon;
use crate::sync::{Lock, Rank};
use crate::wait::{PollEvents, WaitQueue};
use alloc::vec::Vec;
use core::any::Any;

/// The largest value the counter takes.
const MAX: u64 = u64::MAX - 1;

/// An eventfd: writes add to the counter; a read takes all of it, or one in semaphore mode.
pub struct EventFd {
    count: Lock<u64>,
    semaphore: bool,
    queue: WaitQueue,
}

impl EventFd {
    /// A counter at `initial`.
    pub fn new(initial: u32, semaphore: bool) -> EventFd {
        EventFd {
            count: Lock::new(Rank::File, initial.into()),
            semaphore,
            queue: WaitQueue::new(),
        }
    }
}

impl File for EventFd {
    fn read_at(&self, dst: &mut Destination<'_>, _offset: u64) -> Result<usize> {
        if dst.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let value = {
            let mut count = self.count.lock();
            let value = if self.semaphore {
                (*count).min(1)
            } else {
                *count
            };
            if value == 0 {
                return Err(Errno::EAGAIN);
            }
            *count -= value;
            value
        };
        self.queue.wake(PollEvents::OUT | PollEvents::WRNORM);
        dst.put(&value.to_ne_bytes())?;
        Ok(8)
    }

    fn write_at(&self, src: &mut Source<'_>, _offset: u64) -> Result<usize> {
        if src.remaining() < 8 {
            return Err(Errno::EINVAL);
        }
        let mut bytes = [0; 8];
        if src.peek(&mut bytes)? < 8 {
            return Err(Errno::EFAULT);
        }
        let value = u64::from_ne_bytes(bytes);
        if value == u64::MAX {
            return Err(Errno::EINVAL);
        }
        {
            let mut count = self.count.lock();
            if MAX - *count < value {
                return Err(Errno::EAGAIN);
            }
            *count += value;
        }
        src.take(&mut bytes)?;
        self.queue.wake(PollEvents::IN | PollEvents::RDNORM);
        Ok(8)
    }

    fn poll(&self) -> PollEvents {
        let count = *self.count.lock();
        let mut events = PollEvents::empty();
        if count > 0 {
            events |= PollEvents::IN | PollEvents::RDNORM;
        }
        if count < MAX {
            events |= PollEvents::OUT | PollEvents::WRNORM;
        }
        events
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(&self.queue)
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(anon::metadata())
    }

    fn describe(&self) -> Vec<u8> {
        b"anon_inode:[eventfd]".to_vec()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &EventFd) -> Result<u64> {
        let mut bytes = [0; 8];
        file.read_at(&mut Destination::kernel(&mut bytes), 0)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn write(file: &EventFd, value: u64) -> Result<usize> {
        file.write_at(&mut Source::kernel(&value.to_ne_bytes()), 0)
    }

    #[test]
    fn a_read_takes_the_whole_count() {
        let file = EventFd::new(2, false);
        write(&file, 3).unwrap();
        assert_eq!(read(&file), Ok(5));
        assert_eq!(read(&file), Err(Errno::EAGAIN));
        assert_eq!(file.poll(), PollEvents::OUT | PollEvents::WRNORM);
    }

    #[test]
    fn a_semaphore_is_taken_one_by_one() {
        let file = EventFd::new(2, true);
        assert_eq!((read(&file), read(&file)), (Ok(1), Ok(1)));
        assert_eq!(read(&file), Err(Errno::EAGAIN));
    }

    #[test]
    fn the_counter_never_overflows() {
        let file = EventFd::new(0, false);
        assert_eq!(write(&file, u64::MAX), Err(Errno::EINVAL));
        write(&file, MAX).unwrap();
        assert_eq!(file.poll(), PollEvents::IN | PollEvents::RDNORM);
        assert_eq!(write(&file, 1), Err(Errno::EAGAIN));
        assert_eq!(write(&file, 0), Ok(8));
        assert_eq!(read(&file), Ok(MAX));
    }

    #[test]
    fn a_write_that_waits_can_be_tried_again() {
        let file = EventFd::new(1, false);
        let bytes = MAX.to_ne_bytes();
        let mut src = Source::kernel(&bytes);
        assert_eq!(file.write_at(&mut src, 0), Err(Errno::EAGAIN));
        assert_eq!(read(&file), Ok(1));
        assert_eq!(file.write_at(&mut src, 0), Ok(8));
    }

    #[test]
    fn short_buffers_are_refused() {
        let file = EventFd::new(1, false);
        let mut small = [0; 7];
        assert_eq!(
            file.read_at(&mut Destination::kernel(&mut small), 0),
            Err(Errno::EINVAL)
        );
        assert_eq!(
            file.write_at(&mut Source::kernel(&small), 0),
            Err(Errno::EINVAL)
        );
    }
}
