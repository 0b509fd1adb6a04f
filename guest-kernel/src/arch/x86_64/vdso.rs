//! The vDSO: clock_gettime and its kin without entering the sentry.
//!
//! Two pages are mapped into every program, first the data page, then an ELF shared object of one
//! page that the C library links against (vdso(7)). The object is assembled whole, headers and all
//! (`vdso.s`); its code reads the data page just below it. The sentry writes the data page at boot
//! and restore, under a sequence count.

use crate::errno::Result;
use crate::mm::{AddressSpace, FilePage, Frame, KernelPages, Prot};
use crate::sync::{Lock, Rank};
use alloc::sync::Arc;
use alloc::vec;
use core::arch::global_asm;
use sprout_abi::boot::ClockReading;
use sprout_abi::layout::PAGE_SIZE;
use zerocopy::{Immutable, IntoBytes};

/// The data page; the assembly below knows these offsets.
#[derive(Clone, Copy, Default, IntoBytes, Immutable)]
#[repr(C)]
struct Data {
    /// Odd while the rest changes.
    sequence: u64,
    tsc: u64,
    /// ns = (ticks * mult) >> 32.
    mult: u64,
    monotonic_ns: u64,
    realtime_ns: u64,
    /// Number of vCPUs. Which one this is no register tells on every host.
    cpus: u64,
}

/// The System V ABI's hash of a symbol's name (generic ABI, chapter 5).
const fn sysv_hash(name: &[u8]) -> u32 {
    let (mut hash, mut at) = (0u32, 0);
    while at < name.len() {
        hash = (hash << 4).wrapping_add(name[at] as u32);
        let high = hash & 0xf000_0000;
        hash = (hash ^ high >> 24) & !high;
        at += 1;
    }
    hash
}

/// GNU's hash of a symbol's name, without the bit that ends a chain.
const fn gnu_hash(name: &[u8]) -> u32 {
    let (mut hash, mut at) = (5381u32, 0);
    while at < name.len() {
        hash = hash.wrapping_mul(33).wrapping_add(name[at] as u32);
        at += 1;
    }
    hash & !1
}

global_asm!(
    include_str!("vdso.s"),
    soname_hash = const sysv_hash(b"linux-vdso.so.1"),
    version_hash = const sysv_hash(b"LINUX_2.6"),
    h_version = const gnu_hash(b"LINUX_2.6"),
    h_clock_gettime = const gnu_hash(b"clock_gettime"),
    h_vdso_clock_gettime = const gnu_hash(b"__vdso_clock_gettime"),
    h_gettimeofday = const gnu_hash(b"gettimeofday"),
    h_vdso_gettimeofday = const gnu_hash(b"__vdso_gettimeofday"),
    h_time = const gnu_hash(b"time"),
    h_vdso_time = const gnu_hash(b"__vdso_time"),
    h_getcpu = const gnu_hash(b"getcpu"),
    h_vdso_getcpu = const gnu_hash(b"__vdso_getcpu"),
    h_clock_getres = const gnu_hash(b"clock_getres"),
    h_vdso_clock_getres = const gnu_hash(b"__vdso_clock_getres"),
);

unsafe extern "C" {
    #[link_name = "vdso_image"]
    static VDSO_IMAGE: [u8; PAGE_SIZE as usize];
}

/// The two pages, once the first program was started.
static PAGES: Lock<Option<Pages>> = Lock::new(Rank::VdsoPages, None);
/// What the data page holds or will hold.
static DATA: Lock<Data> = Lock::new(
    Rank::VdsoData,
    Data {
        sequence: 0,
        tsc: 0,
        mult: 0,
        monotonic_ns: 0,
        realtime_ns: 0,
        cpus: 1,
    },
);

struct Pages {
    data: Frame,
    /// As Linux names them in /proc/PID/maps, where readers look for the ELF object.
    objects: [Arc<KernelPages>; 2],
}

/// Publishes new clock parameters to the data page.
pub fn update(reading: &ClockReading, mult: u64, realtime_offset: i64) {
    let mut data = DATA.lock();
    *data = Data {
        sequence: data.sequence + 2,
        tsc: reading.tsc,
        mult,
        monotonic_ns: reading.monotonic_ns,
        realtime_ns: reading.realtime_ns.wrapping_add_signed(realtime_offset),
        cpus: crate::smp::count() as u64,
    };
    if let Some(pages) = &*PAGES.lock() {
        let changing = Data {
            sequence: data.sequence - 1,
            ..*data
        };
        pages.data.write(0, &changing.as_bytes()[..8]);
        pages.data.write(8, &data.as_bytes()[8..]);
        pages.data.write(0, &data.as_bytes()[..8]);
    }
}

/// Maps both pages into a new program; the address of the ELF object.
pub fn map(space: &AddressSpace) -> Result<u64> {
    let current = DATA.lock();
    let mut pages = PAGES.lock();
    if pages.is_none() {
        let (data, code) = (Frame::zeroed()?, Frame::zeroed()?);
        data.write(0, current.as_bytes());
        // SAFETY: the page above, in the sentry's read-only data.
        code.write(0, unsafe { &VDSO_IMAGE });
        let named = |name, frame| KernelPages::new(name, vec![FilePage::Frame(frame)]);
        *pages = Some(Pages {
            data: data.clone(),
            objects: [named("[vvar]", data), named("[vdso]", code)],
        });
    }
    let objects = pages.as_ref().map(|pages| pages.objects.clone());
    drop(pages);
    drop(current);
    let Some([data, object]) = objects else {
        return Ok(0);
    };
    let parts = [(data, Prot::READ), (object, Prot::READ | Prot::EXEC)];
    Ok(space.map_kernel_pages(&parts)? + PAGE_SIZE)
}
