//! Which tests a folder holds.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// One run of one program of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// What it is called in expectation files and reports.
    pub name: String,
    /// The program's path within the folder.
    pub program: String,
    /// The arguments after the program's name.
    pub args: Vec<String>,
}

/// The tests of `dir`: those that `list` names, or every executable ELF file in it.
pub fn tests(dir: &Path, list: Option<&Path>) -> Result<Vec<Test>> {
    let found = match list {
        Some(path) => {
            let text =
                fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            let listed = parse(&text).with_context(|| format!("in {}", path.display()))?;
            // A suite rarely builds whole: what is not there was not built.
            listed
                .into_iter()
                .filter(|test| dir.join(&test.program).is_file())
                .collect()
        }
        None => executables(dir)?,
    };
    ensure!(!found.is_empty(), "no test program in {}", dir.display());
    Ok(found)
}

/// Lines `NAME PROGRAM ARG...`, the format of LTP's `runtest` files. A line that a shell would do
/// more with than split it is not for us, and left out.
fn parse(text: &str) -> Result<Vec<Test>> {
    let mut tests: Vec<Test> = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty()
            || line.starts_with('#')
            || line.contains(['$', ';', '|', '"', '\'', '\\', '>'])
        {
            continue;
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(name), Some(program)) = (words.next(), words.next()) else {
            bail!("a line needs a name and a program: {line:?}");
        };
        ensure!(
            !program.starts_with('/') && !program.split('/').any(|part| part == ".."),
            "{program:?} is not within the folder"
        );
        ensure!(
            tests.iter().all(|test| test.name != name),
            "two tests are called {name:?}"
        );
        tests.push(Test {
            name,
            program,
            args: words.collect(),
        });
    }
    Ok(tests)
}

fn executables(dir: &Path) -> Result<Vec<Test>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    for entry in entries {
        let entry = entry?;
        let metadata = fs::metadata(entry.path())?;
        if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
            continue;
        }
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if is_elf(&entry.path())? {
            found.push(Test {
                program: name.clone(),
                name,
                args: Vec::new(),
            });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn is_elf(path: &Path) -> Result<bool> {
    use std::io::Read;
    let mut magic = [0; 4];
    let mut file = fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
    Ok(file.read_exact(&mut magic).is_ok() && &magic == b"\x7fELF")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_lines_of_name_program_and_arguments() {
        let tests = parse("# a comment\na01 a -x 1\n\nb b\nc sh -c 'true'\n").expect("valid");
        assert_eq!(tests.len(), 2);
        assert_eq!(
            (tests[0].name.as_str(), tests[0].program.as_str()),
            ("a01", "a")
        );
        assert_eq!(tests[0].args, ["-x", "1"]);
    }

    #[test]
    fn lists_that_say_too_little_or_leave_the_folder_are_refused() {
        for text in ["alone\n", "a ../b\n", "a /bin/b\n", "a b\na c\n"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn without_a_list_every_executable_of_a_folder_is_a_test() {
        let dir = tempfile::tempdir().expect("a folder");
        for (name, mode, content) in [
            ("b", 0o755, &b"\x7fELF..."[..]),
            ("a", 0o755, b"\x7fELF..."),
            ("data", 0o644, b"\x7fELF..."),
            ("script", 0o755, b"#!/bin/sh\n"),
        ] {
            let path = dir.path().join(name);
            fs::write(&path, content).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
        }
        let found = super::tests(dir.path(), None).expect("two tests");
        let names: Vec<_> = found.iter().map(|test| test.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
