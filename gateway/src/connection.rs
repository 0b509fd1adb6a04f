//! One client's connection: requests in, answers out, and an end that loses no answer.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Shutdown};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

use self::probe::Exchange;
use self::wire::Wire;
use crate::config::Config;
use crate::http::Gateway;
use crate::http::body::ResponseBody;
use crate::job::Failure;

mod probe;
mod wire;

/// What the system may hold for a client beyond what is on its way.
const UNSENT: u32 = 128 * 1024;
/// What hyper may hold of what is read or written.
const BUFFER: usize = 128 * 1024;
/// When a silent client is asked whether it is still there, and how often then.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// How much is read, and how long, from a client that sends on after its last answer.
const LINGER_BYTES: usize = 256 << 20;
const LINGER: Duration = Duration::from_secs(30);
/// How long such a client may send nothing.
const LINGER_PAUSE: Duration = Duration::from_secs(2);

/// Serves a client until it has gone, or all it wants has been answered.
pub(crate) async fn serve(
    stream: TcpStream,
    client: IpAddr,
    gateway: Arc<Gateway>,
    config: &Config,
    watcher: Watcher,
) {
    if let Err(error) = prepare(&stream, config) {
        tracing::debug!("options of a connection: {error}");
    }
    let stream = Arc::new(stream);
    let exchange = Arc::new(Exchange::default());
    let wire = Wire::new(stream.clone(), exchange.clone(), config.send_timeout);
    let service = service_fn(|request: Request<Incoming>| {
        exchange.begin();
        let kind = (request.method().clone(), request.version());
        let answer = gateway.clone().handle(client, request);
        let exchange = exchange.clone();
        async move {
            let answer = answer.await?;
            exchange.answering(is_chunked(&kind.0, kind.1, &answer));
            Ok::<_, Infallible>(answer.map(|body| Tracked { body, exchange }))
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        // That a client goes is seen below.
        .half_close(true)
        .header_read_timeout(config.head_timeout)
        .max_headers(config.max_header_fields)
        .max_header_size(config.max_header_size)
        .max_buf_size(BUFFER.max(config.max_header_size));
    let connection = watcher.watch(http.serve_connection(TokioIo::new(wire), service));
    tokio::select! {
        biased;
        ended = connection => {
            if let Err(error) = ended {
                tracing::debug!("connection: {error}");
                if is_timeout(&error) {
                    // It takes nothing: what waits for it in the system is not to wait longer.
                    let _ = SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
                    return;
                }
            }
        }
        // Drops the requests under way.
        () = gone(&stream, &exchange) => return tracing::debug!("connection: the client has gone"),
    }
    linger(&stream, LINGER_BYTES, Instant::now() + LINGER, LINGER_PAUSE).await;
}

/// Answers a client that is not served, and lets it go.
pub(crate) async fn turn_away(stream: TcpStream, answer: &'static [u8], patience: Duration) {
    let until = Instant::now() + patience;
    if !matches!(timeout_at(until, stream.writable()).await, Ok(Ok(()))) {
        return;
    }
    // A new connection takes so little at once.
    if !matches!(stream.try_write(answer), Ok(count) if count == answer.len()) {
        return;
    }
    linger(&stream, 1 << 20, until, patience).await;
}

fn prepare(stream: &TcpStream, config: &Config) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(config.send_timeout))?;
    socket.set_tcp_notsent_lowat(UNSENT)?;
    let (time, interval) = KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval);
    socket.set_tcp_keepalive(&keepalive)
}

fn end_output(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).shutdown(Shutdown::Write)
}

/// Whether writing took too long.
fn is_timeout(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    cause.is_some_and(|cause: &io::Error| cause.kind() == io::ErrorKind::TimedOut)
}

/// Whether the body of this answer, to a request of that kind, is sent in chunks.
fn is_chunked<B: Body>(method: &Method, version: Version, answer: &Response<B>) -> bool {
    version == Version::HTTP_11
        && method != Method::HEAD
        && !matches!(
            answer.status(),
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        )
        && answer.body().size_hint().exact().is_none()
}

/// Resolves when the client no longer listens.
async fn gone(stream: &TcpStream, exchange: &Exchange) {
    // Of what this interest means, TCP sockets here only ever get the end of input. An error of the
    // wait itself is that of a runtime that ends.
    if stream.ready(Interest::PRIORITY).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            _ = stream.ready(Interest::ERROR) => return,
            () = sleep(exchange.pause()) => {}
        }
        let Some(byte) = exchange.probe() else {
            continue;
        };
        match stream.try_write(&[byte]) {
            Ok(_) => exchange.probed(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// Ends the output and reads what the client still sends, within limits: closing a socket with
/// unread input resets the connection, and the client may lose the answer.
async fn linger(stream: &TcpStream, most: usize, until: Instant, pause: Duration) {
    if end_output(stream).is_err() {
        return;
    }
    let mut scratch = vec![0; 64 * 1024];
    let mut left = most;
    loop {
        match stream.try_read(&mut scratch) {
            Ok(0) => return,
            Ok(count) if count < left => left -= count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let next = until.min(Instant::now() + pause);
                if !matches!(timeout_at(next, stream.readable()).await, Ok(Ok(()))) {
                    return;
                }
            }
            Ok(_) | Err(_) => return,
        }
        if Instant::now() > until {
            return;
        }
        // Others want to run, too, however fast this client is.
        tokio::task::yield_now().await;
    }
}

/// A body whose end the exchange gets to know.
struct Tracked {
    body: ResponseBody,
    exchange: Arc<Exchange>,
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.exchange.end();
    }
}
