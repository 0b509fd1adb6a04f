//! What guests have in memory stays there when one of our processes crashes.

use anyhow::Context;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// No core dump of this process is written to a file.
pub fn write_no_core() -> anyhow::Result<()> {
    let nothing = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, nothing).context("cannot set the limit of core dumps")
}

/// Nor is one handed to a program that collects them, and nobody but root looks into the process.
pub fn keep_others_out() -> anyhow::Result<()> {
    write_no_core()?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .context("cannot make the process undumpable")
}
