# The vDSO's ELF object, one page: everything vdso(7) and Linux's own have that a reader may look
# for: program and section headers, both kinds of hash table, symbol versions, a note with the
# kernel's version, and call frame information for unwinding through it from a signal handler.

.section .vdso, "a"
.balign 4096
.set DATA, vdso_start - 4096
.set TEXT_SECTION, 10
vdso_start:
    .byte 0x7f, 'E', 'L', 'F', 2, 1, 1, 0
    .quad 0
    .short 3, 62                                # ET_DYN, EM_X86_64
    .long 1
    .quad 0
    .quad program_headers - vdso_start
    .quad section_headers - vdso_start
    .long 0
    .short 64, 56, 4, 64, 12, 11
program_headers:
    .long 1, 5                                  # PT_LOAD, R+X
    .quad 0, 0, 0, vdso_end - vdso_start, vdso_end - vdso_start, 4096
.macro vdso_program kind, start, end, align
    .long \kind, 4
    .quad \start - vdso_start, \start - vdso_start, \start - vdso_start
    .quad \end - \start, \end - \start, \align
.endm
    vdso_program 2, dynamic, dynamic_end, 8     # PT_DYNAMIC
    vdso_program 4, note, note_end, 4           # PT_NOTE
    vdso_program 0x6474e550, frames_header, frames_header_end, 4 # PT_GNU_EH_FRAME
dynamic:
    .quad 14, name_soname - strings             # DT_SONAME
    .quad 4, hash - vdso_start                  # DT_HASH
    .quad 0x6ffffef5, gnu_hash - vdso_start     # DT_GNU_HASH
    .quad 5, strings - vdso_start               # DT_STRTAB
    .quad 6, symbols - vdso_start               # DT_SYMTAB
    .quad 10, strings_end - strings             # DT_STRSZ
    .quad 11, 24                                # DT_SYMENT
    .quad 0x6ffffffc, version_definitions - vdso_start # DT_VERDEF
    .quad 0x6ffffffd, 2                         # DT_VERDEFNUM
    .quad 0x6ffffff0, versions - vdso_start     # DT_VERSYM
    .quad 0, 0
dynamic_end:
# One bucket: every name is on one chain.
hash:
    .long 1, 12
    .long 1
    .long 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0
hash_end:
.balign 8
# One bucket from symbol 1 on, and a filter that lets every name through.
gnu_hash:
    .long 1, 1, 1, 6
    .quad -1
    .long 1
    .long {h_vdso_clock_gettime}
    .long {h_clock_gettime}
    .long {h_vdso_gettimeofday}
    .long {h_gettimeofday}
    .long {h_vdso_time}
    .long {h_time}
    .long {h_vdso_getcpu}
    .long {h_getcpu}
    .long {h_vdso_clock_getres}
    .long {h_clock_getres}
    .long {h_version} | 1
gnu_hash_end:
.balign 8
symbols:
    .quad 0, 0, 0
.macro vdso_symbol name, binding, start, end
    .long \name - strings
    .byte \binding, 0                            # STB_GLOBAL or STB_WEAK, STT_FUNC
    .short TEXT_SECTION
    .quad \start - vdso_start, \end - \start
.endm
    vdso_symbol name_vdso_clock_gettime, 0x12, vdso_clock_gettime, vdso_clock_gettime_end
    vdso_symbol name_clock_gettime, 0x22, vdso_clock_gettime, vdso_clock_gettime_end
    vdso_symbol name_vdso_gettimeofday, 0x12, vdso_gettimeofday, vdso_gettimeofday_end
    vdso_symbol name_gettimeofday, 0x22, vdso_gettimeofday, vdso_gettimeofday_end
    vdso_symbol name_vdso_time, 0x12, vdso_time, vdso_time_end
    vdso_symbol name_time, 0x22, vdso_time, vdso_time_end
    vdso_symbol name_vdso_getcpu, 0x12, vdso_getcpu, vdso_getcpu_end
    vdso_symbol name_getcpu, 0x22, vdso_getcpu, vdso_getcpu_end
    vdso_symbol name_vdso_clock_getres, 0x12, vdso_clock_getres, vdso_clock_getres_end
    vdso_symbol name_clock_getres, 0x22, vdso_clock_getres, vdso_clock_getres_end
    .long name_version - strings                # LINUX_2.6: STB_GLOBAL, STT_OBJECT, SHN_ABS
    .byte 0x11, 0
    .short 0xfff1
    .quad 0, 0
symbols_end:
# All but the null symbol are of version 2, the one a reader asks for.
versions:
    .short 0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2
versions_end:
.balign 8
version_definitions:
    .short 1, 1, 1, 1                           # VER_FLG_BASE: the object itself
    .long {soname_hash}, 20, 28
    .long name_soname - strings, 0
    .short 1, 0, 2, 1
    .long {version_hash}, 20, 0
    .long name_version - strings, 0
version_definitions_end:
strings:
    .byte 0
name_soname: .asciz "linux-vdso.so.1"
name_version: .asciz "LINUX_2.6"
# The weak name is the end of the other.
name_vdso_clock_gettime: .ascii "__vdso_"
name_clock_gettime: .asciz "clock_gettime"
name_vdso_gettimeofday: .ascii "__vdso_"
name_gettimeofday: .asciz "gettimeofday"
name_vdso_time: .ascii "__vdso_"
name_time: .asciz "time"
name_vdso_getcpu: .ascii "__vdso_"
name_getcpu: .asciz "getcpu"
name_vdso_clock_getres: .ascii "__vdso_"
name_clock_getres: .asciz "clock_getres"
strings_end:
.balign 4
note:
    .long 6, 4, 0                               # the kernel's version, as `RELEASE` has it
    .asciz "Linux"
    .balign 4
    .long 6 << 16 | 1 << 8
note_end:
.balign 4
frames_header:
    .byte 1, 0x1b, 3, 0x3b                      # pcrel sdata4; udata4; datarel sdata4
    .long frames - .
    .long 1
    .long text - frames_header, frame_description - frames_header
frames_header_end:
.balign 8
# No function has a frame or calls another: the return address is always on top of the stack.
frames:
    .long frame_common_end - . - 4
    .long 0
    .byte 1
    .asciz "zR"
    .byte 1, 0x78, 16                           # factors 1 and -8; column 16 is the return address
    .byte 1, 0x1b
    .byte 0x0c, 7, 8                            # DW_CFA_def_cfa: RSP + 8
    .byte 0x90, 1                               # DW_CFA_offset: the return address, at CFA - 8
    .balign 8
frame_common_end:
frame_description:
    .long frame_description_end - . - 4
    .long . - frames
    .long text - .
    .long text_end - text
    .byte 0
    .balign 8
frame_description_end:
    .long 0
frames_end:
section_names:
    .byte 0
section_hash: .asciz ".hash"
section_gnu_hash: .asciz ".gnu.hash"
section_dynsym: .asciz ".dynsym"
section_dynstr: .asciz ".dynstr"
section_gnu_version: .asciz ".gnu.version"
section_gnu_version_d: .asciz ".gnu.version_d"
section_dynamic: .asciz ".dynamic"
section_note: .asciz ".note"
section_eh_frame: .asciz ".eh_frame"
section_text: .asciz ".text"
section_shstrtab: .asciz ".shstrtab"
section_names_end:
.balign 8
section_headers:
    .fill 64
.macro vdso_section name, kind, flags, start, end, link, info, align, entry
    .long \name - section_names, \kind
    .quad \flags, \start - vdso_start, \start - vdso_start, \end - \start
    .long \link, \info
    .quad \align, \entry
.endm
    vdso_section section_hash, 0x5, 2, hash, hash_end, 3, 0, 8, 4
    vdso_section section_gnu_hash, 0x6ffffff6, 2, gnu_hash, gnu_hash_end, 3, 0, 8, 0
    vdso_section section_dynsym, 0xb, 2, symbols, symbols_end, 4, 1, 8, 24
    vdso_section section_dynstr, 0x3, 2, strings, strings_end, 0, 0, 1, 0
    vdso_section section_gnu_version, 0x6fffffff, 2, versions, versions_end, 3, 0, 2, 2
    vdso_section section_gnu_version_d, 0x6ffffffd, 2, version_definitions, version_definitions_end, 4, 2, 8, 0
    vdso_section section_dynamic, 0x6, 3, dynamic, dynamic_end, 4, 0, 8, 16
    vdso_section section_note, 0x7, 2, note, note_end, 0, 0, 4, 0
    vdso_section section_eh_frame, 0x1, 2, frames, frames_end, 0, 0, 8, 0
    vdso_section section_text, 0x1, 6, text, text_end, 0, 0, 16, 0
    vdso_section section_shstrtab, 0x3, 0, section_names, section_names_end, 0, 0, 1, 0

.balign 16
text:
# r9: address of the base time in the data page -> rax: ns; clobbers rcx, rdx, r8
.macro vdso_read
8:  mov r8, [rip + DATA]
    test r8b, 1
    jnz 9f
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
    je 7f
9:  pause
    jmp 8b
7:
.endm

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
1:
    vdso_read
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
    vdso_read
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
    vdso_read
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
text_end:
vdso_end:
.global vdso_image
.set vdso_image, vdso_start
# An error here: it outgrew its page.
.org vdso_start + 4096
