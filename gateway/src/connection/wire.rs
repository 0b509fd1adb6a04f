//! The socket as hyper reads and writes it: with a deadline for progress of what is sent, and with
//! the bytes of a probe taken out of what hyper sends after it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::probe::Exchange;

/// A client that takes less than this within the deadline does not keep its connection by it.
const PROGRESS: usize = 64 * 1024;

/// A client's socket.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Arc<TcpStream>,
    exchange: Arc<Exchange>,
    patience: Duration,
    /// Runs while there is something the client does not take.
    stalled: Option<Pin<Box<Sleep>>>,
    /// What it has taken since then.
    taken: usize,
}

impl Wire {
    /// `patience` is how long the client may let what is sent to it wait.
    pub(super) fn new(stream: Arc<TcpStream>, exchange: Arc<Exchange>, patience: Duration) -> Self {
        Self {
            stream,
            exchange,
            patience,
            stalled: None,
            taken: 0,
        }
    }

    fn took(&mut self, count: usize) {
        if self.stalled.is_some() {
            self.taken += count;
            if self.taken >= PROGRESS {
                self.stalled = None;
            }
        }
        self.exchange.wrote();
    }

    /// The client takes nothing now: an error once it has taken too long.
    fn stall(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.exchange.blocked();
        let (patience, taken) = (self.patience, &mut self.taken);
        let deadline = self.stalled.get_or_insert_with(|| {
            *taken = 0;
            Box::pin(sleep_until(Instant::now() + patience))
        });
        ready!(deadline.as_mut().poll(context));
        let text = format!("the client did not take {PROGRESS} bytes within {patience:?}");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text)))
    }

    fn send(
        &mut self,
        context: &mut Context<'_>,
        attempt: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.stream.poll_write_ready(context)?.is_pending() {
                return self.stall(context);
            }
            match attempt(&self.stream) {
                Ok(count) => {
                    self.took(count);
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(context))?;
            match self.stream.try_read_buf(buffer) {
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(gone) = self.exchange.take_ahead(bytes)? {
            return Poll::Ready(Ok(gone));
        }
        self.send(context, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = pieces.iter().find(|piece| !piece.is_empty());
        if let Some(bytes) = first
            && let Some(gone) = self.exchange.take_ahead(bytes)?
        {
            return Poll::Ready(Ok(gone));
        }
        self.send(context, |stream| stream.try_write_vectored(pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Called when everything has been written.
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stalled = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(super::end_output(&self.stream))
    }
}
