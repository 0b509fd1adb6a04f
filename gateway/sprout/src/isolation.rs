//! Options about the wall between a program and its guest kernel (see `docs/hosts.md`).

use clap::ValueEnum;
use sprout_abi::boot::boot_flags;
use sprout_protocol::Required;

/// Where the sentry lives on a host whose KVM emulates ring 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SentryIsolation {
    /// Mapped beside the program, which can get at it: fast
    Shared,
    /// On page tables of its own, out of the program's reach: slower system calls
    Strict,
}

/// What a guest is booted with.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Isolation {
    /// Where the guest kernel lives on a host whose KVM emulates ring 0; hardware virtualization
    /// always walls it off and needs neither
    #[arg(long, value_enum, value_name = "MODE", default_value = "shared")]
    sentry_isolation: SentryIsolation,
}

impl Isolation {
    /// The default, for tests that make arguments by hand.
    #[cfg(test)]
    pub fn shared() -> Self {
        Self {
            sentry_isolation: SentryIsolation::Shared,
        }
    }

    /// As bits of `boot_flags`.
    pub fn flags(self) -> u64 {
        match self.sentry_isolation {
            SentryIsolation::Shared => 0,
            SentryIsolation::Strict => boot_flags::STRICT,
        }
    }
}

/// What an operator insists on.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Requirement {
    /// Refuse a guest kernel without a hardware wall to the program
    #[arg(long, conflicts_with = "require_strict_isolation")]
    require_hardware_isolation: bool,
    /// Refuse a guest kernel without any wall to the program: hardware, or page tables of its own
    /// (--sentry-isolation=strict)
    #[arg(long)]
    require_strict_isolation: bool,
}

impl Requirement {
    /// The least that is enough.
    pub fn required(self) -> Required {
        if self.require_hardware_isolation {
            Required::Hardware
        } else if self.require_strict_isolation {
            Required::Strict
        } else {
            Required::Shared
        }
    }
}
