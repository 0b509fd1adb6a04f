//! Bodies of requests: read when a worker is there for the request, not before, within limits of
//! size and time. A request that waits or is refused holds none of its body.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use sprout_agent::{BODY_PIECE, RequestEncoder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use super::{REPORT_GRACE, Refusal, refuse};
use crate::clients::Queue;
use crate::config::Config;
use crate::job::{Awaited, Failure, RequestBytes};

/// Pieces of a body below this are copied together: each that stays where it was received keeps a
/// buffer of that connection.
const SMALL: usize = 16 * 1024;

/// The limits of all uploads.
#[derive(Debug)]
pub(super) struct Uploads {
    largest: usize,
    /// For the whole body.
    time: Duration,
    /// For its next piece.
    patience: Duration,
    /// A worker waits for a body that comes: slow ones may not have them all.
    room: Arc<Semaphore>,
    queue: Queue,
}

/// A body that is still to be read, and who waits for it.
pub(super) struct Upload {
    body: Incoming,
    encoder: RequestEncoder,
    /// Whether the function gets the body.
    wanted: bool,
    admitted: oneshot::Receiver<()>,
    request: oneshot::Sender<(RequestBytes, Instant)>,
}

impl Upload {
    /// The body of a request whose head is in `encoder`, and the worker's side of it.
    pub(super) fn new(body: Incoming, encoder: RequestEncoder, wanted: bool) -> (Self, Awaited) {
        let (admit, admitted) = oneshot::channel();
        let (give, request) = oneshot::channel();
        let upload = Self {
            body,
            encoder,
            wanted,
            admitted,
            request: give,
        };
        let awaited = Awaited {
            admitted: admit,
            request,
        };
        (upload, awaited)
    }
}

impl Uploads {
    /// As configured.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            largest: config.max_request_body,
            time: config.timeout,
            patience: config.body_timeout,
            room: Arc::new(Semaphore::new(config.max_workers.div_ceil(2))),
            queue: Queue::new(config.queue),
        }
    }

    fn too_large(&self) -> Refusal {
        let text = format!(
            "the request body is above the limit of {} bytes",
            self.largest
        );
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    }

    /// Refuses a body that says it is too large.
    pub(super) fn check(&self, body: &Incoming) -> Result<(), Refusal> {
        if body.size_hint().lower() > self.largest as u64 {
            return Err(self.too_large());
        }
        Ok(())
    }

    /// Waits until a worker may be had for one more upload.
    pub(super) async fn room(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, Refusal> {
        let room = self.queue.acquire(self.room.clone(), deadline).await;
        room.ok_or_else(|| refuse(&Failure::Overloaded))
    }

    /// Waits for a worker, reads the body and hands over the request. Returns when the response must
    /// be complete: the time of the reading does not count.
    pub(super) async fn read(&self, upload: Upload, deadline: Instant) -> Result<Instant, Refusal> {
        let Upload {
            mut body,
            mut encoder,
            wanted,
            admitted,
            request,
        } = upload;
        match timeout_at(deadline + REPORT_GRACE, admitted).await {
            Ok(Ok(())) => {}
            // The job has been given up; no worker took it in time.
            Ok(Err(_)) | Err(_) => return Err(refuse(&Failure::Overloaded)),
        }
        let began = Instant::now();
        let end = began + self.time;
        let mut length = 0usize;
        let mut pieces = RequestBytes::new();
        loop {
            let next = end.min(Instant::now() + self.patience);
            let frame = match timeout_at(next, body.frame()).await {
                Ok(None) => break,
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => {
                    let text = format!("the request body cannot be read: {error}");
                    return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
                }
                Err(_) => {
                    let text = format!(
                        "the request body did not arrive: there are {:?} for each piece and {:?} \
                         for all",
                        self.patience, self.time
                    );
                    return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, text));
                }
            };
            // Trailers are no part of it.
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            length += piece.len();
            if length > self.largest {
                return Err(self.too_large());
            }
            if wanted {
                add(&mut encoder, &mut pieces, piece).map_err(unusable)?;
            }
        }
        let deadline = deadline + began.elapsed();
        pieces.push(encoder.finish().map_err(unusable)?.into());
        // A worker that has ended meanwhile says so by the reply.
        let _ = request.send((pieces, deadline));
        Ok(deadline)
    }
}

/// Adds a piece of a body to a request.
fn add(
    encoder: &mut RequestEncoder,
    pieces: &mut RequestBytes,
    mut piece: Bytes,
) -> Result<(), sprout_agent::ProtocolError> {
    if piece.len() < SMALL {
        return encoder.body(&piece);
    }
    while !piece.is_empty() {
        let part = piece.split_to(piece.len().min(BODY_PIECE));
        pieces.push(encoder.body_elsewhere(part.len())?.into());
        pieces.push(part);
    }
    Ok(())
}

fn unusable(error: sprout_agent::ProtocolError) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sprout_agent::{Limits, RequestDecoder, RequestHead};

    #[test]
    fn large_pieces_stay_where_they_are() {
        let head = RequestHead {
            id: "1".into(),
            method: "POST".into(),
            url: "http://localhost/".into(),
            headers: vec![],
        };
        let mut encoder = RequestEncoder::new(&head).unwrap();
        let mut pieces = RequestBytes::new();
        let large = Bytes::from(vec![b'x'; BODY_PIECE + 5]);
        let body = [Bytes::from_static(b"a"), large.clone(), "b".into()];
        for piece in &body {
            add(&mut encoder, &mut pieces, piece.clone()).unwrap();
        }
        pieces.push(encoder.finish().unwrap().into());
        let ours = large.as_ptr_range();
        let kept = pieces.iter().filter(|piece| ours.contains(&piece.as_ptr()));
        assert_eq!(kept.map(Bytes::len).sum::<usize>(), large.len());
        let mut decoder = RequestDecoder::new(Limits::default());
        pieces.iter().for_each(|piece| decoder.push(piece));
        let request = decoder.next_request().unwrap().unwrap();
        assert_eq!(request.body, body.concat());
    }
}
