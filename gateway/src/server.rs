//! The listening socket: connections in, and an orderly end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::config::Config;
use crate::http::Gateway;

/// How long a client may take to send the head of a request, or keep a connection idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after the system had no descriptor or memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` resolves, then lets requests under way finish, for as long as one may take
/// or until `abort` resolves, and ends all workers.
pub async fn serve(
    config: Config,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
    abort: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let grace = config.timeout + Duration::from_secs(1);
    let connections = Arc::new(Semaphore::new(config.connections));
    let gateway = Arc::new(Gateway::start(config)?);
    let graceful = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let permit = tokio::select! {
            Ok(permit) = connections.clone().acquire_owned() => permit,
            () = &mut stop => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("TCP_NODELAY: {error}");
        }
        let gateway = gateway.clone();
        let service = service_fn(move |request| gateway.clone().handle(request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("connection: {error}");
            }
            drop(permit);
        });
    }
    drop(listener);
    tracing::info!("stopping: requests under way may finish");
    tokio::select! {
        finished = timeout(grace, graceful.shutdown()) => {
            if finished.is_err() {
                tracing::warn!("connections still open after {grace:?} are cut");
            }
        }
        () = abort => tracing::warn!("requests under way are cut"),
    }
    gateway.stop().await;
    Ok(())
}
