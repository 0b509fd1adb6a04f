//! Names of images, snapshots and functions: what is allowed in them, so that each can be a file
//! name and none can lead elsewhere.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// Longest name or tag.
const LENGTH_MAX: usize = 100;
const DEFAULT_TAG: &str = "latest";

/// Name of an image: `name:tag`, or `name` for `name:latest`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    name: String,
    tag: String,
}

impl Reference {
    /// The part before the colon.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The part after the colon.
    pub fn tag(&self) -> &str {
        &self.tag
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Reference> {
        let (name, tag) = text.split_once(':').unwrap_or((text, DEFAULT_TAG));
        let invalid = |reason| Error::InvalidName {
            what: "image name",
            name: text.to_owned(),
            reason,
        };
        // An underscore separates name and tag in the file's name.
        if name.contains('_') {
            return Err(invalid("the part before `:` may not contain `_`"));
        }
        for part in [name, tag] {
            check(part).map_err(invalid)?;
        }
        Ok(Reference {
            name: name.to_owned(),
            tag: tag.to_owned(),
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}:{}", self.name, self.tag))
    }
}

/// Checks a name that becomes a file name; `what` is the kind of thing it names.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<()> {
    check(name).map_err(|reason| Error::InvalidName {
        what,
        name: name.to_owned(),
        reason,
    })
}

fn check(name: &str) -> Result<(), &'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Err("it must begin with a letter or digit")
    } else if !name.chars().all(allowed) {
        Err("only letters, digits, `.`, `_` and `-` are allowed")
    } else if name.len() > LENGTH_MAX {
        Err("it may have 100 characters at most")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_parsed() {
        let reference: Reference = "node:24".parse().unwrap();
        assert_eq!((reference.name(), reference.tag()), ("node", "24"));
        assert_eq!(
            "app".parse::<Reference>().unwrap().to_string(),
            "app:latest"
        );
        assert_eq!("a:1_x".parse::<Reference>().unwrap().tag(), "1_x");
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for bad in [
            "", ":", "a:", ":b", "../x", "a/b", "a:b:c", ".a", "-a", "a_b:c", "a b", "ä",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
        assert!(check_name("function", &"x".repeat(101)).is_err());
        assert!(check_name("function", "hello_world-1.2").is_ok());
    }
}
