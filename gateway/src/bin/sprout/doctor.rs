//! `sprout doctor`: what this host offers.

use std::process::ExitCode;

use sprout_vmm::host;

/// Arguments of `sprout doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints the findings; fails when no VM can run here.
pub fn run(Args {}: Args) -> anyhow::Result<ExitCode> {
    match host::open_kvm() {
        Ok(_) => println!("ok       {} is usable", host::KVM_DEVICE),
        Err(error) => {
            println!("problem  {error}");
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
