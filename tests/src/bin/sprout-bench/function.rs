//! Functions: from a snapshot to the answer, and through the gateway.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use sprout_tests::gateway::Gateway;
use sprout_tests::source_dir;
use sprout_tests::store::Store;

use crate::Options;
use crate::measure::{lone_row, median, percentile, row, stats_in_ms, timed};
use crate::node::host_node;

/// Concurrent clients in the throughput benchmark.
const CLIENTS: [usize; 3] = [2, 4, 8];

/// A function restored, from start to answer.
pub fn restore(options: &Options) -> Result<()> {
    let store = Store::of_tests();
    store.ensure_image()?;
    store.deploy("hello")?;
    let snapshot = store.snapshot_of("hello")?;
    let name = snapshot
        .file_name()
        .context("the snapshot has no name")?
        .to_owned();
    let peer = host_node()?;
    let (mut whole, mut peers) = (Vec::new(), Vec::new());
    let mut inside: Vec<(String, Vec<f64>)> = Vec::new();
    for round in 0..=options.rounds {
        let mut command = store.sprout()?;
        command.arg("restore").arg(&name).arg("--stats");
        let (took, outcome) = timed(&mut command, 0)?;
        let first = first_answer_of_plain_node(&peer.0)?;
        if round == 0 {
            continue;
        }
        whole.push(took);
        peers.push(first);
        for (name, value) in stats_in_ms(&outcome.err()) {
            match inside.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(value),
                None => inside.push((name, vec![value])),
            }
        }
    }
    let peer_time = median(&mut peers);
    row(
        "hello: start to answer, whole process",
        median(&mut whole),
        peer_time,
        "ms",
    );
    for (name, mut values) in inside {
        lone_row(&format!("    of it, {name}"), median(&mut values), "ms");
    }
    Ok(())
}

/// Milliseconds from starting Node with the same function behind `node:http` to its first answer.
fn first_answer_of_plain_node(node: &Path) -> Result<f64> {
    let start = Instant::now();
    let mut child = Command::new(node)
        .arg(source_dir().join("bench/serve.mjs"))
        .arg(source_dir().join("functions/hello/index.mjs"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting node")?;
    let answer = (|| -> Result<f64> {
        let mut port = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut port)?;
        let mut response = ureq::get(format!("http://127.0.0.1:{}/", port.trim())).call()?;
        let body = response.body_mut().read_to_string()?;
        ensure!(body.contains("hello"), "an unexpected answer: {body}");
        Ok(start.elapsed().as_secs_f64() * 1e3)
    })();
    child.kill()?;
    child.wait()?;
    answer
}

/// Requests through the gateway, each a fresh instance.
pub fn gateway(options: &Options) -> Result<()> {
    let store = Store::of_tests();
    store.ensure_image()?;
    store.deploy("hello")?;
    let gateway = Gateway::start(&store, &[])?;
    for _ in 0..20 {
        gateway.get("/f/hello")?;
    }
    for clients in CLIENTS {
        throughput(&gateway, clients, options.requests)?;
    }
    Ok(())
}

/// Sends requests from that many clients at once, each a fresh instance, and prints what came.
fn throughput(gateway: &Gateway, clients: usize, requests: usize) -> Result<()> {
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    let results: Vec<(Vec<f64>, usize)> = thread::scope(|scope| {
        let handles: Vec<_> = (0..clients)
            .map(|_| {
                scope.spawn(|| {
                    let (mut times, mut errors) = (Vec::new(), 0);
                    while next.fetch_add(1, Ordering::Relaxed) < requests {
                        let sent = Instant::now();
                        match gateway.get("/f/hello?name=bench") {
                            Ok(answer) if answer.status == 200 => {
                                times.push(sent.elapsed().as_secs_f64() * 1e3);
                            }
                            _ => errors += 1,
                        }
                    }
                    (times, errors)
                })
            })
            .collect();
        handles
            .into_iter()
            .filter_map(|handle| handle.join().ok())
            .collect()
    });
    let took = start.elapsed().as_secs_f64();
    let errors: usize = results.iter().map(|(_, errors)| errors).sum();
    let mut times: Vec<f64> = results.into_iter().flat_map(|(times, _)| times).collect();
    println!(
        "gateway, {clients} clients: {:.0} requests/s, {:.2} ms median, {:.2} ms p99, {} answers, {errors} errors",
        times.len() as f64 / took,
        median(&mut times),
        percentile(&mut times, 99),
        times.len()
    );
    ensure!(
        errors == 0,
        "{errors} of {requests} requests failed:\n{}",
        last_lines(&gateway.log())
    );
    Ok(())
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
