//! `sprout worker`: one pre-created VM that serves one request for the gateway.

use std::process::ExitCode;

/// Arguments of `sprout worker`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Serves over the socket inherited as file descriptor 3.
pub fn run(Args {}: Args) -> anyhow::Result<ExitCode> {
    sprout_vmm::worker::serve_inherited()?;
    Ok(ExitCode::SUCCESS)
}
