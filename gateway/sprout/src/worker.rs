//! `sprout worker`: the process from which the gateway's workers are forked; each is one pre-created
//! VM that serves one request.

use std::process::ExitCode;

/// Arguments of `sprout worker`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Serves over the socket inherited as file descriptor 3.
pub fn run(Args {}: Args) -> anyhow::Result<ExitCode> {
    sprout_worker::serve_inherited()?;
    Ok(ExitCode::SUCCESS)
}
