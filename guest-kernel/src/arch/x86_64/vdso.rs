//! The vDSO: clock_gettime and its kin without entering the sentry.
//!
//! Two pages are mapped into every program, first the data page, then an ELF shared object of one
//! page that the C library links against (vdso(7)). The object is assembled here whole, headers and
//! all; its code reads the data page just below it. The sentry writes the data page at boot and
//! restore, under a sequence count.

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

global_asm!(
    r#"
.section .vdso, "a"
.balign 4096
.set DATA, vdso_start - 4096
vdso_start:
    .byte 0x7f, 'E', 'L', 'F', 2, 1, 1, 0
    .quad 0
    .short 3, 62                                # ET_DYN, EM_X86_64
    .long 1
    .quad 0
    .quad program_headers - vdso_start
    .quad 0
    .long 0
    .short 64, 56, 2, 64, 0, 0
program_headers:
    .long 1, 5                                  # PT_LOAD, R+X
    .quad 0, 0, 0, vdso_end - vdso_start, vdso_end - vdso_start, 4096
    .long 2, 4                                  # PT_DYNAMIC, R
    .quad dynamic - vdso_start, dynamic - vdso_start, dynamic - vdso_start
    .quad dynamic_end - dynamic, dynamic_end - dynamic, 8
dynamic:
    .quad 14, name_soname - strings             # DT_SONAME
    .quad 4, hash - vdso_start                  # DT_HASH
    .quad 5, strings - vdso_start               # DT_STRTAB
    .quad 6, symbols - vdso_start               # DT_SYMTAB
    .quad 10, strings_end - strings             # DT_STRSZ
    .quad 11, 24                                # DT_SYMENT
    .quad 0, 0
dynamic_end:
# One bucket: every name is on one chain.
hash:
    .long 1, 6
    .long 1
    .long 0, 2, 3, 4, 5, 0
.balign 8
symbols:
    .quad 0, 0, 0
.macro vdso_symbol name, start, end
    .long \name - strings
    .byte 0x12, 0                               # STB_GLOBAL, STT_FUNC
    .short 1
    .quad \start - vdso_start, \end - \start
.endm
    vdso_symbol name_clock_gettime, vdso_clock_gettime, vdso_clock_gettime_end
    vdso_symbol name_gettimeofday, vdso_gettimeofday, vdso_gettimeofday_end
    vdso_symbol name_time, vdso_time, vdso_time_end
    vdso_symbol name_getcpu, vdso_getcpu, vdso_getcpu_end
    vdso_symbol name_clock_getres, vdso_clock_getres, vdso_clock_getres_end
strings:
    .byte 0
name_soname: .asciz "linux-vdso.so.1"
name_clock_gettime: .asciz "__vdso_clock_gettime"
name_gettimeofday: .asciz "__vdso_gettimeofday"
name_time: .asciz "__vdso_time"
name_getcpu: .asciz "__vdso_getcpu"
name_clock_getres: .asciz "__vdso_clock_getres"
strings_end:

# r9: address of the base time in the data page -> rax: ns; clobbers rcx, rdx, r8
.balign 16
vdso_read:
1:  mov r8, [rip + DATA]
    test r8b, 1
    jnz 2f
    rdtsc
    shl rdx, 32
    or rax, rdx
    xor ecx, ecx
    sub rax, [rip + DATA + 8]
    cmovb rax, rcx
    mul qword ptr [rip + DATA + 16]
    shrd rax, rdx, 32
    add rax, [r9]
    cmp r8, [rip + DATA]
    je 3f
2:  pause
    jmp 1b
3:  ret

.balign 16
vdso_clock_gettime:
    lea r9, [rip + DATA + 24]
    cmp edi, 1                                  # MONOTONIC
    je 1f
    lea r9, [rip + DATA + 32]
    test edi, edi                               # REALTIME
    je 1f
    cmp edi, 5                                  # REALTIME_COARSE
    je 1f
    lea r9, [rip + DATA + 24]
    cmp edi, 4                                  # MONOTONIC_RAW
    je 1f
    cmp edi, 6                                  # MONOTONIC_COARSE
    je 1f
    cmp edi, 7                                  # BOOTTIME
    je 1f
    mov eax, 228
    syscall
    ret
1:  call vdso_read
    xor edx, edx
    mov ecx, 1000000000
    div rcx
    mov [rsi], rax
    mov [rsi + 8], rdx
    xor eax, eax
    ret
vdso_clock_gettime_end:

.balign 16
vdso_gettimeofday:
    test rdi, rdi
    jz 1f
    lea r9, [rip + DATA + 32]
    call vdso_read
    xor edx, edx
    mov ecx, 1000000000
    div rcx
    mov [rdi], rax
    mov rax, rdx
    xor edx, edx
    mov ecx, 1000
    div rcx
    mov [rdi + 8], rax
1:  test rsi, rsi
    jz 2f
    mov qword ptr [rsi], 0
2:  xor eax, eax
    ret
vdso_gettimeofday_end:

.balign 16
vdso_time:
    lea r9, [rip + DATA + 32]
    call vdso_read
    xor edx, edx
    mov ecx, 1000000000
    div rcx
    test rdi, rdi
    jz 1f
    mov [rdi], rax
1:  ret
vdso_time_end:

.balign 16
vdso_getcpu:
    cmp qword ptr [rip + DATA + 40], 1
    jne 3f
    test rdi, rdi
    jz 1f
    mov dword ptr [rdi], 0
1:  test rsi, rsi
    jz 2f
    mov dword ptr [rsi], 0
2:  xor eax, eax
    ret
3:  mov eax, 309
    syscall
    ret
vdso_getcpu_end:

.balign 16
vdso_clock_getres:
    mov eax, 229
    syscall
    ret
vdso_clock_getres_end:
vdso_end:
.global vdso_image
.set vdso_image, vdso_start
.balign 4096
"#
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
    object: Arc<KernelPages>,
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
        let list = vec![FilePage::Frame(data.clone()), FilePage::Frame(code)];
        *pages = Some(Pages {
            data,
            object: KernelPages::new("[vdso]", list),
        });
    }
    let object = pages.as_ref().map(|pages| pages.object.clone());
    drop(pages);
    drop(current);
    match object {
        Some(object) => Ok(space.map_kernel_pages(object, Prot::READ | Prot::EXEC)? + PAGE_SIZE),
        None => Ok(0),
    }
}
