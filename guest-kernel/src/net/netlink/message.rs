//! Netlink messages: a header, a fixed part, and attributes, each padded to four bytes.

use alloc::vec::Vec;

/// Message types and flags (include/uapi/linux/netlink.h).
#[allow(missing_docs)]
pub mod nl {
    pub const ERROR: u16 = 2;
    pub const DONE: u16 = 3;
    pub const REQUEST: u16 = 1;
    pub const MULTI: u16 = 2;
    pub const ACK: u16 = 4;
    pub const DUMP: u16 = 0x300;
}

/// Bytes of `struct nlmsghdr`.
pub const HEADER: usize = 16;

/// `struct nlmsghdr`.
#[derive(Clone, Copy)]
pub struct Header {
    /// Bytes of header and message.
    pub length: usize,
    /// Type.
    pub kind: u16,
    /// Flags.
    pub flags: u16,
    /// What an answer repeats.
    pub sequence: u32,
}

/// The `u32` at `at`.
pub fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

impl Header {
    /// The header `bytes` begin with.
    pub fn parse(bytes: &[u8]) -> Option<Header> {
        let second = word(bytes, 4)?;
        word(bytes, 12)?;
        Some(Header {
            length: word(bytes, 0)? as usize,
            kind: second as u16,
            flags: (second >> 16) as u16,
            sequence: word(bytes, 8)?,
        })
    }

    /// Whether all there are of something are asked for.
    pub fn is_dump(self) -> bool {
        self.flags & nl::DUMP == nl::DUMP
    }
}

/// One message.
pub fn message(kind: u16, flags: u16, sequence: u32, port: u32, body: &[u8]) -> Vec<u8> {
    let length = (HEADER + body.len()) as u32;
    let mut out = Vec::new();
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend(port.to_ne_bytes());
    out.extend(body);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// Appends an attribute.
pub fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend((4 + value.len() as u16).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// The value of the attribute `wanted` among those at the start of `bytes`.
pub fn find_attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let first = word(bytes, 0)?;
        let (length, kind) = (usize::from(first as u16), (first >> 16) as u16);
        let value = bytes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}
