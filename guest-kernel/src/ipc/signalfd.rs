//! signalfd: pending signals as a file.

use crate::errno::{Errno, Result};
use crate::fs::file::File;
use crate::fs::inode::Metadata;
use crate::io::{Destination, Source};
use crate::ipc::anon;
use crate::wait::{PollEvents, WaitQueue};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};

/// A signal taken from those pending: the parts of `siginfo_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalRecord {
    /// `si_signo`.
    pub signo: i32,
    /// `si_errno`.
    pub errno: i32,
    /// `si_code`.
    pub code: i32,
    /// The union after them, as words.
    pub fields: [u64; 14],
}

/// Where pending signals come from. Sets have bit n-1 for signal n.
pub trait SignalSource: Send + Sync {
    /// Takes a signal of `set` that is pending for the calling task or its process.
    fn take(&self, set: u64) -> Option<SignalRecord>;
    /// Whether there is one.
    fn pending(&self, set: u64) -> bool;
    /// Woken when a signal is queued.
    fn queue(&self) -> &WaitQueue;
}

/// Bytes of `struct signalfd_siginfo`.
const RECORD: usize = 128;

/// SIGKILL and SIGSTOP, which cannot be taken.
const UNBLOCKABLE: u64 = 1 << 8 | 1 << 18;

/// A signal file.
pub struct SignalFd {
    mask: AtomicU64,
    source: Arc<dyn SignalSource>,
}

impl SignalFd {
    /// A file that gives the signals of `mask`.
    pub fn new(mask: u64, source: Arc<dyn SignalSource>) -> SignalFd {
        SignalFd {
            mask: AtomicU64::new(mask & !UNBLOCKABLE),
            source,
        }
    }

    /// Changes the signals it gives.
    pub fn set_mask(&self, mask: u64) {
        self.mask.store(mask & !UNBLOCKABLE, Ordering::Relaxed);
        self.source
            .queue()
            .wake(PollEvents::IN | PollEvents::RDNORM);
    }

    fn mask(&self) -> u64 {
        self.mask.load(Ordering::Relaxed)
    }
}

impl SignalRecord {
    /// As `struct signalfd_siginfo` (include/uapi/linux/signalfd.h).
    fn to_bytes(self) -> [u8; RECORD] {
        const SI_QUEUE: i32 = -1;
        const SI_TIMER: i32 = -2;
        const SI_KERNEL: i32 = 0x80;
        let mut out = [0; RECORD];
        let mut put = |at: usize, bytes: &[u8]| {
            for (to, from) in out.iter_mut().skip(at).zip(bytes) {
                *to = *from;
            }
        };
        let [first, second, third, fourth, ..] = self.fields;
        let (low, high) = (
            (first as u32).to_ne_bytes(),
            ((first >> 32) as u32).to_ne_bytes(),
        );
        let value = (second as u32).to_ne_bytes();
        put(0, &(self.signo as u32).to_ne_bytes());
        put(4, &self.errno.to_ne_bytes());
        put(8, &self.code.to_ne_bytes());
        match (self.signo, self.code) {
            (_, SI_TIMER) => {
                put(24, &low);
                put(32, &high);
                put(44, &value);
                put(48, &second.to_ne_bytes());
            }
            // SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV: a fault's address.
            (4 | 5 | 7 | 8 | 11, 1..SI_KERNEL) => put(72, &first.to_ne_bytes()),
            // SIGCHLD.
            (17, 1..SI_KERNEL) => {
                put(12, &low);
                put(16, &high);
                put(40, &value);
                put(56, &third.to_ne_bytes());
                put(64, &fourth.to_ne_bytes());
            }
            // SIGIO.
            (29, 1..SI_KERNEL) => {
                put(28, &low);
                put(20, &value);
            }
            (_, code) => {
                put(12, &low);
                put(16, &high);
                if code == SI_QUEUE {
                    put(44, &value);
                    put(48, &second.to_ne_bytes());
                }
            }
        }
        out
    }
}

impl File for SignalFd {
    fn read_at(&self, dst: &mut Destination<'_>, _offset: u64) -> Result<usize> {
        if dst.remaining() < RECORD {
            return Err(Errno::EINVAL);
        }
        let mut total = 0;
        while dst.remaining() >= RECORD
            && let Some(record) = self.source.take(self.mask())
        {
            total += dst.put(&record.to_bytes())?;
        }
        if total == 0 {
            Err(Errno::EAGAIN)
        } else {
            Ok(total)
        }
    }

    fn write_at(&self, _src: &mut Source<'_>, _offset: u64) -> Result<usize> {
        Err(Errno::EINVAL)
    }

    fn poll(&self) -> PollEvents {
        if self.source.pending(self.mask()) {
            PollEvents::IN | PollEvents::RDNORM
        } else {
            PollEvents::empty()
        }
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(self.source.queue())
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(anon::metadata())
    }

    fn describe(&self) -> Vec<u8> {
        b"anon_inode:[signalfd]".to_vec()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{Lock, Rank};

    struct Fake {
        pending: Lock<Vec<SignalRecord>>,
        queue: WaitQueue,
    }

    impl Default for Fake {
        fn default() -> Fake {
            Fake {
                pending: Lock::new(Rank::File, Vec::new()),
                queue: WaitQueue::new(),
            }
        }
    }

    impl SignalSource for Fake {
        fn take(&self, set: u64) -> Option<SignalRecord> {
            let mut pending = self.pending.lock();
            let at = pending
                .iter()
                .position(|one| set & 1 << (one.signo - 1) != 0)?;
            Some(pending.remove(at))
        }
        fn pending(&self, set: u64) -> bool {
            self.pending
                .lock()
                .iter()
                .any(|one| set & 1 << (one.signo - 1) != 0)
        }
        fn queue(&self) -> &WaitQueue {
            &self.queue
        }
    }

    fn record(signo: i32, code: i32, first: u64, second: u64) -> SignalRecord {
        let mut fields = [0; 14];
        fields[0] = first;
        fields[1] = second;
        SignalRecord {
            signo,
            errno: 0,
            code,
            fields,
        }
    }

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn only_signals_of_the_mask_are_given() {
        let source = Arc::new(Fake::default());
        let file = SignalFd::new(1 << 16 | UNBLOCKABLE, source.clone());
        let mut bytes = [0; 300];
        assert_eq!(
            file.read_at(&mut Destination::kernel(&mut bytes), 0),
            Err(Errno::EAGAIN)
        );
        source.pending.lock().push(record(15, 0, 9, 0));
        assert!(file.poll().is_empty());
        source.pending.lock().push(record(17, 1, 77, 3));
        source
            .pending
            .lock()
            .push(record(17, -1, 7, 0x1234_0000_0005));
        assert!(file.poll().contains(PollEvents::IN));
        assert_eq!(
            file.read_at(&mut Destination::kernel(&mut bytes[..100]), 0),
            Err(Errno::EINVAL)
        );
        assert_eq!(
            file.read_at(&mut Destination::kernel(&mut bytes), 0),
            Ok(256)
        );
        // Signal, pid and exit status of the child; then value of the queued one.
        assert_eq!(
            (word(&bytes, 0), word(&bytes, 12), word(&bytes, 40)),
            (17, 77, 3)
        );
        assert_eq!(
            (word(&bytes, 128 + 44), word(&bytes, 128 + 52)),
            (5, 0x1234)
        );
        file.set_mask(1 << 14);
        assert_eq!(
            file.read_at(&mut Destination::kernel(&mut bytes), 0),
            Ok(128)
        );
        assert_eq!(word(&bytes, 0), 15);
    }
}
