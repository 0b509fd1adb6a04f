//! `sprout run`: one program in a fresh micro-VM, with this terminal as its console.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use sprout_abi::boot::boot_flags;
use sprout_vmm::backend::terminal::Terminal;
use sprout_vmm::shell::Shell;
use sprout_vmm::vm::Stop;

use crate::guest::GuestArgs;

/// Arguments of `sprout run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print each system call to standard error
    #[arg(long)]
    strace: bool,
    /// Print where the time went, and the counters of KVM and the sentry, to standard error
    #[arg(long)]
    stats: bool,
    #[command(flatten)]
    guest: GuestArgs,
}

/// Runs the program; the exit status is its own, or 128 + signal.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let kernel = args.guest.kernel()?;
    let config = args
        .guest
        .boot_config(&kernel, flags(args.strace, args.stats))?;
    let mut terminal = Terminal::new().context("cannot take over the terminal's signals")?;

    let shell = Shell::new()?;
    let created = shell.created_in();
    let start = Instant::now();
    let mut vm = shell.boot(&config)?;
    let loaded = start.elapsed();
    let start = Instant::now();
    let stop = vm.run(Some(&kernel), &mut terminal)?;
    let ran = start.elapsed();

    if args.stats {
        eprintln!("create  {:>9.3} ms", created.as_secs_f64() * 1e3);
        eprintln!("load    {:>9.3} ms", loaded.as_secs_f64() * 1e3);
        eprintln!("run     {:>9.3} ms", ran.as_secs_f64() * 1e3);
        for (name, value) in vm.counters() {
            eprintln!("{name} {value}");
        }
        if let Some(text) = terminal.take_stats() {
            eprintln!("{}", text.trim_end());
        }
    }
    if let Stop::Panicked(report) = &stop {
        eprint!("sprout: {report}");
    }
    Ok(ExitCode::from(stop.shell_status()))
}

/// Boot flags for a guest on this terminal.
fn flags(strace: bool, stats: bool) -> u64 {
    let set = |condition, flag| if condition { flag } else { 0 };
    set(strace, boot_flags::STRACE)
        | set(stats, boot_flags::STATS)
        | set(std::io::stdin().is_terminal(), boot_flags::TTY0)
        | set(std::io::stdout().is_terminal(), boot_flags::TTY1)
        | set(std::io::stderr().is_terminal(), boot_flags::TTY2)
}
