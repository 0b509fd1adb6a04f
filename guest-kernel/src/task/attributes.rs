//! What a thread keeps of itself, and hands on to those it makes: groups and the like. Inside the VM
//! everything is root's, so it is kept and told, and decides nothing.

use crate::errno::{Errno, Result};
use alloc::sync::Arc;

/// All capabilities there are, as a set.
pub const ALL_CAPABILITIES: u64 = (1 << 41) - 1;

/// A thread's attributes.
#[derive(Clone, Debug)]
pub struct Attributes {
    /// Supplementary groups, ascending.
    pub groups: Arc<[u32]>,
    /// Capabilities in force, those that can be, and those exec hands on.
    pub effective: u64,
    #[allow(missing_docs)]
    pub permitted: u64,
    #[allow(missing_docs)]
    pub inheritable: u64,
    /// The bounding set of capabilities (PR_CAPBSET_DROP).
    pub bounding: u64,
    /// PR_SET_SECUREBITS, with PR_SET_KEEPCAPS.
    pub secure_bits: u32,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privileges: bool,
    /// PR_SET_TIMERSLACK, in ns: timers here are exact.
    pub timer_slack: u64,
    /// What PR_SET_TIMERSLACK of 0 goes back to.
    pub default_timer_slack: u64,
    /// PR_MCE_KILL.
    pub machine_check_kill: u8,
    /// PR_SET_IO_FLUSHER.
    pub io_flusher: bool,
    /// personality(2): kept over fork and exec.
    pub personality: u32,
}

impl Default for Attributes {
    fn default() -> Attributes {
        Attributes {
            groups: Arc::new([]),
            effective: ALL_CAPABILITIES,
            permitted: ALL_CAPABILITIES,
            inheritable: 0,
            bounding: ALL_CAPABILITIES,
            secure_bits: 0,
            no_new_privileges: false,
            timer_slack: 50_000,
            default_timer_slack: 50_000,
            machine_check_kill: 2,
            io_flusher: false,
            personality: 0,
        }
    }
}

/// The capability to change capabilities.
pub const CAP_SETPCAP: u64 = 8;

/// In the secure bits: root has no capabilities by being root.
const NO_ROOT: u32 = 1;

/// ADDR_NO_RANDOMIZE: programs start at the same addresses each time.
pub const NO_RANDOMIZE: u32 = 0x004_0000;
/// READ_IMPLIES_EXEC: what can be read can be executed.
pub const READ_IMPLIES_EXEC: u32 = 0x040_0000;

/// STICKY_TIMEOUTS: select and its kin leave the timeout as it was.
pub const STICKY_TIMEOUTS: u32 = 0x400_0000;

/// "Keep capabilities when all ids become other than root's"; exec ends it.
pub const KEEP_CAPABILITIES: u32 = 1 << 4;

impl Attributes {
    /// What a new thread starts with.
    pub fn forked(&self) -> Attributes {
        Attributes {
            default_timer_slack: self.timer_slack,
            ..self.clone()
        }
    }

    /// Whether a capability is in force.
    pub fn has(&self, capability: u64) -> bool {
        self.effective >> capability & 1 != 0
    }

    /// capset: EPERM for what the thread has not itself.
    pub fn set_capabilities(
        &mut self,
        effective: u64,
        permitted: u64,
        inheritable: u64,
    ) -> Result<()> {
        let within = |set: u64, all: u64| set & !all == 0;
        let allowed = (self.has(CAP_SETPCAP)
            || within(inheritable, self.inheritable | self.permitted))
            && within(inheritable, self.inheritable | self.bounding)
            && within(permitted, self.permitted)
            && within(effective, permitted);
        if !allowed {
            return Err(Errno::EPERM);
        }
        (self.effective, self.permitted, self.inheritable) = (effective, permitted, inheritable);
        Ok(())
    }

    /// What exec leaves: root has again all that the bounding set allows.
    pub fn after_exec(&mut self) {
        if self.secure_bits & NO_ROOT == 0 {
            self.permitted = self.inheritable | self.bounding;
            self.effective = self.permitted;
        } else {
            (self.permitted, self.effective) = (0, 0);
        }
        self.secure_bits &= !KEEP_CAPABILITIES;
        // 64-bit programs start without it (set_personality_64bit).
        self.personality &= !READ_IMPLIES_EXEC;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_given_up_come_back_only_with_exec() {
        let mut own = Attributes::default();
        let none = Err(Errno::EPERM);
        assert_eq!(own.set_capabilities(1, 3, 0), Ok(()));
        assert_eq!(own.set_capabilities(7, 7, 0), none);
        assert_eq!(own.set_capabilities(3, 1, 0), none);
        assert_eq!(own.set_capabilities(0, 0, 4), none);
        assert_eq!(own.set_capabilities(3, 3, 2), Ok(()));
        assert!(!own.has(CAP_SETPCAP));
        own.bounding = 5;
        own.after_exec();
        assert_eq!((own.effective, own.permitted, own.inheritable), (7, 7, 2));
    }
}
