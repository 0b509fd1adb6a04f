//! `sprout serve`: deployed functions over HTTP.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use sprout_gateway::config::Config;
use sprout_gateway::server;
use sprout_gateway::units::{parse_bytes, parse_duration};
use sprout_images::Store;
use sprout_protocol::Instances;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::folios;
use crate::isolation::Requirement;

/// Arguments of `sprout serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Workers kept ready for the next requests
    #[arg(long, value_name = "N", default_value_t = 8)]
    workers: usize,
    /// Most workers alive at once, and so most requests run at once [default: 4 times --workers]
    #[arg(long, value_name = "N")]
    max_workers: Option<usize>,
    /// Most of them for one client address [default: three quarters of --max-workers]
    #[arg(long, value_name = "N")]
    workers_per_client: Option<usize>,
    /// Requests that may wait for a worker; further ones get status 503
    #[arg(long, value_name = "N", default_value_t = 128)]
    queue: usize,
    /// Most connections open at once
    #[arg(long, value_name = "N", default_value_t = 512)]
    connections: usize,
    /// Most of them from one client address [default: half of --connections]
    #[arg(long, value_name = "N")]
    connections_per_client: Option<usize>,
    /// How long a client may take to send a request's head, or keep a connection idle
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    head_timeout: Duration,
    /// How long a client may send nothing of a request's body
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    body_timeout: Duration,
    /// How long a client may take nothing of its answer
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    send_timeout: Duration,
    /// Longest time from a request to the end of its response, and of its body's arrival
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    timeout: Duration,
    /// Largest request body
    #[arg(long, value_name = "SIZE", default_value = "8M", value_parser = parse_bytes)]
    max_body: usize,
    /// Most header fields of a request, and of a function's response
    #[arg(long, value_name = "N", default_value_t = 512)]
    max_header_fields: usize,
    /// Largest head of a request, and of a function's response
    #[arg(long, value_name = "SIZE", default_value = "64K", value_parser = parse_bytes)]
    max_header_size: usize,
    /// What becomes of a VM after its answer: `fresh`, it ends; `rewind`, it is rolled back to its
    /// seed in place for the next request of the same function version (docs/isolation.md);
    /// `rewind-checked`, the same, and all of it is compared with the seed each time
    #[arg(long, value_name = "HOW", default_value = "fresh")]
    instances: Instances,
    #[command(flatten)]
    requirement: Requirement,
}

/// Serves until SIGINT or SIGTERM; a second one cuts the requests under way.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let store = Store::open_default()?;
    let program = std::env::current_exe().context("cannot find the sprout program itself")?;
    let command = vec![program.into(), "worker".into()];
    let max_workers = args.max_workers.unwrap_or(args.workers.saturating_mul(4));
    let config = Config {
        workers: args.workers,
        max_workers,
        workers_per_client: args
            .workers_per_client
            .unwrap_or(Config::share_of(max_workers)),
        queue: args.queue,
        connections: args.connections,
        connections_per_client: args
            .connections_per_client
            .unwrap_or(args.connections.div_ceil(2)),
        head_timeout: args.head_timeout,
        body_timeout: args.body_timeout,
        send_timeout: args.send_timeout,
        max_header_fields: args.max_header_fields,
        max_header_size: args.max_header_size,
        timeout: args.timeout,
        max_request_body: args.max_body,
        instances: args.instances,
        required_isolation: args.requirement.required(),
        ..Config::new(store.functions_dir(), store.snapshots_dir(), command)
    };
    config.check()?;
    folios::watch(store).context("cannot start a thread")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen)
            .await
            .with_context(|| format!("cannot listen on {}", args.listen))?;
        eprintln!("sprout: listening on http://{}", listener.local_addr()?);
        let [stop, abort] = [Interruption::new()?, Interruption::new()?];
        server::serve(config, listener, stop.nth(1), abort.nth(2)).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// SIGINT and SIGTERM.
struct Interruption {
    interrupt: Signal,
    terminate: Signal,
}

impl Interruption {
    fn new() -> anyhow::Result<Self> {
        let watch = |kind| signal(kind).context("cannot watch for signals");
        Ok(Self {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
        })
    }

    /// Resolves with the `count`th signal since [`Interruption::new`].
    async fn nth(mut self, count: usize) {
        for _ in 0..count {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
        }
    }
}
