//! `sprout-bench [--rounds N] [--requests N] [NAME...]`: what Sprout costs, each figure beside its
//! peer on plain Linux, taken in turns in the same run. Figures are medians of wall-clock times.
//!
//! Names: `getppid`, `hello`, `node`, `restore`, `gateway`; without one, all of them.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sprout_tests::gateway::Gateway;
use sprout_tests::run::{Outcome, run};
use sprout_tests::store::{IMAGE, Store};
use sprout_tests::{programs, source_dir, sprout, target_dir};

const DEADLINE: Duration = Duration::from_secs(120);

/// Node in the image.
const GUEST_NODE: &str = "/usr/bin/node";

/// Concurrent clients in the throughput benchmark.
const CLIENTS: [usize; 3] = [2, 4, 8];

struct Options {
    rounds: usize,
    requests: usize,
    names: Vec<String>,
}

type Bench = fn(&Options) -> Result<()>;

const BENCHES: [(&str, Bench); 5] = [
    ("getppid", getppid),
    ("hello", hello),
    ("node", node),
    ("restore", restore),
    ("gateway", gateway),
];

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("sprout-bench: {error:#}");
            return ExitCode::from(2);
        }
    };
    let mut code = ExitCode::SUCCESS;
    println!(
        "{:<44} {:>12} {:>12} {:>8}",
        "median", "sprout", "plain Linux", "ratio"
    );
    for (name, bench) in BENCHES {
        if !options.names.is_empty() && !options.names.iter().any(|wanted| wanted == name) {
            continue;
        }
        if let Err(error) = sprout::kvm().and_then(|()| bench(&options)) {
            println!("{name}: failed: {error:#}");
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn options() -> Result<Options> {
    let mut options = Options {
        rounds: 15,
        requests: 2000,
        names: Vec::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || -> Result<usize> {
            let value = args
                .next()
                .with_context(|| format!("{arg} needs a number"))?;
            let value: usize = value.parse().with_context(|| format!("{arg} {value}"))?;
            ensure!(value > 0, "{arg} must be at least 1");
            Ok(value)
        };
        match arg.as_str() {
            "--rounds" => options.rounds = number()?,
            "--requests" => options.requests = number()?,
            name if BENCHES.iter().any(|(known, _)| *known == name) => {
                options.names.push(name.to_owned());
            }
            other => bail!("unknown argument {other}"),
        }
    }
    Ok(options)
}

fn row(label: &str, ours: f64, peer: f64, unit: &str) {
    let show = |value: f64| format!("{value:.2} {unit}");
    println!(
        "{label:<44} {:>12} {:>12} {:>7.2}x",
        show(ours),
        show(peer),
        ours / peer
    );
}

fn lone_row(label: &str, value: f64, unit: &str) {
    println!("{label:<44} {:>12}", format!("{value:.2} {unit}"));
}

fn median(values: &mut [f64]) -> f64 {
    percentile(values, 50)
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(index).copied().unwrap_or(f64::NAN)
}

/// Runs a command that must succeed with `status`; gives its wall-clock time in milliseconds.
fn timed(command: &mut Command, status: i32) -> Result<(f64, Outcome)> {
    let start = Instant::now();
    let outcome = run(command, DEADLINE)?;
    let took = start.elapsed().as_secs_f64() * 1e3;
    ensure!(
        outcome.status == Some(status),
        "{command:?} ended with {:?}:\n{}",
        outcome.status,
        outcome.err()
    );
    Ok((took, outcome))
}

/// Medians of two commands run in turns.
fn compare(
    rounds: usize,
    status: i32,
    mut ours: impl FnMut() -> Result<Command>,
    mut peer: impl FnMut() -> Command,
) -> Result<(f64, f64)> {
    let (mut our_times, mut peer_times) = (Vec::new(), Vec::new());
    // The first round warms the page cache.
    for round in 0..=rounds {
        let (our_time, _) = timed(&mut ours()?, status)?;
        let (peer_time, _) = timed(&mut peer(), status)?;
        if round > 0 {
            our_times.push(our_time);
            peer_times.push(peer_time);
        }
    }
    Ok((median(&mut our_times), median(&mut peer_times)))
}

/// Prints the exact counts that `--stats` reports of one run: they do not depend on load.
fn print_counts(mut command: Command, status: i32) -> Result<()> {
    let (_, outcome) = timed(&mut command, status)?;
    let err = outcome.err();
    let counts: Vec<&str> = err
        .lines()
        .filter(|line| {
            ["kvm.exits", "mode", "kvm.pf_taken", "syscalls "]
                .iter()
                .any(|k| line.starts_with(k))
        })
        .collect();
    if !counts.is_empty() {
        println!("    {}", counts.join(", "));
    }
    Ok(())
}

fn bench_program(name: &str) -> Result<PathBuf> {
    let out = target_dir().join("sprout-tests/bench");
    fs::create_dir_all(&out)?;
    let binary = out.join(name);
    let source = source_dir().join("bench").join(format!("{name}.c"));
    let mut gcc = Command::new("gcc");
    gcc.args(["-static", "-O2", "-o"]).arg(&binary).arg(&source);
    timed(&mut gcc, 0).with_context(|| format!("compiling {}", source.display()))?;
    Ok(binary)
}

/// Runs a program that prints one number.
fn number(command: &mut Command) -> Result<f64> {
    let (_, outcome) = timed(command, 0)?;
    let text = outcome.out();
    text.trim()
        .parse()
        .with_context(|| format!("{command:?} printed {text:?}, not a number"))
}

fn getppid(options: &Options) -> Result<()> {
    let program = bench_program("getppid")?;
    let bare = bench_program("bare-syscall")?;
    let (mut ours, mut peers, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds.min(5) {
        ours.push(number(
            sprout::command()?.args(["run", "--"]).arg(&program),
        )?);
        peers.push(number(&mut Command::new(&program))?);
        floor.push(number(&mut Command::new(&bare))?);
    }
    let (our_time, peer_time) = (median(&mut ours), median(&mut peers));
    row("system call (getppid)", our_time, peer_time, "ns");
    lone_row(
        "    of it, this host's KVM (a bare guest)",
        median(&mut floor),
        "ns",
    );
    Ok(())
}

fn hello(options: &Options) -> Result<()> {
    let sources = source_dir().join("programs");
    let out = target_dir().join("sprout-tests/programs");
    let cases: Vec<_> = programs::cases(&sources)?
        .into_iter()
        .filter(|case| case.name == "hello")
        .collect();
    programs::build(&sources, &out, &cases)?;
    let program = out.join("hello");
    let ours = || -> Result<Command> {
        let mut command = sprout::command()?;
        command.args(["run", "--memory", "64M", "--"]).arg(&program);
        Ok(command)
    };
    let (our_time, peer_time) = compare(options.rounds, 7, ours, || Command::new(&program))?;
    row("static hello, exec to exit", our_time, peer_time, "ms");
    let mut counted = sprout::command()?;
    counted
        .args(["run", "--stats", "--memory", "64M", "--"])
        .arg(&program);
    print_counts(counted, 7)
}

fn node(options: &Options) -> Result<()> {
    let store = Store::of_tests();
    store.ensure_image()?;
    let peer = host_node()?;
    let ours = |stats: &[&str]| -> Result<Command> {
        let mut command = store.sprout()?;
        command
            .arg("run")
            .args(stats)
            .args(["--image", IMAGE, "--", GUEST_NODE, "-e", "0"]);
        Ok(command)
    };
    let (our_time, peer_time) = compare(
        options.rounds,
        0,
        || ours(&[]),
        || {
            let mut command = Command::new(&peer.0);
            command.args(["-e", "0"]);
            command
        },
    )?;
    row("node -e 0, exec to exit", our_time, peer_time, "ms");
    println!("    plain Linux: {} {}", peer.0.display(), peer.1);
    print_counts(ours(&["--stats"])?, 0)
}

/// Node on this host (`SPROUT_PEER_NODE`, else from the search path), and its version.
fn host_node() -> Result<(PathBuf, String)> {
    let path = std::env::var_os("SPROUT_PEER_NODE").map_or_else(|| "node".into(), PathBuf::from);
    let (_, outcome) = timed(Command::new(&path).arg("--version"), 0)
        .context("no Node on this host to compare with (set SPROUT_PEER_NODE)")?;
    Ok((path, outcome.out().trim().to_owned()))
}

fn restore(options: &Options) -> Result<()> {
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

/// The lines `NAME  N.NNN ms` of `--stats`.
fn stats_in_ms(text: &str) -> Vec<(String, f64)> {
    text.lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name @ .., value, "ms"] = words.as_slice() else {
                return None;
            };
            Some((name.join(" "), value.parse().ok()?))
        })
        .collect()
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

fn gateway(options: &Options) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_percentiles() {
        assert!((median(&mut [3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        let mut values: Vec<f64> = (0..100).map(f64::from).collect();
        assert!((percentile(&mut values, 99) - 99.0).abs() < 1e-9);
        assert!(percentile(&mut [], 50).is_nan());
    }

    #[test]
    fn stats_lines_with_milliseconds_are_read() {
        let text = "create      1.250 ms\nkvm.exits 12\nfirst byte  3.5 ms\n";
        let wanted = [("create".to_owned(), 1.25), ("first byte".to_owned(), 3.5)];
        assert_eq!(stats_in_ms(text), wanted);
    }
}
