//! `sprout doctor`: what this host offers, and what that means for isolation.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use sprout_images::Store;
use sprout_protocol::Required;
use sprout_vmm::boot::kernel::Kernel;
use sprout_vmm::boot::probe;
use sprout_vmm::host::isolation::PrivilegeMode;
use sprout_vmm::host::{self, HostError, cpuid};
use sprout_vmm::memory::page_cache::{self, Share};
use sprout_vmm::vm::VmError;
use sprout_vmm::vm::shell::Shell;
use sprout_worker::isolation::suffices;

use crate::isolation::Requirement;

/// Arguments of `sprout doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    requirement: Requirement,
    /// Print the checks as JSON
    #[arg(long)]
    json: bool,
}

/// How a finding is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Grade {
    Ok,
    Warning,
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    grade: Grade,
    finding: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Check {
    fn ok(name: &'static str, finding: impl Into<String>) -> Self {
        Self {
            name,
            grade: Grade::Ok,
            finding: finding.into(),
            remedy: None,
        }
    }

    fn bad(
        name: &'static str,
        grade: Grade,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            name,
            grade,
            finding: finding.into(),
            remedy: Some(remedy.into()),
        }
    }
}

/// Prints the findings; status 1 when there is a problem.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut checks = Vec::new();
    match Shell::new() {
        Ok(shell) => {
            checks.push(Check::ok(
                "kvm",
                format!(
                    "{} is usable: a VM with a vCPU in {:.2} ms",
                    host::KVM_DEVICE,
                    shell.created_in().as_secs_f64() * 1e3
                ),
            ));
            checks.extend(processor(&shell));
            drop(shell);
            checks.push(isolation(args.requirement.required()));
        }
        Err(error) => checks.push(unusable_kvm(&error)),
    }
    checks.push(memory(&read("/proc/meminfo"), &read(OVERCOMMIT)));
    checks.push(huge_pages(fs::read_to_string(HUGE_PAGES).ok().as_deref()));
    checks.extend(images());
    checks.push(seccomp());
    checks.push(open_files());
    checks.push(address_space());
    let failed = checks.iter().any(|check| check.grade == Grade::Problem);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&checks)?);
    } else {
        for check in &checks {
            print_check(check);
        }
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn print_check(check: &Check) {
    let grade = match check.grade {
        Grade::Ok => "OK",
        Grade::Warning => "warning",
        Grade::Problem => "problem",
    };
    println!("{grade:<8} {:<10} {}", check.name, check.finding);
    if let Some(remedy) = &check.remedy {
        println!("{:<19} -> {remedy}", "");
    }
}

/// A file of the kernel's, empty if it is not there.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn unusable_kvm(error: &VmError) -> Check {
    let remedy = match error {
        VmError::Host(HostError::Missing) => missing_kvm(&read("/proc/cpuinfo"), |module| {
            Path::new("/sys/module").join(module).exists()
        }),
        VmError::Host(HostError::Denied) => {
            "add the user to the group that owns the device (`usermod -aG kvm USER`, then log in \
             again); in a container also allow the device (--device /dev/kvm)"
                .into()
        }
        VmError::Host(HostError::Capability(_)) => "use Linux 5.10 or later".into(),
        _ => "see the host's kernel log (`dmesg`)".into(),
    };
    let finding = match error {
        VmError::Host(HostError::Missing) => format!("{} does not exist", host::KVM_DEVICE),
        VmError::Host(HostError::Denied) => {
            format!(
                "{} is there, but this user may not open it",
                host::KVM_DEVICE
            )
        }
        other => other.to_string(),
    };
    Check::bad("kvm", Grade::Problem, finding, remedy)
}

/// Why there may be no KVM device, from what the processor and the modules are.
fn missing_kvm(cpuinfo: &str, loaded: impl Fn(&str) -> bool) -> String {
    let flag = |name: &str| {
        cpuinfo
            .lines()
            .filter_map(|line| line.strip_prefix("flags"))
            .any(|flags| flags.split_whitespace().any(|flag| flag == name))
    };
    let module = match (flag("vmx"), flag("svm")) {
        (true, _) => Some("kvm_intel"),
        (_, true) => Some("kvm_amd"),
        _ => None,
    };
    if loaded("kvm_intel") || loaded("kvm_amd") || loaded("kvm_pvm") {
        return "the kernel has KVM, so this is a container without the device: start it with \
                --device /dev/kvm (in Kubernetes, with a device plugin)"
            .into();
    }
    match module {
        Some(module) => format!(
            "load the module: `modprobe {module}`; if that fails, switch virtualization on in the \
             firmware"
        ),
        None if flag("hypervisor") => {
            "this is a virtual machine without nested virtualization: switch that on for it (or \
             choose a machine type that has it), or load kvm_pvm, which needs none"
                .into()
        }
        None => "the processor offers no virtualization: switch it on in the firmware (VT-x, \
                 AMD-V or SVM)"
            .into(),
    }
}

/// Which walls there are inside the VM, and whether they are enough.
fn isolation(required: Required) -> Check {
    let best = Kernel::embedded()
        .map_err(VmError::from)
        .and_then(|kernel| probe::privilege_mode(&kernel, true));
    let best = match best {
        Ok(best) => best,
        Err(error) => {
            return Check::bad(
                "isolation",
                Grade::Problem,
                format!("the guest kernel does not run here: {error}"),
                "please report this, with `sprout --version` and the output of `lscpu`",
            );
        }
    };
    let finding = match best {
        PrivilegeMode::Hardware => {
            return Check::ok(
                "isolation",
                "hardware mode. Two walls: the VM around the guest, and ring 0 around the guest \
                 kernel",
            );
        }
        PrivilegeMode::Ring3Strict => {
            "ring-3 mode (software KVM). One wall: the VM around the guest. Inside, nothing keeps a \
             program from changing its guest kernel (--sentry-isolation=shared, the default), \
             unless it is given page tables of its own (--sentry-isolation=strict, at about ten \
             times the price of a system call)"
        }
        PrivilegeMode::Ring3 => {
            "ring-3 mode (software KVM), and strict isolation was refused. One wall: the VM around \
             the guest. Inside, nothing keeps a program from changing its guest kernel"
        }
    };
    Check::bad(
        "isolation",
        if suffices(best, required).is_err() {
            Grade::Problem
        } else {
            Grade::Warning
        },
        finding,
        "use a host with hardware virtualization for the second wall; `sprout serve \
         --require-hardware-isolation` or `--require-strict-isolation` refuse what has none",
    )
}

fn processor(shell: &Shell) -> Vec<Check> {
    let features = shell.features();
    let has = |leaf: u32, word: fn(cpuid::Leaf) -> u32, bit: u32| {
        word(cpuid::host_leaf(leaf, 0)) >> bit & 1 == 1
    };
    let names = [
        ("AVX2", has(7, |leaf| leaf.ebx, 5)),
        ("AVX-512", features.xcr0 & 0xe0 == 0xe0),
        ("FSGSBASE", has(7, |leaf| leaf.ebx, 0)),
    ];
    let list = |wanted: bool| -> Vec<&str> {
        names
            .iter()
            .filter(|(_, present)| *present == wanted)
            .map(|(name, _)| *name)
            .collect()
    };
    let missing = list(false);
    let lacks = match missing.is_empty() {
        true => String::new(),
        false => format!("; without {}", missing.join(", ")),
    };
    let finding = format!("{} with {}{lacks}", features.vendor, list(true).join(", "));
    let mhz = shell.tsc_khz() / 1000;
    vec![
        Check::ok("processor", finding),
        match has(0x8000_0007, |leaf| leaf.edx, 8) {
            true => Check::ok("clock", format!("invariant TSC, {mhz} MHz")),
            false => Check::bad(
                "clock",
                Grade::Warning,
                format!(
                    "the TSC ({mhz} MHz) is not said to be invariant: clocks in guests may drift"
                ),
                "in a virtual machine, have the hypervisor offer `invtsc`",
            ),
        },
    ]
}

const OVERCOMMIT: &str = "/proc/sys/vm/overcommit_memory";
const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Memory below which a few instances of a function do not fit.
const LITTLE_MEMORY: u64 = 1 << 30;

fn memory(meminfo: &str, overcommit: &str) -> Check {
    let field = |name: &str| {
        meminfo
            .lines()
            .find_map(|line| {
                line.strip_prefix(name)?
                    .split_whitespace()
                    .next()?
                    .parse()
                    .ok()
            })
            .map(|kib: u64| kib << 10)
    };
    let (Some(total), Some(available)) = (field("MemTotal:"), field("MemAvailable:")) else {
        return Check::bad(
            "memory",
            Grade::Warning,
            "/proc/meminfo can't be read",
            "mount /proc",
        );
    };
    let mib = |bytes: u64| bytes >> 20;
    let finding = format!("{} MiB available of {} MiB", mib(available), mib(total));
    if overcommit.trim() == "2" {
        return Check::bad(
            "memory",
            Grade::Warning,
            format!(
                "{finding}; the kernel commits no more than it has, guests' memory counts whole"
            ),
            format!("echo 0 > {OVERCOMMIT}"),
        );
    }
    if available < LITTLE_MEMORY {
        return Check::bad(
            "memory",
            Grade::Warning,
            finding,
            "free some, or keep few instances ready (`sprout serve --help`)",
        );
    }
    Check::ok("memory", finding)
}

fn huge_pages(policy: Option<&str>) -> Check {
    match policy {
        Some(policy) if policy.contains("[never]") => Check::bad(
            "huge pages",
            Grade::Warning,
            "transparent huge pages are off: guests' first touches of memory are slower",
            format!("echo madvise > {HUGE_PAGES}"),
        ),
        Some(policy) => {
            let chosen = policy
                .split_whitespace()
                .find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
                .unwrap_or("on");
            Check::ok("huge pages", format!("transparent huge pages: {chosen}"))
        }
        None => Check::bad(
            "huge pages",
            Grade::Warning,
            "this kernel has no transparent huge pages",
            "use a kernel built with CONFIG_TRANSPARENT_HUGEPAGE",
        ),
    }
}

/// How the images of the store lie in the page cache.
fn images() -> Vec<Check> {
    let listed = Store::open_default().and_then(|store| store.list());
    let images = listed.unwrap_or_default().into_iter();
    images
        .map(|image| match image {
            Ok(image) => match page_cache::share(&image.path) {
                Ok(share) => image_in_cache(&image.reference.to_string(), &share),
                Err(error) => Check::bad(
                    "images",
                    Grade::Warning,
                    format!("{}: {}: {error}", image.reference, image.path.display()),
                    "make the file readable to this user",
                ),
            },
            Err(error) => Check::bad(
                "images",
                Grade::Warning,
                error.to_string(),
                "build the image again",
            ),
        })
        .collect()
}

fn image_in_cache(name: &str, share: &Share) -> Check {
    let mib = |bytes: u64| bytes >> 20;
    let (large, small) = (share.large, share.small_bytes());
    let mut finding = format!(
        "{name}: {} of {} MiB in large folios of the page cache",
        mib(large),
        mib(share.whole)
    );
    if small > 0 {
        finding += &format!(", {} MiB in small ones", mib(small));
    }
    // What is not there at all comes in large ones when it is needed.
    if small <= share.whole / 16 {
        return Check::ok("images", finding);
    }
    Check::bad(
        "images",
        Grade::Warning,
        format!("{finding}: programs in it start more slowly"),
        "nothing, if memory is free: the next start of a guest puts it right; `sprout image build` \
         does so at once",
    )
}

fn seccomp() -> Check {
    // SAFETY: the call takes no pointers.
    let mode = unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) };
    match mode {
        0.. => Check::ok("seccomp", "filters are available to jail workers"),
        _ => Check::bad(
            "seccomp",
            Grade::Problem,
            "this kernel has no seccomp filters, which workers are jailed by",
            "use a kernel built with CONFIG_SECCOMP_FILTER",
        ),
    }
}

/// Open files a gateway with some hundred instances needs.
const MANY_FILES: u64 = 4096;

fn limit(resource: libc::__rlimit_resource_t) -> Option<(u64, u64)> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: fills a local structure.
    match unsafe { libc::getrlimit(resource, &mut limit) } {
        0 => Some((limit.rlim_cur, limit.rlim_max)),
        _ => None,
    }
}

fn open_files() -> Check {
    match limit(libc::RLIMIT_NOFILE) {
        Some((soft, hard)) if soft < MANY_FILES => Check::bad(
            "files",
            Grade::Warning,
            format!("at most {soft} open files: too few for a gateway with many instances"),
            if hard >= MANY_FILES {
                format!("ulimit -n {MANY_FILES}")
            } else {
                format!("raise the hard limit of {hard} (LimitNOFILE= of systemd, limits.conf)")
            },
        ),
        Some((soft, _)) => Check::ok("files", format!("at most {soft} open files")),
        None => Check::ok("files", "no limit known"),
    }
}

fn address_space() -> Check {
    match limit(libc::RLIMIT_AS) {
        Some((soft, _)) if soft != libc::RLIM_INFINITY => Check::bad(
            "addresses",
            Grade::Warning,
            format!(
                "processes may have {} MiB of address space; guests' memory counts whole",
                soft >> 20
            ),
            "ulimit -v unlimited",
        ),
        _ => Check::ok("addresses", "address space is not limited"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_device_has_the_remedy_of_its_cause() {
        let advice = |flags: &str, module: &'static str| {
            missing_kvm(&format!("flags\t\t: fpu {flags} sse\n"), move |name| {
                name == module
            })
        };
        assert!(advice("svm", "").contains("modprobe kvm_amd"));
        assert!(advice("vmx hypervisor", "").contains("modprobe kvm_intel"));
        assert!(advice("vmx", "kvm_intel").contains("--device /dev/kvm"));
        assert!(advice("hypervisor", "").contains("nested virtualization"));
        assert!(advice("", "").contains("firmware"));
    }

    #[test]
    fn images_in_small_folios_are_a_warning() {
        let share = |large, small: u64| Share {
            whole: 128 << 20,
            large,
            small: std::iter::once(0..small).collect(),
        };
        let good = image_in_cache("node:24", &share(128 << 20, 0));
        assert_eq!(good.grade, Grade::Ok);
        assert!(good.finding.contains("128 of 128 MiB"), "{}", good.finding);
        assert_eq!(image_in_cache("x:1", &share(0, 0)).grade, Grade::Ok);
        let bad = image_in_cache("x:1", &share(64 << 20, 64 << 20));
        assert_eq!(bad.grade, Grade::Warning);
        assert!(bad.finding.contains("64 MiB in small"), "{}", bad.finding);
    }

    #[test]
    fn memory_and_huge_pages_are_judged() {
        let info = |available: u64| {
            format!("MemTotal:  8388608 kB\nMemFree: 1 kB\nMemAvailable: {available} kB\n")
        };
        assert_eq!(memory(&info(4 << 20), "0\n").grade, Grade::Ok);
        assert_eq!(memory(&info(1 << 10), "0\n").grade, Grade::Warning);
        assert!(memory(&info(4 << 20), "2\n").remedy.is_some());
        assert_eq!(memory("", "0").grade, Grade::Warning);
        assert!(
            huge_pages(Some("always [madvise] never"))
                .finding
                .ends_with("madvise")
        );
        assert_eq!(
            huge_pages(Some("always madvise [never]")).grade,
            Grade::Warning
        );
        assert_eq!(huge_pages(None).grade, Grade::Warning);
    }
}
