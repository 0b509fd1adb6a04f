//! VMs that are rewound after each answer, all of memory and of the vCPUs' state compared with the
//! seed each time. `SPROUT_REWIND_REQUESTS` makes the mix longer than it is in a run of all tests.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Trial};
use serde_json::Value;
use sprout_tests::gateway::Gateway;
use sprout_tests::run::run;
use sprout_tests::store::Store;
use sprout_tests::{source_dir, sprout, target_dir};

/// Requests of the mix.
const REQUESTS: usize = 400;
/// Clients that ask at the same time.
const CLIENTS: usize = 3;

const COMPILE_DEADLINE: Duration = Duration::from_secs(60);

/// Checks an answer.
type Check = fn(&Value) -> bool;
type Running = Mutex<Option<Arc<Gateway>>>;
type Test = fn(&Gateway) -> Result<()>;

const TESTS: &[(&str, Test)] = &[
    ("a_mix_of_requests_leaves_nothing_behind", mix),
    ("no_secret_of_a_request_is_found_by_the_next", secrets),
    (
        "an_instance_that_does_not_answer_is_not_used_again",
        unanswered,
    ),
    ("a_worker_that_is_killed_costs_no_request", killed),
];

/// What is asked for in the mix, and what is right: the instance has never been asked before.
const MIX: &[(&str, Check)] = &[
    ("hello", |_| true),
    ("two", |_| true),
    ("strict", |_| true),
    ("state", |answer| {
        answer["counter"] == 2 && answer["file"] == 2
    }),
    ("parallel", |answer| answer["sum"] == 40_000),
    ("threads", |answer| answer["doubled"] == 42),
    ("residue/count", |answer| answer["files"] == 0),
    ("residue/allocate?size=8", |_| true),
    ("residue/allocate?size=100", |_| true),
    ("residue/worker", |answer| answer["said"] == 42),
    ("residue/child", |answer| answer["said"] == 42),
    ("residue/files", |answer| answer["files"] == 50),
    ("residue/timers", |_| true),
    ("residue/signals", |answer| answer["heard"] == "SIGUSR2"),
    ("residue/compile", |answer| {
        answer["sum"] == 42 && answer["grown"] == 500
    }),
    ("residue/vectors", |answer| {
        answer["digest"] == "9a147f80c2bbff3b"
    }),
    ("residue/plant?digits=0123456789abcdef", |_| true),
    ("unique", |_| true),
];

fn main() -> ExitCode {
    // One of them kills the workers of all.
    let arguments = Arguments {
        test_threads: Some(1),
        ..Arguments::from_args()
    };
    let shared: Arc<OnceLock<Result<Running, String>>> = Arc::new(OnceLock::new());
    let trials = TESTS
        .iter()
        .map(|(name, test)| {
            let shared = shared.clone();
            Trial::test(*name, move || {
                let gateway = shared
                    .get_or_init(|| start().map_err(|error| format!("{error:#}")))
                    .as_ref()
                    .map_err(String::clone)?
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone()
                    .ok_or("the gateway is stopped")?;
                test(&gateway).map_err(|error| format!("{error:#}\n{}", gateway.log()).into())
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Some(Ok(gateway)) = shared.get() {
        gateway
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
    conclusion.exit_code()
}

fn start() -> Result<Running> {
    sprout::kvm()?;
    let store = Store::of_tests();
    store.ensure_image()?;
    for function in ["hello", "state", "parallel", "threads", "unique"] {
        store.deploy(function)?;
    }
    let count = ["--warmup-path", "/count"];
    store.deploy_directory(&residue_directory()?, "residue", &count)?;
    store.deploy_as("hello", "two", &["--vcpus", "2"])?;
    store.deploy_as("hello", "strict", &["--sentry-isolation", "strict"])?;
    let rewind = ["--instances", "rewind-checked", "--max-workers", "12"];
    let gateway = Gateway::start(&store, &rewind)?;
    Ok(Mutex::new(Some(Arc::new(gateway))))
}

/// The function with its hunter compiled.
fn residue_directory() -> Result<PathBuf> {
    let copy = target_dir().join("sprout-tests/functions/residue");
    fs::create_dir_all(&copy)?;
    fs::copy(
        source_dir().join("functions/residue/index.mjs"),
        copy.join("index.mjs"),
    )?;
    let compiled = run(
        Command::new("gcc")
            .args(["-static", "-O1", "-Wall", "-Werror", "-o"])
            .arg(copy.join("hunt"))
            .arg(source_dir().join("guests/hunt.c")),
        COMPILE_DEADLINE,
    )?;
    ensure!(compiled.status == Some(0), "hunt.c:\n{}", compiled.err());
    Ok(copy)
}

fn ask(gateway: &Gateway, path: &str) -> Result<Value> {
    let answer = gateway.get(&format!("/f/{path}"))?;
    ensure!(
        answer.status == 200,
        "{path}: status {}: {}",
        answer.status,
        answer.text()
    );
    answer.json()
}

/// The values of a metric by its labels, as far as they have `part`.
fn metric(gateway: &Gateway, name: &str, part: &str) -> Result<Vec<(String, u64)>> {
    let page = gateway.get("/metrics")?.text();
    let lines = page.lines().filter_map(|line| line.strip_prefix(name));
    lines
        .filter(|line| line.contains(part))
        .map(|line| {
            let (labels, value) = line.rsplit_once(' ').context("no value")?;
            Ok((labels.to_owned(), value.parse()?))
        })
        .collect()
}

/// How many VMs were rewound.
fn rewinds(gateway: &Gateway) -> Result<u64> {
    let counts = metric(gateway, "sprout_latency_seconds_count", "rewind")?;
    Ok(counts.iter().map(|(_, count)| count).sum())
}

/// No VM may have been given up but for reasons that are expected.
fn check_retirements(gateway: &Gateway, expected: &[&str]) -> Result<()> {
    for (labels, count) in metric(gateway, "sprout_workers_retired_total", "reason")? {
        ensure!(
            expected
                .iter()
                .any(|reason| labels.contains(&format!("reason=\"{reason}\""))),
            "{count} retired: {labels}"
        );
    }
    Ok(())
}

fn mix(gateway: &Gateway) -> Result<()> {
    let count = match std::env::var("SPROUT_REWIND_REQUESTS") {
        Ok(count) => count.parse().context("SPROUT_REWIND_REQUESTS")?,
        Err(_) => REQUESTS,
    };
    let before = rewinds(gateway)?;
    let next = AtomicUsize::new(0);
    let seen = Mutex::new(HashSet::new());
    let client = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(());
            }
            // A step that meets all of them, in an order that is not theirs.
            let (path, right) = MIX[number * 7 % MIX.len()];
            let answer = ask(gateway, path)?;
            ensure!(right(&answer), "{path}: {answer}");
            if path.starts_with("residue") {
                ensure!(answer["requests"] == 2, "{path}: {answer}");
            }
            if path == "unique" {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                for value in leaves(&answer["values"]) {
                    ensure!(seen.insert(value.clone()), "{value} repeats");
                }
            }
        }
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        for client in clients {
            client
                .join()
                .map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        Ok::<_, anyhow::Error>(())
    })?;
    check_retirements(gateway, &["giant", "unneeded", "unanswered", "lost"])?;
    let rewound = rewinds(gateway)? - before;
    println!("{count} requests, {rewound} rewinds");
    // Some are giants, some make room for other functions.
    ensure!(
        rewound > count as u64 / 2,
        "only {rewound} rewinds of {count} answers"
    );
    Ok(())
}

fn leaves(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().flat_map(leaves).collect(),
        Value::Object(values) => values.values().flat_map(leaves).collect(),
        other => vec![other.to_string()],
    }
}

fn secrets(gateway: &Gateway) -> Result<()> {
    // It takes all of memory, where nothing stands between a program and its sentry.
    let found = ask(gateway, "residue/plant?hunt=256&digits=fedcba9876543210")?;
    ensure!(
        found["found"].as_u64().is_some_and(|found| found > 50),
        "the hunt finds what the request itself has: {found}"
    );
    for _ in 0..3 {
        ask(gateway, "residue/plant?digits=00112233aabbccdd")?;
        let found = ask(gateway, "residue/hunt?size=256")?;
        ensure!(found["found"] == 0 && found["requests"] == 2, "{found}");
        ensure!(
            found["read"].as_u64().is_some_and(|read| read > 200 << 20),
            "{found}"
        );
    }
    Ok(())
}

fn unanswered(gateway: &Gateway) -> Result<()> {
    let answer = gateway.get("/f/residue/leave")?;
    ensure!(answer.status == 502, "status {}", answer.status);
    let after = ask(gateway, "residue/count")?;
    ensure!(after["requests"] == 2, "{after}");
    Ok(())
}

fn killed(gateway: &Gateway) -> Result<()> {
    for _ in 0..3 {
        ask(gateway, "hello")?;
        gateway.kill_workers()?;
        ask(gateway, "hello")?;
    }
    Ok(())
}
