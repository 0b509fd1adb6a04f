//! The processor the guest sees.
//!
//! On hardware KVM that is KVM's own table. Software KVM reports next to nothing there, yet ring 3
//! runs natively and sees the host's CPUID; then the table is made to say what ring 3 sees.

use std::collections::BTreeMap;

use kvm_bindings::{CpuId, KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};
use serde::{Deserialize, Serialize};

/// Most entries KVM handles.
pub const MAX_ENTRIES: usize = kvm_bindings::KVM_MAX_CPUID_ENTRIES;

/// Hypervisor leaves: nothing paravirtual is offered to the guest.
const PARAVIRTUAL: std::ops::Range<u32> = 0x4000_0000..0x5000_0000;

// CPUID.1:ECX.
const SSE3: u32 = 1 << 0;
const MONITOR: u32 = 1 << 3;
const VMX: u32 = 1 << 5;
const PCID: u32 = 1 << 17;
const X2APIC: u32 = 1 << 21;
const TSC_DEADLINE: u32 = 1 << 24;
const OSXSAVE: u32 = 1 << 27;
const HYPERVISOR: u32 = 1 << 31;
// CPUID.1:EDX: there are several logical processors.
const SEVERAL: u32 = 1 << 28;
// CPUID.1:ECX: the capabilities MSR of performance monitoring.
const PDCM: u32 = 1 << 15;
// CPUID.1:EDX: the debug store.
const DEBUG_STORE: u32 = 1 << 21;
// CPUID.1:ECX: the debug store's 64-bit area and its filter by privilege level.
const DEBUG_STORE_64: u32 = 1 << 2 | 1 << 4;
// CPUID.7.0:EDX: architectural last-branch records. CPUID.7.0:EBX: processor trace.
const LAST_BRANCHES: u32 = 1 << 19;
const PROCESSOR_TRACE: u32 = 1 << 25;
// CPUID.8000_0001:ECX: virtualization, instruction-based sampling, and counters: of the core, of the
// northbridge, of the last-level cache; of timestamps.
const SVM: u32 = 1 << 2;
const AMD_COUNTERS: u32 = 1 << 10 | 1 << 23 | 1 << 24 | 1 << 27 | 1 << 28;
/// Leaves that only say more of what is not offered: performance monitoring (10, 0x23, AMD's
/// 0x8000_001b and 0x8000_0022), processor trace (0x14), last-branch records (0x1c), nested
/// virtualization (0x8000_000a) and memory encryption (0x8000_001f).
const NOT_OFFERED: [u32; 8] = [
    0xa,
    0x14,
    0x1c,
    0x23,
    0x8000_000a,
    0x8000_001b,
    0x8000_001f,
    0x8000_0022,
];
// CPUID.7.0:EBX and EDX.
const INVPCID: u32 = 1 << 10;
const AMX: u32 = 1 << 22 | 1 << 24 | 1 << 25;

/// State components a guest may use: x87, SSE, AVX, AVX-512 and protection keys. Not AMX: its
/// state is 8 KiB and needs the host's permission.
const USER_STATE: u64 = 0b11 | 1 << 2 | 0b111 << 5 | 1 << 9;
const AVX512_STATE: u64 = 0b111 << 5;

/// One CPUID leaf as the processor returns it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leaf {
    /// EAX.
    pub eax: u32,
    /// EBX.
    pub ebx: u32,
    /// ECX.
    pub ecx: u32,
    /// EDX.
    pub edx: u32,
}

/// CPUID of the host's processor.
pub fn host_leaf(function: u32, index: u32) -> Leaf {
    let result = core::arch::x86_64::__cpuid_count(function, index);
    Leaf {
        eax: result.eax,
        ebx: result.ebx,
        ecx: result.ecx,
        edx: result.edx,
    }
}

/// Whether KVM reports less than any hardware KVM would: without SSE3 on a processor that has it.
pub fn is_software_kvm(supported: &CpuId, host: impl Fn(u32, u32) -> Leaf) -> bool {
    supported
        .as_slice()
        .iter()
        .any(|entry| entry.function == 1 && entry.ecx & SSE3 == 0 && host(1, 0).ecx & SSE3 != 0)
}

/// The table for `KVM_SET_CPUID2` of a guest's only vCPU; [`for_vcpu`] makes that of one of several.
pub fn table_for_guest(mut supported: CpuId, host: impl Fn(u32, u32) -> Leaf) -> CpuId {
    supported.retain(|entry| !PARAVIRTUAL.contains(&entry.function));
    if is_software_kvm(&supported, &host) {
        as_ring3_sees(&mut supported, &host);
    }
    for entry in supported.as_mut_slice() {
        match entry.function {
            // One vCPU with APIC id 0, in a package of its own.
            1 => {
                entry.ebx = (entry.ebx & 0x0000_ffff) | 1 << 16;
                entry.ecx |= HYPERVISOR;
                entry.ecx &= !(TSC_DEADLINE | X2APIC | VMX | MONITOR | PDCM | DEBUG_STORE_64);
                entry.edx &= !DEBUG_STORE;
            }
            7 if entry.index == 0 => {
                entry.ebx &= !PROCESSOR_TRACE;
                entry.edx &= !LAST_BRANCHES;
            }
            0x8000_0001 => entry.ecx &= !(SVM | AMD_COUNTERS),
            0xb | 0x1f => entry.edx = 0,
            leaf if NOT_OFFERED.contains(&leaf) => {
                (entry.eax, entry.ebx, entry.ecx, entry.edx) = (0, 0, 0, 0);
            }
            _ => {}
        }
    }
    supported
}

/// The table of vCPU `index` of `count`: cores of one package, one thread each, with caches of their
/// own. (Intel SDM volume 2, CPUID leaves 1, 4, 0xb; AMD APM volume 3, appendix E.4.)
pub fn for_vcpu(table: &CpuId, index: u8, count: u8) -> CpuId {
    /// Level types of leaf 0xb.
    const THREAD: u32 = 1;
    const CORE: u32 = 2;
    let mut table = table.clone();
    let (index, count) = (u32::from(index), u32::from(count));
    if count == 1 {
        return table;
    }
    let id_bits = count.next_power_of_two().trailing_zeros();
    for entry in table.as_mut_slice() {
        match (entry.function, entry.index) {
            (1, _) => {
                entry.ebx = (entry.ebx & 0xffff) | count << 16 | index << 24;
                entry.edx |= SEVERAL;
            }
            (4, _) if entry.eax & 0x1f != 0 => {
                entry.eax = (entry.eax & 0x3fff) | (count - 1) << 26;
            }
            (0xb | 0x1f, level) => {
                (entry.eax, entry.ebx, entry.ecx) = match level {
                    0 => (0, 1, THREAD << 8),
                    1 => (id_bits, count, 1 | CORE << 8),
                    _ => (0, 0, level & 0xff),
                };
                entry.edx = index;
            }
            (0x8000_0008, _) => {
                entry.ecx = (entry.ecx & !0xf0ff) | id_bits << 12 | (count - 1);
            }
            (0x8000_001d, _) => entry.eax &= 0x3fff,
            (0x8000_001e, _) => {
                entry.eax = index;
                entry.ebx = (entry.ebx & !0xffff) | index;
            }
            _ => {}
        }
    }
    table
}

/// Replaces the feature leaves by the host's, less what a guest of software KVM can't have.
fn as_ring3_sees(table: &mut CpuId, host: &impl Fn(u32, u32) -> Leaf) {
    let mut entries: BTreeMap<(u32, u32), kvm_cpuid_entry2> = table
        .as_slice()
        .iter()
        .map(|entry| ((entry.function, entry.index), *entry))
        .collect();
    let mut leaves = vec![(1, 0), (7, 0), (7, 1), (0xd, 0), (0xd, 1), (0x8000_0001, 0)];
    leaves.extend((2..32).map(|component| (0xd, component)));
    for (function, index) in leaves {
        let mut leaf = host(function, index);
        match (function, index) {
            (1, 0) => leaf.ecx &= !(PCID | OSXSAVE),
            (7, 0) => {
                leaf.ebx &= !INVPCID;
                leaf.edx &= !AMX;
            }
            (0xd, 0) => leaf.eax &= USER_STATE as u32,
            // No supervisor state.
            (0xd, 1) => (leaf.ecx, leaf.edx) = (0, 0),
            (0xd, component) if USER_STATE >> component & 1 == 0 => continue,
            _ => {}
        }
        let entry = entries
            .entry((function, index))
            .or_insert_with(|| kvm_cpuid_entry2 {
                function,
                index,
                flags: if matches!(function, 7 | 0xd) {
                    KVM_CPUID_FLAG_SIGNIFCANT_INDEX
                } else {
                    0
                },
                ..Default::default()
            });
        (entry.eax, entry.ebx, entry.ecx, entry.edx) = (leaf.eax, leaf.ebx, leaf.ecx, leaf.edx);
    }
    let merged: Vec<_> = entries.into_values().collect();
    if let Ok(merged) = CpuId::from_entries(&merged) {
        *table = merged;
    }
}

/// The value for XCR0: every user state component the table offers except AMX.
pub fn xcr0(table: &CpuId) -> u64 {
    let offered = find(table, 0xd, 0).map_or(0b11, |entry| {
        u64::from(entry.edx) << 32 | u64::from(entry.eax)
    });
    let mut mask = offered & USER_STATE | 0b11;
    // AVX-512's three components come together and on top of AVX.
    if mask & AVX512_STATE != AVX512_STATE || mask & 1 << 2 == 0 {
        mask &= !AVX512_STATE;
    }
    mask
}

/// Whether the table offers FSGSBASE.
pub fn has_fsgsbase(table: &CpuId) -> bool {
    find(table, 7, 0).is_some_and(|entry| entry.ebx & 1 != 0)
}

fn find(table: &CpuId, function: u32, index: u32) -> Option<&kvm_cpuid_entry2> {
    table
        .as_slice()
        .iter()
        .find(|entry| entry.function == function && entry.index == index)
}

/// The features a program may have found and now relies on: recorded in a snapshot, compared at
/// restore.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    /// Vendor string of leaf 0.
    pub vendor: String,
    /// XCR0.
    pub xcr0: u64,
    /// Feature words by name (`7.0:ebx`).
    pub words: BTreeMap<String, u32>,
}

impl Features {
    /// The features of a guest table.
    pub fn of(table: &CpuId) -> Self {
        let mut words = BTreeMap::new();
        for (function, index, name) in [
            (1, 0, "1"),
            (7, 0, "7.0"),
            (7, 1, "7.1"),
            (0x8000_0001, 0, "80000001"),
        ] {
            let Some(entry) = find(table, function, index) else {
                continue;
            };
            let registers = match (function, index) {
                (7, 0) => [("ebx", entry.ebx), ("ecx", entry.ecx), ("edx", entry.edx)].to_vec(),
                (7, _) => [("eax", entry.eax)].to_vec(),
                _ => [("ecx", entry.ecx & !OSXSAVE), ("edx", entry.edx)].to_vec(),
            };
            for (register, value) in registers {
                words.insert(format!("{name}:{register}"), value);
            }
        }
        let vendor = find(table, 0, 0).map_or_else(String::new, |entry| {
            let bytes = [entry.ebx, entry.edx, entry.ecx]
                .map(u32::to_le_bytes)
                .concat();
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Self {
            vendor,
            xcr0: xcr0(table),
            words,
        }
    }

    /// What `self` needs and `offered` lacks, in words for the operator; empty if nothing.
    pub fn missing_from(&self, offered: &Self) -> Vec<String> {
        let mut missing = Vec::new();
        if self.vendor != offered.vendor {
            missing.push(format!(
                "a {} processor (this is {})",
                self.vendor, offered.vendor
            ));
        }
        let state = self.xcr0 & !offered.xcr0;
        if state != 0 {
            missing.push(format!("extended state components {state:#x}"));
        }
        for (name, word) in &self.words {
            let lacking = word & !offered.words.get(name).copied().unwrap_or(0);
            if lacking != 0 {
                missing.push(format!("CPUID {name} bits {lacking:#010x}"));
            }
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(function: u32, index: u32, leaf: Leaf) -> kvm_cpuid_entry2 {
        let Leaf { eax, ebx, ecx, edx } = leaf;
        kvm_cpuid_entry2 {
            function,
            index,
            eax,
            ebx,
            ecx,
            edx,
            ..Default::default()
        }
    }

    fn modern_host(function: u32, index: u32) -> Leaf {
        match (function, index) {
            (1, 0) => Leaf {
                ecx: SSE3 | 1 << 26 | 1 << 28 | PCID,
                edx: 0xff,
                ..Leaf::default()
            },
            (7, 0) => Leaf {
                ebx: 1 | INVPCID,
                ..Leaf::default()
            },
            (0xd, 0) => Leaf {
                eax: 0x602e7,
                ..Leaf::default()
            },
            _ => Leaf::default(),
        }
    }

    #[test]
    fn software_kvm_gets_what_ring3_sees() {
        let table = CpuId::from_entries(&[
            entry(1, 0, Leaf::default()),
            entry(
                0x4000_0001,
                0,
                Leaf {
                    eax: 1,
                    ..Leaf::default()
                },
            ),
        ])
        .unwrap();
        let table = table_for_guest(table, modern_host);
        let basic = find(&table, 1, 0).unwrap();
        assert_eq!(basic.ecx & (SSE3 | PCID | HYPERVISOR), SSE3 | HYPERVISOR);
        assert!(has_fsgsbase(&table));
        assert_eq!(xcr0(&table), 0x2e7);
        assert!(find(&table, 0x4000_0001, 0).is_none());
    }

    #[test]
    fn hardware_kvm_keeps_its_own_table() {
        let reported = Leaf {
            ecx: SSE3,
            ebx: 0x0510_0800,
            ..Leaf::default()
        };
        let table = CpuId::from_entries(&[entry(1, 0, reported)]).unwrap();
        let table = table_for_guest(table, modern_host);
        assert_eq!(find(&table, 1, 0).unwrap().ecx, SSE3 | HYPERVISOR);
        assert_eq!(find(&table, 1, 0).unwrap().ebx, 0x0001_0800);
        assert!(!has_fsgsbase(&table));
        assert_eq!(xcr0(&table), 0b11);
    }

    #[test]
    fn neither_virtualization_nor_performance_monitoring_is_offered() {
        let all = Leaf {
            eax: u32::MAX,
            ebx: u32::MAX,
            ecx: u32::MAX,
            edx: u32::MAX,
        };
        // Hardware KVM that reports everything, and software KVM on a host that has it.
        for basic in [all, Leaf::default()] {
            let mut entries: Vec<_> = NOT_OFFERED.map(|leaf| entry(leaf, 0, all)).into();
            entries.extend([entry(0xa, 1, all), entry(0x14, 1, all)]);
            entries
                .extend([(1, 0), (7, 0), (0x8000_0001, 0)].map(|(leaf, i)| entry(leaf, i, basic)));
            let table = CpuId::from_entries(&entries).unwrap();
            let table = table_for_guest(table, |_, _| all);
            for vcpu in 0..2 {
                let table = for_vcpu(&table, vcpu, 2);
                for entry in table.as_slice() {
                    let registers = [entry.eax, entry.ebx, entry.ecx, entry.edx];
                    match entry.function {
                        1 => {
                            assert_eq!(entry.ecx & (VMX | PDCM | DEBUG_STORE_64), 0);
                            assert_eq!(entry.edx & DEBUG_STORE, 0);
                            assert_ne!(entry.ecx & SSE3, 0);
                        }
                        7 if entry.index == 0 => {
                            assert_eq!(entry.ebx & PROCESSOR_TRACE, 0);
                            assert_eq!(entry.edx & LAST_BRANCHES, 0);
                            assert_ne!(entry.ebx & 1, 0);
                        }
                        0x8000_0001 => {
                            assert_eq!(entry.ecx & (SVM | AMD_COUNTERS), 0);
                            // LAHF in 64-bit mode stays.
                            assert_ne!(entry.ecx & 1, 0);
                        }
                        leaf if NOT_OFFERED.contains(&leaf) => {
                            assert_eq!(registers, [0; 4], "leaf {leaf:#x}");
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    #[test]
    fn each_of_several_vcpus_has_a_number_of_its_own() {
        let leaf = Leaf {
            ebx: 0x0001_0800,
            ..Leaf::default()
        };
        let entries = [(1, 0), (0xb, 0), (0xb, 1), (0x8000_0008, 0)];
        let entries = entries.map(|(function, index)| entry(function, index, leaf));
        let table = CpuId::from_entries(&entries).unwrap();
        assert_eq!(for_vcpu(&table, 0, 1), table);
        let third = for_vcpu(&table, 2, 3);
        assert_eq!(find(&third, 1, 0).unwrap().ebx, 0x0203_0800);
        assert_eq!(find(&third, 1, 0).unwrap().edx, SEVERAL);
        let cores = find(&third, 0xb, 1).unwrap();
        assert_eq!((cores.eax, cores.ebx, cores.edx), (2, 3, 2));
        assert_eq!(find(&third, 0xb, 0).unwrap().ebx, 1);
        assert_eq!(find(&third, 0x8000_0008, 0).unwrap().ecx, 2 << 12 | 2);
    }

    #[test]
    fn half_of_avx512_is_none_of_it() {
        let table = |eax| {
            CpuId::from_entries(&[entry(
                0xd,
                0,
                Leaf {
                    eax,
                    ..Leaf::default()
                },
            )])
            .unwrap()
        };
        assert_eq!(xcr0(&table(0x67)), 0x7);
        assert_eq!(xcr0(&table(0xe3)), 0x3);
        assert_eq!(xcr0(&table(0xe7)), 0xe7);
    }

    #[test]
    fn missing_features_are_named() {
        let mut needed = Features {
            vendor: "GenuineIntel".into(),
            xcr0: 7,
            ..Features::default()
        };
        needed.words.insert("7.0:ebx".into(), 0b110);
        assert!(needed.missing_from(&needed).is_empty());
        let offered = Features {
            vendor: "GenuineIntel".into(),
            xcr0: 3,
            ..Features::default()
        };
        let missing = needed.missing_from(&offered).join(", ");
        assert_eq!(
            missing,
            "extended state components 0x4, CPUID 7.0:ebx bits 0x00000006"
        );
    }
}
