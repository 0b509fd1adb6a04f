//! What is on its way to a receiver: bytes in segments, or whole messages.

use crate::errno::{Errno, Result};
use crate::io::{Destination, Source};
use crate::net::address::Address;
use crate::net::socket::Ancillary;
use crate::sync::Lock;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Bytes of the largest segment a stream is cut into.
const SEGMENT: usize = 16 << 10;
/// A segment is filled up by later small sends until it has this many.
const FILL_TO: usize = 2048;

/// What a segment costs beside its bytes, where socket buffers are limited: about the size of
/// Linux's `struct sk_buff`, so that many small messages fill a buffer as they do there.
const OVERHEAD: usize = 768;

/// A piece of a stream, or a message.
#[derive(Default)]
pub struct Segment {
    bytes: Vec<u8>,
    start: usize,
    /// What goes with its first byte.
    pub ancillary: Ancillary,
    /// Who sent it, for messages.
    pub from: Option<Address>,
    /// It is one urgent byte, or what is left of it.
    pub urgency: Urgency,
}

/// What a segment has of urgent data. A TCP stream has its mark elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Urgency {
    /// Nothing.
    #[default]
    None,
    /// The urgent byte, of which a buffer has one.
    Pending,
    /// The place of one that was read with MSG_OOB; it is empty.
    Taken,
}

impl Segment {
    /// A message of all that `src` has.
    pub fn message(src: &mut Source<'_>, from: Option<Address>) -> Result<Segment> {
        let bytes = take(src, src.remaining())?;
        if src.remaining() > 0 {
            return Err(Errno::EFAULT);
        }
        Ok(Segment {
            bytes,
            start: 0,
            ancillary: Ancillary::default(),
            from,
            urgency: Urgency::None,
        })
    }

    /// A message of these bytes.
    pub fn of(bytes: Vec<u8>, from: Option<Address>) -> Segment {
        Segment {
            bytes,
            start: 0,
            ancillary: Ancillary::default(),
            from,
            urgency: Urgency::None,
        }
    }

    /// What of it has not been received.
    pub fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    fn plain(&self) -> bool {
        self.ancillary.rights.is_empty() && self.urgency == Urgency::None
    }
}

fn take(src: &mut Source<'_>, want: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(want).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(want, 0);
    let taken = src.take(&mut bytes)?;
    bytes.truncate(taken);
    Ok(bytes)
}

/// Segments in order.
#[derive(Default)]
pub struct Buffer {
    segments: VecDeque<Segment>,
    bytes: usize,
    /// Whether one of the segments is an urgent byte.
    urgent: bool,
}

impl Buffer {
    /// Bytes in it.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// What it takes of a socket buffer's limit.
    pub fn cost(&self) -> usize {
        self.bytes + self.segments.len() * OVERHEAD
    }

    /// Messages in it.
    pub fn messages(&self) -> usize {
        self.segments.len()
    }

    /// Whether there is nothing, not even an empty message.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Whether descriptors are among it.
    pub fn has_rights(&self) -> bool {
        let mut segments = self.segments.iter();
        segments.any(|segment| !segment.ancillary.rights.is_empty())
    }

    /// The oldest.
    pub fn front(&self) -> Option<&Segment> {
        self.segments.front()
    }

    /// Appends a segment. One of a stream joins the last if both are small and plain.
    pub fn push(&mut self, segment: Segment, stream: bool) -> Result<()> {
        self.bytes += segment.unread().len();
        if stream
            && segment.plain()
            && let Some(last) = self.segments.back_mut()
            && last.plain()
            && last.ancillary.credentials == segment.ancillary.credentials
            && last.bytes.len() + segment.unread().len() <= FILL_TO
            && last.bytes.try_reserve(segment.unread().len()).is_ok()
        {
            last.bytes.extend_from_slice(segment.unread());
            return Ok(());
        }
        if self.segments.try_reserve(1).is_err() {
            self.bytes -= segment.unread().len();
            return Err(Errno::ENOMEM);
        }
        self.segments.push_back(segment);
        Ok(())
    }

    /// The urgent byte.
    fn urgent(&mut self) -> Option<&mut Segment> {
        let mut segments = self.segments.iter_mut();
        segments.find(|segment| segment.urgency == Urgency::Pending)
    }

    /// Whether there is an urgent byte.
    pub fn has_urgent(&self) -> bool {
        self.urgent
    }

    /// Appends an urgent byte; one before it is as any other now.
    pub fn push_urgent(&mut self, mut segment: Segment) -> Result<()> {
        segment.urgency = Urgency::Pending;
        self.segments.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        if let Some(before) = self.urgent() {
            before.urgency = Urgency::None;
        }
        self.urgent = true;
        self.push(segment, false)
    }

    /// Reads the urgent byte apart from the others.
    pub fn take_urgent(&mut self, peek: bool) -> Option<u8> {
        let at = self
            .segments
            .iter()
            .position(|segment| segment.urgency == Urgency::Pending)?;
        let segment = self.segments.get_mut(at)?;
        let byte = *segment.unread().first()?;
        if !peek {
            segment.start += 1;
            segment.urgency = Urgency::Taken;
            self.urgent = false;
            self.bytes -= 1;
            // Two such places are one.
            let before = at.checked_sub(1);
            if let Some(before) = before
                && self.segments.get(before).map(|one| one.urgency) == Some(Urgency::Taken)
            {
                self.segments.remove(before);
            }
        }
        Some(byte)
    }

    /// Whether a read now begins where an urgent byte is, or was.
    pub fn at_urgent(&self) -> bool {
        match self.segments.front().map(|segment| segment.urgency) {
            Some(Urgency::Pending) => true,
            Some(Urgency::Taken) => {
                let next = self.segments.get(1).map(|segment| segment.urgency);
                next == Some(Urgency::Pending) || !self.has_urgent()
            }
            _ => false,
        }
    }

    /// Whether there is more than the place of an urgent byte that was read.
    pub fn has_unread(&self) -> bool {
        let front = self.segments.front().map(|segment| segment.urgency);
        self.segments.len() > usize::from(front == Some(Urgency::Taken))
    }

    /// Steps over the urgent byte, or its place, that a read begins at. What is not to be read any
    /// more: to be dropped when the buffer is not locked.
    pub fn step_over_urgent(&mut self, inline: bool) -> Vec<Segment> {
        let mut over = Vec::new();
        while let Some(front) = self.segments.front_mut() {
            match front.urgency {
                Urgency::None => break,
                Urgency::Pending => self.urgent = false,
                Urgency::Taken => {}
            }
            if inline && front.urgency == Urgency::Pending {
                front.urgency = Urgency::None;
                break;
            }
            over.extend(self.pop());
        }
        over
    }

    /// Takes the oldest out.
    pub fn pop(&mut self) -> Option<Segment> {
        let segment = self.segments.pop_front()?;
        self.bytes -= segment.unread().len();
        Some(segment)
    }

    /// Puts back what [`Buffer::pop`] gave.
    pub fn unpop(&mut self, segment: Segment) {
        self.bytes += segment.unread().len();
        self.segments.push_front(segment);
    }

    /// Drops up to `count` bytes at the front.
    pub fn skip(&mut self, count: usize) {
        let mut left = count;
        while let Some(segment) = self.segments.front_mut() {
            let n = left.min(segment.unread().len());
            segment.start += n;
            self.bytes -= n;
            left -= n;
            if !segment.unread().is_empty() {
                break;
            }
            self.segments.pop_front();
        }
    }

    /// Copies of the bytes at the front, at most `max`, stopping where a stream read would.
    pub fn peek(&self, max: usize, inline: bool) -> (Vec<u8>, Ancillary) {
        let mut bytes = Vec::new();
        let mut ancillary = Ancillary::default();
        for segment in &self.segments {
            match segment.urgency {
                Urgency::Taken if bytes.is_empty() || self.has_urgent() => continue,
                Urgency::Pending if bytes.is_empty() && !inline => continue,
                Urgency::Pending if bytes.is_empty() => {}
                Urgency::None => {}
                _ => break,
            }
            if bytes.is_empty() {
                ancillary = segment.ancillary.clone();
            } else if !segment.ancillary.rights.is_empty()
                || !ancillary.rights.is_empty()
                || segment.ancillary.credentials != ancillary.credentials
            {
                break;
            }
            let n = (max - bytes.len()).min(segment.unread().len());
            bytes.extend(segment.unread().iter().take(n));
            if bytes.len() == max {
                break;
            }
        }
        (bytes, ancillary)
    }
}

/// Cuts up to `room` bytes of `src` into segments and gives each to `push`. How many bytes that
/// were; a fault after the first segment ends it early.
pub fn send_stream(
    src: &mut Source<'_>,
    room: usize,
    mut ancillary: Ancillary,
    mut push: impl FnMut(Segment) -> Result<()>,
) -> Result<usize> {
    let mut left = room.min(src.remaining());
    let mut sent = 0;
    while left > 0 {
        let want = left.min(SEGMENT);
        let pushed = take(src, want).and_then(|bytes| {
            let taken = bytes.len();
            let credentials = ancillary.credentials;
            let with = core::mem::replace(
                &mut ancillary,
                Ancillary {
                    credentials,
                    ..Ancillary::default()
                },
            );
            push(Segment {
                bytes,
                start: 0,
                ancillary: with,
                from: None,
                urgency: Urgency::None,
            })?;
            Ok(taken)
        });
        match pushed {
            Err(error) if sent == 0 => return Err(error),
            Err(_) => break,
            Ok(taken) => {
                sent += taken;
                left -= taken;
                if taken < want {
                    break;
                }
            }
        }
    }
    Ok(sent)
}

/// Receives from the stream buffer that `buffer` finds in `state`. Bytes with rights, or from
/// another sender, are not joined with those before them. The state is not locked while bytes are
/// copied: a segment is taken out, and what could not be put goes back. `inline`: an urgent byte is read
/// with the others.
pub fn receive_stream<S>(
    state: &Lock<S>,
    buffer: fn(&mut S) -> &mut Buffer,
    dst: &mut Destination<'_>,
    peek: bool,
    inline: bool,
) -> Result<(usize, Ancillary)> {
    if peek {
        let (bytes, ancillary) = buffer(&mut state.lock()).peek(dst.remaining(), inline);
        return Ok((dst.put(&bytes)?, ancillary));
    }
    let mut total = 0;
    let mut got = Ancillary::default();
    while dst.remaining() > 0 {
        let over;
        let mut segment = {
            let mut state = state.lock();
            let buffer = buffer(&mut state);
            if total > 0 && buffer.at_urgent() {
                break;
            }
            over = buffer.step_over_urgent(inline);
            let joins = buffer.front().is_some_and(|next| {
                total == 0 || (next.plain() && next.ancillary.credentials == got.credentials)
            });
            match joins.then(|| buffer.pop()).flatten() {
                Some(segment) => segment,
                None => break,
            }
        };
        drop(over);
        let put = dst.put(segment.unread());
        if let Ok(n) = put {
            segment.start += n;
            total += n;
            got.credentials = segment.ancillary.credentials;
            got.rights.append(&mut segment.ancillary.rights);
        }
        let more = put.is_ok() && segment.unread().is_empty() && got.rights.is_empty();
        if !segment.unread().is_empty() {
            buffer(&mut state.lock()).unpop(segment);
        }
        match put {
            Err(error) if total == 0 => return Err(error),
            _ if !more => break,
            _ => {}
        }
    }
    Ok((total, got))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Rank;
    use proptest::prelude::*;

    fn send(state: &Lock<Buffer>, bytes: &[u8]) -> usize {
        send_stream(
            &mut Source::kernel(bytes),
            usize::MAX,
            Ancillary::default(),
            |segment| state.lock().push(segment, true),
        )
        .unwrap()
    }

    fn receive(state: &Lock<Buffer>, len: usize, peek: bool) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let (n, _) = receive_stream(
            state,
            |s| s,
            &mut Destination::kernel(&mut bytes),
            peek,
            false,
        )
        .unwrap();
        bytes.truncate(n);
        bytes
    }

    #[test]
    fn small_sends_share_a_segment() {
        let state = Lock::new(Rank::File, Buffer::default());
        for _ in 0..100 {
            send(&state, b"abc");
        }
        assert_eq!(state.lock().messages(), 1);
        assert_eq!(state.lock().len(), 300);
    }

    fn urgent(state: &Lock<Buffer>, byte: u8) {
        let segment = Segment::of(vec![byte], None);
        state.lock().push_urgent(segment).unwrap();
    }

    #[test]
    fn reads_stop_at_an_urgent_byte_and_step_over_it() {
        let state = Lock::new(Rank::File, Buffer::default());
        send(&state, b"a");
        urgent(&state, b'X');
        send(&state, b"b");
        assert_eq!(receive(&state, 9, true), b"a");
        assert_eq!(receive(&state, 9, false), b"a");
        assert!(state.lock().at_urgent());
        assert_eq!(receive(&state, 9, true), b"b");
        assert_eq!(receive(&state, 9, false), b"b");
        assert!(!state.lock().has_urgent() && state.lock().is_empty());
        // The newer one is the urgent one; what was read apart leaves a place.
        urgent(&state, b'X');
        urgent(&state, b'Y');
        assert_eq!(state.lock().take_urgent(false), Some(b'Y'));
        assert_eq!(state.lock().take_urgent(false), None);
        assert_eq!(receive(&state, 9, false), b"X");
        assert!(state.lock().at_urgent() && !state.lock().has_unread());
        send(&state, b"c");
        assert_eq!(receive(&state, 9, false), b"c");
        assert_eq!(state.lock().len(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_stream_is_a_byte_queue(
            steps in proptest::collection::vec((0u8..3, 0usize..40_000), 1..50)
        ) {
            let state = Lock::new(Rank::File, Buffer::default());
            let mut model: VecDeque<u8> = VecDeque::new();
            let mut next = 0u8;
            for (kind, len) in steps {
                if kind == 0 {
                    let bytes: Vec<u8> = (0..len).map(|i| next.wrapping_add(i as u8)).collect();
                    prop_assert_eq!(send(&state, &bytes), len);
                    model.extend(&bytes);
                    next = next.wrapping_add(len as u8);
                } else {
                    let got = receive(&state, len, kind == 1);
                    let expected: Vec<u8> = model.iter().copied().take(len).collect();
                    prop_assert_eq!(&got, &expected);
                    if kind == 2 {
                        model.drain(..got.len());
                    }
                }
                prop_assert_eq!(state.lock().len(), model.len());
            }
        }
    }
}
