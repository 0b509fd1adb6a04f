//! Tiny hand-assembled guests on the real `/dev/kvm`: they ring the doorbell instead of booting a
//! sentry. Only plain `mov`, `out` and jumps, which every KVM executes in ring 0.

use std::time::{Duration, Instant};

use sprout_abi::hypercall::{number, stream, wait_flags};
use sprout_abi::layout::{DOORBELL_PORT, HYPERCALL_PAGE_GPA, KERNEL_BASE, KERNEL_GPA};
use sprout_vmm::backend::Stream;
use sprout_vmm::backend::buffered::Buffered;
use sprout_vmm::boot::{BootConfig, Program};
use sprout_vmm::kernel::Kernel;
use sprout_vmm::memory::MIN_RAM;
use sprout_vmm::shell::Shell;
use sprout_vmm::vm::{Stop, Vm, VmError};

/// Machine code under construction. The hypercall page is reached through the direct map.
struct Code(Vec<u8>);

const REQUEST: u64 = 0xffff_8080_0000_0000 + HYPERCALL_PAGE_GPA;
/// Where the message lies in the segment, behind the code.
const MESSAGE_AT: usize = 0x800;

impl Code {
    fn new() -> Self {
        let mut code = Self(Vec::new());
        // mov dx, port
        code.0.extend_from_slice(&[0x66, 0xba]);
        code.0.extend_from_slice(&DOORBELL_PORT.to_le_bytes());
        code
    }

    /// `movabs rbx, address; movabs rax, value; mov [rbx], rax`
    fn store(mut self, address: u64, value: u64) -> Self {
        self.0.extend_from_slice(&[0x48, 0xbb]);
        self.0.extend_from_slice(&address.to_le_bytes());
        self.0.extend_from_slice(&[0x48, 0xb8]);
        self.0.extend_from_slice(&value.to_le_bytes());
        self.0.extend_from_slice(&[0x48, 0x89, 0x03]);
        self
    }

    /// `mov eax, gpa; out dx, eax`
    fn ring(mut self, gpa: u32) -> Self {
        self.0.push(0xb8);
        self.0.extend_from_slice(&gpa.to_le_bytes());
        self.0.push(0xef);
        self
    }

    fn call(self, number: u32, args: &[u64]) -> Self {
        let mut code = self.store(REQUEST, u64::from(number));
        for (index, arg) in args.iter().enumerate() {
            code = code.store(REQUEST + 8 + 8 * index as u64, *arg);
        }
        code.ring(HYPERCALL_PAGE_GPA as u32)
    }

    /// `jmp .`
    fn spin(mut self) -> Self {
        self.0.extend_from_slice(&[0xeb, 0xfe]);
        self
    }

    /// Exits with the low byte of the last request's result as the status.
    fn exit_with_result(mut self) -> Self {
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

    fn kernel(self, message: &[u8]) -> Kernel {
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

fn boot(kernel: &Kernel) -> Vm {
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
        images: vec![],
        program,
        flags: 0,
        hostname: "test".into(),
    };
    Shell::new().unwrap().boot(&config).unwrap()
}

#[test]
fn a_guest_writes_to_the_console_and_exits() {
    let text = b"hello from the guest";
    let message = KERNEL_GPA + MESSAGE_AT as u64;
    let list = HYPERCALL_PAGE_GPA + 64;
    let kernel = Code::new()
        .store(REQUEST + 64, message)
        .store(REQUEST + 72, text.len() as u64)
        .call(number::CONSOLE_WRITE, &[list, 1, stream::STDOUT])
        .exit_with_result()
        .kernel(text);
    let mut backend = Buffered::default();
    let stop = boot(&kernel).run(Some(&kernel), &mut backend).unwrap();
    assert_eq!(
        stop,
        Stop::Exited {
            status: text.len() as u8,
            signal: 0
        }
    );
    assert_eq!(backend.take_console(), [(Stream::Stdout, text.to_vec())]);
}

#[test]
fn a_wait_lasts_until_its_deadline() {
    let deadline = 60_000_000;
    let kernel = Code::new()
        .call(number::WAIT, &[deadline, 0, 0])
        .exit_with_result()
        .kernel(b"");
    let start = Instant::now();
    let mut vm = boot(&kernel);
    let stop = vm.run(Some(&kernel), &mut Buffered::default()).unwrap();
    assert_eq!(
        stop,
        Stop::Exited {
            status: 1,
            signal: 0
        },
        "the TIMER event"
    );
    assert!(
        start.elapsed() >= Duration::from_millis(59),
        "{:?}",
        start.elapsed()
    );
    let exits = vm
        .counters()
        .into_iter()
        .find(|(name, _)| name == "kvm.exits")
        .unwrap()
        .1;
    assert!(exits < 100, "an idle guest is not kicked: {exits} exits");
}

#[test]
fn a_ready_guest_stops_and_goes_on_with_a_request() {
    let args = [u64::MAX, wait_flags::READY, 2];
    let kernel = Code::new()
        .call(number::WAIT, &args)
        .exit_with_result()
        .kernel(b"");
    let mut vm = boot(&kernel);
    assert_eq!(
        vm.run(Some(&kernel), &mut Buffered::default()).unwrap(),
        Stop::Ready
    );
    let mut backend = Buffered::new([b"request".to_vec()]).with_first_request();
    let stop = vm.run(Some(&kernel), &mut backend).unwrap();
    assert_eq!(
        stop,
        Stop::Exited {
            status: 2,
            signal: 0
        },
        "the REQUEST event"
    );
}

#[test]
fn a_busy_guest_in_the_kernel_half_is_told_to_look() {
    // Spins until the shared page's preempt_pending is set, then exits with it.
    let pending = 0xffff_8080_0000_2004u64;
    let mut code = Code::new().store(0xffff_8080_0000_2000, 1);
    // movabs rbx, pending; loop: mov eax, [rbx]; test eax, eax; jz loop
    code.0.extend_from_slice(&[0x48, 0xbb]);
    code.0.extend_from_slice(&pending.to_le_bytes());
    code.0
        .extend_from_slice(&[0x8b, 0x03, 0x85, 0xc0, 0x74, 0xfa]);
    let kernel = code.call(number::EXIT, &[5, 0]).kernel(b"");
    let stop = boot(&kernel)
        .run(Some(&kernel), &mut Buffered::default())
        .unwrap();
    assert_eq!(
        stop,
        Stop::Exited {
            status: 5,
            signal: 0
        }
    );
}

#[test]
fn a_bad_doorbell_names_the_reason_and_the_registers() {
    for (gpa, reason) in [(0x1000, "bad request address"), (0x20_0001, "misaligned")] {
        let kernel = Code::new().ring(gpa).spin().kernel(b"");
        let error = boot(&kernel)
            .run(Some(&kernel), &mut Buffered::default())
            .unwrap_err();
        assert!(matches!(error, VmError::Stopped { .. }));
        let text = error.to_string();
        assert!(
            text.contains(reason) && text.contains("rip 0xffffffff8020"),
            "{text}"
        );
    }
}

#[test]
fn a_crash_is_reported_with_registers() {
    let mut code = Code::new();
    code.0.extend_from_slice(&[0x0f, 0x0b]); // ud2 without an IDT
    let kernel = code.kernel(b"");
    let error = boot(&kernel)
        .run(Some(&kernel), &mut Buffered::default())
        .unwrap_err();
    assert!(error.to_string().contains("triple fault"), "{error}");
}

#[test]
fn a_panic_carries_the_sentrys_message() {
    let text = b"the sky is falling";
    let message = KERNEL_GPA + MESSAGE_AT as u64;
    let kernel = Code::new()
        .store(REQUEST + 64, KERNEL_BASE + KERNEL_GPA)
        .call(
            number::PANIC,
            &[message, text.len() as u64, HYPERCALL_PAGE_GPA + 64, 1],
        )
        .kernel(text);
    let stop = boot(&kernel)
        .run(Some(&kernel), &mut Buffered::default())
        .unwrap();
    let Stop::Panicked(report) = stop else {
        panic!("{stop:?}")
    };
    assert!(report.contains("the sky is falling"), "{report}");
    assert!(report.contains("0: 0xffffffff80200000"), "{report}");
}
