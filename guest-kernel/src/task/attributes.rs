//! What a thread keeps of itself, and hands on to those it makes: groups and the like. Inside the VM
//! everything is root's, so it is kept and told, and decides nothing.

use alloc::sync::Arc;

/// All capabilities there are, as a set.
pub const ALL_CAPABILITIES: u64 = (1 << 41) - 1;

/// A thread's attributes.
#[derive(Clone, Debug)]
pub struct Attributes {
    /// Supplementary groups, ascending.
    pub groups: Arc<[u32]>,
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
}

impl Default for Attributes {
    fn default() -> Attributes {
        Attributes {
            groups: Arc::new([]),
            bounding: ALL_CAPABILITIES,
            secure_bits: 0,
            no_new_privileges: false,
            timer_slack: 50_000,
            default_timer_slack: 50_000,
            machine_check_kill: 2,
            io_flusher: false,
        }
    }
}

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

    /// What exec leaves.
    pub fn after_exec(&mut self) {
        self.secure_bits &= !KEEP_CAPABILITIES;
    }
}
