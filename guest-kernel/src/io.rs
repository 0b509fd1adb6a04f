//! Where file operations put and get bytes: kernel memory or a program's, one buffer or many.

use crate::errno::{Errno, Result};
use crate::mm::AddressSpace;
use alloc::vec::Vec;
use core::ops::Range;

/// One buffer of a program: address and bytes. A claim until it is copied through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRange {
    /// First address.
    pub addr: u64,
    /// Bytes.
    pub len: u64,
}

/// How far a transfer has come through a program's buffers.
struct Cursor<'a> {
    space: &'a AddressSpace,
    ranges: Vec<UserRange>,
    current: usize,
    /// Bytes of the current range that are done.
    in_range: u64,
}

impl Cursor<'_> {
    /// Moves `want` bytes, of which the ranges must have that many left. `copy` moves the bytes
    /// `from..to` of the transfer at an address and tells how many went before a fault. EFAULT only
    /// if nothing could be moved.
    fn advance(
        &mut self,
        want: usize,
        mut copy: impl FnMut(&AddressSpace, u64, Range<usize>) -> usize,
    ) -> Result<usize> {
        let mut moved = 0;
        while moved < want {
            let range = self.ranges[self.current];
            let n = (want - moved).min((range.len - self.in_range) as usize);
            let copied = copy(self.space, range.addr + self.in_range, moved..moved + n);
            moved += copied;
            self.in_range += copied as u64;
            if copied < n {
                if moved == 0 {
                    return Err(Errno::EFAULT);
                }
                break;
            }
            if self.in_range == range.len {
                self.current += 1;
                self.in_range = 0;
            }
        }
        Ok(moved)
    }
}

enum Place<'a, B> {
    Kernel(B),
    User(Cursor<'a>),
}

impl<'a, B> Place<'a, B> {
    /// A program's buffers, and their total.
    fn user(space: &'a AddressSpace, mut ranges: Vec<UserRange>) -> (Self, usize) {
        let total = clamp(&mut ranges);
        let cursor = Cursor {
            space,
            ranges,
            current: 0,
            in_range: 0,
        };
        (Place::User(cursor), total)
    }
}

/// Where a read puts its bytes.
pub struct Destination<'a> {
    place: Place<'a, &'a mut [u8]>,
    done: usize,
    total: usize,
}

/// Where a write gets its bytes.
pub struct Source<'a> {
    place: Place<'a, &'a [u8]>,
    done: usize,
    total: usize,
}

/// Longest single transfer, as Linux: `MAX_RW_COUNT`.
pub const MAX_TRANSFER: u64 = 0x7fff_f000;

/// Cuts the list off at [`MAX_TRANSFER`] bytes; returns its total.
fn clamp(ranges: &mut Vec<UserRange>) -> usize {
    let mut total = 0u64;
    for range in ranges.iter_mut() {
        range.len = range.len.min(MAX_TRANSFER - total);
        total += range.len;
    }
    ranges.retain(|range| range.len > 0);
    total as usize
}

impl<'a> Destination<'a> {
    /// Into kernel memory.
    pub fn kernel(buffer: &'a mut [u8]) -> Self {
        let total = buffer.len();
        Destination {
            place: Place::Kernel(buffer),
            done: 0,
            total,
        }
    }

    /// Into a program's buffers, in order.
    pub fn user(space: &'a AddressSpace, ranges: Vec<UserRange>) -> Self {
        let (place, total) = Place::user(space, ranges);
        Destination {
            place,
            done: 0,
            total,
        }
    }

    /// Bytes that still fit.
    pub fn remaining(&self) -> usize {
        self.total - self.done
    }

    /// Lets no more than `bytes` further bytes be put.
    pub fn limit(&mut self, bytes: usize) {
        self.total = self.total.min(self.done.saturating_add(bytes));
    }

    /// Bytes put so far.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Puts as much of `bytes` as fits and can be written; EFAULT only if nothing could.
    pub fn put(&mut self, bytes: &[u8]) -> Result<usize> {
        let want = bytes.len().min(self.remaining());
        let put = match &mut self.place {
            Place::Kernel(buffer) => {
                buffer[self.done..self.done + want].copy_from_slice(&bytes[..want]);
                want
            }
            Place::User(cursor) => cursor.advance(want, |space, addr, part| {
                space.write_some(addr, &bytes[part])
            })?,
        };
        self.done += put;
        Ok(put)
    }

    /// Puts `count` zero bytes, as [`Destination::put`].
    pub fn put_zeroes(&mut self, count: usize) -> Result<usize> {
        let mut put = 0;
        while put < count && self.remaining() > 0 {
            let chunk = (count - put).min(ZEROES.len());
            let n = match self.put(&ZEROES[..chunk]) {
                Ok(n) => n,
                Err(error) if put == 0 => return Err(error),
                Err(_) => break,
            };
            put += n;
            if n < chunk {
                break;
            }
        }
        Ok(put)
    }
}

static ZEROES: [u8; 4096] = [0; 4096];

impl<'a> Source<'a> {
    /// From kernel memory.
    pub fn kernel(buffer: &'a [u8]) -> Self {
        let total = buffer.len();
        Source {
            place: Place::Kernel(buffer),
            done: 0,
            total,
        }
    }

    /// From a program's buffers, in order.
    pub fn user(space: &'a AddressSpace, ranges: Vec<UserRange>) -> Self {
        let (place, total) = Place::user(space, ranges);
        Source {
            place,
            done: 0,
            total,
        }
    }

    /// Bytes still to take.
    pub fn remaining(&self) -> usize {
        self.total - self.done
    }

    /// Lets no more than `bytes` further bytes be taken.
    pub fn limit(&mut self, bytes: usize) {
        self.total = self.total.min(self.done.saturating_add(bytes));
    }

    /// Bytes taken so far.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Takes up to `bytes.len()` bytes; EFAULT only if nothing could be read.
    pub fn take(&mut self, bytes: &mut [u8]) -> Result<usize> {
        let want = bytes.len().min(self.remaining());
        let taken = match &mut self.place {
            Place::Kernel(buffer) => {
                bytes[..want].copy_from_slice(&buffer[self.done..self.done + want]);
                want
            }
            Place::User(cursor) => cursor.advance(want, |space, addr, part| {
                space.read_some(addr, &mut bytes[part])
            })?,
        };
        self.done += taken;
        Ok(taken)
    }

    /// As [`Source::take`], but what it took can be taken again: for a write that may turn out to
    /// have to wait.
    pub fn peek(&mut self, bytes: &mut [u8]) -> Result<usize> {
        let done = self.done;
        let position = match &self.place {
            Place::Kernel(_) => (0, 0),
            Place::User(cursor) => (cursor.current, cursor.in_range),
        };
        let taken = self.take(bytes);
        self.done = done;
        if let Place::User(cursor) = &mut self.place {
            (cursor.current, cursor.in_range) = position;
        }
        taken
    }

    /// Takes everything that is left.
    pub fn take_all(&mut self) -> Result<Vec<u8>> {
        let mut bytes = alloc::vec![0; self.remaining()];
        let n = self.take(&mut bytes)?;
        bytes.truncate(n);
        Ok(bytes)
    }
}
