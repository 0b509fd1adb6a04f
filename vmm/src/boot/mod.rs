//! First boot: the sentry, its page tables, and what it is told, written into fresh RAM.

pub mod kernel;
pub(crate) mod paging;
pub mod probe;
pub mod program;
pub(crate) mod symbols;

use std::fs::File;
use std::path::PathBuf;

use sprout_abi::ABI_VERSION;
use sprout_abi::boot::{BOOT_MAGIC, BlobRange, BootInfo, ImageSlot, MAX_IMAGES, boot_flags};
use sprout_abi::layout::{BOOT_BLOB_GPA, BOOT_BLOB_MAX, BOOT_INFO_GPA, PAGE_SIZE, PAGE_TABLES_GPA};
use vm_memory::{Bytes, GuestAddress};

use crate::boot::kernel::Kernel;
use crate::boot::paging::PageTables;
use crate::clock::GuestClock;
use crate::error::{BootError, VmError};
use crate::memory::{GuestMemory, Image, Wire};
use crate::vcpu;
use crate::vm::Vm;
use crate::vm::shell::Shell;

/// A read-only image and where the guest sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageMount {
    /// The EROFS file on the host.
    pub path: PathBuf,
    /// Absolute path in the guest; `/` for the first.
    pub mount: String,
}

/// The program of a guest.
#[derive(Debug)]
pub struct Program {
    /// Absolute path in the guest.
    pub path: Vec<u8>,
    /// Content, when the program comes from the host and not from an image.
    pub file: Option<File>,
    /// Arguments, `argv[0]` first.
    pub args: Vec<Vec<u8>>,
    /// `KEY=VALUE` strings.
    pub env: Vec<Vec<u8>>,
    /// Absolute working directory in the guest.
    pub cwd: Vec<u8>,
}

/// Everything a first boot needs.
#[derive(Debug)]
pub struct BootConfig<'a> {
    /// The sentry.
    pub kernel: &'a Kernel,
    /// Bytes of RAM, a multiple of 2 MiB.
    pub ram_size: u64,
    /// Number of vCPUs.
    pub vcpus: usize,
    /// Images, root first.
    pub images: Vec<ImageMount>,
    /// What to run.
    pub program: Program,
    /// Bits of `boot_flags`.
    pub flags: u64,
    /// Which system calls `boot_flags::STRACE` shows, as strace's `-e trace=`.
    pub strace: String,
    /// Host name of the guest.
    pub hostname: String,
}

impl Shell {
    /// Loads the sentry and the program; the VM is ready for its first run.
    pub fn boot(mut self, config: &BootConfig<'_>) -> Result<Vm, VmError> {
        self.set_vcpus(config.vcpus)?;
        let images = Image::open_all(config.images.iter().map(|image| image.path.as_ref()))?;
        let memory = GuestMemory::fresh(config.ram_size, images)?;
        let clock = GuestClock::starting_at(self.tsc, 0);
        let root = load(&memory, config, &clock)?;
        self.attach(&memory)?;
        vcpu::boot::set_registers(&self.vcpu, &self.cpuid, config.kernel.entry(), root)
            .map_err(VmError::kvm("set the first registers"))?;
        let mounts = config
            .images
            .iter()
            .map(|image| image.mount.clone())
            .collect();
        let mut vm = Vm::new(self, memory, clock, mounts);
        vm.strict = config.flags & boot_flags::STRICT != 0;
        Ok(vm)
    }
}

/// Fills fresh RAM; returns the root of the page tables.
fn load(memory: &GuestMemory, config: &BootConfig<'_>, clock: &GuestClock) -> Result<u64, VmError> {
    let images = memory
        .images()
        .iter()
        .map(|image| (image.gpa, image.size()));
    let tables =
        PageTables::build(memory.ram_size(), images, config.kernel).map_err(BootError::from)?;
    let mut loader = Loader {
        memory,
        free: config.kernel.end_gpa(),
        low: BOOT_BLOB_GPA,
    };
    loader.write(PAGE_TABLES_GPA, &tables.bytes(), "the page tables")?;
    for segment in config.kernel.segments() {
        let end = segment.gpa().saturating_add(segment.memory_size);
        if end > memory.ram_size() {
            return Err(loader.too_small("the sentry").into());
        }
        loader.write(segment.gpa(), config.kernel.content(segment), "the sentry")?;
    }
    let program = &config.program;
    let program_file = match &program.file {
        Some(file) => loader.file(file)?,
        None => BlobRange::default(),
    };
    let args = loader.strings(&program.args, "an argument")?;
    let env = loader.strings(&program.env, "the environment")?;
    let cwd = loader.text(&program.cwd, "the working directory")?;
    let path = loader.text(&program.path, "the program's path")?;
    let strace = loader.text(config.strace.as_bytes(), "the filter of --strace")?;
    let mut entropy = [0; 64];
    getrandom::fill(&mut entropy).map_err(VmError::Entropy)?;
    let info = BootInfo {
        magic: BOOT_MAGIC,
        abi_version: ABI_VERSION,
        vcpus: config.vcpus as u32,
        flags: config.flags,
        ram_size: memory.ram_size(),
        free_start: loader.free.next_multiple_of(PAGE_SIZE),
        image_count: memory.images().len() as u64,
        args,
        env,
        cwd,
        program: path,
        program_file,
        entropy,
        clock: clock.reading(),
        hostname: padded(config.hostname.as_bytes(), "host name")?,
        images: image_slots(memory, config)?,
        strace,
    };
    memory
        .ram()
        .write_obj(Wire(info), GuestAddress(BOOT_INFO_GPA))
        .map_err(|_| loader.too_small("the boot information"))?;
    Ok(tables.root())
}

fn image_slots(
    memory: &GuestMemory,
    config: &BootConfig<'_>,
) -> Result<[ImageSlot; MAX_IMAGES], BootError> {
    let mut slots = [ImageSlot {
        gpa: 0,
        size: 0,
        mount: [0; 48],
    }; MAX_IMAGES];
    let described = memory.images().iter().zip(&config.images);
    for (slot, (image, mount)) in slots.iter_mut().zip(described) {
        let mount = padded(mount.mount.as_bytes(), "mount point of an image")?;
        *slot = ImageSlot {
            gpa: image.gpa,
            size: image.size(),
            mount,
        };
    }
    Ok(slots)
}

/// A NUL-padded field, with at least one NUL.
fn padded<const N: usize>(text: &[u8], what: &'static str) -> Result<[u8; N], BootError> {
    let mut field = [0; N];
    match field.get_mut(..text.len()) {
        Some(start) if text.len() < N => start.copy_from_slice(text),
        _ => return Err(BootError::TooLong(what, N - 1)),
    }
    Ok(field)
}

/// Places blobs: short strings into the boot area, the rest above the sentry.
struct Loader<'a> {
    memory: &'a GuestMemory,
    /// First free byte above the sentry and what was placed there.
    free: u64,
    /// First free byte of the boot area.
    low: u64,
}

impl Loader<'_> {
    fn too_small(&self, what: &str) -> BootError {
        BootError::TooSmall(what.to_owned(), self.memory.ram_size() >> 20)
    }

    fn write(&self, gpa: u64, bytes: &[u8], what: &str) -> Result<(), BootError> {
        self.memory
            .ram()
            .write_slice(bytes, GuestAddress(gpa))
            .map_err(|_| self.too_small(what))
    }

    /// The program's file, page-aligned so that the sentry can map its pages.
    fn file(&mut self, file: &File) -> Result<BlobRange, BootError> {
        let len = file.metadata().map_err(BootError::Program)?.len();
        let gpa = self.free.next_multiple_of(PAGE_SIZE);
        let end = gpa
            .checked_add(len)
            .filter(|end| *end <= self.memory.ram_size());
        self.free = end.ok_or_else(|| self.too_small("the program"))?;
        let count = usize::try_from(len).map_err(|_| self.too_small("the program"))?;
        self.memory
            .ram()
            .read_exact_volatile_from(GuestAddress(gpa), &mut &*file, count)
            .map_err(|error| BootError::Program(std::io::Error::other(error)))?;
        Ok(BlobRange { gpa, len })
    }

    /// NUL-terminated strings, one after the other.
    fn strings(&mut self, list: &[Vec<u8>], what: &'static str) -> Result<BlobRange, BootError> {
        if list.iter().any(|text| text.contains(&0)) {
            return Err(BootError::Nul(what));
        }
        let blob: Vec<u8> = list
            .iter()
            .flat_map(|text| text.iter().copied().chain(std::iter::once(0)))
            .collect();
        self.place(&blob, what)
    }

    /// One string without a NUL.
    fn text(&mut self, text: &[u8], what: &'static str) -> Result<BlobRange, BootError> {
        if text.contains(&0) {
            Err(BootError::Nul(what))
        } else {
            self.place(text, what)
        }
    }

    fn place(&mut self, blob: &[u8], what: &'static str) -> Result<BlobRange, BootError> {
        let len = blob.len() as u64;
        let in_boot_area = self.low + len <= BOOT_BLOB_GPA + BOOT_BLOB_MAX;
        let gpa = if in_boot_area { self.low } else { self.free };
        self.write(gpa, blob, what)?;
        let next = if in_boot_area {
            &mut self.low
        } else {
            &mut self.free
        };
        *next = gpa + len;
        Ok(BlobRange { gpa, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::kernel::tests::elf_with;
    use crate::clock::Tsc;
    use crate::memory::MIN_RAM;
    use sprout_abi::layout::KERNEL_GPA;
    use std::io::Write;

    fn config(kernel: &Kernel) -> BootConfig<'_> {
        let program = Program {
            path: b"/bin/program".to_vec(),
            file: None,
            args: vec![b"program".to_vec(), b"--flag".to_vec()],
            env: vec![b"A=1".to_vec()],
            cwd: b"/".to_vec(),
        };
        let ram_size = MIN_RAM;
        BootConfig {
            kernel,
            ram_size,
            vcpus: 1,
            images: vec![],
            program,
            flags: 0,
            strace: "all".into(),
            hostname: "s".into(),
        }
    }

    fn load_into(config: &BootConfig<'_>) -> Result<(GuestMemory, BootInfo), VmError> {
        let memory = GuestMemory::fresh(config.ram_size, vec![]).unwrap();
        let clock = GuestClock::starting_at(Tsc { khz: 1, offset: 0 }, 0);
        load(&memory, config, &clock)?;
        let Wire(info) = memory.ram().read_obj(GuestAddress(BOOT_INFO_GPA)).unwrap();
        Ok((memory, info))
    }

    fn blob(memory: &GuestMemory, range: BlobRange) -> Vec<u8> {
        let mut bytes = vec![0; range.len as usize];
        memory
            .ram()
            .read_slice(&mut bytes, GuestAddress(range.gpa))
            .unwrap();
        bytes
    }

    #[test]
    fn boot_information_points_at_what_was_placed() {
        let kernel = Kernel::parse(elf_with(&[0x90; 16])).unwrap();
        let mut config = config(&kernel);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 5000]).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        config.program.file = Some(file);
        let (memory, info) = load_into(&config).unwrap();
        assert_eq!(blob(&memory, info.args), b"program\0--flag\0");
        assert_eq!(blob(&memory, info.env), b"A=1\0");
        assert_eq!(blob(&memory, info.program), b"/bin/program");
        assert_eq!(blob(&memory, info.program_file), [7; 5000]);
        assert_eq!(info.program_file.gpa, KERNEL_GPA + PAGE_SIZE);
        assert_eq!(info.free_start, KERNEL_GPA + 3 * PAGE_SIZE);
    }

    #[test]
    fn long_environments_move_above_the_sentry() {
        let kernel = Kernel::parse(elf_with(&[0x90; 16])).unwrap();
        let mut config = config(&kernel);
        config.program.env = vec![vec![b'x'; 200_000]];
        let (memory, info) = load_into(&config).unwrap();
        assert_eq!(info.env.gpa, KERNEL_GPA + PAGE_SIZE);
        assert_eq!(blob(&memory, info.env).len(), 200_001);
        assert!(info.free_start >= info.env.gpa + info.env.len);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let kernel = Kernel::parse(elf_with(&[0x90; 16])).unwrap();
        let mut too_long = config(&kernel);
        too_long.program.args.push(vec![b'x'; MIN_RAM as usize]);
        assert!(
            load_into(&too_long)
                .unwrap_err()
                .to_string()
                .contains("--memory")
        );
        let mut nul = config(&kernel);
        nul.program.env = vec![b"A=\0".to_vec()];
        assert!(load_into(&nul).unwrap_err().to_string().contains("NUL"));
        let mut host = config(&kernel);
        host.hostname = "h".repeat(64);
        assert!(
            load_into(&host)
                .unwrap_err()
                .to_string()
                .contains("host name")
        );
    }
}
