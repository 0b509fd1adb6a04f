//! `sprout run`: one program in a fresh micro-VM, with this terminal as its console.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use sprout_abi::boot::boot_flags;
use sprout_gateway::units::parse_duration;
use sprout_vmm::backend::terminal::Terminal;
use sprout_vmm::vm::shell::Shell;
use sprout_vmm::vm::{Stop, VmError};

use crate::folios;
use crate::guest::GuestArgs;

/// Exit status when the time is over, as coreutils' `timeout` has it.
const TIMED_OUT: u8 = 124;

/// Arguments of `sprout run`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print system calls and signals to standard error as strace does; FILTER as its `-e trace=`:
    /// open,read or %file, %network, %memory, %process, %signal, %desc, or !futex
    #[arg(
        long,
        value_name = "FILTER",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "all"
    )]
    strace: Option<String>,
    /// Print where the time went, and the counters of KVM and the sentry, to standard error
    #[arg(long)]
    stats: bool,
    /// End the VM after this time (10s, 500ms, 2m), with status 124
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// With `serial`: give the guest a serial port (COM1), too, and print what its kernel writes there
    /// to standard error
    #[arg(long, value_enum, value_name = "CONSOLE", default_value_t = Console::Doorbell)]
    console: Console,
    #[command(flatten)]
    guest: GuestArgs,
}

/// What a guest's kernel says something on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Console {
    /// The sentry's doorbell
    Doorbell,
    /// That and a serial port
    Serial,
}

/// Where the time went.
struct Phases {
    create: Duration,
    load: Duration,
    /// From the start of the guest to the program's first instruction.
    boot: Option<Duration>,
    run: Duration,
    exit: Duration,
}

/// Runs the program; the exit status is its own, or 128 + signal.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let kernel = args.guest.kernel()?;
    let mut config = args
        .guest
        .boot_config(&kernel, flags(args.strace.is_some(), args.stats))?;
    if let Some(filter) = &args.strace {
        config.strace.clone_from(filter);
    }
    let mut terminal = Terminal::new()
        .context("cannot take over the terminal's signals")?
        .ending_in(args.timeout);

    let folios = folios::keep(config.images.iter().map(|image| image.path.as_path()));
    let shell = Shell::new()?;
    let create = shell.created_in();
    let start = Instant::now();
    let mut vm = shell.boot(&config)?;
    if args.console == Console::Serial {
        vm.attach_serial(Box::new(io::stderr()));
    }
    let load = start.elapsed();
    let clock_before = vm.guest_time();
    let start = Instant::now();
    let result = vm.run(Some(&kernel), &mut terminal);
    let run = start.elapsed();
    let mut counters = vm.counters();
    if !config.images.is_empty() {
        counters.extend(folios);
    }
    let sentry = terminal.take_stats().unwrap_or_default();
    let start = Instant::now();
    drop(vm);
    let exit = start.elapsed();
    // The terminal is as it was before anything is said on it.
    drop(terminal);

    if args.stats {
        let boot = sprout_vmm::backend::parse_counters(&sentry)
            .into_iter()
            .find(|(name, _)| name == "sentry.program_start_ns")
            .map(|(_, at)| Duration::from_nanos(at).saturating_sub(clock_before));
        let phases = Phases {
            create,
            load,
            boot,
            run: run.saturating_sub(boot.unwrap_or_default()),
            exit,
        };
        say(&report(&phases, &counters, &sentry));
    }
    let stop = match result {
        Err(VmError::Io { cause, .. }) if cause.kind() == io::ErrorKind::TimedOut => {
            say(&format!(
                "sprout: the program ran for longer than {:?} (--timeout): its VM was ended\n",
                args.timeout.unwrap_or_default()
            ));
            return Ok(ExitCode::from(TIMED_OUT));
        }
        other => other?,
    };
    if let Stop::Panicked(report) = &stop {
        say(&format!("sprout: {report}"));
    }
    Ok(ExitCode::from(stop.shell_status()))
}

/// Writes to standard error; that nobody reads it changes nothing.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

fn report(phases: &Phases, counters: &[(String, u64)], sentry: &str) -> String {
    let mut text = String::new();
    let mut line = |name: &str, duration: Duration, what: &str| {
        let ms = duration.as_secs_f64() * 1e3;
        let _ = writeln!(text, "{name:<8} {ms:>9.3} ms  {what}");
    };
    line("create", phases.create, "the VM and its vCPU");
    line("load", phases.load, "memory, sentry, program");
    if let Some(boot) = phases.boot {
        line(
            "boot",
            boot,
            "the sentry, to the program's first instruction in ring 3",
        );
    }
    line("run", phases.run, "the program");
    line("exit", phases.exit, "closing the VM");
    for (name, value) in counters {
        let _ = writeln!(text, "{name} {value}");
    }
    text.push_str(sentry.trim_end());
    text.push('\n');
    text
}

/// Boot flags for a guest on this terminal.
fn flags(strace: bool, stats: bool) -> u64 {
    let set = |condition, flag| if condition { flag } else { 0 };
    set(strace, boot_flags::STRACE)
        | set(stats, boot_flags::STATS)
        | set(io::stdin().is_terminal(), boot_flags::TTY0)
        | set(io::stdout().is_terminal(), boot_flags::TTY1)
        | set(io::stderr().is_terminal(), boot_flags::TTY2)
}
