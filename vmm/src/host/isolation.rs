//! What stands between a program and its sentry, inside the VM.

use serde::{Deserialize, Serialize};
use sprout_abi::boot::mode;

/// How the sentry runs (see the privilege modes in ARCHITECTURE.md), the weakest wall first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PrivilegeMode {
    /// Ring 3 beside the program, on software KVM: the VM boundary is the only wall.
    #[serde(rename = "ring3")]
    Ring3,
    /// Ring 3 on software KVM, on page tables of its own: a wall that a program can't cross, kept
    /// up by a few dozen instructions of emulated ring 0.
    #[serde(rename = "ring3-strict")]
    Ring3Strict,
    /// Ring 0 on supervisor pages: a hardware wall between program and sentry.
    #[serde(rename = "hardware")]
    Hardware,
}

impl PrivilegeMode {
    /// From the value in the shared page.
    pub fn from_abi(value: u32) -> Option<Self> {
        match value {
            mode::HARDWARE => Some(Self::Hardware),
            mode::RING3 => Some(Self::Ring3),
            mode::RING3_STRICT => Some(Self::Ring3Strict),
            _ => None,
        }
    }

    /// Its name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hardware => "hardware",
            Self::Ring3 => "ring3",
            Self::Ring3Strict => "ring3-strict",
        }
    }
}

impl std::fmt::Display for PrivilegeMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Hardware => "hardware mode (sentry in ring 0)",
            Self::Ring3 => "ring-3 mode (software KVM, sentry beside the program)",
            Self::Ring3Strict => "strict ring-3 mode (software KVM, sentry on its own page tables)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_use_the_names() {
        for mode in [
            PrivilegeMode::Hardware,
            PrivilegeMode::Ring3,
            PrivilegeMode::Ring3Strict,
        ] {
            let json = serde_json::to_string(&mode).unwrap();
            assert_eq!(json, format!("\"{}\"", mode.name()));
        }
    }
}
