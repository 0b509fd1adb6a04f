//! Hand-assembled guests. Only plain `mov`, `out` and jumps, which every KVM executes in ring 0.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]
// Each test crate uses its part of this.
#![allow(dead_code)]

use std::path::Path;

use sprout_abi::hypercall::{event, number, wait_flags};
use sprout_abi::layout::{
    DIRECT_MAP_BASE, DOORBELL_PORT, HYPERCALL_PAGE_GPA, KERNEL_BASE, KERNEL_GPA,
};
use sprout_vmm::backend::buffered::Buffered;
use sprout_vmm::boot::kernel::Kernel;
use sprout_vmm::boot::{BootConfig, Program};
use sprout_vmm::memory::MIN_RAM;
use sprout_vmm::snapshot::write::Description;
use sprout_vmm::vm::shell::Shell;
use sprout_vmm::vm::{Stop, Vm};

/// Machine code under construction. The hypercall page is reached through the direct map.
pub struct Code(pub Vec<u8>);

/// All RAM appears here.
pub const DIRECT: u64 = DIRECT_MAP_BASE;
/// The hypercall page's address.
pub const REQUEST: u64 = DIRECT + HYPERCALL_PAGE_GPA;
/// Where the message lies in the segment, behind the code.
pub const MESSAGE_AT: usize = 0x800;

impl Code {
    pub fn new() -> Self {
        let mut code = Self(Vec::new());
        // mov dx, port
        code.0.extend_from_slice(&[0x66, 0xba]);
        code.0.extend_from_slice(&DOORBELL_PORT.to_le_bytes());
        code
    }

    /// `movabs rbx, address; movabs rax, value; mov [rbx], rax`
    pub fn store(mut self, address: u64, value: u64) -> Self {
        self.0.extend_from_slice(&[0x48, 0xbb]);
        self.0.extend_from_slice(&address.to_le_bytes());
        self.0.extend_from_slice(&[0x48, 0xb8]);
        self.0.extend_from_slice(&value.to_le_bytes());
        self.0.extend_from_slice(&[0x48, 0x89, 0x03]);
        self
    }

    /// `mov eax, gpa; out dx, eax`
    pub fn ring(mut self, gpa: u32) -> Self {
        self.0.push(0xb8);
        self.0.extend_from_slice(&gpa.to_le_bytes());
        self.0.push(0xef);
        self
    }

    pub fn call(self, number: u32, args: &[u64]) -> Self {
        let mut code = self.store(REQUEST, u64::from(number));
        for (index, arg) in args.iter().enumerate() {
            code = code.store(REQUEST + 8 + 8 * index as u64, *arg);
        }
        code.ring(HYPERCALL_PAGE_GPA as u32)
    }

    /// Where a vCPU can start: `mov dx, port`. Returns the virtual address, too.
    pub fn entry(mut self) -> (Self, u64) {
        let at = KERNEL_BASE + KERNEL_GPA + self.position() as u64;
        self.0.extend_from_slice(&Self::new().0);
        (self, at)
    }

    /// Offset of the next instruction.
    pub fn position(&self) -> usize {
        self.0.len()
    }

    /// `jmp target`
    pub fn jump(mut self, target: usize) -> Self {
        self.0.push(0xe9);
        let next = self.0.len() as i64 + 4;
        self.0
            .extend_from_slice(&(target as i64 - next).to_le_bytes()[..4]);
        self
    }

    /// Stores the last request's result at `address`.
    pub fn copy_result_to(self, address: u64) -> Self {
        self.copy(REQUEST + 56, address)
    }

    /// Copies a word: `movabs rbx, from; mov rax, [rbx]; movabs rbx, to; mov [rbx], rax`
    pub fn copy(mut self, from: u64, address: u64) -> Self {
        self.0.extend_from_slice(&[0x48, 0xbb]);
        self.0.extend_from_slice(&from.to_le_bytes());
        self.0.extend_from_slice(&[0x48, 0x8b, 0x03, 0x48, 0xbb]);
        self.0.extend_from_slice(&address.to_le_bytes());
        self.0.extend_from_slice(&[0x48, 0x89, 0x03]);
        self
    }

    /// `jmp .`
    pub fn spin(mut self) -> Self {
        self.0.extend_from_slice(&[0xeb, 0xfe]);
        self
    }

    /// Exits with the low byte of the last request's result as the status.
    pub fn exit_with_result(mut self) -> Self {
        // movabs rbx, result; mov rax, [rbx]; and eax, 0xff; movabs rbx, args[0]; mov [rbx], rax
        self.0.extend_from_slice(&[0x48, 0xbb]);
        self.0.extend_from_slice(&(REQUEST + 56).to_le_bytes());
        self.0
            .extend_from_slice(&[0x48, 0x8b, 0x03, 0x25, 0xff, 0, 0, 0, 0x48, 0xbb]);
        self.0.extend_from_slice(&(REQUEST + 8).to_le_bytes());
        self.0.extend_from_slice(&[0x48, 0x89, 0x03]);
        self.store(REQUEST + 16, 0)
            .store(REQUEST, u64::from(number::EXIT))
            .ring(HYPERCALL_PAGE_GPA as u32)
    }

    pub fn kernel(self, message: &[u8]) -> Kernel {
        let mut content = self.0;
        content.resize(MESSAGE_AT, 0x90);
        content.extend_from_slice(message);
        Kernel::parse(elf(&content)).unwrap()
    }
}

/// An ELF file with one executable segment at the sentry's address.
fn elf(content: &[u8]) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend_from_slice(&[2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [KERNEL_BASE + KERNEL_GPA, 64, 0] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(&0u32.to_le_bytes());
    for half in [64u16, 56, 1, 64, 0, 0] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    let length = content.len() as u64;
    file.extend_from_slice(&[1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [
        120,
        KERNEL_BASE + KERNEL_GPA,
        KERNEL_GPA,
        length,
        length,
        4096,
    ] {
        file.extend_from_slice(&u64::to_le_bytes(word));
    }
    file.extend_from_slice(content);
    file
}

/// Boots a guest with the least memory.
pub fn boot(kernel: &Kernel) -> Vm {
    boot_with(kernel, 1)
}

/// As [`boot`], with `vcpus` vCPUs.
pub fn boot_with(kernel: &Kernel, vcpus: usize) -> Vm {
    let program = Program {
        path: b"/none".to_vec(),
        file: None,
        args: vec![],
        env: vec![],
        cwd: b"/".to_vec(),
    };
    let config = BootConfig {
        kernel,
        ram_size: MIN_RAM,
        vcpus,
        images: vec![],
        program,
        flags: 0,
        strace: "all".into(),
        hostname: "test".into(),
    };
    Shell::new().unwrap().boot(&config).unwrap()
}

/// Waits for a request, receives it, sends it back with its events' byte in front, again and again.
pub fn echo_server() -> Kernel {
    echo_server_that(|code| code)
}

/// Where an echo server keeps the events that ended its last wait, before what it received.
pub const EVENTS: u64 = DIRECT + KERNEL_GPA + 0x4000;

/// The same, which does something else, too, when it has received a request: the result of the last
/// call is the request's length.
pub fn echo_server_that(also: impl FnOnce(Code) -> Code) -> Kernel {
    let list = HYPERCALL_PAGE_GPA + 64;
    let data = KERNEL_GPA + 0x4000;
    let request = REQUEST;
    let mut code = Code::new();
    let top = code.position();
    code = code
        .call(number::WAIT, &[u64::MAX, wait_flags::READY, event::REQUEST])
        .copy_result_to(DIRECT + data)
        .store(request + 64, data + 8)
        .store(request + 72, 4096)
        .call(number::CHANNEL_RECV, &[list, 1])
        .copy_result_to(request + 72 + 16);
    code = also(code)
        .store(request + 64, data)
        .store(request + 72, 8)
        .store(request + 80, data + 8)
        .call(number::CHANNEL_SEND, &[list, 2])
        .jump(top);
    code.kernel(b"")
}

/// Snapshot of an echo server that has answered.
pub fn take(target: &Path) {
    take_of(&echo_server(), target);
}

/// The same of this one.
pub fn take_of(kernel: &Kernel, target: &Path) {
    let mut vm = boot(kernel);
    let mut warmup = Buffered::new([b"warm".to_vec()]);
    assert_eq!(vm.run(Some(kernel), &mut warmup).unwrap(), Stop::Ready);
    assert_eq!(warmup.take_responses()[8..], *b"warm");
    let description = Description {
        sentry: kernel.build_id(),
        command: vec!["echo".into()],
    };
    let waiting = vm.waiting().unwrap();
    let (waiting, _) = waiting.snapshot(target, &description).unwrap();
    // The guest goes on unharmed.
    let mut vm = waiting.go_on();
    let mut more = Buffered::new([b"more".to_vec()]);
    assert_eq!(vm.run(Some(kernel), &mut more).unwrap(), Stop::Ready);
    assert_eq!(more.take_responses()[8..], *b"more");
}
