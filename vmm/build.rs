//! Builds the sentry for its bare-metal target and hands its path to `boot/kernel.rs`, which embeds it.
//!
//! `SPROUT_SENTRY` names a ready-made ELF to embed instead.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

const TARGET: &str = "x86_64-unknown-none";

fn main() {
    println!("cargo::rerun-if-env-changed=SPROUT_SENTRY");
    let elf = match env::var_os("SPROUT_SENTRY") {
        Some(path) => PathBuf::from(path),
        None => build(),
    };
    println!("cargo::rerun-if-changed={}", elf.display());
    println!("cargo::rustc-env=SPROUT_SENTRY_ELF={}", elf.display());
}

fn build() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for input in ["guest-kernel", "Cargo.toml", ".cargo/config.toml"] {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(input).display()
        );
    }
    let Some(out) = env::var_os("OUT_DIR").map(PathBuf::from) else {
        fail("OUT_DIR is not set: run this through cargo");
    };
    let target_dir = out.join("sentry");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(&workspace)
        .args([
            "build",
            "--release",
            "--package",
            "guest-kernel",
            "--bin",
            "sentry",
        ])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&target_dir);
    // What the outer build sets for the host must not reach the guest's build.
    for variable in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
    ] {
        command.env_remove(variable);
    }
    match command.status() {
        Ok(status) if status.success() => target_dir.join(TARGET).join("release").join("sentry"),
        Ok(_) => fail(&format!(
            "building the sentry failed; is the target installed? (`rustup target add {TARGET}`) \
             To embed a ready-made sentry instead, set SPROUT_SENTRY to its ELF file"
        )),
        Err(error) => fail(&format!("cannot run cargo to build the sentry: {error}")),
    }
}

fn fail(message: &str) -> ! {
    eprintln!("{message}");
    exit(1)
}
