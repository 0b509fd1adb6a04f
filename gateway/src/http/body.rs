//! The body of an HTTP response: whole, or as a function makes it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use sprout_agent::ResponseEvent;
use tokio::sync::mpsc;

use crate::job::{Failure, Reply};

/// Pieces that are there, and where further ones come from until the end.
#[derive(Debug)]
pub struct ResponseBody {
    ready: VecDeque<Bytes>,
    more: Option<mpsc::Receiver<Reply>>,
    /// Why it breaks off.
    failure: Option<Failure>,
}

impl ResponseBody {
    /// A body that is all there.
    pub fn whole(bytes: Bytes) -> Self {
        Self {
            ready: VecDeque::from([bytes]),
            more: None,
            failure: None,
        }
    }

    /// A body that begins with `parts` and continues with `more`, if the end is not among `parts`.
    pub fn new(
        parts: impl IntoIterator<Item = ResponseEvent>,
        more: mpsc::Receiver<Reply>,
    ) -> Self {
        let mut body = Self {
            ready: VecDeque::new(),
            more: Some(more),
            failure: None,
        };
        body.add(parts);
        body
    }

    fn add(&mut self, parts: impl IntoIterator<Item = ResponseEvent>) {
        for part in parts {
            match part {
                ResponseEvent::Body(bytes) => self.ready.push_back(bytes),
                ResponseEvent::End => self.more = None,
                // The decoder gives a head only first; failures and log lines do not get here.
                ResponseEvent::Head(_) | ResponseEvent::Failed(_) | ResponseEvent::Log(_) => {}
            }
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if let Some(failure) = self.failure.take() {
                // An error makes hyper cut the connection: the client sees an incomplete body.
                return Poll::Ready(Some(Err(failure)));
            }
            let Some(more) = &mut self.more else {
                return Poll::Ready(None);
            };
            match ready!(more.poll_recv(context)) {
                Some(Ok(parts)) => self.add(parts),
                end => {
                    let cut = || Failure::Worker("the response was cut off".into());
                    self.failure = Some(end.and_then(Result::err).unwrap_or_else(cut));
                    self.more = None;
                    // hyper drops what it has not sent when it hears of an error, the head of the
                    // answer, too: it gets a turn to send it.
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.more.is_none() && self.failure.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let ready = self.ready.iter().map(|bytes| bytes.len() as u64).sum();
        let mut hint = SizeHint::new();
        hint.set_lower(ready);
        if self.more.is_none() && self.failure.is_none() {
            hint.set_upper(ready);
        }
        hint
    }
}
