//! What the test programs, the end-to-end tests and the benchmarks share: building the C programs,
//! finding the `sprout` binary, running a command with a deadline, and reading expectations.
//!
//! This crate drives the `sprout` command from outside only; it uses none of its libraries.
#![forbid(unsafe_code)]

pub mod conformance;
pub mod expectations;
pub mod gateway;
pub mod programs;
pub mod run;
pub mod sprout;
pub mod static_program;
pub mod store;

use std::path::{Path, PathBuf};

/// The folder of this crate: where the programs, functions and expectations lie.
pub fn source_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Cargo's target directory in use, found from the running executable; built programs and image
/// stores go below it.
pub fn target_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    exe.ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").exists())
        .map_or_else(|| source_dir().join("../target"), Path::to_path_buf)
}
