//! `state.bin`: the vCPUs, and what the VMM knows about the waiting guest.

use serde::{Deserialize, Serialize};

use super::tables::Tables;
use crate::hypercall::Wait;
use crate::vcpu::state::VcpuState;

/// Version of this file's layout, its first byte.
const VERSION: u32 = 3;

/// Everything but memory.
#[derive(Debug, Serialize, Deserialize)]
pub struct State {
    version: u32,
    /// Registers of each vCPU, and the request it waits in, to be completed when the wait ends.
    pub(crate) vcpus: Vec<(VcpuState, Wait)>,
    /// Guest CLOCK_MONOTONIC in ns.
    pub(crate) monotonic_ns: u64,
    /// The guest's page tables.
    pub(crate) tables: Tables,
}

impl State {
    pub(crate) fn new(vcpus: Vec<(VcpuState, Wait)>, monotonic_ns: u64, tables: Tables) -> Self {
        Self {
            version: VERSION,
            vcpus,
            monotonic_ns,
            tables,
        }
    }

    /// As bytes for the file.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        postcard::to_extend(self, Vec::new()).map_err(|error| format!("state.bin: {error}"))
    }

    /// From the file's bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let describe = |error: postcard::Error| format!("state.bin: {error}");
        let (version, _) = postcard::take_from_bytes::<u32>(bytes).map_err(describe)?;
        if version != VERSION {
            return Err(format!("state.bin: version {version} instead of {VERSION}"));
        }
        postcard::from_bytes(bytes).map_err(describe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::shell::Shell;

    #[test]
    fn state_survives_the_file_and_damage_is_noticed() {
        let shell = Shell::new().unwrap();
        let vcpu = VcpuState::save(&shell.vcpu).unwrap();
        let wait = Wait {
            request: 0x3000,
            deadline: 7,
            flags: 1,
            wanted: 2,
            turn: 3,
        };
        let tables = Tables {
            program: vec![7],
            ..Tables::default()
        };
        let state = State::new(vec![(vcpu, wait)], 99, tables.clone());
        let bytes = state.encode().unwrap();
        let state = State::decode(&bytes).unwrap();
        let (vcpu, waits_in) = &state.vcpus[0];
        assert_eq!((*waits_in, state.monotonic_ns), (wait, 99));
        assert_eq!(state.tables, tables);
        vcpu.restore(&shell.vcpu).unwrap();
        assert!(State::decode(&bytes[..bytes.len() - 1]).is_err());
        assert!(State::decode(&[]).is_err());
        let mut newer = bytes.clone();
        newer[0] += 1;
        assert!(State::decode(&newer).unwrap_err().contains("version 4"));
    }
}
