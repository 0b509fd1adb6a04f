//! The cases of `tests/static`: programs of Debian that need nothing but a kernel.
//!
//! Each file is a case: its first line says what is run (`# run by: PROGRAM ARG...`), its second
//! the package that has it (`# package: NAME`; `ci/setup` installs it), and the whole file is the
//! program's standard input.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// One of them.
#[derive(Debug, Clone)]
pub struct StaticProgram {
    /// The file's name without its extension.
    pub name: String,
    /// The file: what the program reads.
    pub input: PathBuf,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
}

/// All cases, sorted, with programs that are there.
pub fn all(sources: &Path) -> Result<Vec<StaticProgram>> {
    let mut files: Vec<PathBuf> = fs::read_dir(sources)
        .with_context(|| format!("reading {}", sources.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    ensure!(!files.is_empty(), "no cases in {}", sources.display());
    files.into_iter().map(read).collect()
}

fn read(input: PathBuf) -> Result<StaticProgram> {
    let text = fs::read_to_string(&input)?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.with_context(|| format!("{} has no line {name:?}", input.display()))
    };
    let mut words = field("# run by: ")?.split_whitespace();
    let program = PathBuf::from(words.next().context("no program is named")?);
    ensure!(
        program.exists(),
        "{} is not installed: it is in the package {} (ci/setup installs it)",
        program.display(),
        field("# package: ")?
    );
    let args = words.map(str::to_owned).collect();
    let name = input.file_stem().unwrap_or_default().to_string_lossy();
    Ok(StaticProgram {
        name: name.into_owned(),
        program,
        args,
        input,
    })
}
