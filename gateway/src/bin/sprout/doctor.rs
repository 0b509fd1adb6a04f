//! `sprout doctor`: what this host offers, and what that means for isolation.

use std::process::ExitCode;

use sprout_vmm::kernel::Kernel;
use sprout_vmm::shell::Shell;
use sprout_vmm::snapshot::manifest::PrivilegeMode;
use sprout_vmm::{cpuid, host, probe};

/// Arguments of `sprout doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Fail unless the guest kernel has a hardware wall to the program
    #[arg(long)]
    require_hardware_isolation: bool,
}

/// How a finding is to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grade {
    Good,
    Note,
    Problem,
}

fn say(grade: Grade, text: &str) {
    let label = match grade {
        Grade::Good => "ok",
        Grade::Note => "note",
        Grade::Problem => "problem",
    };
    println!("{label:<8} {text}");
}

/// Prints the findings; fails when no VM can run here.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let shell = match Shell::new() {
        Ok(shell) => shell,
        Err(error) => {
            say(Grade::Problem, &error.to_string());
            return Ok(ExitCode::FAILURE);
        }
    };
    say(
        Grade::Good,
        &format!(
            "{} is usable: a VM with a vCPU in {:.2} ms",
            host::KVM_DEVICE,
            shell.created_in().as_secs_f64() * 1e3
        ),
    );
    describe_processor(&shell);
    drop(shell);
    describe_large_pages();
    let wall = match probe::privilege_mode(&Kernel::embedded()?) {
        Ok(mode) => describe_mode(mode),
        Err(error) => {
            say(
                Grade::Problem,
                &format!("the guest kernel does not run here: {error}"),
            );
            return Ok(ExitCode::FAILURE);
        }
    };
    if args.require_hardware_isolation && !wall {
        say(
            Grade::Problem,
            "hardware isolation is required, and this host does not give it",
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether there is a hardware wall inside the VM.
fn describe_mode(mode: PrivilegeMode) -> bool {
    match mode {
        PrivilegeMode::Hardware => say(
            Grade::Good,
            "isolation: hardware mode. Two walls: the VM around the guest, and ring 0 around the \
             guest kernel",
        ),
        PrivilegeMode::Ring3 => say(
            Grade::Note,
            "isolation: ring-3 mode (software KVM). One wall: the VM around the guest. Inside, \
             nothing keeps a program from changing its guest kernel; use a host with hardware \
             virtualization for the second wall",
        ),
    }
    mode == PrivilegeMode::Hardware
}

fn describe_processor(shell: &Shell) {
    let features = shell.features();
    let has = |leaf: u32, word: fn(cpuid::Leaf) -> u32, bit: u32| {
        word(cpuid::host_leaf(leaf, 0)) >> bit & 1 == 1
    };
    let names = [
        ("AVX2", has(7, |leaf| leaf.ebx, 5)),
        ("AVX-512", features.xcr0 & 0xe0 == 0xe0),
        ("FSGSBASE", has(7, |leaf| leaf.ebx, 0)),
        ("invariant TSC", has(0x8000_0007, |leaf| leaf.edx, 8)),
    ];
    let list = |wanted: bool| -> Vec<&str> {
        names
            .iter()
            .filter(|(_, present)| *present == wanted)
            .map(|(name, _)| *name)
            .collect()
    };
    let missing = list(false);
    let lacks = if missing.is_empty() {
        String::new()
    } else {
        format!("; without {}", missing.join(", "))
    };
    say(
        Grade::Good,
        &format!(
            "processor: {} with {}{lacks}; TSC {} MHz",
            features.vendor,
            list(true).join(", "),
            shell.tsc_khz() / 1000
        ),
    );
}

fn describe_large_pages() {
    const POLICY: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
    match std::fs::read_to_string(POLICY) {
        Ok(policy) if policy.contains("[never]") => say(
            Grade::Note,
            &format!(
                "transparent huge pages are off, which makes guests' first touches of memory \
                 slower: echo madvise > {POLICY}"
            ),
        ),
        Ok(_) => say(
            Grade::Good,
            "transparent huge pages are available to guests",
        ),
        Err(_) => say(Grade::Note, "this kernel has no transparent huge pages"),
    }
}
