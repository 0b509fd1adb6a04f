//! Messages as bytes: how they are written, and read from a socket that blocks or in whatever pieces
//! arrive.

use std::io::{self, Read, Write};

use serde::{Serialize, de::DeserializeOwned};

use crate::message::{Assign, Seed};

/// Longest message in bytes: request bodies travel in one message.
pub const MAX_MESSAGE: usize = 64 << 20;

/// Longest message from a worker: what a guest sends is cut into pieces.
pub const MAX_FROM_WORKER: usize = 1 << 20;
/// A message that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The other end closed the socket between two messages.
    #[error("the other end closed the worker socket")]
    Closed,
    /// Reading or writing failed.
    #[error("worker socket: {0}")]
    Io(#[from] io::Error),
    /// The length is beyond [`MAX_MESSAGE`].
    #[error("a worker message of {0} bytes is longer than the {1} allowed")]
    TooLong(usize, usize),
    /// The bytes are no message of this version.
    #[error("malformed worker message: {0}")]
    Malformed(#[from] postcard::Error),
}

/// Length prefix and message, ready to be written.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, ProtocolError> {
    let mut bytes = postcard::to_extend(message, vec![0; 4])?;
    let length = bytes.len() - 4;
    match u32::try_from(length) {
        Ok(prefix) if length <= MAX_MESSAGE => {
            bytes[..4].copy_from_slice(&prefix.to_le_bytes());
            Ok(bytes)
        }
        _ => Err(ProtocolError::TooLong(length, MAX_MESSAGE)),
    }
}

/// As [`encode`] of [`ToWorker::Assign`](crate::ToWorker::Assign), for who keeps the assignment.
pub fn encode_assign(assign: &Assign) -> Result<Vec<u8>, ProtocolError> {
    /// [`ToWorker`](crate::ToWorker), variant by variant.
    #[derive(Serialize)]
    enum Borrowed<'a> {
        #[expect(dead_code, reason = "keeps the place of the other variant")]
        Prepare(&'a Seed),
        Assign(&'a Assign),
    }
    encode(&Borrowed::Assign(assign))
}

/// Writes one message to a blocking stream.
pub fn send<T: Serialize>(mut to: impl Write, message: &T) -> Result<(), ProtocolError> {
    to.write_all(&encode(message)?)?;
    Ok(())
}

/// Reads one message from a blocking stream.
pub fn receive<T: DeserializeOwned>(mut from: impl Read) -> Result<T, ProtocolError> {
    let mut prefix = [0; 4];
    let first = loop {
        match from.read(&mut prefix) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    if first == 0 {
        return Err(ProtocolError::Closed);
    }
    from.read_exact(&mut prefix[first..])?;
    let mut bytes = vec![0; message_length(prefix, MAX_MESSAGE)?];
    from.read_exact(&mut bytes)?;
    Ok(postcard::from_bytes(&bytes)?)
}

fn message_length(prefix: [u8; 4], limit: usize) -> Result<usize, ProtocolError> {
    let length = usize::try_from(u32::from_le_bytes(prefix)).unwrap_or(usize::MAX);
    if length > limit {
        Err(ProtocolError::TooLong(length, limit))
    } else {
        Ok(length)
    }
}

/// Takes messages apart for a reader that gets bytes in whatever pieces they arrive (tokio).
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    consumed: usize,
    limit: usize,
}

impl Decoder {
    /// A decoder that refuses messages above `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: Vec::new(),
            consumed: 0,
            limit,
        }
    }

    /// Adds bytes that arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, `None` until more bytes are fed.
    pub fn next_message<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ProtocolError> {
        let pending = self.buffer.get(self.consumed..).unwrap_or_default();
        let Some((prefix, rest)) = pending.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = message_length(*prefix, self.limit)?;
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let message = postcard::from_bytes(body)?;
        self.consumed += 4 + length;
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{FromWorker, Required, ToWorker};

    fn assign() -> ToWorker {
        let seed = Seed {
            snapshot_dir: "/s/hello".into(),
            required_isolation: Required::Shared,
        };
        ToWorker::Assign(Assign {
            seed,
            request: vec![7; 300],
            strace: true,
            stats: false,
        })
    }

    #[test]
    fn a_message_survives_the_socket() {
        let mut wire = Vec::new();
        send(&mut wire, &assign()).unwrap();
        send(&mut wire, &assign()).unwrap();
        let mut reader = wire.as_slice();
        assert_eq!(receive::<ToWorker>(&mut reader).unwrap(), assign());
        assert_eq!(receive::<ToWorker>(&mut reader).unwrap(), assign());
        assert!(matches!(
            receive::<ToWorker>(&mut reader),
            Err(ProtocolError::Closed)
        ));
    }

    #[test]
    fn the_decoder_takes_bytes_one_at_a_time() {
        let mut decoder = Decoder::new(MAX_FROM_WORKER);
        let mut seen = Vec::new();
        let wire = [
            encode(&FromWorker::Ready).unwrap(),
            encode(&assign()).unwrap(),
        ]
        .concat();
        for (index, byte) in wire.iter().enumerate() {
            decoder.feed(&[*byte]);
            if index < 8 {
                seen.extend(decoder.next_message::<FromWorker>().unwrap());
            }
        }
        assert_eq!(seen, [FromWorker::Ready]);
        assert_eq!(decoder.next_message::<ToWorker>().unwrap(), Some(assign()));
    }

    #[test]
    fn absurd_lengths_are_refused_before_allocation() {
        let mut decoder = Decoder::new(MAX_FROM_WORKER);
        decoder.feed(&[0xff; 4]);
        assert!(matches!(
            decoder.next_message::<ToWorker>(),
            Err(ProtocolError::TooLong(0xffff_ffff, MAX_FROM_WORKER))
        ));
        let cut = encode(&assign()).unwrap();
        assert!(matches!(
            receive::<ToWorker>(&cut[..20]),
            Err(ProtocolError::Io(_))
        ));
    }
}
