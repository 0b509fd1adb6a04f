//! Expectation files: the default is "as natively"; every exception has a reason.
//!
//! ```toml
//! [[differs]]                       # run, and must differ
//! reason = "no extended attributes"
//! tests = ["setxattr*", "getxattr01"]
//!
//! [[skip]]                          # not run at all
//! reason = "changes the host's clock"
//! tests = ["settimeofday*"]
//! ```

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// What is expected of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// The same as natively.
    Same,
    /// Something else than natively, for this reason.
    Differs(String),
    /// It is not run, for this reason.
    Skip(String),
}

/// An expectation file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectations {
    #[serde(default)]
    differs: Vec<Group>,
    #[serde(default)]
    skip: Vec<Group>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    reason: String,
    /// Names, or beginnings of names followed by `*`.
    tests: Vec<String>,
}

impl Expectations {
    /// Reads a file; a group without a reason, or an entry that names none of `tests`, is an error.
    pub fn read(path: &Path, tests: &[String]) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text, tests).with_context(|| format!("in {}", path.display()))
    }

    fn parse(text: &str, tests: &[String]) -> Result<Self> {
        let parsed: Self = toml::from_str(text)?;
        for group in parsed.differs.iter().chain(&parsed.skip) {
            if group.reason.trim().is_empty() {
                bail!("the group of {:?} gives no reason", group.tests);
            }
            for entry in &group.tests {
                if !tests.iter().any(|test| covers(entry, test)) {
                    bail!("the entry {entry:?} matches no test");
                }
            }
        }
        Ok(parsed)
    }

    /// What is expected of `test`; what is skipped is not run even if it is also said to differ.
    pub fn plan(&self, test: &str) -> Plan {
        let find = |groups: &[Group]| {
            groups
                .iter()
                .find(|group| group.tests.iter().any(|entry| covers(entry, test)))
                .map(|group| group.reason.clone())
        };
        find(&self.skip)
            .map(Plan::Skip)
            .or_else(|| find(&self.differs).map(Plan::Differs))
            .unwrap_or(Plan::Same)
    }
}

fn covers(entry: &str, test: &str) -> bool {
    match entry.strip_suffix('*') {
        Some(beginning) => test.starts_with(beginning),
        None => test == entry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Expectations> {
        Expectations::parse(text, &["fork01".into(), "fork02".into(), "reboot01".into()])
    }

    #[test]
    fn a_group_covers_names_and_beginnings() {
        let text = "[[differs]]\nreason = 'd'\ntests = ['fork*']\n\
                    [[skip]]\nreason = 's'\ntests = ['reboot01', 'fork02']";
        let list = parse(text).expect("valid");
        assert_eq!(list.plan("fork01"), Plan::Differs("d".into()));
        assert_eq!(list.plan("fork02"), Plan::Skip("s".into()));
        assert_eq!(list.plan("reboot01"), Plan::Skip("s".into()));
        assert_eq!(list.plan("other"), Plan::Same);
    }

    #[test]
    fn reasons_and_real_names_are_demanded() {
        assert!(parse("[[skip]]\nreason = ' '\ntests = ['fork01']").is_err());
        assert!(parse("[[skip]]\ntests = ['fork01']").is_err());
        assert!(parse("[[differs]]\nreason = 'r'\ntests = ['gone']").is_err());
        assert!(parse("[[wrong]]\nreason = 'r'\ntests = ['fork01']").is_err());
        assert!(parse("").is_ok());
    }
}
