//! Where file operations put and get bytes: kernel memory or a program's, one buffer or many.

use crate::errno::{Errno, Result};
use crate::mm::AddressSpace;
use alloc::vec::Vec;

/// One buffer of a program: address and bytes. A claim until it is copied through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRange {
    /// First address.
    pub addr: u64,
    /// Bytes.
    pub len: u64,
}

enum Place<'a, B> {
    Kernel(B),
    User {
        space: &'a AddressSpace,
        ranges: Vec<UserRange>,
        current: usize,
    },
}

/// Where a read puts its bytes.
pub struct Destination<'a> {
    place: Place<'a, &'a mut [u8]>,
    done: usize,
    total: usize,
    in_range: u64,
}

/// Where a write gets its bytes.
pub struct Source<'a> {
    place: Place<'a, &'a [u8]>,
    done: usize,
    total: usize,
    in_range: u64,
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
            in_range: 0,
        }
    }

    /// Into a program's buffers, in order.
    pub fn user(space: &'a AddressSpace, mut ranges: Vec<UserRange>) -> Self {
        let total = clamp(&mut ranges);
        Destination {
            place: Place::User {
                space,
                ranges,
                current: 0,
            },
            done: 0,
            total,
            in_range: 0,
        }
    }

    /// Bytes that still fit.
    pub fn remaining(&self) -> usize {
        self.total - self.done
    }

    /// Bytes put so far.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Puts as much of `bytes` as fits and can be written; EFAULT only if nothing could.
    pub fn put(&mut self, bytes: &[u8]) -> Result<usize> {
        let want = bytes.len().min(self.remaining());
        let mut put = 0;
        match &mut self.place {
            Place::Kernel(buffer) => {
                buffer[self.done..self.done + want].copy_from_slice(&bytes[..want]);
                put = want;
            }
            Place::User {
                space,
                ranges,
                current,
            } => {
                while put < want {
                    let range = ranges[*current];
                    let n = (want - put).min((range.len - self.in_range) as usize);
                    let copied = space.write_some(range.addr + self.in_range, &bytes[put..put + n]);
                    put += copied;
                    self.in_range += copied as u64;
                    if copied < n {
                        if put == 0 {
                            return Err(Errno::EFAULT);
                        }
                        break;
                    }
                    if self.in_range == range.len {
                        *current += 1;
                        self.in_range = 0;
                    }
                }
            }
        }
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
            in_range: 0,
        }
    }

    /// From a program's buffers, in order.
    pub fn user(space: &'a AddressSpace, mut ranges: Vec<UserRange>) -> Self {
        let total = clamp(&mut ranges);
        Source {
            place: Place::User {
                space,
                ranges,
                current: 0,
            },
            done: 0,
            total,
            in_range: 0,
        }
    }

    /// Bytes still to take.
    pub fn remaining(&self) -> usize {
        self.total - self.done
    }

    /// Bytes taken so far.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Takes up to `bytes.len()` bytes; EFAULT only if nothing could be read.
    pub fn take(&mut self, bytes: &mut [u8]) -> Result<usize> {
        let want = bytes.len().min(self.remaining());
        let mut taken = 0;
        match &mut self.place {
            Place::Kernel(buffer) => {
                bytes[..want].copy_from_slice(&buffer[self.done..self.done + want]);
                taken = want;
            }
            Place::User {
                space,
                ranges,
                current,
            } => {
                while taken < want {
                    let range = ranges[*current];
                    let n = (want - taken).min((range.len - self.in_range) as usize);
                    let copied =
                        space.read_some(range.addr + self.in_range, &mut bytes[taken..taken + n]);
                    taken += copied;
                    self.in_range += copied as u64;
                    if copied < n {
                        if taken == 0 {
                            return Err(Errno::EFAULT);
                        }
                        break;
                    }
                    if self.in_range == range.len {
                        *current += 1;
                        self.in_range = 0;
                    }
                }
            }
        }
        self.done += taken;
        Ok(taken)
    }

    /// As [`Source::take`], but what it took can be taken again: for a write that may turn out to
    /// have to wait.
    pub fn peek(&mut self, bytes: &mut [u8]) -> Result<usize> {
        let (done, in_range) = (self.done, self.in_range);
        let first = match &self.place {
            Place::Kernel(_) => 0,
            Place::User { current, .. } => *current,
        };
        let taken = self.take(bytes);
        (self.done, self.in_range) = (done, in_range);
        if let Place::User { current, .. } = &mut self.place {
            *current = first;
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

    /// The user ranges not yet taken, when this is a user source: for hypercalls that read them in
    /// place.
    pub fn user_ranges(&self) -> Option<(&'a AddressSpace, Vec<UserRange>)> {
        match &self.place {
            Place::Kernel(_) => None,
            Place::User {
                space,
                ranges,
                current,
            } => {
                let mut rest: Vec<UserRange> = ranges[*current..].to_vec();
                if let Some(first) = rest.first_mut() {
                    first.addr += self.in_range;
                    first.len -= self.in_range;
                }
                Some((space, rest))
            }
        }
    }
}
