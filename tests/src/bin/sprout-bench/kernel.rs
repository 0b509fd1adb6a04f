//! What the sentry costs a program: system calls, threads, processes, memory.

use std::process::Command;

use anyhow::Result;
use sprout_tests::{programs, source_dir, sprout, target_dir};

use crate::Options;
use crate::measure::{bench_program, compare, lone_row, median, number, print_counts, row};

/// Medians of one case of `bench/kernel.c`, in the sentry and on plain Linux, in turns.
fn pair(options: &Options, case: &str) -> Result<(f64, f64)> {
    pair_with(options, case, &[])
}

/// As [`pair`], with further options of `sprout run`.
fn pair_with(options: &Options, case: &str, further: &[&str]) -> Result<(f64, f64)> {
    let program = bench_program("kernel")?;
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds.min(5) {
        let mut command = sprout::command()?;
        command.args(["run", "--memory", "512M"]).args(further);
        command.arg("--");
        ours.push(number(command.arg(&program).arg(case))?);
        peers.push(number(Command::new(&program).arg(case))?);
    }
    Ok((median(&mut ours), median(&mut peers)))
}

/// The cheapest system call, and of it what a guest without a kernel pays on this host.
pub fn getppid(options: &Options) -> Result<()> {
    let (ours, peer) = pair(options, "getppid")?;
    row("system call (getppid)", ours, peer, "ns");
    let (strict, peer) = pair_with(options, "getppid", &["--sentry-isolation=strict"])?;
    row(
        "    the same with --sentry-isolation=strict",
        strict,
        peer,
        "ns",
    );
    let bare = bench_program("bare-syscall")?;
    let mut floor = Vec::new();
    for _ in 0..options.rounds.min(5) {
        floor.push(number(&mut Command::new(&bare))?);
    }
    lone_row(
        "    of it, this host's KVM (a bare guest)",
        median(&mut floor),
        "ns",
    );
    Ok(())
}

fn in_microseconds(options: &Options, case: &str, label: &str) -> Result<()> {
    let (ours, peer) = pair(options, case)?;
    row(label, ours / 1e3, peer / 1e3, "us");
    Ok(())
}

/// 10,000 threads made and joined, one after the other.
pub fn threads(options: &Options) -> Result<()> {
    in_microseconds(options, "threads", "thread create and join")
}

/// 100,000 turns of two threads.
pub fn futex(options: &Options) -> Result<()> {
    in_microseconds(options, "futex", "futex ping-pong, a round")
}

/// A byte to another process and back.
pub fn pipe(options: &Options) -> Result<()> {
    in_microseconds(options, "pipe", "pipe ping-pong, a round")
}

/// fork, exec and wait of a static program.
pub fn spawn(options: &Options) -> Result<()> {
    in_microseconds(options, "spawn", "fork, exec, wait")
}

/// A signal to itself, with a handler: by the system call, and by the C library's function.
pub fn signal(options: &Options) -> Result<()> {
    in_microseconds(options, "signal", "signal, handler and back")?;
    in_microseconds(options, "raise", "    the same by raise()")
}

/// The first touch of 256 MiB of anonymous memory.
pub fn touch(options: &Options) -> Result<()> {
    in_microseconds(options, "touch", "first touch of 256 MiB, a page")
}

/// Two threads that only compute, on one vCPU and on two; plain Linux has all processors.
pub fn parallel(options: &Options) -> Result<()> {
    for (vcpus, label) in [(1, "1 vCPU"), (2, "2 vCPUs")] {
        let (ours, peer) = pair_with(options, "parallel", &["--vcpus", &vcpus.to_string()])?;
        row(
            &format!("two threads that compute, a step, {label}"),
            ours,
            peer,
            "ns",
        );
    }
    // What the other vCPU costs where threads only call each other.
    let (ours, peer) = pair_with(options, "futex", &["--vcpus", "2"])?;
    row(
        "futex ping-pong, a round, 2 vCPUs",
        ours / 1e3,
        peer / 1e3,
        "us",
    );
    Ok(())
}

/// A static program from exec to exit.
pub fn hello(options: &Options) -> Result<()> {
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
