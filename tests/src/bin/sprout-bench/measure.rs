//! Taking times and printing them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sprout_tests::run::{Outcome, run};
use sprout_tests::{source_dir, target_dir};

const DEADLINE: Duration = Duration::from_secs(120);

/// A figure and its peer.
pub fn row(label: &str, ours: f64, peer: f64, unit: &str) {
    let show = |value: f64| format!("{value:.2} {unit}");
    println!(
        "{label:<44} {:>12} {:>12} {:>7.2}x",
        show(ours),
        show(peer),
        ours / peer
    );
}

/// A figure without a peer.
pub fn lone_row(label: &str, value: f64, unit: &str) {
    println!("{label:<44} {:>12}", format!("{value:.2} {unit}"));
}

/// The middle one.
pub fn median(values: &mut [f64]) -> f64 {
    percentile(values, 50)
}

/// The one that `percent` of all are below.
pub fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(index).copied().unwrap_or(f64::NAN)
}

/// Runs a command that must succeed with `status`; gives its wall-clock time in milliseconds.
pub fn timed(command: &mut Command, status: i32) -> Result<(f64, Outcome)> {
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
pub fn compare(
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
pub fn print_counts(mut command: Command, status: i32) -> Result<()> {
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

/// Compiles `tests/bench/NAME.c`.
pub fn bench_program(name: &str) -> Result<PathBuf> {
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
pub fn number(command: &mut Command) -> Result<f64> {
    let (_, outcome) = timed(command, 0)?;
    let text = outcome.out();
    text.trim()
        .parse()
        .with_context(|| format!("{command:?} printed {text:?}, not a number"))
}

/// The lines `NAME  N.NNN ms` of `--stats`.
pub fn stats_in_ms(text: &str) -> Vec<(String, f64)> {
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
