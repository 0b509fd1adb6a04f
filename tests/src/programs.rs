//! The C programs of `tests/programs`: which there are, with which arguments each is run, and
//! building them.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

/// The flags a program is compiled with. The warnings left out are about wild arguments, which
/// are what these programs are for.
const FLAGS: &[&str] = &[
    "-static",
    "-O1",
    "-Wall",
    "-Wno-format-truncation",
    "-Wno-nonnull",
    "-Wno-stringop-overflow",
    "-Wno-stringop-overread",
    "-Wno-unused-result",
];

/// One run of one program.
#[derive(Debug, Clone)]
pub struct Case {
    /// `program`, or `program/case` when the source names several.
    pub name: String,
    /// The program's name: its source file without `.c`.
    pub program: String,
    /// The arguments after the program's name.
    pub args: Vec<String>,
    /// How many vCPUs its virtual machine has.
    pub vcpus: u32,
    /// Whether it looks for a wall between program and sentry.
    pub needs_wall: bool,
    /// Whether QEMU's emulation of a processor (TCG) runs it as a processor does.
    pub under_tcg: bool,
}

/// Reads the programs' sources and lists all cases, sorted. A line `// case NAME: ARG...` in a
/// source declares one; a program without such a line is run once, without arguments. A line
/// `// vcpus: N...` adds to each case one more for each number: `NAME@N`, in a machine with N vCPUs.
/// `// needs wall` says that it expects to be kept from the sentry's memory, as in hardware mode or
/// with `--sentry-isolation=strict`; `// not under TCG: NAME...` names cases that fail under QEMU's
/// emulation, whatever kernel they run on.
pub fn cases(sources: &Path) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    let entries =
        fs::read_dir(sources).with_context(|| format!("reading {}", sources.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "c") {
            continue;
        }
        let program = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let source =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        cases.extend(declared_cases(&program, &source));
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

fn needs_wall(source: &str) -> bool {
    source.lines().any(|line| line == "// needs wall")
}

fn declared_cases(program: &str, source: &str) -> Vec<Case> {
    let directives = |name: &'static str| {
        let lines = source.lines().filter_map(|line| line.strip_prefix("// "));
        lines.filter_map(move |line| line.strip_prefix(name))
    };
    let wrong_under_tcg: Vec<&str> = directives("not under TCG:")
        .flat_map(str::split_whitespace)
        .collect();
    let mut cases: Vec<Case> = directives("case ")
        .filter_map(|line| line.split_once(':'))
        .map(|(name, args)| Case {
            name: format!("{program}/{name}"),
            program: program.to_owned(),
            args: args.split_whitespace().map(str::to_owned).collect(),
            vcpus: 1,
            needs_wall: needs_wall(source),
            under_tcg: !wrong_under_tcg.contains(&name),
        })
        .collect();
    if cases.is_empty() {
        cases.push(Case {
            name: program.to_owned(),
            program: program.to_owned(),
            args: Vec::new(),
            vcpus: 1,
            needs_wall: needs_wall(source),
            under_tcg: true,
        });
    }
    let more: Vec<u32> = directives("vcpus:")
        .flat_map(str::split_whitespace)
        .filter_map(|number| number.parse().ok())
        .collect();
    let with_more = cases.iter().flat_map(|case| {
        more.iter().map(|vcpus| Case {
            name: format!("{}@{vcpus}", case.name),
            vcpus: *vcpus,
            ..case.clone()
        })
    });
    let with_more: Vec<Case> = with_more.collect();
    cases.extend(with_more);
    cases
}

/// Compiles the programs of `cases` that changed since they were last compiled, into `out`.
pub fn build(sources: &Path, out: &Path, cases: &[Case]) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
    let header = changed(&sources.join("test.h"))?;
    let mut seen = HashSet::new();
    for case in cases.iter().filter(|case| seen.insert(&case.program)) {
        let source = sources.join(format!("{}.c", case.program));
        let binary = binary(out, case);
        let newest = changed(&source)?.max(header);
        if changed(&binary).is_ok_and(|built| built >= newest) {
            continue;
        }
        compile(&source, &binary)?;
    }
    Ok(())
}

/// Where a case's program lies after `build`.
pub fn binary(out: &Path, case: &Case) -> PathBuf {
    out.join(&case.program)
}

fn compile(source: &Path, binary: &Path) -> Result<()> {
    let output = Command::new("gcc")
        .args(FLAGS)
        .arg("-o")
        .arg(binary)
        .arg(source)
        .arg("-lm")
        .output()
        .context("the test programs need gcc and a static C library (Debian: gcc, libc6-dev)")?;
    if !output.status.success() || !output.stderr.is_empty() {
        bail!(
            "compiling {}:\n{}",
            source.display(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

fn changed(path: &Path) -> Result<SystemTime> {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .with_context(|| format!("reading the age of {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_lines_declare_names_and_arguments() {
        let cases = declared_cases(
            "p",
            "// About.\n// case a: one two\n// case b:\nint main;\n",
        );
        assert!(cases.iter().all(|case| !case.needs_wall));
        let shown: Vec<_> = cases
            .iter()
            .map(|c| (c.name.as_str(), c.args.len()))
            .collect();
        assert_eq!(shown, [("p/a", 2), ("p/b", 0)]);
        let cases = declared_cases("p", "// About.\n// vcpus: 2 4\nint main;\n");
        let shown: Vec<_> = cases.iter().map(|c| (c.name.as_str(), c.vcpus)).collect();
        assert_eq!(shown, [("p", 1), ("p@2", 2), ("p@4", 4)]);
    }
}
