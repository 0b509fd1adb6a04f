//! Functions: from a snapshot to the answer, and through the gateway.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
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

/// The same function behind `node:http`, ended when dropped.
struct PlainNode {
    child: Child,
    url: String,
}

impl PlainNode {
    fn start(node: &Path, function: &str) -> Result<Self> {
        let mut child = Command::new(node)
            .arg(source_dir().join("bench/serve.mjs"))
            .arg(source_dir().join(format!("functions/{function}/index.mjs")))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting node")?;
        let output = child.stdout.take();
        let mut plain = Self {
            child,
            url: String::new(),
        };
        let mut port = String::new();
        BufReader::new(output.context("no output")?).read_line(&mut port)?;
        plain.url = format!("http://127.0.0.1:{}/", port.trim());
        Ok(plain)
    }
}

impl Drop for PlainNode {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Milliseconds from starting Node with the same function behind `node:http` to its first answer.
fn first_answer_of_plain_node(node: &Path) -> Result<f64> {
    let start = Instant::now();
    let plain = PlainNode::start(node, "hello")?;
    let mut response = ureq::get(&plain.url).call()?;
    let body = response.body_mut().read_to_string()?;
    ensure!(body.contains("hello"), "an unexpected answer: {body}");
    Ok(start.elapsed().as_secs_f64() * 1e3)
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
        through(
            &gateway,
            "gateway",
            "hello?name=bench",
            clients,
            options.requests,
        )?;
    }
    Ok(())
}

/// Functions whose VMs are rewound after each answer, beside fresh VMs and plain Node.
pub fn rewind(options: &Options) -> Result<()> {
    let store = Store::of_tests();
    store.ensure_image()?;
    let node = host_node()?;
    for function in ["hello", "unique"] {
        store.deploy(function)?;
        for clients in [1, 2] {
            let gateway = Gateway::start(&store, &[])?;
            let few = (options.requests / 10).max(20);
            let label = |how| format!("{function}, {how}");
            let fresh = through(&gateway, &label("fresh"), function, clients, few)?;
            drop(gateway);
            let gateway = Gateway::start(&store, &["--instances", "rewind"])?;
            for _ in 0..20 {
                gateway.get(&format!("/f/{function}"))?;
            }
            let label = label("rewound");
            let rewound = through(&gateway, &label, function, clients, options.requests)?;
            for stage in ["run", "rewind"] {
                let took = mean_of_stage(&gateway, stage)?;
                lone_row(&format!("    of it, {stage}, mean"), took, "ms");
            }
            let plain = PlainNode::start(&node.0, function)?;
            let agent = ureq::Agent::new_with_defaults();
            let name = format!("{function}, plain Node, one process");
            let get = || {
                Ok(agent
                    .get(&plain.url)
                    .call()?
                    .body_mut()
                    .read_to_vec()?
                    .len()
                    > 2)
            };
            let plain = throughput(&name, clients, options.requests, &get)?;
            println!(
                "    rewound: {:.1} times fresh, {:.2} of plain Node",
                rewound / fresh,
                rewound / plain
            );
        }
    }
    Ok(())
}

/// Mean milliseconds that the gateway's functions spent in a stage.
fn mean_of_stage(gateway: &Gateway, stage: &str) -> Result<f64> {
    let page = gateway.get("/metrics")?.text();
    let sum_of = |what: &str| -> f64 {
        let name = format!("sprout_latency_seconds_{what}{{");
        page.lines()
            .filter(|line| line.starts_with(&name) && line.contains(&format!("\"{stage}\"")))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    };
    Ok(sum_of("sum") / sum_of("count").max(1.0) * 1e3)
}

/// Requests to a function from that many clients at once: answers a second.
fn through(
    gateway: &Gateway,
    label: &str,
    path: &str,
    clients: usize,
    requests: usize,
) -> Result<f64> {
    let path = format!("/f/{path}");
    let get = || Ok(gateway.get(&path)?.status == 200);
    throughput(label, clients, requests, &get)
        .with_context(|| format!("the gateway's log ends so:\n{}", last_lines(&gateway.log())))
}

/// Sends requests from that many clients at once, and prints what came; answers a second.
fn throughput(
    label: &str,
    clients: usize,
    requests: usize,
    get: &(impl Fn() -> Result<bool> + Sync),
) -> Result<f64> {
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    let results: Vec<(Vec<f64>, usize)> = thread::scope(|scope| {
        let handles: Vec<_> = (0..clients)
            .map(|_| {
                scope.spawn(|| {
                    let (mut times, mut errors) = (Vec::new(), 0);
                    while next.fetch_add(1, Ordering::Relaxed) < requests {
                        let sent = Instant::now();
                        match get() {
                            Ok(true) => {
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
    let rate = times.len() as f64 / took;
    println!(
        "{label}, {clients} clients: {rate:.0} requests/s, {:.2} ms median, {:.2} ms p99, {} answers, {errors} errors",
        median(&mut times),
        percentile(&mut times, 99),
        times.len()
    );
    ensure!(errors == 0, "{errors} of {requests} requests failed");
    Ok(rate)
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
