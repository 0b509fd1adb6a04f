//! Requests and responses on the channel: how they are written, and the state machines that read
//! them.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::frame::{
    self, BODY_PIECE, Frame, FrameDecoder, FrameError, FrameKind, HEADER_LEN, Limits,
};
use crate::message::{ErrorReport, RequestHead, ResponseHead, Restored};

/// Most frames of one response: each costs work, however little it carries.
const MOST_FRAMES: u32 = 1 << 20;

/// What the other side sent is no request or response.
#[derive(Debug, Error)]
pub enum ProtocolError {
    /// It is not even a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame that has no place here.
    #[error("{got:?} frame {expected}")]
    Unexpected {
        /// The frame's kind.
        got: FrameKind,
        /// Where in the message it came.
        expected: &'static str,
    },
    /// A payload that is not the JSON it should be.
    #[error("malformed {what}: {source}")]
    Json {
        /// Which payload.
        what: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The body is longer than allowed.
    #[error("body above the limit of {limit} bytes")]
    BodyTooLong {
        /// The limit in force.
        limit: u64,
    },
    /// The response comes in too many pieces.
    #[error("more than {MOST_FRAMES} frames")]
    TooManyFrames,
    /// A status outside 200..=599.
    #[error("response status {0} is not one a function can give (200 to 599)")]
    Status(u16),
}

fn json<T: DeserializeOwned>(what: &'static str, payload: &[u8]) -> Result<T, ProtocolError> {
    serde_json::from_slice(payload).map_err(|source| ProtocolError::Json { what, source })
}

fn to_json<T: serde::Serialize>(what: &'static str, value: &T) -> Result<Vec<u8>, ProtocolError> {
    serde_json::to_vec(value).map_err(|source| ProtocolError::Json { what, source })
}

/// A request as bytes for the channel.
pub fn encode_request(head: &RequestHead, body: &[u8]) -> Result<Vec<u8>, ProtocolError> {
    let mut request = RequestEncoder::new(head)?;
    request.body(body)?;
    request.finish()
}

/// Makes the bytes of a request whose body comes in pieces.
#[derive(Debug)]
pub struct RequestEncoder {
    out: Vec<u8>,
    /// Where the last frame of the body begins in `out`.
    last: Option<usize>,
}

impl RequestEncoder {
    /// A request without a body so far.
    pub fn new(head: &RequestHead) -> Result<Self, ProtocolError> {
        let json = to_json("request head", head)?;
        let mut out = Vec::with_capacity(json.len() + 64);
        frame::encode(&mut out, FrameKind::Head, &json)?;
        Ok(Self { out, last: None })
    }

    /// Adds a piece of the body. Small ones share frames.
    pub fn body(&mut self, mut piece: &[u8]) -> Result<(), ProtocolError> {
        while !piece.is_empty() {
            let start = match self.last {
                Some(start) if self.out.len() - start < HEADER_LEN + BODY_PIECE => start,
                _ => {
                    let start = self.out.len();
                    frame::encode(&mut self.out, FrameKind::Body, &[])?;
                    self.last = Some(start);
                    start
                }
            };
            let used = self.out.len() - start - HEADER_LEN;
            let (now, later) = piece.split_at(piece.len().min(BODY_PIECE - used));
            self.out.extend_from_slice(now);
            let length = (used + now.len()) as u32;
            self.out[start..start + 4].copy_from_slice(&length.to_le_bytes());
            piece = later;
        }
        Ok(())
    }

    /// Adds a frame for a piece of the body, at most [`BODY_PIECE`] long, that is sent from where it
    /// lies: behind the bytes returned, which are all since the last such piece.
    pub fn body_elsewhere(&mut self, length: usize) -> Result<Vec<u8>, ProtocolError> {
        frame::encode_header(&mut self.out, FrameKind::Body, length)?;
        self.last = None;
        Ok(std::mem::take(&mut self.out))
    }

    /// The whole request, or what is left of it behind the last [`Self::body_elsewhere`].
    pub fn finish(mut self) -> Result<Vec<u8>, ProtocolError> {
        frame::encode(&mut self.out, FrameKind::End, &[])?;
        Ok(self.out)
    }
}

impl Restored {
    /// The frame that goes before the first request after a restore.
    pub fn encode(&self) -> Result<Vec<u8>, ProtocolError> {
        let mut out = Vec::new();
        frame::encode(
            &mut out,
            FrameKind::Restored,
            &to_json("restore notice", self)?,
        )?;
        Ok(out)
    }
}

impl ResponseHead {
    /// The frame that starts a response.
    pub fn encode(&self) -> Result<Vec<u8>, ProtocolError> {
        let mut out = Vec::new();
        frame::encode(&mut out, FrameKind::Head, &to_json("response head", self)?)?;
        Ok(out)
    }
}

/// A part of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseEvent {
    /// Status and header fields.
    Head(ResponseHead),
    /// A piece of the body.
    Body(Bytes),
    /// The response is complete. Nothing follows until the next request.
    End,
    /// The function failed; nothing follows. A head may have come before.
    Failed(ErrorReport),
    /// A log line of the agent.
    Log(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    BeforeHead,
    InBody,
    Finished,
}

/// Reads one response from the guest's bytes.
#[derive(Debug)]
pub struct ResponseDecoder {
    frames: FrameDecoder,
    limits: Limits,
    state: State,
    body: u64,
    count: u32,
}

impl ResponseDecoder {
    /// A decoder for one response.
    pub fn new(limits: Limits) -> Self {
        let frames = FrameDecoder::new(limits.frame);
        Self {
            frames,
            limits,
            state: State::BeforeHead,
            body: 0,
            count: 0,
        }
    }

    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.frames.push(bytes);
    }

    /// How many bytes have been pushed beyond the last event: after the end of the response, those
    /// of the next one.
    pub fn unread(&self) -> usize {
        self.frames.unread()
    }

    /// Whether [`ResponseEvent::End`] or [`ResponseEvent::Failed`] has been given out.
    pub fn is_finished(&self) -> bool {
        self.state == State::Finished
    }

    /// The next part of the response, `None` when more bytes are needed.
    pub fn next_event(&mut self) -> Result<Option<ResponseEvent>, ProtocolError> {
        loop {
            let Some(frame) = self.frames.next_frame()? else {
                return Ok(None);
            };
            self.count += 1;
            if self.count > MOST_FRAMES {
                return Err(ProtocolError::TooManyFrames);
            }
            match self.event(frame)? {
                ResponseEvent::Body(piece) if piece.is_empty() => {}
                event => return Ok(Some(event)),
            }
        }
    }

    fn event(&mut self, frame: Frame) -> Result<ResponseEvent, ProtocolError> {
        let Frame { kind, payload } = frame;
        let event = match (self.state, kind) {
            (State::BeforeHead, FrameKind::Head) => {
                let head: ResponseHead = json("response head", &payload)?;
                if !(200..=599).contains(&head.status) {
                    return Err(ProtocolError::Status(head.status));
                }
                self.state = State::InBody;
                ResponseEvent::Head(head)
            }
            (State::InBody, FrameKind::Body) => {
                self.body += payload.len() as u64;
                if self.body > self.limits.body {
                    return Err(ProtocolError::BodyTooLong {
                        limit: self.limits.body,
                    });
                }
                ResponseEvent::Body(payload)
            }
            (State::InBody, FrameKind::End) => {
                self.state = State::Finished;
                ResponseEvent::End
            }
            (State::BeforeHead | State::InBody, FrameKind::Error) => {
                self.state = State::Finished;
                ResponseEvent::Failed(json("error report", &payload)?)
            }
            (State::BeforeHead | State::InBody, FrameKind::Log) => {
                ResponseEvent::Log(String::from_utf8_lossy(&payload).into_owned())
            }
            (State::BeforeHead, got) => {
                return Err(ProtocolError::Unexpected {
                    got,
                    expected: "before a response head",
                });
            }
            (State::InBody, got) => {
                return Err(ProtocolError::Unexpected {
                    got,
                    expected: "inside a response",
                });
            }
            (State::Finished, got) => {
                return Err(ProtocolError::Unexpected {
                    got,
                    expected: "after a response",
                });
            }
        };
        Ok(event)
    }
}

/// A whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Set when this is the first request after a restore.
    pub restored: Option<Restored>,
    /// The head.
    pub head: RequestHead,
    /// The body.
    pub body: Vec<u8>,
}

/// Reads requests from the host's bytes: the agent's side of the channel, in Rust.
#[derive(Debug)]
pub struct RequestDecoder {
    frames: FrameDecoder,
    limits: Limits,
    restored: Option<Restored>,
    current: Option<(RequestHead, Vec<u8>)>,
}

impl RequestDecoder {
    /// A decoder for any number of requests.
    pub fn new(limits: Limits) -> Self {
        let frames = FrameDecoder::new(limits.frame);
        Self {
            frames,
            limits,
            restored: None,
            current: None,
        }
    }

    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.frames.push(bytes);
    }

    /// The next whole request, `None` when more bytes are needed.
    pub fn next_request(&mut self) -> Result<Option<Request>, ProtocolError> {
        while let Some(Frame { kind, payload }) = self.frames.next_frame()? {
            match (&mut self.current, kind) {
                (None, FrameKind::Restored) => {
                    self.restored = Some(json("restore notice", &payload)?);
                }
                (None, FrameKind::Head) => {
                    self.current = Some((json("request head", &payload)?, Vec::new()));
                }
                (Some((_, body)), FrameKind::Body) => {
                    if (body.len() + payload.len()) as u64 > self.limits.body {
                        return Err(ProtocolError::BodyTooLong {
                            limit: self.limits.body,
                        });
                    }
                    body.extend_from_slice(&payload);
                }
                (Some(_), FrameKind::End) => {
                    if let Some((head, body)) = self.current.take() {
                        return Ok(Some(Request {
                            restored: self.restored.take(),
                            head,
                            body,
                        }));
                    }
                }
                (None, got) => {
                    let expected = "before a request head";
                    return Err(ProtocolError::Unexpected { got, expected });
                }
                (Some(_), got) => {
                    return Err(ProtocolError::Unexpected {
                        got,
                        expected: "inside a request",
                    });
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head() -> RequestHead {
        RequestHead {
            id: "r1".into(),
            method: "POST".into(),
            url: "http://localhost/a?b=c".into(),
            headers: vec![("content-type".into(), "text/plain; x=\u{e9}".into())],
        }
    }

    fn response(frames: &[(FrameKind, &[u8])]) -> ResponseDecoder {
        let mut bytes = Vec::new();
        for (kind, payload) in frames {
            frame::encode(&mut bytes, *kind, payload).unwrap();
        }
        let mut decoder = ResponseDecoder::new(Limits {
            frame: 1024,
            body: 8,
        });
        decoder.push(&bytes);
        decoder
    }

    const OK_HEAD: &[u8] = br#"{"status":200,"headers":[["a","b"]]}"#;

    #[test]
    fn a_request_comes_back_with_its_restore_notice_once() {
        let restored = Restored {
            generation: 3,
            instance_id: "00ff".into(),
        };
        let body = vec![7u8; BODY_PIECE * 2 + 1];
        let mut bytes = restored.encode().unwrap();
        bytes.extend(encode_request(&head(), &body).unwrap());
        bytes.extend(encode_request(&head(), b"").unwrap());
        let mut decoder = RequestDecoder::new(Limits::default());
        decoder.push(&bytes);
        let first = decoder.next_request().unwrap().unwrap();
        assert_eq!(
            first,
            Request {
                restored: Some(restored),
                head: head(),
                body
            }
        );
        let second = decoder.next_request().unwrap().unwrap();
        assert_eq!(
            second,
            Request {
                restored: None,
                head: head(),
                body: vec![]
            }
        );
        assert_eq!(decoder.next_request().unwrap(), None);
    }

    #[test]
    fn a_response_is_head_body_end() {
        let mut decoder = response(&[
            (FrameKind::Log, b"note"),
            (FrameKind::Head, OK_HEAD),
            (FrameKind::Body, b"1234"),
            (FrameKind::Body, b"5678"),
            (FrameKind::End, b""),
        ]);
        let mut events = Vec::new();
        while let Some(event) = decoder.next_event().unwrap() {
            events.push(event);
        }
        let head = ResponseHead {
            status: 200,
            headers: vec![("a".into(), "b".into())],
        };
        assert_eq!(
            events,
            [
                ResponseEvent::Log("note".into()),
                ResponseEvent::Head(head),
                ResponseEvent::Body(Bytes::from_static(b"1234")),
                ResponseEvent::Body(Bytes::from_static(b"5678")),
                ResponseEvent::End,
            ]
        );
        assert!(decoder.is_finished());
    }

    #[test]
    fn a_body_s_pieces_share_frames() {
        let mut request = RequestEncoder::new(&head()).unwrap();
        let mut expected = Vec::new();
        for piece in (0..1000).map(|n| vec![n as u8; n]) {
            request.body(&piece).unwrap();
            expected.extend(piece);
        }
        let bytes = request.finish().unwrap();
        let whole = encode_request(&head(), &expected).unwrap();
        assert_eq!(bytes, whole);
        let mut decoder = RequestDecoder::new(Limits::default());
        decoder.push(&bytes);
        assert_eq!(decoder.next_request().unwrap().unwrap().body, expected);
    }

    #[test]
    fn pieces_that_stay_where_they_are_have_frames_of_their_own() {
        let mut request = RequestEncoder::new(&head()).unwrap();
        let mut bytes = Vec::new();
        request.body(b"small ").unwrap();
        for piece in [vec![b'x'; BODY_PIECE], vec![b'y'; 9]] {
            bytes.extend(request.body_elsewhere(piece.len()).unwrap());
            bytes.extend(piece);
        }
        request.body(b" end").unwrap();
        bytes.extend(request.finish().unwrap());
        let mut decoder = RequestDecoder::new(Limits::default());
        decoder.push(&bytes);
        let body = decoder.next_request().unwrap().unwrap().body;
        let expected = [b"small ", &[b'x'; BODY_PIECE][..], b"yyyyyyyyy end"].concat();
        assert_eq!(body, expected);
        assert_eq!(decoder.next_request().unwrap(), None);
    }

    #[test]
    fn empty_pieces_are_nothing_and_still_count() {
        let mut decoder = response(&[(FrameKind::Head, OK_HEAD)]);
        assert!(decoder.next_event().unwrap().is_some());
        let mut empty = Vec::new();
        frame::encode(&mut empty, FrameKind::Body, b"").unwrap();
        let many = empty.repeat(1 << 16);
        for _ in 0..15 {
            decoder.push(&many);
            assert!(matches!(decoder.next_event(), Ok(None)));
        }
        decoder.push(&many);
        let last = decoder.next_event();
        assert!(
            matches!(last, Err(ProtocolError::TooManyFrames)),
            "{last:?}"
        );
    }

    #[test]
    fn a_failure_ends_a_response_before_or_inside_its_body() {
        let report = br#"{"message":"boom"}"#;
        for prefix in [&[][..], &[(FrameKind::Head, OK_HEAD)][..]] {
            let mut frames = prefix.to_vec();
            frames.push((FrameKind::Error, report));
            let mut decoder = response(&frames);
            let mut last = None;
            while let Some(event) = decoder.next_event().unwrap() {
                last = Some(event);
            }
            let report = ErrorReport {
                message: "boom".into(),
                stack: String::new(),
            };
            assert_eq!(last, Some(ResponseEvent::Failed(report)));
            assert!(decoder.is_finished());
        }
    }

    #[test]
    fn frames_out_of_order_bad_json_bad_status_and_long_bodies_are_errors() {
        let cases: &[&[(FrameKind, &[u8])]] = &[
            &[(FrameKind::Body, b"x")],
            &[(FrameKind::End, b"")],
            &[(FrameKind::Restored, b"{}")],
            &[(FrameKind::Head, b"{")],
            &[(FrameKind::Head, b"\xff")],
            &[(FrameKind::Head, br#"{"status":101,"headers":[]}"#)],
            &[(FrameKind::Head, br#"{"status":70000,"headers":[]}"#)],
            &[(FrameKind::Head, OK_HEAD), (FrameKind::Head, OK_HEAD)],
            &[
                (FrameKind::Head, OK_HEAD),
                (FrameKind::End, b""),
                (FrameKind::Body, b"x"),
            ],
            &[(FrameKind::Head, OK_HEAD), (FrameKind::Body, b"123456789")],
        ];
        for frames in cases {
            let mut decoder = response(frames);
            let error = loop {
                match decoder.next_event() {
                    Ok(Some(_)) => {}
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            };
            assert!(error.is_some(), "{frames:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_from_the_guest_give_events_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..2000)
        ) {
            let mut decoder = ResponseDecoder::new(Limits { frame: 256, body: 512 });
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_event() {}
        }

        #[test]
        fn any_frames_from_the_guest_give_events_or_an_error(
            frames in prop::collection::vec((1u8..7, prop::collection::vec(any::<u8>(), 0..64)), 0..30)
        ) {
            let mut bytes = Vec::new();
            for (kind, payload) in frames {
                bytes.extend((payload.len() as u32).to_le_bytes());
                bytes.push(kind);
                bytes.extend(payload);
            }
            let mut decoder = ResponseDecoder::new(Limits { frame: 256, body: 128 });
            decoder.push(&bytes);
            let mut body = 0;
            while let Ok(Some(event)) = decoder.next_event() {
                if let ResponseEvent::Body(piece) = event {
                    body += piece.len();
                }
            }
            prop_assert!(body <= 128);
        }

        #[test]
        fn any_request_survives_the_channel(
            id in ".*", method in "[A-Z]{1,8}", url in ".*",
            headers in prop::collection::vec((".*", ".*"), 0..8),
            body in prop::collection::vec(any::<u8>(), 0..4000),
            cut in 1usize..500,
        ) {
            let head = RequestHead { id, method, url, headers };
            let bytes = encode_request(&head, &body).unwrap();
            let mut decoder = RequestDecoder::new(Limits::default());
            let mut seen = None;
            for piece in bytes.chunks(cut) {
                decoder.push(piece);
                if let Some(request) = decoder.next_request().unwrap() {
                    seen = Some(request);
                }
            }
            prop_assert_eq!(seen, Some(Request { restored: None, head, body }));
        }
    }
}
