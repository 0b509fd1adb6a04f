//! Entry and exit code, in assembly: boot, SYSCALL, exceptions, context switch.
//!
//! The code is the same in both privilege modes, but for the exception stubs (see `tables`).
//! It never uses GS, SWAPGS, CLI/STI or a privileged instruction outside the ring-0 stubs.

use super::tables::{
    BOOT_STACK_TOP, BOUNCE_FRAMES, CpuScratch, EXCEPTION_FRAME, FAULT_STACK_TOP, GDT_POINTER,
    IDT_BOUNCE_POINTER, IDT_HARDWARE_POINTER, SCRATCH,
};
use core::arch::global_asm;
use core::mem::offset_of;
use sprout_abi::layout::selector;

/// Bits SYSCALL clears: TF, DF, IOPL, NT, AC. In hardware mode also IF; in ring-3 mode a cleared
/// (virtual) IF could not be set again.
const FMASK: u32 = 0x100 | 0x400 | 0x3000 | 0x4000 | 0x4_0000;

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
    jmp exception_common
    .set vector, vector + 1
.endr
.org 0x1000, 0xcc

// --- ring-3 mode: emulated ring-0 stubs: bounce to the landing at CPL3 ------------------------
.set vector, 0
.rept 33
    .balign 64
    .if vector == 4
        // `int 4` from the sentry asks for a ring-0 service; from the program it is a fault.
        test byte ptr [rsp + 7], 0x80
        jnz ring0_service
    .endif
    .if (vector != 8) && (vector != 10) && (vector != 11) && (vector != 12) && (vector != 13) && (vector != 14) && (vector != 17) && (vector != 21)
        push 0
    .endif
    .if vector == 14
        mov [{s_rax}], rax
        mov rax, cr2
        mov [{s_cr2}], rax
        mov rax, [{s_rax}]
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
    mov [{s_rax}], rax
    mov eax, vector
    jmp exception_common
    .set vector, vector + 1
.endr
.org 0x3000, 0xcc

// rax: 0 load CR3 from rdi; 1 INVLPG rdi; 2 WRMSR ecx, edx:esi
ring0_service:
    cmp eax, 1
    je 1f
    ja 2f
    mov cr3, rdi
    iretq
1:  invlpg [rdi]
    iretq
2:  mov eax, esi
    wrmsr
    iretq

// --- every exception: the frame lies at a fixed place, no stack is needed until we chose one ----
exception_common:
    mov [{s_vector}], rax
    cld
    bt qword ptr [{e_rip}], 63
    jc exception_in_sentry
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
    xor ebp, ebp
    mov rdi, rsp
    mov rsi, [{s_vector}]
    mov rdx, [{e_error}]
    mov rcx, [{s_cr2}]
    sub rsp, 8
    call {trap}
    add rsp, 8
    jmp return_to_program

exception_in_sentry:
    mov rdi, [{s_vector}]
    mov rsi, [{e_error}]
    mov rdx, [{s_cr2}]
    mov rcx, [{e_rip}]
    mov r8, [{e_rsp}]
    mov rsp, {fault_stack}
    call {fault}
    ud2

// --- SYSCALL ------------------------------------------------------------------------------------
.balign 64
syscall_entry:
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
    xor ebp, ebp
    mov rdi, rsp
    sub rsp, 8
    call {syscall}
    add rsp, 8

return_to_program:
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
    pop rax
    pop rcx
    pop rdx
    pop rsi
    pop rdi
    add rsp, 8
    iretq

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
    mov eax, 2
    int 4
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
    s_vector = const SCRATCH as i64 + offset_of!(CpuScratch, vector) as i64,
    e_error = const EXCEPTION_FRAME as i64,
    e_rip = const EXCEPTION_FRAME as i64 + 8,
    e_rflags = const EXCEPTION_FRAME as i64 + 24,
    e_rsp = const EXCEPTION_FRAME as i64 + 32,
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
    syscall = sym super::traps::syscall_trap,
    trap = sym super::traps::exception_trap,
    fault = sym super::traps::sentry_fault,
    new_task = sym super::traps::new_task,
    main = sym super::boot::main,
    secondary = sym super::cpu::secondary_main,
);
