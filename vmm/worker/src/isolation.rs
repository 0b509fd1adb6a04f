//! Whether a guest has the walls an operator asks for.

use sprout_protocol::Required;
use sprout_vmm::host::isolation::PrivilegeMode;

/// Whether `mode` is as much as is required; the error says what it is and what to do.
pub fn suffices(mode: PrivilegeMode, required: Required) -> Result<(), String> {
    match (required, mode) {
        (Required::Shared, _)
        | (Required::Strict, PrivilegeMode::Ring3Strict | PrivilegeMode::Hardware)
        | (Required::Hardware, PrivilegeMode::Hardware) => Ok(()),
        (Required::Strict, PrivilegeMode::Ring3) => Err(format!(
            "strict isolation is required and this is {mode}; make it again with \
             --sentry-isolation=strict"
        )),
        (Required::Hardware, _) => Err(format!(
            "hardware isolation is required and this is {mode}; make it again on a host with \
             hardware virtualization"
        )),
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
                    suffices(mode, required).is_ok(),
                    accepted,
                    "{mode} {required:?}"
                );
            }
        }
        let refusal = suffices(Ring3, Required::Strict).unwrap_err();
        assert!(refusal.contains("--sentry-isolation=strict"));
    }
}
