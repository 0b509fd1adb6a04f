//! Guests and clients that send what costs more to take than to send: the gateway's memory and its
//! log stay within bounds, and others are served meanwhile.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Trial};
use sprout_tests::gateway::Gateway;
use sprout_tests::sprout;
use sprout_tests::store::Store;

/// Most memory the gateway ever has, whatever its guests and clients do here. It has 7 MiB with
/// nothing to do; what one request may have it hold is in docs/gateway.md.
const MOST_MEMORY: u64 = 64 << 20;

/// Writes of up to 16 MiB each guest sends.
const TIMES: usize = 8;

/// The kinds of floods on the request channel; none is a response. Those of log lines are survived
/// by the response behind them: what is too much is dropped.
const CHANNEL: [&str; 7] = [
    "empty", "crumbs", "logs", "lines", "fields", "error", "part",
];

type Test = fn() -> Result<()>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let tests: [(&str, Test); 3] = [
        ("floods_cost_the_gateway_little_memory", memory),
        ("a_guest_s_text_stays_on_its_line", forgery),
        ("what_guests_have_in_memory_is_not_dumped", dumps),
    ];
    let trials = tests
        .into_iter()
        .map(|(name, test)| {
            Trial::test(name, move || {
                sprout::kvm()
                    .and_then(|()| test())
                    .map_err(|error| format!("{error:#}").into())
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn start() -> Result<Gateway> {
    let store = Store::of_tests();
    store.ensure_image()?;
    store.deploy("flood")?;
    Gateway::start(
        &store,
        &["--workers", "2", "--max-workers", "4", "--timeout", "8s"],
    )
}

fn memory() -> Result<()> {
    let gateway = start()?;
    let quiet = gateway.peak_memory()?;
    for kind in CHANNEL {
        let path = format!("/f/flood/{kind}?times={TIMES}");
        thread::scope(|scope| {
            let floods: Vec<_> = (0..3).map(|_| scope.spawn(|| gateway.get(&path))).collect();
            for flood in floods {
                // Those that begin with a head are cut off.
                let status = flood
                    .join()
                    .ok()
                    .and_then(Result::ok)
                    .map(|answer| answer.status);
                let survived = kind == "lines" && status == Some(200);
                let refused = matches!(status, None | Some(500 | 502 | 504));
                ensure!(survived || refused, "{kind}: status {status:?}");
            }
            Ok(())
        })?;
        println!("{kind}: {} KiB at most", gateway.peak_memory()? >> 10);
        let other = gateway.get("/f/flood/none")?;
        ensure!(other.status == 200, "after {kind}: status {}", other.status);
    }
    let answer = gateway.get(&format!("/f/flood/output?times={TIMES}"))?;
    ensure!(answer.status == 200, "output: status {}", answer.status);
    let lines = gateway.log().lines().count();
    ensure!(lines < 100_000, "{lines} lines of log");
    // Clients that do not read what they ask for.
    let mut idle = Vec::new();
    for _ in 0..16 {
        let mut socket = TcpStream::connect(gateway.address()?)?;
        write!(
            socket,
            "GET /f/flood/pieces?times=4 HTTP/1.1\r\nhost: a\r\n\r\n"
        )?;
        idle.push(socket);
    }
    thread::sleep(Duration::from_secs(2));
    for socket in &mut idle {
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        // An answer has begun, or the gateway was too busy.
        socket
            .read_exact(&mut [0; 12])
            .context("no answer begins")?;
    }
    let most = gateway.peak_memory()?;
    println!(
        "{} KiB at most; {} KiB with nothing to do",
        most >> 10,
        quiet >> 10
    );
    ensure!(most < MOST_MEMORY, "the gateway had {most} bytes");
    Ok(())
}

fn forgery() -> Result<()> {
    let gateway = start()?;
    ensure!(
        gateway.get("/f/flood/forge")?.status == 500,
        "it does not fail"
    );
    ensure!(
        gateway.log_comes_to_have("ERROR forged"),
        "{}",
        gateway.log()
    );
    let log = gateway.log();
    let forged = log
        .lines()
        .find(|line| line.trim_start().starts_with("2026-01-01"));
    ensure!(forged.is_none(), "a line of its own: {forged:?}");
    ensure!(
        log.chars()
            .all(|character| character == '\n' || !character.is_control()),
        "control characters in the log"
    );
    ensure!(
        !log.contains('\u{2028}') && !log.contains('\u{fffd}'),
        "{log}"
    );
    ensure!(
        log.contains("plain \u{1f389}\\r2026") && log.contains("…"),
        "{log}"
    );
    Ok(())
}

/// No core files of gateway and workers, and guest memory is left out of any.
fn dumps() -> Result<()> {
    let gateway = start()?;
    ensure!(gateway.get("/f/flood/none")?.status == 200, "no answer");
    let own = i32::try_from(gateway.pid())?;
    let mut guests = 0;
    for pid in gateway.children()?.into_iter().chain([own]) {
        // A worker may end meanwhile.
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}"));
        let (Ok(limits), Ok(maps)) = (read("limits"), read("smaps")) else {
            continue;
        };
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        let words: Vec<_> = core.unwrap_or_default().split_whitespace().collect();
        ensure!(words.get(4..6) == Some(&["0", "0"]), "{pid}: {core:?}");
        guests += guest_memory(&maps)?;
    }
    ensure!(guests > 0, "no guest memory was found");
    Ok(())
}

/// How many large writable mappings there are; each must be marked as not to be dumped (`dd`).
fn guest_memory(smaps: &str) -> Result<usize> {
    let mut found = 0;
    let (mut writable, mut size) = (false, 0);
    for line in smaps.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            [range, mode, ..] if range.contains('-') => writable = mode.starts_with("rw"),
            ["Size:", kib, ..] => size = kib.parse::<u64>()? << 10,
            ["VmFlags:", flags @ ..] if writable && size >= 100 << 20 => {
                ensure!(flags.contains(&"dd"), "{size} bytes: {flags:?}");
                found += 1;
            }
            _ => {}
        }
    }
    Ok(found)
}
