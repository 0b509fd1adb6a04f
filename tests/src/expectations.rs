//! `expectations.toml`: cases that are known to fail, each with the reason.
//!
//! The default is that a case passes. A case listed here must fail; one that passes is an error
//! too, so that the list says no more than what is true.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The known failures, by case or by whole program.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectations {
    #[serde(default, rename = "expected-fail")]
    expected_fail: BTreeMap<String, Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    reason: String,
}

impl Expectations {
    /// Reads the list; an entry without a reason or one that names no case is an error.
    pub fn read(path: &Path, cases: &[String]) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(&text, cases).with_context(|| format!("in {}", path.display()))
    }

    fn parse(text: &str, cases: &[String]) -> Result<Self> {
        let expectations: Self = toml::from_str(text)?;
        for (name, entry) in &expectations.expected_fail {
            if entry.reason.trim().is_empty() {
                bail!("the entry for {name:?} gives no reason");
            }
            if !cases.iter().any(|case| covers(name, case)) {
                bail!("the entry {name:?} matches no case");
            }
        }
        Ok(expectations)
    }

    /// Why this case is expected to fail, if it is.
    pub fn reason(&self, case: &str) -> Option<&str> {
        self.expected_fail
            .iter()
            .find(|(name, _)| covers(name, case))
            .map(|(_, entry)| entry.reason.as_str())
    }
}

fn covers(entry: &str, case: &str) -> bool {
    case == entry
        || case
            .strip_prefix(entry)
            .is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Expectations> {
        Expectations::parse(
            text,
            &["fork".into(), "death/hup".into(), "death/int".into()],
        )
    }

    #[test]
    fn an_entry_covers_a_case_or_all_of_a_program() {
        let list = parse("[expected-fail]\n\"death\" = { reason = \"r\" }").expect("valid");
        assert_eq!(
            (list.reason("death/int"), list.reason("fork")),
            (Some("r"), None)
        );
        let list = parse("[expected-fail]\n\"death/hup\" = { reason = \"r\" }").expect("valid");
        assert_eq!(
            (list.reason("death/hup"), list.reason("death/int")),
            (Some("r"), None)
        );
    }

    #[test]
    fn reasons_and_real_names_are_demanded() {
        assert!(parse("[expected-fail]\n\"fork\" = { reason = \" \" }").is_err());
        assert!(parse("[expected-fail]\n\"gone\" = { reason = \"r\" }").is_err());
        assert!(
            parse("")
                .expect("an empty list is fine")
                .reason("fork")
                .is_none()
        );
    }
}
