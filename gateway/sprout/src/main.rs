//! The `sprout` command. Each subcommand is a module with an `Args` struct and a
//! `run(Args) -> anyhow::Result<ExitCode>`; this file only names them.

mod deploy;
mod doctor;
mod folios;
mod guest;
mod image;
mod isolation;
mod restore;
mod run;
mod secrecy;
mod serve;
mod snapshot;
mod worker;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sprout_vmm::boot::program::ProgramError;

/// Runs functions and programs in micro-VMs that start from snapshots.
#[derive(Debug, Parser)]
#[command(name = "sprout", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a program in a fresh micro-VM
    Run(run::Args),
    /// Make a function of a directory: load it, warm it up, take its snapshot
    Deploy(deploy::Args),
    /// Answer HTTP requests with deployed functions, each in a fresh instance
    Serve(serve::Args),
    /// Take, list and show snapshots
    Snapshot(snapshot::Args),
    /// Answer one request with an instance of a snapshot
    Restore(restore::Args),
    /// Check what this host offers, and what that means for isolation
    Doctor(doctor::Args),
    /// Build, list and show read-only images
    Image(image::Args),
    /// Serve one request for the gateway
    #[command(hide = true)]
    Worker(worker::Args),
}

/// A command that only prints ends quietly when nobody reads on (`sprout doctor | head -1`), as
/// others do. Commands with guests or clients keep Rust's way: writing fails.
fn end_by_sigpipe() {
    // SAFETY: the default action of a signal needs no handler; no other thread runs yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

fn main() -> ExitCode {
    // Whatever the caller's umask: snapshots hold the memory of functions, nobody else reads them.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let filter = tracing_subscriber::EnvFilter::try_from_env("SPROUT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,function=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let command = Cli::parse().command;
    if matches!(command, Command::Doctor(_) | Command::Image(_)) {
        end_by_sigpipe();
    }
    let secret = match command {
        Command::Doctor(_) | Command::Image(_) => Ok(()),
        Command::Serve(_) | Command::Worker(_) => secrecy::keep_others_out(),
        _ => secrecy::write_no_core(),
    };
    let outcome = secret.and_then(|()| match command {
        Command::Run(args) => run::run(args),
        Command::Deploy(args) => deploy::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Snapshot(args) => snapshot::run(args),
        Command::Restore(args) => restore::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Image(args) => image::run(args),
        Command::Worker(args) => worker::run(args),
    });
    outcome.unwrap_or_else(|error| {
        // That nobody reads it changes nothing.
        let _ = writeln!(std::io::stderr(), "sprout: {error:#}");
        // As shells have it, and `env`, `timeout` and container engines after them.
        match error.downcast_ref::<ProgramError>() {
            Some(program) if program.is_missing() => ExitCode::from(127),
            Some(_) => ExitCode::from(126),
            None => ExitCode::from(125),
        }
    })
}
