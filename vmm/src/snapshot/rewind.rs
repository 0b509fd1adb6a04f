//! Rewinding: a VM whose guest has answered becomes its seed again, in place.
//!
//! Memory is a private mapping of the seed's file. What the guest wrote are copies in this process:
//! those that differ are made equal again, and stay; so mapping and KVM's translations stay, too, and
//! the next answer finds them. vCPUs get the seed's state by the code that restores it.
//!
//! Where KVM keeps shadows of page tables it does not see what is changed from outside, so there the
//! guest undoes its tables itself: everything else is put right first, the restored sentry stores the
//! old entries from a list ([`event::UNDO`]) and waits again, and then memory and vCPUs are rewound
//! once more, which finds the tables equal or gives up. The guest does work, it never tells that it
//! is done. Tables of the sentry's half are never undone: such a VM is given up.
//!
//! A page that was a table in between and is none in the seed needs no such care: nothing leads to it
//! any more, and the sentry clears a frame by its own stores before it makes it a table again.

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use kvm_bindings::{Msrs, kvm_msr_entry};
use kvm_ioctls::VcpuFd;
use sprout_abi::hypercall::event;
use sprout_abi::layout::{BOOT_BLOB_GPA, BOOT_BLOB_MAX, PAGE_SIZE};
use vm_memory::{Bytes, GuestAddress};

use super::Snapshot;
use super::tables::Tables;
use super::written::Pages;
use crate::backend::buffered::Buffered;
use crate::clock::GuestClock;
use crate::error::VmError;
use crate::host::isolation::PrivilegeMode;
use crate::memory::mapping::Mapping;
use crate::memory::{GuestMemory, Image, MemoryError, checked_ram_size};
use crate::vcpu::state::VcpuState;
use crate::vm::shell::Shell;
use crate::vm::{Stop, Vm, Waiting};

const PAGE: usize = PAGE_SIZE as usize;
/// Most pages an answer may have copied: comparing more takes longer than a fresh instance.
const MOST_COPIED: usize = 16 << 10;
/// Entries the list has room for: its first word is their number.
const MOST_UNDONE: usize = (BOOT_BLOB_MAX as usize - 8) / 16;
/// Longest that the sentry may take to undo them.
const UNDO_TIME: Duration = Duration::from_secs(10);
/// Entries of a root that belong to the program.
const PROGRAM_ENTRIES: usize = 256;

/// MSRs that are clocks, and go on: IA32_TSC, IA32_TSC_DEADLINE, and those of Hyper-V (TLFS, appendix
/// F: HV_X64_MSR_VP_RUNTIME, HV_X64_MSR_TIME_REF_COUNT), which KVM lists whether a guest sees them or
/// not.
const CLOCK_MSRS: [u32; 4] = [0x10, 0x6e0, 0x4000_0010, 0x4000_0020];
/// Where KVM's paravirtual MSRs are, behind which it writes to the guest's memory.
const KVM_MSRS: std::ops::RangeInclusive<u32> = 0x4b56_4d00..=0x4b56_4dff;

/// What a rewind did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewound {
    /// Pages that were compared.
    pub compared: usize,
    /// Pages that differed.
    pub copied: usize,
    /// Entries of page tables that the guest undid.
    pub undone: usize,
    /// How long it took.
    pub took: Duration,
}

/// Why a VM can't become its seed again. It must not run any more.
#[derive(Debug, thiserror::Error)]
pub enum GiveUp {
    /// It used very much memory.
    #[error("its answer wrote {0} pages")]
    Giant(usize),
    /// Its tables are not to be undone.
    #[error("page tables of the sentry's half have changed")]
    SentryTables,
    /// Too much of its tables has changed.
    #[error("{0} entries of page tables have changed")]
    ManyEntries(usize),
    /// They are different still.
    #[error("the guest did not undo its page tables")]
    NotUndone,
    /// Memory with tables in it was replaced, or too many parts.
    #[error("parts of its memory were replaced that can't be put back")]
    Replaced,
    /// A model-specific register can't be put back.
    #[error("the model-specific register {0:#x} has changed")]
    Msr(u32),
    /// Checking found a difference.
    #[error("after the rewind {0} is not what the seed has")]
    Differs(String),
    /// The VM failed.
    #[error(transparent)]
    Vm(#[from] VmError),
}

impl GiveUp {
    /// A word for counters.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Giant(_) => "giant",
            Self::SentryTables | Self::ManyEntries(_) | Self::NotUndone => "tables",
            Self::Replaced => "replaced",
            Self::Msr(_) => "msr",
            Self::Differs(_) => "differs",
            Self::Vm(_) => "error",
        }
    }
}

/// All a VM needs to become its seed again.
#[derive(Debug)]
pub struct Rewinder {
    snapshot: Snapshot,
    /// The seed's memory.
    seed: Mapping,
    /// A bit for each page that the file holds; the others are zero.
    held: Vec<u64>,
    /// The tables that are not to be changed from outside.
    tables: Tables,
    pages: Pages,
    /// Of each vCPU before it ran.
    vcpus: Vec<Vcpu>,
    checking: bool,
}

#[derive(Debug)]
struct Vcpu {
    /// As KVM gives it back, encoded.
    state: Vec<u8>,
    msrs: Vec<(u32, u64)>,
}

/// What is left to do after the pages that may be changed from outside are as they were.
type Undo = Vec<[u64; 2]>;

impl Shell {
    /// Turns the shell into the snapshot's guest, still waiting, as [`Shell::prepare`] does, to be
    /// rewound after each answer. `checking` has each rewind compare everything with the seed.
    pub fn prepare_to_rewind(
        self,
        snapshot: Snapshot,
        checking: bool,
    ) -> Result<(Waiting, Rewinder), VmError> {
        self.check(&snapshot)?;
        let manifest = snapshot.manifest();
        let size = checked_ram_size(manifest.memory_size)?;
        let failed = || MemoryError::map("the snapshot's memory file");
        // Nothing is loaded: copies would have to be compared each time.
        let ram = Mapping::private_file(&snapshot.memory, size).map_err(failed())?;
        let seed = Mapping::shared_file(&snapshot.memory, size).map_err(failed())?;
        let held = held_pages(&snapshot.memory, size).map_err(failed())?;
        let images = Image::open_all(manifest.images.iter().map(|image| image.path.as_path()))?;
        let hardware = manifest.privilege_mode == PrivilegeMode::Hardware;
        let tables = match hardware {
            true => Tables::default(),
            false => snapshot.state.tables.clone(),
        };
        let vm = self.become_guest(&snapshot, GuestMemory::loaded(ram, images)?)?;
        let known = vm.shell.kvm.get_msr_index_list();
        let known = known.map_err(VmError::kvm("list the MSRs"))?;
        let vcpus = vm
            .shell
            .vcpus()
            .map(|vcpu| {
                Ok(Vcpu {
                    state: encoded(vcpu)?,
                    msrs: msrs(vcpu, known.as_slice())?,
                })
            })
            .collect::<Result<_, VmError>>()?;
        let pages = Pages::open().map_err(VmError::io("open the list of this process's pages"))?;
        let rewinder = Rewinder {
            snapshot,
            seed,
            held,
            tables,
            pages,
            vcpus,
            checking,
        };
        Ok((vm, rewinder))
    }
}

impl Rewinder {
    /// What the VM is rewound to.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Makes the VM, whose guest is [`Stop::Ready`], its seed again, as it was prepared. One that
    /// can't be is ended.
    pub fn rewind(&self, mut vm: Vm) -> Result<(Waiting, Rewound), GiveUp> {
        let start = Instant::now();
        let mut rewound = Rewound::default();
        let undo = self.rewind_memory(&mut vm, &mut rewound)?;
        let mut waiting = self.rewind_vcpus(vm)?;
        if !undo.is_empty() {
            rewound.undone = undo.len();
            let mut vm = undo_tables(waiting, &undo)?;
            if !self.rewind_memory(&mut vm, &mut rewound)?.is_empty() {
                return Err(GiveUp::NotUndone);
            }
            waiting = self.rewind_vcpus(vm)?;
        }
        if self.checking {
            self.check(&waiting)?;
        }
        rewound.took = start.elapsed();
        Ok((waiting, rewound))
    }

    /// Makes memory equal to the seed's but for tables; what differs in those.
    fn rewind_memory(&self, vm: &mut Vm, rewound: &mut Rewound) -> Result<Undo, GiveUp> {
        vm.finish_exits()?;
        self.map_replaced(vm)?;
        self.rewind_pages(vm, rewound)
    }

    /// The seed's page, whose number must be one of RAM's.
    fn page(&self, page: u32) -> &[u8] {
        const ZERO: &[u8] = &[0; PAGE];
        let page = page as usize;
        let is_held = self
            .held
            .get(page / 64)
            .is_some_and(|bits| bits >> (page % 64) & 1 != 0);
        if !is_held || (page + 1) * PAGE > self.seed.size() {
            // Reading the hole would fill the page cache with zeros.
            return ZERO;
        }
        // SAFETY: inside of the mapping (checked), which is readable; the file is a snapshot's, which
        // nobody writes once it has its name.
        unsafe { std::slice::from_raw_parts(self.seed.as_ptr().add(page * PAGE), PAGE) }
    }

    /// Makes what was replaced the seed's file again.
    fn map_replaced(&self, vm: &mut Vm) -> Result<(), GiveUp> {
        let parts = vm.memory.take_replaced().ok_or(GiveUp::Replaced)?;
        for (offset, length) in parts {
            let (first, end) = (offset / PAGE, (offset + length) / PAGE);
            let inside = |page: &u32| (first..end).contains(&(*page as usize));
            if self.tables.program.iter().any(inside) || self.tables.sentry.iter().any(inside) {
                return Err(GiveUp::Replaced);
            }
            let ram = vm.memory.ram_mapping();
            ram.replace_by_file(offset, length, &self.snapshot.memory)
                .map_err(VmError::io("map the seed's memory again"))?;
        }
        Ok(())
    }

    /// Makes all pages but tables equal to the seed's; what differs in the tables.
    fn rewind_pages(&self, vm: &mut Vm, rewound: &mut Rewound) -> Result<Undo, GiveUp> {
        let ram = vm.memory.ram_mapping();
        let runs = self.pages.copied(ram);
        let runs = runs.map_err(VmError::io("find the pages that were written"))?;
        let count = runs.iter().map(|run| run.len()).sum();
        if count > MOST_COPIED {
            return Err(GiveUp::Giant(count));
        }
        rewound.compared += count;
        let mut undo = Undo::new();
        for page in runs.into_iter().flatten() {
            let seed = self.page(page);
            // SAFETY: the page lies in RAM; no guest runs (that takes the VM, which is ours here), and
            // what makes memory ready ahead only touches it.
            let now = unsafe {
                std::slice::from_raw_parts_mut(ram.as_ptr().add(page as usize * PAGE), PAGE)
            };
            if now == seed {
                continue;
            }
            if self.tables.sentry.binary_search(&page).is_ok() {
                return Err(GiveUp::SentryTables);
            }
            if self.tables.program.binary_search(&page).is_err() {
                now.copy_from_slice(seed);
                rewound.copied += 1;
                continue;
            }
            let is_root = self.tables.roots.binary_search(&page).is_ok();
            let entries = seed.as_chunks::<8>().0.iter().zip(now.as_chunks::<8>().0);
            for (slot, (old, _)) in entries.enumerate().filter(|(_, (old, now))| old != now) {
                if is_root && slot >= PROGRAM_ENTRIES {
                    return Err(GiveUp::SentryTables);
                }
                let gpa = u64::from(page) * PAGE_SIZE + 8 * slot as u64;
                undo.push([gpa, u64::from_le_bytes(*old)]);
            }
        }
        match undo.len() {
            0..=MOST_UNDONE => Ok(undo),
            many => Err(GiveUp::ManyEntries(many)),
        }
    }

    /// Gives each vCPU the seed's state.
    fn rewind_vcpus(&self, mut vm: Vm) -> Result<Waiting, GiveUp> {
        let saved = &self.snapshot.state;
        for ((vcpu, (state, _)), before) in vm.shell.vcpus_mut().zip(&saved.vcpus).zip(&self.vcpus)
        {
            rewind_msrs(vcpu, &before.msrs)?;
            state.rewind(vcpu)?;
        }
        vm.generation = self.snapshot.manifest().generation;
        vm.clock = GuestClock::starting_at(vm.shell.tsc, saved.monotonic_ns);
        Ok(Waiting::of_snapshot(vm, saved))
    }

    /// Compares everything with the seed.
    fn check(&self, vm: &Vm) -> Result<(), GiveUp> {
        let ram = vm.memory.ram_mapping();
        // What is not there is read from the file.
        let runs = self.pages.there(ram);
        let runs = runs.map_err(VmError::io("find the pages that are there"))?;
        for page in runs.into_iter().flatten() {
            // SAFETY: the page lies in RAM, and no guest runs.
            let now =
                unsafe { std::slice::from_raw_parts(ram.as_ptr().add(page as usize * PAGE), PAGE) };
            if now != self.page(page) {
                let gpa = u64::from(page) * PAGE_SIZE;
                return Err(GiveUp::Differs(format!("the page at {gpa:#x}")));
            }
        }
        for (cpu, (vcpu, before)) in vm.shell.vcpus().zip(&self.vcpus).enumerate() {
            if encoded(vcpu)? != before.state {
                return Err(GiveUp::Differs(format!("the state of vCPU {cpu}")));
            }
            let indices: Vec<u32> = before.msrs.iter().map(|(index, _)| *index).collect();
            let now = msrs(vcpu, &indices)?;
            let other = now.iter().zip(&before.msrs).find(|(now, old)| now != old);
            if let Some(((index, now), (_, old))) = other {
                let what = format!("MSR {index:#x} of vCPU {cpu} ({now:#x}, not {old:#x})");
                return Err(GiveUp::Differs(what));
            }
            if now.len() != before.msrs.len() {
                return Err(GiveUp::Differs(format!("the list of MSRs of vCPU {cpu}")));
            }
        }
        Ok(())
    }
}

/// Has the sentry, restored but for its tables, store these entries and wait again.
fn undo_tables(waiting: Waiting, undo: &[[u64; 2]]) -> Result<Vm, GiveUp> {
    let words = [undo.len() as u64];
    let words = words.iter().chain(undo.iter().flatten());
    let bytes: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
    let list = GuestAddress(BOOT_BLOB_GPA);
    let written = waiting.memory.ram().write_slice(&bytes, list);
    written
        .map_err(|error| VmError::io("write the list for the sentry")(io::Error::other(error)))?;
    let input = Buffered::new(None)
        .with_first_request()
        .ending_in(UNDO_TIME);
    match waiting.errand(event::UNDO, input)? {
        (vm, Stop::Ready) => Ok(vm),
        _ => Err(GiveUp::NotUndone),
    }
}

/// A vCPU's state, to be compared.
fn encoded(vcpu: &VcpuFd) -> Result<Vec<u8>, VmError> {
    let bytes = postcard::to_extend(&VcpuState::save(vcpu)?, Vec::new());
    bytes.map_err(|error| VmError::io("encode a vCPU's state")(io::Error::other(error)))
}

/// Those of `indices` that can be read and are no clocks, each with its value.
fn msrs(vcpu: &VcpuFd, indices: &[u32]) -> Result<Vec<(u32, u64)>, VmError> {
    let mut found = Vec::new();
    for index in indices.iter().filter(|index| !CLOCK_MSRS.contains(index)) {
        let mut one = entries(&[(*index, 0)])?;
        // One call each, because a call stops at the first that KVM lacks.
        if vcpu.get_msrs(&mut one).is_ok_and(|count| count == 1) {
            found.extend(one.as_slice().iter().map(|entry| (entry.index, entry.data)));
        }
    }
    Ok(found)
}

fn entries(values: &[(u32, u64)]) -> Result<Msrs, VmError> {
    let values: Vec<_> = values
        .iter()
        .map(|(index, data)| kvm_msr_entry {
            index: *index,
            data: *data,
            ..Default::default()
        })
        .collect();
    Msrs::from_entries(&values)
        .map_err(|_| VmError::kvm("hold the MSRs")(kvm_ioctls::Error::new(libc::ENOMEM)))
}

fn rewind_msrs(vcpu: &VcpuFd, before: &[(u32, u64)]) -> Result<(), GiveUp> {
    let mut now = entries(before)?;
    let count = vcpu
        .get_msrs(&mut now)
        .map_err(VmError::kvm("read the MSRs"))?;
    if let Some((index, _)) = before.get(count) {
        return Err(GiveUp::Msr(*index));
    }
    for (entry, old) in now.as_slice().iter().zip(before) {
        if entry.data == old.1 {
            continue;
        }
        let set = vcpu.set_msrs(&entries(&[*old])?);
        if KVM_MSRS.contains(&old.0) || !set.is_ok_and(|count| count == 1) {
            return Err(GiveUp::Msr(old.0));
        }
    }
    Ok(())
}

/// A bit for each page of the file that is no hole.
fn held_pages(file: &std::fs::File, size: usize) -> io::Result<Vec<u64>> {
    let mut held = vec![0u64; (size / PAGE).div_ceil(64)];
    let seek = |at: usize, whence| {
        // SAFETY: moves the file's position, which nobody uses.
        let to = unsafe { libc::lseek(file.as_raw_fd(), at as libc::off_t, whence) };
        usize::try_from(to).map_err(|_| io::Error::last_os_error())
    };
    let mut at = 0;
    while at < size {
        at = match seek(at, libc::SEEK_DATA) {
            Ok(data) => data,
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => break,
            Err(error) => return Err(error),
        };
        let end = seek(at, libc::SEEK_HOLE)?.min(size);
        for page in at / PAGE..end.div_ceil(PAGE) {
            held[page / 64] |= 1 << (page % 64);
        }
        at = end;
    }
    Ok(held)
}
