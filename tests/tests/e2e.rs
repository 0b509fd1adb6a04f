//! Functions through the gateway: deployed once, then asked over HTTP like a user would.

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Trial};
use serde_json::Value;
use sprout_tests::gateway::Gateway;
use sprout_tests::sprout;
use sprout_tests::store::Store;

/// The functions of `tests/functions`.
const FUNCTIONS: [&str; 7] = ["hello", "echo", "crash", "slow", "unique", "throw", "state"];

/// `hello` with its sentry on page tables of its own.
const STRICT: &str = "hello-strict";

/// The gateway's time limit for a request in these tests.
const TIMEOUT: &str = "10s";

/// The gateway all tests ask, started by the first of them and stopped after the last.
type Shared = OnceLock<Result<Running, String>>;

type Running = Mutex<Option<Arc<Gateway>>>;

type Test = fn(&Gateway) -> Result<()>;

const TESTS: &[(&str, Test)] = &[
    ("hello_answers", hello_answers),
    ("echo_returns_method_path_headers_and_body", echo),
    ("a_large_body_comes_back_unchanged", large_body),
    ("the_function_chooses_the_status", status),
    ("an_unknown_function_is_404", unknown),
    ("every_request_finds_the_snapshots_state", state),
    ("no_two_requests_share_a_random_value", unique),
    ("the_time_is_right_after_restore", time),
    ("an_exception_is_500_and_in_the_log", exception),
    ("endless_recursion_is_500", recursion),
    ("a_wrong_return_value_is_500", wrong_value),
    (
        "an_unhandled_rejection_is_an_error_of_this_request_only",
        rejection,
    ),
    ("exit_and_abort_are_502", crash),
    ("memory_beyond_the_limit_is_502", memory),
    ("a_sleeping_function_is_cut_off_with_504", slow),
    ("a_busy_function_is_cut_off_with_504", busy),
    ("timers_inside_a_function_work", timers),
    (
        "a_killed_worker_is_502_and_the_gateway_goes_on",
        killed_worker,
    ),
    ("worker_threads_run_on_two_vcpus", parallel),
    ("concurrent_requests_each_get_their_own_answer", concurrent),
    ("metrics_count_requests", metrics),
    ("a_function_in_strict_isolation_answers", strict),
    (
        "a_gateway_that_requires_strict_isolation_refuses_less",
        strict_required,
    ),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let shared = Arc::new(Shared::new());
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
                test(&gateway).map_err(|error| {
                    format!(
                        "{error:#}\nthe gateway's log ends:\n{}",
                        tail(&gateway.log())
                    )
                    .into()
                })
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
    for function in FUNCTIONS {
        store.deploy(function)?;
    }
    store.deploy_as("parallel", "parallel", &["--vcpus", "2"])?;
    store.deploy_as("hello", STRICT, &["--sentry-isolation=strict"])?;
    Ok(Mutex::new(Some(Arc::new(Gateway::start(
        &store,
        &["--timeout", TIMEOUT],
    )?))))
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

fn expect(gateway: &Gateway, path: &str, status: u16) -> Result<String> {
    let answer = gateway.get(path)?;
    ensure!(
        answer.status == status,
        "{path}: status {}, not {status}: {}",
        answer.status,
        answer.text()
    );
    Ok(answer.text())
}

fn hello_answers(gateway: &Gateway) -> Result<()> {
    let answer = gateway.get("/f/hello?name=sprout")?;
    ensure!(
        answer.status == 200,
        "status {}: {}",
        answer.status,
        answer.text()
    );
    let body = answer.json()?;
    ensure!(body["hello"] == "sprout", "{body}");
    ensure!(
        body["node"].as_str().is_some_and(|v| v.starts_with("v24.")),
        "{body}"
    );
    Ok(())
}

fn echo(gateway: &Gateway) -> Result<()> {
    let headers = [("content-type", "text/x-test"), ("x-custom", "some value")];
    let answer = gateway.post("/f/echo/a/b%20c?q=1&q=2", &headers, b"body \x00\xff")?;
    ensure!(
        answer.status == 200,
        "status {}: {}",
        answer.status,
        answer.text()
    );
    ensure!(answer.body == b"body \x00\xff", "body {:?}", answer.body);
    let header = |name: &str| answer.headers.get(name).map(String::as_str);
    ensure!(header("x-method") == Some("POST"), "{:?}", answer.headers);
    ensure!(
        header("x-path").is_some_and(|p| p.ends_with("/a/b%20c?q=1&q=2")),
        "{:?}",
        answer.headers
    );
    ensure!(
        header("content-type") == Some("text/x-test"),
        "{:?}",
        answer.headers
    );
    ensure!(
        header("x-custom-back") == Some("some value"),
        "{:?}",
        answer.headers
    );
    let empty = gateway.post("/f/echo", &[], b"")?;
    ensure!(empty.status == 200 && empty.body.is_empty(), "{empty:?}");
    Ok(())
}

fn large_body(gateway: &Gateway) -> Result<()> {
    let body: Vec<u8> = (0..4_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let answer = gateway.post("/f/echo", &[], &body)?;
    ensure!(
        answer.status == 200,
        "status {}: {}",
        answer.status,
        answer.text()
    );
    ensure!(
        answer.body == body,
        "{} bytes came back, or other ones",
        answer.body.len()
    );
    Ok(())
}

fn status(gateway: &Gateway) -> Result<()> {
    for wanted in [201, 204, 400, 404, 418, 503] {
        let answer = gateway.post(&format!("/f/echo?status={wanted}"), &[], b"x")?;
        ensure!(
            answer.status == wanted,
            "{} instead of {wanted}",
            answer.status
        );
        ensure!(
            answer.headers.contains_key("x-method"),
            "the answer is not the function's"
        );
    }
    Ok(())
}

fn unknown(gateway: &Gateway) -> Result<()> {
    for path in [
        "/f/no-such-function",
        "/f/../../etc/passwd",
        "/f/",
        "/f/Hello%2f",
        "/else",
    ] {
        expect(gateway, path, 404)?;
    }
    Ok(())
}

fn state(gateway: &Gateway) -> Result<()> {
    let first = gateway.get("/f/state")?.json()?;
    for name in ["counter", "file", "environment", "global"] {
        // A warm-up before the snapshot may have counted once.
        ensure!(
            first[name].as_u64().is_some_and(|n| n <= 2),
            "{name}: {first}"
        );
    }
    for _ in 0..5 {
        let next = gateway.get("/f/state")?.json()?;
        ensure!(next == first, "first {first}, later {next}");
    }
    Ok(())
}

fn unique(gateway: &Gateway) -> Result<()> {
    let mut seen = HashSet::new();
    for round in 0..4 {
        let answer = gateway.get("/f/unique")?.json()?;
        let values = answer["values"]
            .as_object()
            .with_context(|| format!("{answer}"))?;
        ensure!(values.len() == 9, "{answer}");
        for (name, value) in values {
            let flat = match value {
                Value::Array(items) => items.clone(),
                single => vec![single.clone()],
            };
            for value in flat {
                ensure!(
                    seen.insert(value.to_string()),
                    "{name} repeats in round {round}: {value}"
                );
            }
        }
    }
    Ok(())
}

fn time(gateway: &Gateway) -> Result<()> {
    let unix_ms = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map(|time| time.as_secs_f64() * 1000.0)
    };
    let before = unix_ms()?;
    let answer = gateway.get("/f/unique")?.json()?;
    let after = unix_ms()?;
    let now = answer["now"].as_f64().context("no time")?;
    // Whole milliseconds inside; one more for clocks that are read apart.
    ensure!(
        (before - 2.0..=after + 1.0).contains(&now),
        "{before} <= {now} <= {after} does not hold"
    );
    let loaded = answer["loadedAt"].as_f64().context("no time")?;
    ensure!(
        loaded < before,
        "loaded at {loaded}, after the request was sent"
    );
    Ok(())
}

fn exception(gateway: &Gateway) -> Result<()> {
    let text = expect(gateway, "/f/throw?how=error", 500)?;
    ensure!(
        !text.contains("/function/"),
        "the answer shows where the code lies: {text}"
    );
    ensure!(
        gateway.log_comes_to_have("thrown on purpose"),
        "the error is not in the log"
    );
    expect(gateway, "/f/throw?how=value", 500)?;
    ensure!(
        gateway.log_comes_to_have("a thrown string"),
        "the thrown value is not in the log"
    );
    expect(gateway, "/f/throw", 200)?;
    Ok(())
}

fn recursion(gateway: &Gateway) -> Result<()> {
    expect(gateway, "/f/throw?how=recursion", 500)?;
    ensure!(
        gateway.log_comes_to_have("Maximum call stack size"),
        "no reason in the log"
    );
    Ok(())
}

fn wrong_value(gateway: &Gateway) -> Result<()> {
    expect(gateway, "/f/throw?how=nothing", 500).map(drop)
}

fn rejection(gateway: &Gateway) -> Result<()> {
    let answer = gateway.get("/f/throw?how=rejection")?;
    ensure!(
        matches!(answer.status, 500 | 502),
        "status {}",
        answer.status
    );
    ensure!(
        gateway.log_comes_to_have("rejected on purpose"),
        "the error is not in the log"
    );
    expect(gateway, "/f/throw", 200).map(drop)
}

fn crash(gateway: &Gateway) -> Result<()> {
    for how in ["exit", "exit-zero", "abort", "kill", "later"] {
        expect(gateway, &format!("/f/crash?how={how}"), 502)?;
    }
    expect(gateway, "/f/crash", 200).map(drop)
}

fn memory(gateway: &Gateway) -> Result<()> {
    let answer = gateway.get("/f/crash?how=memory")?;
    // V8's own limit (an abort) or the machine's, or the time is over before either.
    ensure!(
        matches!(answer.status, 502 | 504),
        "status {}",
        answer.status
    );
    expect(gateway, "/f/crash", 200).map(drop)
}

fn slow(gateway: &Gateway) -> Result<()> {
    let start = Instant::now();
    expect(gateway, "/f/slow?ms=40000", 504)?;
    ensure!(
        start.elapsed() < Duration::from_secs(20),
        "took {:?}",
        start.elapsed()
    );
    Ok(())
}

fn busy(gateway: &Gateway) -> Result<()> {
    expect(gateway, "/f/slow?ms=40000&busy", 504).map(drop)
}

fn timers(gateway: &Gateway) -> Result<()> {
    let answer = gateway.get("/f/slow?ms=150")?.json()?;
    let took = answer["took"].as_f64().context("no duration")?;
    ensure!((149.0..3000.0).contains(&took), "{answer}");
    Ok(())
}

/// The workers' threads were there before the snapshot, on either vCPU.
fn parallel(gateway: &Gateway) -> Result<()> {
    for _ in 0..3 {
        let answer: Value = serde_json::from_str(&expect(gateway, "/f/parallel", 200)?)?;
        ensure!(answer["sum"] == 40_000, "the sum is wrong: {answer}");
        ensure!(answer["processors"] == 2, "not two processors: {answer}");
    }
    Ok(())
}

fn killed_worker(gateway: &Gateway) -> Result<()> {
    // Other tests' requests must not be in the workers that die: this gateway is a second one.
    let store = Store::of_tests();
    let own = Arc::new(Gateway::start(&store, &["--timeout", TIMEOUT])?);
    expect(&own, "/f/hello", 200)?;
    let asking = {
        let own = own.clone();
        thread::spawn(move || own.get("/f/slow?ms=8000").map(|answer| answer.status))
    };
    thread::sleep(Duration::from_millis(1500));
    let killed = own.kill_workers()?;
    ensure!(killed > 0, "the gateway has no worker processes");
    let status = asking
        .join()
        .map_err(|_| anyhow::anyhow!("the client panicked"))??;
    ensure!(status == 502, "status {status}; log:\n{}", tail(&own.log()));
    // The idle workers were killed too: a request handed to one of them goes to another.
    for _ in 0..5 {
        expect(&own, "/f/hello", 200)?;
    }
    drop(own);
    expect(gateway, "/f/hello", 200).map(drop)
}

fn concurrent(gateway: &Gateway) -> Result<()> {
    thread::scope(|scope| {
        let clients: Vec<_> = (0..20)
            .map(|n| {
                scope.spawn(move || -> Result<()> {
                    let text = format!("body of client {n}");
                    let answer = gateway.post(&format!("/f/echo?n={n}"), &[], text.as_bytes())?;
                    ensure!(
                        answer.status == 200,
                        "client {n}: {} {}",
                        answer.status,
                        answer.text()
                    );
                    ensure!(answer.text() == text, "client {n} got {:?}", answer.text());
                    Ok(())
                })
            })
            .collect();
        for client in clients {
            client
                .join()
                .map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        Ok(())
    })
}

fn metrics(gateway: &Gateway) -> Result<()> {
    expect(gateway, "/f/hello", 200)?;
    let page = expect(gateway, "/metrics", 200)?;
    ensure!(
        page.lines()
            .any(|line| line.contains("hello") && line.contains("200")),
        "{page}"
    );
    ensure!(
        page.trim_end().ends_with("# EOF"),
        "not in the OpenMetrics format:\n{page}"
    );
    Ok(())
}

/// How the sentry of a deployed function runs, as its snapshot says.
fn mode_of(function: &str) -> Result<String> {
    let store = Store::of_tests();
    let snapshot = store.snapshot_of(function)?;
    let name = snapshot.file_name().and_then(|name| name.to_str());
    let name = name.context("the snapshot has no name")?;
    let shown = store.run(&["snapshot", "inspect", name], Duration::from_secs(30))?;
    let manifest: Value = serde_json::from_slice(&shown.stdout)?;
    let mode = manifest["privilege_mode"].as_str();
    Ok(mode.context("the manifest names no mode")?.to_owned())
}

fn strict(gateway: &Gateway) -> Result<()> {
    let mode = mode_of(STRICT)?;
    ensure!(mode == "ring3-strict" || mode == "hardware", "{mode}");
    for name in ["one", "two"] {
        let text = expect(gateway, &format!("/f/{STRICT}?name={name}"), 200)?;
        ensure!(text.contains(name), "{text}");
    }
    Ok(())
}

fn strict_required(_: &Gateway) -> Result<()> {
    let args = ["--workers", "1", "--require-strict-isolation"];
    let gateway = Gateway::start(&Store::of_tests(), &args)?;
    expect(&gateway, &format!("/f/{STRICT}"), 200)?;
    if mode_of("hello")? == "hardware" {
        expect(&gateway, "/f/hello", 200)?;
    } else {
        expect(&gateway, "/f/hello", 502)?;
        let log = gateway.log();
        ensure!(log.contains("strict isolation is required"), "{log}");
    }
    Ok(())
}
