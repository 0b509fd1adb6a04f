//! Messages as bytes: how they are written, and read from a socket that blocks or in whatever pieces
//! arrive.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

/// Longest message in bytes.
pub const MAX_MESSAGE: usize = 1 << 20;

/// Longest request that follows a message.
pub const MAX_REQUEST: usize = 64 << 20;

/// A message that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The other end closed the socket between two messages.
    #[error("the other end closed the worker socket")]
    Closed,
    /// Reading or writing failed.
    #[error("worker socket: {0}")]
    Io(#[from] io::Error),
    /// The length is beyond [`MAX_MESSAGE`] or [`MAX_REQUEST`].
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
    let mut bytes = vec![0; message_length(prefix)?];
    from.read_exact(&mut bytes)?;
    Ok(postcard::from_bytes(&bytes)?)
}

/// Reads the request behind a [`ToWorker::Assign`](crate::ToWorker::Assign) from a blocking stream.
pub fn receive_request(mut from: impl Read, length: u64) -> Result<Vec<u8>, ProtocolError> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > MAX_REQUEST {
        return Err(ProtocolError::TooLong(length, MAX_REQUEST));
    }
    let mut bytes = Vec::with_capacity(length);
    // Into memory as it comes, which is not cleared before.
    if (&mut from).take(length as u64).read_to_end(&mut bytes)? < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(bytes)
}

fn message_length(prefix: [u8; 4]) -> Result<usize, ProtocolError> {
    let length = usize::try_from(u32::from_le_bytes(prefix)).unwrap_or(usize::MAX);
    if length > MAX_MESSAGE {
        Err(ProtocolError::TooLong(length, MAX_MESSAGE))
    } else {
        Ok(length)
    }
}

/// Takes messages, and bytes that follow them, apart for a reader that gets them in whatever pieces
/// they arrive (tokio).
#[derive(Debug, Default)]
pub struct Decoder {
    unread: BytesMut,
}

impl Decoder {
    /// Room for at least `most` bytes, to be filled from the socket.
    pub fn room(&mut self, most: usize) -> &mut BytesMut {
        self.unread.reserve(most);
        &mut self.unread
    }

    /// The next whole message, `None` until more bytes are there.
    pub fn next_message<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ProtocolError> {
        let Some((prefix, rest)) = self.unread.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = message_length(*prefix)?;
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let message = postcard::from_bytes(body)?;
        self.unread.advance(4 + length);
        Ok(Some(message))
    }

    /// At most `most` of the bytes that follow a message, `None` until some are there.
    pub fn next_bytes(&mut self, most: usize) -> Option<Bytes> {
        let count = most.min(self.unread.len());
        (count > 0).then(|| self.unread.split_to(count).freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Assign, FromWorker, Instances, Required, Seed, ToWorker};

    fn assign() -> ToWorker {
        let seed = Seed {
            snapshot_dir: "/s/hello".into(),
            required_isolation: Required::Shared,
            instances: Instances::Fresh,
        };
        ToWorker::Assign(Assign {
            seed,
            request_length: 300,
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
        let mut decoder = Decoder::default();
        let mut seen = Vec::new();
        let wire = [
            encode(&FromWorker::Ready).unwrap(),
            encode(&assign()).unwrap(),
        ]
        .concat();
        for (index, byte) in wire.iter().enumerate() {
            decoder.room(1).extend_from_slice(&[*byte]);
            if index < 8 {
                seen.extend(decoder.next_message::<FromWorker>().unwrap());
            }
        }
        assert_eq!(seen, [FromWorker::Ready]);
        assert_eq!(decoder.next_message::<ToWorker>().unwrap(), Some(assign()));
    }

    #[test]
    fn absurd_lengths_are_refused_before_allocation() {
        let mut decoder = Decoder::default();
        decoder.room(4).extend_from_slice(&[0xff; 4]);
        assert!(matches!(
            decoder.next_message::<ToWorker>(),
            Err(ProtocolError::TooLong(0xffff_ffff, MAX_MESSAGE))
        ));
        let cut = encode(&assign()).unwrap();
        assert!(matches!(
            receive::<ToWorker>(&cut[..cut.len() - 1]),
            Err(ProtocolError::Io(_))
        ));
    }

    #[test]
    fn bytes_follow_a_message_and_another_message_them() {
        let mut decoder = Decoder::default();
        let said = [
            encode(&FromWorker::Response { length: 6 }).unwrap(),
            b"answer".to_vec(),
            encode(&FromWorker::Ready).unwrap(),
        ]
        .concat();
        let (first, last) = said.split_at(said.len() - 8);
        decoder.room(99).extend_from_slice(first);
        let announced = decoder.next_message().unwrap();
        assert_eq!(announced, Some(FromWorker::Response { length: 6 }));
        assert_eq!(decoder.next_bytes(6).unwrap(), "ans");
        assert_eq!(decoder.next_bytes(3), None);
        decoder.room(99).extend_from_slice(last);
        assert_eq!(decoder.next_bytes(3).unwrap(), "wer");
        assert_eq!(decoder.next_message().unwrap(), Some(FromWorker::Ready));
    }

    #[test]
    fn a_request_is_all_there_or_an_error() {
        assert_eq!(receive_request(&b"request"[..], 3).unwrap(), b"req");
        assert!(matches!(
            receive_request(&b"request"[..], 8),
            Err(ProtocolError::Io(_))
        ));
        assert!(matches!(
            receive_request(&b"request"[..], u64::MAX),
            Err(ProtocolError::TooLong(_, MAX_REQUEST))
        ));
    }
}
