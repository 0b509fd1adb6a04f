//! GDT, TSS, IDTs and per-vCPU data, as constants at fixed addresses.
//!
//! Both privilege modes share them but for the IDT. In hardware mode a gate leads to a ring-0 stub
//! that enters the sentry directly. In ring-3 mode (software KVM emulates ring 0) the stub only
//! bounces: `iretq` through a prepared frame to a landing stub at CPL3, in the same code.
//! Layout source: AMD64 Architecture Programmer's Manual volume 2, sections 4.7, 8.2 and 12.2.

#![allow(unsafe_code)]

use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::ops::Range;
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use sprout_abi::layout::{DIRECT_MAP_BASE, DOORBELL_PORT, KERNEL_BASE, PAGE_TABLES_GPA, selector};

/// Link address of [`TABLES`]; see `link.ld`.
const TABLES_BASE: u64 = 0xffff_ffff_8040_0000;
/// Guest-physical address of the first vCPU's tables.
const TABLES_GPA: u64 = TABLES_BASE - KERNEL_BASE;
/// Link address of the stubs; see `link.ld` and `entry.rs`.
pub const STUBS_BASE: u64 = 0xffff_ffff_8020_0000;
/// Distance of two stubs.
const STUB_SIZE: u64 = 64;
/// Offset of the stubs that bounce to CPL3.
const BOUNCE_STUBS: u64 = 0x1000;
/// Offset of the CPL3 landings.
const LANDING_STUBS: u64 = 0x2000;
/// Offset of the strict mode's stubs that bounce to CPL3.
const STRICT_BOUNCE_STUBS: u64 = 0x3000;
/// Offset of the strict mode's CPL3 landings.
const STRICT_LANDING_STUBS: u64 = 0x4000;
/// Vectors with gates: the exceptions, and the preemption tick.
const VECTORS: usize = 33;

/// An entry stub's register scratch; fields are used by `entry.rs` by name.
#[repr(C)]
pub struct CpuScratch {
    /// Top of the current task's kernel stack.
    pub kernel_rsp: u64,
    /// RSP of the program during SYSCALL entry.
    pub user_rsp: u64,
    /// RAX during exception entry.
    pub rax: u64,
    /// CR2 of the last page fault.
    pub cr2: u64,
    /// Vector of the last exception.
    pub vector: u32,
    /// Ring-3 mode: not 0 from just before the return to the program until the next entry.
    pub in_program: u32,
}

/// What entry code needs in strict mode only.
#[repr(C, align(64))]
pub struct StrictScratch {
    /// CR3 of the sentry on this vCPU.
    pub sentry_root: u64,
    /// CR3 of the program that the next return enters.
    pub program_root: u64,
}

#[repr(C, packed)]
struct Tss {
    reserved0: u32,
    rsp: [u64; 3],
    reserved1: u64,
    ist: [u64; 7],
    reserved2: [u16; 5],
    iomap_base: u16,
    iomap: [u8; IOMAP_BYTES],
}

/// Bytes of the I/O permission map up to the doorbell's port, and the terminating one.
const IOMAP_BYTES: usize = (DOORBELL_PORT as usize + 4) / 8 + 2;

#[repr(C)]
#[derive(Clone, Copy)]
struct Gate {
    low: u64,
    high: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct IretFrame {
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// What the sentry knows about the vCPU it runs on.
#[repr(C)]
pub struct CpuLocal {
    /// Its number.
    pub index: AtomicU16,
    /// Not 0 in strict mode.
    pub strict: AtomicU16,
    /// How many there are.
    pub count: AtomicU32,
    /// Guest-physical address of the page-table root it uses.
    pub root: AtomicU64,
    /// Guest-physical address of its [`Tables`].
    pub tables: AtomicU64,
}

/// What every entry into the sentry looks at, in one cache line: an exit to the host leaves little in
/// the caches.
#[repr(C, align(64))]
struct PerCpu {
    scratch: CpuScratch,
    local: CpuLocal,
}

const _: () = assert!(size_of::<PerCpu>() == 64);

/// Everything at [`TABLES_BASE`]. Each vCPU has its own behind the same addresses (see `cpu`).
#[repr(C, align(4096))]
struct Tables {
    gdt: [u64; 10],
    gdt_pointer: Pointer,
    idt_bounce_pointer: Pointer,
    idt_hardware_pointer: Pointer,
    idt_strict_pointer: Pointer,
    cpu: PerCpu,
    strict: StrictScratch,
    bounce: [IretFrame; VECTORS],
    bounce_strict: [IretFrame; VECTORS],
    idt_hardware: [Gate; VECTORS],
    idt_bounce: [Gate; VECTORS],
    idt_strict: [Gate; VECTORS],
    tss: Tss,
    /// RSP0: the CPU pushes exception frames here, in both modes.
    exception_stack: Stack<4096>,
    /// Double faults, and panics of exceptions in the sentry.
    fault_stack: Stack<16384>,
    boot_stack: Stack<32768>,
}

#[repr(C, align(16))]
struct Stack<const N: usize>([u8; N]);

struct Shared(UnsafeCell<Tables>);
// SAFETY: each vCPU sees its own, which only it and its entry code write.
unsafe impl Sync for Shared {}

#[used]
#[unsafe(link_section = ".tables")]
static TABLES: Shared = Shared(UnsafeCell::new(tables()));

const fn address(offset: usize) -> u64 {
    TABLES_BASE + offset as u64
}

/// Address of [`CpuScratch`].
pub const SCRATCH: u64 = address(offset_of!(Tables, cpu.scratch));
/// [`CpuLocal`].
pub const LOCAL: u64 = address(offset_of!(Tables, cpu.local));
/// [`StrictScratch`].
pub const STRICT_SCRATCH: u64 = address(offset_of!(Tables, strict));
/// Where an exception frame (error code, RIP, CS, RFLAGS, RSP, SS) always lies.
pub const EXCEPTION_FRAME: u64 = EXCEPTION_STACK_TOP - 48;
const EXCEPTION_STACK_TOP: u64 = address(offset_of!(Tables, exception_stack)) + 4096;
/// Top of the stack on which exceptions in the sentry panic.
pub const FAULT_STACK_TOP: u64 = address(offset_of!(Tables, fault_stack)) + 16384;
/// Top of the stack the boot code runs on.
pub const BOOT_STACK_TOP: u64 = address(offset_of!(Tables, boot_stack)) + 32768;
/// Operands of LGDT and LIDT.
pub const GDT_POINTER: u64 = address(offset_of!(Tables, gdt_pointer));
/// IDT of ring-3 mode.
pub const IDT_BOUNCE_POINTER: u64 = address(offset_of!(Tables, idt_bounce_pointer));
/// IDT of hardware mode.
pub const IDT_HARDWARE_POINTER: u64 = address(offset_of!(Tables, idt_hardware_pointer));
/// IDT of strict mode.
pub const IDT_STRICT_POINTER: u64 = address(offset_of!(Tables, idt_strict_pointer));
/// First of the prepared `iretq` frames, 40 bytes each.
pub const BOUNCE_FRAMES: u64 = address(offset_of!(Tables, bounce));
/// The same for strict mode.
pub const STRICT_BOUNCE_FRAMES: u64 = address(offset_of!(Tables, bounce_strict));

const fn gate(handler: u64, dpl: u64, ist: u64) -> Gate {
    let low = (handler & 0xffff)
        | (selector::KERNEL_CODE as u64) << 16
        | ist << 32
        | (0x8e | dpl << 5) << 40
        | (handler >> 16 & 0xffff) << 48;
    Gate {
        low,
        high: handler >> 32,
    }
}

const fn idt(first_stub: u64) -> [Gate; VECTORS] {
    let mut table = [Gate { low: 0, high: 0 }; VECTORS];
    let mut vector = 0;
    while vector < VECTORS {
        // INT3 is the program's to use. In ring-3 mode both call ring-0 services from the sentry.
        let dpl = if vector == 3 || vector == 4 { 3 } else { 0 };
        let ist = if vector == 8 { 1 } else { 0 };
        table[vector] = gate(first_stub + vector as u64 * STUB_SIZE, dpl, ist);
        vector += 1;
    }
    table
}

const fn bounce_frames(landings: u64) -> [IretFrame; VECTORS] {
    let mut frames = [IretFrame {
        rip: 0,
        cs: selector::USER_CODE as u64,
        // IF: the emulated flag can only be set again from ring 0.
        rflags: 0x202,
        rsp: FAULT_STACK_TOP,
        ss: selector::USER_DATA as u64,
    }; VECTORS];
    let mut vector = 0;
    while vector < VECTORS {
        frames[vector].rip = landings + vector as u64 * STUB_SIZE;
        vector += 1;
    }
    frames
}

const fn pointer(limit: usize, offset: usize) -> Pointer {
    Pointer {
        limit: limit as u16 - 1,
        base: address(offset),
    }
}

const fn tables() -> Tables {
    const IDT_SIZE: usize = VECTORS * size_of::<Gate>();
    let tss = address(offset_of!(Tables, tss));
    let tss_limit = size_of::<Tss>() as u64 - 1;
    let tss_low = tss_limit | (tss & 0xff_ffff) << 16 | 0x89 << 40 | (tss >> 24 & 0xff) << 56;
    let mut iomap = [0xff; IOMAP_BYTES];
    let mut port = DOORBELL_PORT as usize;
    while port < DOORBELL_PORT as usize + 4 {
        iomap[port / 8] &= !(1 << (port % 8));
        port += 1;
    }
    Tables {
        gdt: [
            0,
            0,                     // 0x08
            0x00af_9b00_0000_ffff, // 0x10 ring-0 64-bit code
            0x00cf_9300_0000_ffff, // 0x18 ring-0 data
            // 0x20: no ring-3 32-bit code, where SYSCALL would lead elsewhere (CSTAR). SYSRET only
            // counts from this selector.
            0,
            0x00cf_f300_0000_ffff, // 0x28 ring-3 data
            0x00af_fb00_0000_ffff, // 0x30 ring-3 64-bit code
            0,
            tss_low, // 0x40 task state segment
            tss >> 32,
        ],
        gdt_pointer: pointer(80, offset_of!(Tables, gdt)),
        idt_bounce_pointer: pointer(IDT_SIZE, offset_of!(Tables, idt_bounce)),
        idt_hardware_pointer: pointer(IDT_SIZE, offset_of!(Tables, idt_hardware)),
        idt_strict_pointer: pointer(IDT_SIZE, offset_of!(Tables, idt_strict)),
        cpu: PerCpu {
            scratch: CpuScratch {
                kernel_rsp: BOOT_STACK_TOP,
                user_rsp: 0,
                rax: 0,
                cr2: 0,
                vector: 0,
                in_program: 0,
            },
            local: CpuLocal {
                index: AtomicU16::new(0),
                strict: AtomicU16::new(0),
                count: AtomicU32::new(1),
                root: AtomicU64::new(PAGE_TABLES_GPA),
                tables: AtomicU64::new(TABLES_GPA),
            },
        },
        strict: StrictScratch {
            sentry_root: PAGE_TABLES_GPA,
            program_root: 0,
        },
        bounce: bounce_frames(STUBS_BASE + LANDING_STUBS),
        bounce_strict: bounce_frames(STUBS_BASE + STRICT_LANDING_STUBS),
        idt_hardware: idt(STUBS_BASE),
        idt_bounce: idt(STUBS_BASE + BOUNCE_STUBS),
        idt_strict: idt(STUBS_BASE + STRICT_BOUNCE_STUBS),
        tss: Tss {
            reserved0: 0,
            rsp: [EXCEPTION_STACK_TOP, 0, 0],
            reserved1: 0,
            ist: [FAULT_STACK_TOP, 0, 0, 0, 0, 0, 0],
            reserved2: [0; 5],
            iomap_base: offset_of!(Tss, iomap) as u16,
            iomap,
        },
        exception_stack: Stack([0; 4096]),
        fault_stack: Stack([0; 16384]),
        boot_stack: Stack([0; 32768]),
    }
}

/// The addresses of [`TABLES`]: what differs from vCPU to vCPU.
pub const TABLES_RANGE: Range<u64> = TABLES_BASE..TABLES_BASE + size_of::<Tables>() as u64;

/// Data of the vCPU this runs on. A task that is switched away can come back on another one.
pub fn local() -> &'static CpuLocal {
    // SAFETY: mapped as long as the sentry runs, and all atomics.
    unsafe { &(*TABLES.0.get()).cpu.local }
}

/// Makes the copy of this vCPU's tables at guest-physical `tables` that of vCPU `index`, whose own
/// page-table root is `root`.
///
/// # Safety
/// `tables` must name as much unused RAM as [`TABLES_RANGE`] has.
pub unsafe fn copy_for(index: u16, tables: u64, root: u64) {
    let copy = (DIRECT_MAP_BASE + tables) as *mut Tables;
    // SAFETY: see above; the source is mapped, and what changes in it meanwhile is this stack's.
    unsafe {
        core::ptr::copy_nonoverlapping(TABLES.0.get(), copy, 1);
        // LTR made the descriptor busy, and takes only one that is not.
        (*copy).gdt[selector::TSS as usize / 8] &= !(2 << 40);
        (*copy).cpu.scratch.kernel_rsp = BOOT_STACK_TOP;
        (*copy).strict.sentry_root = root;
        (*copy).cpu.local = CpuLocal {
            index: AtomicU16::new(index),
            strict: AtomicU16::new(local().strict.load(Ordering::Relaxed)),
            count: AtomicU32::new(local().count.load(Ordering::Relaxed)),
            root: AtomicU64::new(root),
            tables: AtomicU64::new(tables),
        };
    }
}

/// Sets the kernel stack that the next entry from the program uses.
pub fn set_kernel_stack(top: u64) {
    // SAFETY: a plain store to scratch space that only entry code, not running now, reads.
    unsafe { (*TABLES.0.get()).cpu.scratch.kernel_rsp = top }
}

/// Strict mode: the page tables that the next return to the program loads.
pub fn set_program_root(root: u64) {
    // SAFETY: as in `set_kernel_stack`.
    unsafe { (*TABLES.0.get()).strict.program_root = root }
}

/// Has the code that returns to programs change page tables.
pub fn set_strict() {
    local().strict.store(1, Ordering::Relaxed);
}

/// Hardware and strict mode: ring 3 gets no I/O port (the map lies beyond the limit).
pub fn deny_io_ports() {
    // SAFETY: the processor reads the field at I/O instructions of ring 3, which does not run yet.
    unsafe { (*TABLES.0.get()).tss.iomap_base = 0xffff }
}
