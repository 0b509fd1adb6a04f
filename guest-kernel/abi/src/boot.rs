//! What the VMM tells the sentry at boot and at restore, and the page they share while it runs.

use crate::layout::MAX_VCPUS;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// `BootInfo::magic`: "SPROUTBI".
pub const BOOT_MAGIC: u64 = u64::from_le_bytes(*b"SPROUTBI");

/// Flags of [`BootInfo::flags`].
pub mod boot_flags {
    /// Trace system calls to the log stream.
    pub const STRACE: u64 = 1 << 0;
    /// Send [`crate::hypercall::number::STATS`] before exit.
    pub const STATS: u64 = 1 << 1;
    /// Standard input is a terminal (bit 0 of fd 0..2 each: TTY0, TTY1, TTY2).
    pub const TTY0: u64 = 1 << 2;
    /// Standard output is a terminal.
    pub const TTY1: u64 = 1 << 3;
    /// Standard error is a terminal.
    pub const TTY2: u64 = 1 << 4;
    /// A request channel is attached (`/dev/sprout` exists).
    pub const CHANNEL: u64 = 1 << 5;
    /// Where the sentry has to run in ring 3, it keeps page tables of its own (see
    /// [`super::mode::RING3_STRICT`]). In ring 0 it is walled off anyway.
    pub const STRICT: u64 = 1 << 6;
}

/// One file handed to the guest without an image (`sprout run ./static-program`), already in RAM.
/// Zero length: none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlobRange {
    /// Guest-physical address, page-aligned for file data.
    pub gpa: u64,
    /// Length in bytes.
    pub len: u64,
}

/// Written at [`crate::layout::BOOT_INFO_GPA`] before the first run.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct BootInfo {
    /// [`BOOT_MAGIC`].
    pub magic: u64,
    /// [`crate::ABI_VERSION`].
    pub abi_version: u32,
    /// Number of vCPUs.
    pub vcpus: u32,
    /// [`boot_flags`].
    pub flags: u64,
    /// Bytes of RAM, from guest-physical 0; a multiple of 2 MiB.
    pub ram_size: u64,
    /// First guest-physical byte above the sentry and every blob: free RAM up to `ram_size`.
    pub free_start: u64,
    /// Number of valid entries of `images`.
    pub image_count: u64,
    /// NUL-separated argument strings, `argv[0]` first.
    pub args: BlobRange,
    /// NUL-separated `KEY=VALUE` strings.
    pub env: BlobRange,
    /// Absolute path of the working directory, no NUL.
    pub cwd: BlobRange,
    /// Absolute path of the program in the guest, no NUL.
    pub program: BlobRange,
    /// Content of a host program placed at the path `program`; empty: the program is in the image.
    pub program_file: BlobRange,
    /// 64 bytes from the host's random number generator.
    pub entropy: [u8; 64],
    /// Clock readings taken together just before the first run.
    pub clock: ClockReading,
    /// Host name of the guest, NUL-padded.
    pub hostname: [u8; 64],
    /// Read-only images, root first; the others are mounted over it in order.
    pub images: [ImageSlot; MAX_IMAGES],
    /// Which system calls [`boot_flags::STRACE`] shows: UTF-8, as strace's `-e trace=`.
    pub strace: BlobRange,
}

/// Most images of one guest.
pub const MAX_IMAGES: usize = 4;

/// A read-only EROFS image in a memory slot of its own.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ImageSlot {
    /// Guest-physical base, a multiple of 2 MiB: [`crate::layout::image_base`] of its index.
    pub gpa: u64,
    /// Bytes of the slot, a multiple of 2 MiB (the file is padded).
    pub size: u64,
    /// Absolute path it is mounted at (`/` for the root image), NUL-padded.
    pub mount: [u8; 48],
}

/// Clock readings taken at one moment; together with the TSC's frequency they give every clock.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockReading {
    /// Guest TSC value of this reading.
    pub tsc: u64,
    /// Guest TSC frequency in kHz.
    pub tsc_khz: u64,
    /// CLOCK_REALTIME in ns since 1970.
    pub realtime_ns: u64,
    /// CLOCK_MONOTONIC of the guest in ns: 0 at first boot; at restore the value at snapshot.
    pub monotonic_ns: u64,
}

/// Written at [`crate::layout::RESTORE_INFO_GPA`] before a restored guest resumes from its WAIT.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RestoreInfo {
    /// How often this seed's line has been restored: bumped each time, so clones can tell.
    pub generation: u64,
    /// 128-bit unique id of this instance.
    pub instance_id: [u8; 16],
    /// 64 fresh bytes from the host's random number generator.
    pub entropy: [u8; 64],
    /// Clocks at resume.
    pub clock: ClockReading,
    /// [`boot_flags`] for the restored run (STRACE, STATS).
    pub flags: u64,
}

/// Shared while the guest runs, at [`crate::layout::SHARED_PAGE_GPA`]. All fields are accessed as
/// atomics by both sides.
#[repr(C)]
#[derive(Debug, Default)]
pub struct SharedPage {
    /// VMM → sentry: [`crate::hypercall::event`] bits that came while the guest was busy.
    pub events: AtomicU32,
    /// Sentry → VMM: privilege mode found at boot, [`mode`].
    pub privilege_mode: AtomicU32,
    /// Sentry → VMM: guest monotonic time of the next timer, `u64::MAX` none. A tick at or after it
    /// is delivered like a preemption. One that nobody is going to look at in time
    /// ([`SharedPage::is_watched`]) is announced by [`crate::hypercall::number::KICK`].
    pub next_timer_ns: AtomicU64,
    /// VMM → sentry: the time at which an idle vCPU will be woken for a timer: `u64::MAX` at no
    /// time, 0 when no idle vCPU watches the clock.
    pub watched_ns: AtomicU64,
    /// Of each vCPU.
    pub cpus: [SharedCpu; MAX_VCPUS],
}

/// One vCPU's part of the [`SharedPage`]. Its fields and those of another one are in different cache
/// lines; the first vCPU's are in that of the page's first fields, which it alone uses if there are
/// no others.
#[repr(C, align(32))]
#[derive(Debug, Default)]
pub struct SharedCpu {
    /// Sentry → VMM, 1: inject [`crate::layout::PREEMPT_VECTOR`] when a tick finds ring 3 running.
    pub preempt_wanted: AtomicU32,
    /// VMM → sentry, 1: a tick came while the sentry ran; look at the run queue before returning.
    pub preempt_pending: AtomicU32,
    /// Sentry (another vCPU) → VMM and sentry, 1: this vCPU is to enter the sentry: its ring 3 is
    /// interrupted, its WAIT ends. Set before [`crate::hypercall::number::KICK`], cleared by this
    /// vCPU.
    pub kick: AtomicU32,
    /// Sentry → VMM, 1: it has looked at `preempt_pending` and is on its way into a program, or there.
    /// Who sets that flag now is to look again soon.
    pub returning: AtomicU32,
    /// VMM → sentry: guest monotonic time of this vCPU's next tick at the latest: `u64::MAX` while it
    /// is idle, 0 before it first runs.
    pub tick_ns: AtomicU64,
    reserved: [AtomicU32; 10],
}

impl SharedPage {
    /// Whether somebody else than vCPU `except` looks at the clock by `deadline_ns`: an idle vCPU, or
    /// one that runs. Both sides ask, and set what the other one reads before they do.
    pub fn is_watched(&self, deadline_ns: u64, except: usize) -> bool {
        fence(Ordering::SeqCst);
        let by_then = |time: &AtomicU64| (1..=deadline_ns).contains(&time.load(Ordering::Relaxed));
        let mut others = self.cpus.iter().enumerate();
        by_then(&self.watched_ns)
            || others.any(|(number, cpu)| number != except && by_then(&cpu.tick_ns))
    }
}

/// Values of [`SharedPage::privilege_mode`].
pub mod mode {
    /// Not known yet.
    pub const UNKNOWN: u32 = 0;
    /// The sentry runs in ring 0.
    pub const HARDWARE: u32 = 1;
    /// The sentry runs in ring 3 (software KVM), mapped beside the program.
    pub const RING3: u32 = 2;
    /// The sentry runs in ring 3 on page tables of its own; the program's do not let it in.
    pub const RING3_STRICT: u32 = 3;
}

const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(size_of::<ClockReading>() == 32);
    assert!(offset_of!(BootInfo, args) == 48);
    assert!(offset_of!(BootInfo, entropy) == 128);
    assert!(size_of::<ImageSlot>() == 64);
    assert!(size_of::<BootInfo>() == 304 + 64 * MAX_IMAGES);
    assert!(size_of::<RestoreInfo>() == 8 + 16 + 64 + 32 + 8);
    assert!(size_of::<SharedCpu>() == 64);
    assert!(offset_of!(SharedCpu, tick_ns) == 16);
    assert!(offset_of!(SharedPage, cpus) == 32);
    assert!(size_of::<SharedPage>() == 32 + 64 * MAX_VCPUS);
};
