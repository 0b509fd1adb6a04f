//! How late timers and signals come.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use sprout_tests::sprout;

use crate::Options;
use crate::measure::{bench_program, median, row, timed};

/// Cases of `bench/late.c`, and what each is.
const CASES: [(&str, &str); 6] = [
    ("sleep", "sleep, nothing else runs"),
    ("sleep-busy", "sleep beside a busy thread"),
    ("timer-busy", "timer's signal, busy"),
    ("interval-busy", "interval timer's signal, busy"),
    ("signal", "thread's signal, idle"),
    ("signal-busy", "thread's signal, busy"),
];

/// Median and 99th percentile of each case, on one vCPU and on two; plain Linux has all processors.
pub fn late(options: &Options) -> Result<()> {
    let program = bench_program("late")?;
    for (case, label) in CASES {
        for vcpus in ["1", "2"] {
            let mut ours = [Vec::new(), Vec::new()];
            let mut peers = [Vec::new(), Vec::new()];
            for _ in 0..options.rounds.min(5) {
                let mut command = sprout::command()?;
                command.args(["run", "--vcpus", vcpus, "--"]);
                one(command.arg(&program), case, &mut ours)?;
                one(&mut peer(&program), case, &mut peers)?;
            }
            for (index, which) in ["median", "99th percentile"].iter().enumerate() {
                let (ours, peer) = (median(&mut ours[index]), median(&mut peers[index]));
                row(&late_label(label, vcpus, which), ours, peer, "us");
            }
        }
    }
    Ok(())
}

fn late_label(label: &str, vcpus: &str, which: &str) -> String {
    match which {
        "median" => format!("late: {label}, {vcpus} vCPU"),
        which => format!("    {which}"),
    }
}

fn peer(program: &Path) -> Command {
    Command::new(program)
}

fn one(command: &mut Command, case: &str, values: &mut [Vec<f64>; 2]) -> Result<()> {
    let (_, outcome) = timed(command.arg(case), 0)?;
    let text = outcome.out();
    let mut numbers = text.split_whitespace().map(str::parse);
    for values in values {
        let number = numbers.next().context("two numbers are expected")?;
        values.push(number.with_context(|| format!("{case} printed {text:?}"))?);
    }
    Ok(())
}
