//! Entry and exit code, in assembly: boot, SYSCALL, exceptions, context switch.
//!
//! The code is the same in both privilege modes, but for the exception stubs (see `tables`).
//! It never uses GS, SWAPGS, CLI/STI or a privileged instruction outside the ring-0 stubs.
//!
//! # Strict mode
//!
//! Ring-3 mode where program and sentry have page tables of their own. The program's map the
//! sentry's half for ring 0 only; the sentry's (the boot tables) map it for ring 3 and nothing of
//! the program, which the sentry never touches by address anyway. Changing CR3 takes emulated ring
//! 0, where an instruction costs about a microsecond; so that part is as short as it can be:
//!
//! * In: SYSCALL goes to LSTAR in ring 3, where the fetch faults: from here on a system call is a
//!   page fault whose RIP is LSTAR. Every exception's stub loads the sentry's root and bounces to
//!   its landing.
//! * Out: `int 4` at `strict_return`, RAX being the program's root and the stack holding RAX and
//!   an `iretq` frame.
//!
//! # Whose exception
//!
//! Without privilege levels, an exception while the sentry runs is told from the program's by
//! `in_program`, because a program may well fault with RIP at the sentry's addresses, or where
//! nothing is beside them: it jumped there.

use super::ring0;
use super::tables::{
    BOOT_STACK_TOP, BOUNCE_FRAMES, CpuLocal, CpuScratch, EXCEPTION_FRAME, FAULT_STACK_TOP,
    GDT_POINTER, IDT_BOUNCE_POINTER, IDT_HARDWARE_POINTER, LOCAL, SCRATCH, STRICT_BOUNCE_FRAMES,
    STRICT_SCRATCH, StrictScratch,
};
use crate::arch::TrapFrame;
use core::arch::global_asm;
use core::mem::offset_of;
use sprout_abi::layout::selector;

/// Bits SYSCALL clears: TF, DF, IOPL, NT, AC. In hardware mode also IF; in ring-3 mode a cleared
/// (virtual) IF could not be set again.
const FMASK: u32 = 0x100 | 0x400 | 0x3000 | 0x4000 | 0x4_0000;

/// RFLAGS that a program may have set, IF apart. In ring-3 mode R11 need not be what SYSCALL left.
const RFLAGS_PROGRAM: u32 = 0x25_4dd5;

global_asm!(
    r#"
.section .stubs, "ax"
.balign 4096

// --- hardware mode: ring-0 stubs, 64 bytes each -----------------------------------------------
.set vector, 0
.rept 33
    .balign 64
    .if (vector != 8) && (vector != 10) && (vector != 11) && (vector != 12) && (vector != 13) && (vector != 14) && (vector != 17) && (vector != 21)
        push 0
    .endif
    mov [{s_rax}], rax
    .if vector == 14
        mov rax, cr2
        mov [{s_cr2}], rax
    .endif
    mov eax, vector
    jmp exception_hardware
    .set vector, vector + 1
.endr
.org 0x1000, 0xcc

// --- ring-3 mode: emulated ring-0 stubs: bounce to the landing at CPL3 ------------------------
.set vector, 0
.rept 33
    .balign 64
    // The `int3` at one place of the sentry asks for a ring-0 service, the `int 4` at another for the
    // one that every switch to another process needs: each emulated instruction costs some 2 us.
    // Anywhere else the one is a breakpoint, the other a fault.
    .if vector == 3
        cmp qword ptr [rsp], offset ring0_call_return
        je ring0_service
    .endif
    .if vector == 4
        cmp qword ptr [rsp], offset ring0_load_cr3_return
        jne 1f
        mov cr3, rdi
        iretq
1:
    .endif
    .if (vector != 8) && (vector != 10) && (vector != 11) && (vector != 12) && (vector != 13) && (vector != 14) && (vector != 17) && (vector != 21)
        push 0
    .endif
    .if vector == 14
        // The landing, which is not emulated, puts CR2 where it belongs.
        mov [{s_rax}], rax
        mov rax, cr2
    .endif
    mov rsp, {bounce} + vector * 40
    iretq
    .set vector, vector + 1
.endr
.org 0x2000, 0xcc

// --- ring-3 mode: landings at CPL3 ------------------------------------------------------------
.set vector, 0
.rept 33
    .balign 64
    .if vector == 14
        mov [{s_cr2}], rax
    .else
        mov [{s_rax}], rax
    .endif
    mov eax, vector
    jmp exception_common
    .set vector, vector + 1
.endr
.org 0x3000, 0xcc

// --- strict mode: emulated ring-0 stubs: to the sentry's root, then bounce ------------------------
.set vector, 0
.rept 33
    .balign 64
    .if vector == 4
        // The sentry's way out comes first: every return to the program takes it.
        cmp qword ptr [rsp], offset strict_return
        jne 1f
        mov rsp, [rsp + 24]
        mov cr3, rax
        pop rax
        iretq
1:
    .endif
    .if vector == 3
        cmp qword ptr [rsp], offset ring0_call_return
        je ring0_service
    .endif
    .if (vector != 8) && (vector != 10) && (vector != 11) && (vector != 12) && (vector != 13) && (vector != 14) && (vector != 17) && (vector != 21)
        push 0
    .endif
    .if vector == 4
        jmp strict_bounce_4
    .else
        // The program's RSP is in the frame already: a free register.
        mov rsp, [{s_sentry_root}]
        mov cr3, rsp
        mov rsp, {strict_bounce} + vector * 40
        iretq
    .endif
    .set vector, vector + 1
.endr
.org 0x4000, 0xcc

// --- strict mode: landings at CPL3 ---------------------------------------------------------------
.set vector, 0
.rept 33
    .balign 64
    .if vector == 14
        cmp qword ptr [{e_rip}], offset syscall_entry
        je strict_syscall
    .endif
    mov [{s_rax}], rax
    mov eax, vector
    jmp exception_common
    .set vector, vector + 1
.endr
.org 0x5000, 0xcc

strict_bounce_4:
    mov rsp, [{s_sentry_root}]
    mov cr3, rsp
    mov rsp, {strict_bounce} + 4 * 40
    iretq

// A fetch at LSTAR: registers are as SYSCALL left them (or as a program that jumped here had them;
// `syscall_trap` looks).
strict_syscall:
    mov dword ptr [{s_vector}], 14
    cmp dword ptr [{s_in_program}], 0
    je exception_in_sentry
    mov rsp, [{e_rsp}]
    jmp syscall_entry

// Where `ring0` asks for services.
.global ring0_call
ring0_call:
    int3
ring0_call_return:
    ret
.global ring0_load_cr3
ring0_load_cr3:
    int 4
ring0_load_cr3_return:
    ret

// Operation in RAX, a `ring0` constant; only the sentry gets here.
ring0_service:
    jmp qword ptr [ring0_services + rax * 8]
.balign 8
ring0_services:
    .quad ring0_invlpg, ring0_wrmsr, ring0_lidt, ring0_out, ring0_read_cr2
ring0_invlpg:
    invlpg [rdi]
    iretq
ring0_wrmsr:
    mov eax, esi
    wrmsr
    iretq
ring0_lidt:
    lidt [rdi]
    iretq
ring0_out:
    mov eax, edi
    out dx, eax
    iretq
ring0_read_cr2:
    mov rax, cr2
    iretq

// --- hardware mode: whose exception was it? -----------------------------------------------------
exception_hardware:
    mov [{s_vector}], eax
    cld
    test byte ptr [rsp + 16], 3
    jnz exception_in_program
    // The sentry's own came on the stack it was on, not at the fixed place.
    mov rdi, rax
    mov rsi, [rsp]
    mov rdx, [{s_cr2}]
    mov rcx, [rsp + 8]
    mov r8, [rsp + 32]
    jmp report_fault

// The part of a `TrapFrame` that is the same on every way in and out.
.macro push_r8_to_r15
    push r8
    push r9
    push r10
    push r11
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
.endm
.macro pop_r15_to_r8
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    pop r11
    pop r10
    pop r9
    pop r8
.endm

// --- every exception: the frame lies at a fixed place, no stack is needed until we chose one ----
exception_common:
    mov [{s_vector}], eax
    cmp dword ptr [{s_in_program}], 0
    je exception_in_sentry
    mov dword ptr [{s_in_program}], 0
exception_in_program:
    mov rsp, [{s_kernel_rsp}]
    push {user_ss}
    push qword ptr [{e_rsp}]
    push qword ptr [{e_rflags}]
    push {user_cs}
    push qword ptr [{e_rip}]
    push -1
    push rdi
    push rsi
    push rdx
    push rcx
    push qword ptr [{s_rax}]
    push_r8_to_r15
    xor ebp, ebp
    mov rdi, rsp
    mov esi, [{s_vector}]
    mov rdx, [{e_error}]
    mov rcx, [{s_cr2}]
    sub rsp, 8
    call {trap}
    add rsp, 8
    jmp return_to_program

// Without a wall a program can jump to the entry code with TF or AC set. Neither is the sentry's.
exception_in_sentry:
    cmp dword ptr [{s_vector}], 1
    je 1f
    cmp dword ptr [{s_vector}], 17
    jne 2f
1:  and qword ptr [{e_rflags}], {rflags_no_traps}
    mov rax, [{s_rax}]
    mov rsp, {e_rip}
    iretq
2:  mov edi, [{s_vector}]
    mov rsi, [{e_error}]
    mov rdx, [{s_cr2}]
    mov rcx, [{e_rip}]
    mov r8, [{e_rsp}]
report_fault:
    mov rsp, {fault_stack}
    call {fault}
    ud2

// --- SYSCALL ------------------------------------------------------------------------------------
.balign 64
.global syscall_entry
syscall_entry:
    cld
    mov dword ptr [{s_in_program}], 0
    mov [{s_user_rsp}], rsp
    mov rsp, [{s_kernel_rsp}]
    push {user_ss}
    push qword ptr [{s_user_rsp}]
    push r11
    push {user_cs}
    push rcx
    push rax
    push rdi
    push rsi
    push rdx
    push rcx
    push -38
    push_r8_to_r15
    xor ebp, ebp
    mov rdi, rsp
    sub rsp, 8
    call {syscall}
    add rsp, 8

return_to_program:
    // A program that jumped to the entry code had anything in R11.
    and qword ptr [rsp + {f_rflags}], {rflags_program}
    or qword ptr [rsp + {f_rflags}], 0x202
    mov dword ptr [{s_in_program}], 1
    cmp word ptr [{s_strict}], 0
    jne return_to_program_strict
    pop_r15_to_r8
    pop rax
    pop rcx
    pop rdx
    pop rsi
    pop rdi
    add rsp, 8
    iretq

return_to_program_strict:
    pop_r15_to_r8
    // RAX goes just below the frame, in the place of the system-call number.
    pop rax
    mov [rsp + 32], rax
    pop rcx
    pop rdx
    pop rsi
    pop rdi
    mov rax, [{s_program_root}]
    int 4
strict_return:
    ud2

// --- a new task's first switch lands here, its registers on top of its stack -------------------
.global new_task_entry
new_task_entry:
    mov rdi, rsp
    sub rsp, 8
    xor ebp, ebp
    call {new_task}
    add rsp, 8
    jmp return_to_program

// fn switch_stacks(save: *mut u64 (rdi), load: u64 (rsi))
.global switch_stacks
switch_stacks:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    mov [rdi], rsp
    mov rsp, rsi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret

// --- boot: ring 0, interrupts off, page tables by the VMM ---------------------------------------
.global _start
_start:
    lgdt [{gdt}]
    lidt [{idt_bounce}]
    mov eax, {tss}
    ltr ax
    mov ecx, 0xc0000081
    xor eax, eax
    mov edx, 0x00230010
    wrmsr
    mov ecx, 0xc0000082
    mov rax, offset probe_landing
    mov edx, 0xffffffff
    wrmsr
    mov ecx, 0xc0000084
    mov eax, {fmask}
    xor edx, edx
    wrmsr
    mov rsp, {boot_stack}
    push {user_ss}
    push {boot_stack}
    push 0x202
    push {user_cs}
    lea rax, [rip + probe]
    push rax
    iretq

// Ring 3. Which privilege level does SYSCALL leave us at?
probe:
    syscall
probe_landing:
    mov rsp, {boot_stack}
    xor ebp, ebp
    mov eax, cs
    test eax, 3
    jz 1f
    // Software KVM: still ring 3. Point LSTAR at the real entry through the service gate.
    mov ecx, 0xc0000082
    mov rsi, offset syscall_entry
    mov edx, 0xffffffff
    mov eax, {op_wrmsr}
    call ring0_call
    mov edi, 2
    call {main}
    ud2
1:  lidt [{idt_hardware}]
    mov ecx, 0xc0000082
    mov rax, offset syscall_entry
    mov edx, 0xffffffff
    wrmsr
    mov ecx, 0xc0000084
    mov eax, {fmask_hardware}
    xor edx, edx
    wrmsr
    mov edi, 1
    call {main}
    ud2

// --- another vCPU than the first: ring 0, interrupts off, the page tables of `cpu.rs` ------------
.macro secondary_tables idt, mask
    lgdt [{gdt}]
    lidt [\idt]
    mov eax, {tss}
    ltr ax
    mov ecx, 0xc0000081
    xor eax, eax
    mov edx, 0x00230010
    wrmsr
    mov ecx, 0xc0000082
    mov rax, offset syscall_entry
    mov edx, 0xffffffff
    wrmsr
    mov ecx, 0xc0000084
    mov eax, \mask
    xor edx, edx
    wrmsr
    mov rsp, {boot_stack}
    xor ebp, ebp
.endm

.global start_secondary_hardware
start_secondary_hardware:
    secondary_tables {idt_hardware}, {fmask_hardware}
    call {secondary}
    ud2

.global start_secondary_ring3
start_secondary_ring3:
    secondary_tables {idt_bounce}, {fmask}
    push {user_ss}
    push {boot_stack}
    push 0x202
    push {user_cs}
    lea rax, [rip + 1f]
    push rax
    iretq
1:  call {secondary}
    ud2
"#,
    s_kernel_rsp = const SCRATCH as i64 + offset_of!(CpuScratch, kernel_rsp) as i64,
    s_user_rsp = const SCRATCH as i64 + offset_of!(CpuScratch, user_rsp) as i64,
    s_rax = const SCRATCH as i64 + offset_of!(CpuScratch, rax) as i64,
    s_cr2 = const SCRATCH as i64 + offset_of!(CpuScratch, cr2) as i64,
    s_sentry_root = const STRICT_SCRATCH as i64 + offset_of!(StrictScratch, sentry_root) as i64,
    s_program_root = const STRICT_SCRATCH as i64 + offset_of!(StrictScratch, program_root) as i64,
    s_in_program = const SCRATCH as i64 + offset_of!(CpuScratch, in_program) as i64,
    s_strict = const LOCAL as i64 + offset_of!(CpuLocal, strict) as i64,
    s_vector = const SCRATCH as i64 + offset_of!(CpuScratch, vector) as i64,
    e_error = const EXCEPTION_FRAME as i64,
    e_rip = const EXCEPTION_FRAME as i64 + 8,
    e_rflags = const EXCEPTION_FRAME as i64 + 24,
    e_rsp = const EXCEPTION_FRAME as i64 + 32,
    f_rflags = const offset_of!(TrapFrame, rflags),
    rflags_program = const RFLAGS_PROGRAM,
    rflags_no_traps = const !0x4_0100_i32,
    op_wrmsr = const ring0::WRMSR,
    strict_bounce = const STRICT_BOUNCE_FRAMES as i64,
    bounce = const BOUNCE_FRAMES as i64,
    user_cs = const selector::USER_CODE as i64,
    user_ss = const selector::USER_DATA as i64,
    tss = const selector::TSS as i64,
    gdt = const GDT_POINTER as i64,
    idt_bounce = const IDT_BOUNCE_POINTER as i64,
    idt_hardware = const IDT_HARDWARE_POINTER as i64,
    boot_stack = const BOOT_STACK_TOP as i64,
    fault_stack = const FAULT_STACK_TOP as i64,
    fmask = const FMASK,
    fmask_hardware = const FMASK | 0x200,
    syscall = sym crate::arch::kernel::sentry_syscall,
    trap = sym super::traps::exception_trap,
    fault = sym super::traps::sentry_fault,
    new_task = sym crate::arch::kernel::sentry_new_task,
    main = sym super::boot::main,
    secondary = sym super::cpu::secondary_main,
);
