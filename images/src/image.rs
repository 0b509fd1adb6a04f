//! What is known about an image beside its bytes.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

const DIGEST_PREFIX: &str = "blake3-";

/// Digest of an image's bytes, written `blake3-<64 hexadecimal digits>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub blake3::Hash);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{DIGEST_PREFIX}{}", self.0.to_hex()))
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Digest> {
        text.strip_prefix(DIGEST_PREFIX)
            .and_then(|hex| blake3::Hash::from_hex(hex).ok())
            .map(Digest)
            .ok_or_else(|| Error::InvalidName {
                what: "image digest",
                name: text.to_owned(),
                reason: "expected `blake3-` and 64 hexadecimal digits",
            })
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// How a program in the image is started unless told otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageConfig {
    /// `KEY=VALUE` strings.
    #[serde(default)]
    pub env: Vec<String>,
    /// Program and leading arguments; the program's path is absolute.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// Working directory.
    #[serde(default = "root_directory")]
    pub cwd: String,
}

impl Default for ImageConfig {
    fn default() -> Self {
        ImageConfig {
            env: Vec::new(),
            entrypoint: Vec::new(),
            cwd: root_directory(),
        }
    }
}

fn root_directory() -> String {
    "/".into()
}

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// "recipe node:24", "directory /srv/app".
    pub made_from: String,
    /// Version of this crate.
    pub builder: String,
    /// When the image was put into the store, seconds since 1970. Not part of the image.
    pub created: u64,
    /// Architecture of the programs in it, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// The packages used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
}

impl Provenance {
    /// A record that says "now, by this version".
    pub fn new(made_from: impl Into<String>) -> Provenance {
        Provenance {
            made_from: made_from.into(),
            builder: concat!("sprout ", env!("CARGO_PKG_VERSION")).into(),
            created: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |t| t.as_secs()),
            architecture: None,
            sources: Vec::new(),
        }
    }
}

/// A package that went into an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// "npm" or "debian".
    pub kind: String,
    /// The package's name.
    pub name: String,
    /// The exact version used.
    pub version: String,
    /// Digest of the package file: `sha512-<base64>` (npm's form) or `sha256-<hexadecimal>`.
    pub integrity: String,
    /// The version the recipe names, if that one was no longer to be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_survive_text() {
        let digest = Digest(blake3::hash(b"x"));
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        assert!("blake3-xyz".parse::<Digest>().is_err());
        assert!("sha256-00".parse::<Digest>().is_err());
        assert!("../../etc/passwd".parse::<Digest>().is_err());
    }
}
