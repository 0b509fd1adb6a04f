//! The text of `/proc/cpuinfo`, from CPUID (Intel SDM volume 2, AMD APM volume 3).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::arch::x86_64::{__cpuid_count, CpuidResult};

/// A register of a CPUID leaf.
#[derive(Clone, Copy)]
enum Register {
    Ebx,
    Ecx,
    Edx,
}
use Register::{Ebx, Ecx, Edx};

/// A bit, and Linux' name for it.
type Feature = (u32, &'static str);

/// Linux' names of features, by leaf, register and bit.
const FEATURES: &[(u32, Register, &[Feature])] = &[
    (
        1,
        Edx,
        &[
            (0, "fpu"),
            (1, "vme"),
            (2, "de"),
            (3, "pse"),
            (4, "tsc"),
            (5, "msr"),
            (6, "pae"),
            (8, "cx8"),
            (9, "apic"),
            (11, "sep"),
            (13, "pge"),
            (15, "cmov"),
            (16, "pat"),
            (19, "clflush"),
            (23, "mmx"),
            (24, "fxsr"),
            (25, "sse"),
            (26, "sse2"),
            (28, "ht"),
        ],
    ),
    (
        0x8000_0001,
        Edx,
        &[
            (11, "syscall"),
            (20, "nx"),
            (26, "pdpe1gb"),
            (27, "rdtscp"),
            (29, "lm"),
        ],
    ),
    (
        1,
        Ecx,
        &[
            (0, "pni"),
            (1, "pclmulqdq"),
            (9, "ssse3"),
            (12, "fma"),
            (13, "cx16"),
            (19, "sse4_1"),
            (20, "sse4_2"),
            (21, "x2apic"),
            (22, "movbe"),
            (23, "popcnt"),
            (25, "aes"),
            (26, "xsave"),
            (28, "avx"),
            (29, "f16c"),
            (30, "rdrand"),
            (31, "hypervisor"),
        ],
    ),
    (
        0x8000_0001,
        Ecx,
        &[
            (0, "lahf_lm"),
            (5, "abm"),
            (6, "sse4a"),
            (8, "3dnowprefetch"),
        ],
    ),
    (
        7,
        Ebx,
        &[
            (0, "fsgsbase"),
            (3, "bmi1"),
            (5, "avx2"),
            (7, "smep"),
            (8, "bmi2"),
            (9, "erms"),
            (16, "avx512f"),
            (17, "avx512dq"),
            (18, "rdseed"),
            (19, "adx"),
            (20, "smap"),
            (23, "clflushopt"),
            (24, "clwb"),
            (28, "avx512cd"),
            (29, "sha_ni"),
            (30, "avx512bw"),
            (31, "avx512vl"),
        ],
    ),
    (7, Ecx, &[(9, "vaes"), (10, "vpclmulqdq"), (22, "rdpid")]),
];

fn leaf(leaf: u32) -> CpuidResult {
    let highest = __cpuid_count(leaf & 0x8000_0000, 0).eax;
    match leaf <= highest {
        true => __cpuid_count(leaf, 0),
        false => CpuidResult {
            eax: 0,
            ebx: 0,
            ecx: 0,
            edx: 0,
        },
    }
}

fn text_of(words: &[u32]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    String::from_utf8_lossy(&bytes)
        .trim_matches(['\0', ' '])
        .into()
}

/// The text of `/proc/cpuinfo` for `count` vCPUs, whose TSC runs at `khz`.
pub fn cpu_information(khz: u64, count: usize) -> Vec<u8> {
    let vendor = leaf(0);
    let signature = leaf(1);
    let (base_family, base_model) = (signature.eax >> 8 & 0xf, signature.eax >> 4 & 0xf);
    let family = match base_family {
        0xf => base_family + (signature.eax >> 20 & 0xff),
        _ => base_family,
    };
    let model = match base_family {
        0x6 | 0xf => base_model | (signature.eax >> 16 & 0xf) << 4,
        _ => base_model,
    };
    let brand: Vec<u32> = (0x8000_0002..=0x8000_0004)
        .map(leaf)
        .flat_map(|part| [part.eax, part.ebx, part.ecx, part.edx])
        .collect();
    let flags: Vec<&str> = FEATURES
        .iter()
        .flat_map(|(number, register, bits)| {
            let result = leaf(*number);
            let value = match register {
                Ebx => result.ebx,
                Ecx => result.ecx,
                Edx => result.edx,
            };
            bits.iter()
                .filter(move |(bit, _)| value >> bit & 1 != 0)
                .map(|(_, name)| *name)
        })
        .collect();
    let cache_line = (signature.ebx >> 8 & 0xff) * 8;
    let addresses = leaf(0x8000_0008).eax;
    let brand = Some(text_of(&brand))
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown".into());
    let vendor = text_of(&[vendor.ebx, vendor.edx, vendor.ecx]);
    let flags = flags.join(" ");
    let one = |cpu: usize| {
        format!(
            "processor\t: {cpu}\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\n\
         model name\t: {brand}\nstepping\t: {stepping}\ncpu MHz\t\t: {mhz}.{fraction:03}\n\
         physical id\t: 0\nsiblings\t: {count}\ncore id\t\t: {cpu}\ncpu cores\t: {count}\napicid\t\t: {cpu}\n\
         fpu\t\t: yes\nfpu_exception\t: yes\nwp\t\t: yes\nflags\t\t: {flags}\n\
         clflush size\t: {cache_line}\ncache_alignment\t: {cache_line}\n\
         address sizes\t: {physical} bits physical, {linear} bits virtual\n\n",
            stepping = signature.eax & 0xf,
            mhz = khz / 1000,
            fraction = khz % 1000,
            physical = addresses & 0xff,
            linear = addresses >> 8 & 0xff,
        )
    };
    (0..count).map(one).collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_processor_and_its_features() {
        let text = String::from_utf8(cpu_information(2_100_500, 2)).unwrap();
        assert!(text.contains("cpu MHz\t\t: 2100.500\n"));
        assert!(text.contains(" sse2 "));
        assert!(text.contains("processor\t: 1\n") && !text.contains("processor\t: 2\n"));
        assert!(text.contains("model name\t: "));
    }
}
