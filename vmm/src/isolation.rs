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

/// The least that has to stand between a program and its sentry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Required {
    /// The VM around both is enough.
    #[default]
    Shared,
    /// Page tables of their own, or more.
    Strict,
    /// The processor's privilege levels.
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

    /// Whether it is as much as is required; the error says what it is and what to do.
    pub fn check(self, required: Required) -> Result<(), String> {
        match (required, self) {
            (Required::Shared, _)
            | (Required::Strict, Self::Ring3Strict | Self::Hardware)
            | (Required::Hardware, Self::Hardware) => Ok(()),
            (Required::Strict, Self::Ring3) => Err(format!(
                "strict isolation is required and this is {self}; make it again with \
                 --sentry-isolation=strict"
            )),
            (Required::Hardware, _) => Err(format!(
                "hardware isolation is required and this is {self}; make it again on a host with \
                 hardware virtualization"
            )),
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
    fn each_requirement_accepts_its_mode_and_stronger_ones() {
        use PrivilegeMode::{Hardware, Ring3, Ring3Strict};
        for (required, accepted) in [
            (Required::Shared, [true, true, true]),
            (Required::Strict, [false, true, true]),
            (Required::Hardware, [false, false, true]),
        ] {
            for (mode, accepted) in [Ring3, Ring3Strict, Hardware].into_iter().zip(accepted) {
                assert_eq!(
                    mode.check(required).is_ok(),
                    accepted,
                    "{mode} {required:?}"
                );
            }
        }
        let refusal = Ring3.check(Required::Strict).unwrap_err();
        assert!(refusal.contains("--sentry-isolation=strict"));
    }

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
