//! The listening socket: connections in, and an orderly end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::clients::Clients;
use crate::config::Config;
use crate::connection;
use crate::http::Gateway;

/// Pause after the system had no descriptor or memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Most clients that are turned away at once; more are cut off.
const TURNED_AWAY: usize = 32;
/// How long that may take with each.
const FAREWELL: Duration = Duration::from_secs(1);
const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    content-length: 39\r\n\
    retry-after: 1\r\n\
    connection: close\r\n\r\n\
    too many connections from this address\n";

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
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY));
    let clients = Arc::new(Clients::default());
    let shared = Arc::new(config.clone());
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
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(admitted) = clients.admit(address.ip(), shared.connections_per_client) else {
            tracing::debug!(%address, "too many connections");
            if let Ok(room) = turned_away.clone().try_acquire_owned() {
                tokio::spawn(async move {
                    connection::turn_away(stream, TOO_MANY, FAREWELL).await;
                    drop(room);
                });
            }
            continue;
        };
        let (gateway, config, watcher) = (gateway.clone(), shared.clone(), graceful.watcher());
        tokio::spawn(async move {
            connection::serve(stream, address.ip(), gateway, &config, watcher).await;
            drop((admitted, permit));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_those_turned_away_is_as_long_as_it_says() {
        let text = std::str::from_utf8(TOO_MANY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
    }
}
