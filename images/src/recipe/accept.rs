//! What else than a recipe's versions of packages the user accepts.

use std::str::FromStr;

use super::{DebianPackage, Version};
use crate::{Error, Result};

/// Versions accepted by the user.
#[derive(Clone, Debug, Default)]
pub struct Accept {
    /// These.
    pub packages: Vec<Accepted>,
    /// Whatever version the configured archive offers instead of those that it lacks: its
    /// signature, which apt-get checks, vouches for it.
    pub archive_versions: bool,
}

/// A version of a package: `NAME=VERSION:SHA256`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    package: String,
    version: Version,
}

impl FromStr for Accepted {
    type Err = Error;

    fn from_str(text: &str) -> Result<Accepted> {
        let invalid = |reason| Error::InvalidName {
            what: "accepted package",
            name: text.to_owned(),
            reason,
        };
        // A version may contain a colon (its epoch), a digest none.
        let parts = text
            .split_once('=')
            .and_then(|(package, rest)| Some((package, rest.rsplit_once(':')?)));
        let Some((package, (version, sha256))) = parts else {
            return Err(invalid("expected NAME=VERSION:SHA256"));
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".+-~:".contains(c);
        let is_plain = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(allowed)
        };
        if !is_plain(package) || !is_plain(version) {
            return Err(invalid(
                "the package or version has characters Debian's never have",
            ));
        }
        let is_digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        if sha256.len() != 64 || !sha256.chars().all(is_digit) {
            return Err(invalid("a SHA-256 has 64 digits, 0-9 and a-f"));
        }
        Ok(Accepted {
            package: package.to_owned(),
            version: Version {
                version: version.to_owned(),
                sha256: sha256.to_owned(),
            },
        })
    }
}

impl Accept {
    /// The versions of `package` that will do, in the order they are to be tried.
    pub(super) fn versions(&self, package: &DebianPackage) -> Vec<Version> {
        let pinned = Version {
            version: package.version.clone(),
            sha256: package.sha256.clone(),
        };
        let users = self
            .packages
            .iter()
            .filter(|accepted| accepted.package == package.package)
            .map(|accepted| accepted.version.clone());
        std::iter::once(pinned)
            .chain(package.accepted.iter().cloned())
            .chain(users)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_tried_pinned_first_the_users_last() {
        let digest = |digit: &str| digit.repeat(64);
        let version = |version: &str, digit: &str| Version {
            version: version.into(),
            sha256: digest(digit),
        };
        let package = DebianPackage {
            package: "libx".into(),
            version: "2".into(),
            sha256: digest("a"),
            accepted: vec![version("1", "b")],
            files: vec![],
        };
        let accept = Accept {
            packages: vec![
                format!("libx=1:3~rc+1-2:{}", digest("c")).parse().unwrap(),
                format!("other=9:{}", digest("d")).parse().unwrap(),
            ],
            archive_versions: false,
        };
        assert_eq!(
            accept.versions(&package),
            [
                version("2", "a"),
                version("1", "b"),
                version("1:3~rc+1-2", "c")
            ]
        );
    }

    #[test]
    fn half_a_package_is_refused() {
        let digest = "0".repeat(64);
        for bad in [
            "x".to_owned(),
            "x=1".into(),
            "x=1:00".into(),
            format!("x:{digest}"),
            format!("=1:{digest}"),
            format!("-x=1:{digest}"),
            format!("x=1 2:{digest}"),
            format!("x=1:{}", "G".repeat(64)),
        ] {
            assert!(bad.parse::<Accepted>().is_err(), "{bad}");
        }
    }
}
