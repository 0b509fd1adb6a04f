//! Tiny hand-assembled guests on the real `/dev/kvm`: they ring the doorbell instead of booting a
//! sentry.

mod support;

use std::mem::offset_of;
use std::time::{Duration, Instant};

use sprout_abi::boot::{SharedCpu, SharedPage};
use sprout_abi::hypercall::{number, stream, wait_flags};
use sprout_abi::layout::{
    DIRECT_MAP_BASE, HYPERCALL_PAGE_GPA, KERNEL_BASE, KERNEL_GPA, PAGE_TABLES_GPA, SHARED_PAGE_GPA,
    hypercall_slot_gpa,
};
use sprout_vmm::backend::Stream;
use sprout_vmm::backend::buffered::Buffered;
use sprout_vmm::vm::{Stop, VmError};
use support::{Code, MESSAGE_AT, REQUEST, boot, boot_with};

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
    let own = DIRECT_MAP_BASE + SHARED_PAGE_GPA + offset_of!(SharedPage, cpus) as u64;
    let pending = own + offset_of!(SharedCpu, preempt_pending) as u64;
    let mut code = Code::new().store(own + offset_of!(SharedCpu, preempt_wanted) as u64, 1);
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
        .store(REQUEST + 64, KERNEL_BASE + KERNEL_GPA + 1)
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

/// What vCPU 1 does: `code` starts there, and at `.1`.
fn second(code: Code) -> (Code, u64) {
    // The first vCPU is the one that comes by from above.
    code.spin().entry()
}

#[test]
fn a_second_vcpu_ends_the_run_of_one_that_never_leaves() {
    let slot = hypercall_slot_gpa(1);
    // The entry lies behind the code that needs its address: that has the same length for any.
    let build = |entry| second(Code::new().call(number::START_CPU, &[1, entry, PAGE_TABLES_GPA]));
    let (code, _) = build(build(0).1);
    let kernel = code
        .store(DIRECT_MAP_BASE + slot, number::EXIT.into())
        .store(DIRECT_MAP_BASE + slot + 8, 9)
        .ring(slot as u32)
        .kernel(b"");
    let stop = boot_with(&kernel, 2)
        .run(Some(&kernel), &mut Buffered::default())
        .unwrap();
    let exited = Stop::Exited {
        status: 9,
        signal: 0,
    };
    assert_eq!(stop, exited);
}

#[test]
fn a_vcpu_that_runs_or_is_not_there_is_not_started() {
    for cpu in [0, 1, 2, 16, 1 << 32, u64::MAX] {
        let kernel = Code::new()
            .call(number::START_CPU, &[cpu, 0, 0])
            .exit_with_result()
            .kernel(b"");
        let stop = boot(&kernel)
            .run(Some(&kernel), &mut Buffered::default())
            .unwrap();
        let refused = Stop::Exited {
            status: (-22i8).cast_unsigned(),
            signal: 0,
        };
        assert_eq!(stop, refused, "vCPU {cpu}");
    }
}

#[test]
fn a_vcpu_started_nowhere_is_an_error() {
    for (entry, root) in [
        (0, PAGE_TABLES_GPA),
        (KERNEL_BASE, 0),
        (1 << 63, u64::MAX),
        (u64::MAX, 1 << 51),
    ] {
        let kernel = Code::new()
            .call(number::START_CPU, &[1, entry, root])
            .spin()
            .kernel(b"");
        let error = boot_with(&kernel, 2)
            .run(Some(&kernel), &mut Buffered::default())
            .unwrap_err();
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn vcpus_that_all_wait_for_each_other_are_an_error() {
    let kernel = Code::new()
        .call(number::WAIT, &[u64::MAX, wait_flags::PARK])
        .kernel(b"");
    let error = boot(&kernel)
        .run(Some(&kernel), &mut Buffered::default())
        .unwrap_err();
    let text = error.to_string();
    assert!(text.contains("every vCPU waits for another one"), "{text}");
}

#[test]
fn a_kick_ends_the_wait_of_an_idle_vcpu() {
    let slot = hypercall_slot_gpa(1);
    let shared = DIRECT_MAP_BASE + SHARED_PAGE_GPA;
    let kick = shared + (offset_of!(SharedPage, cpus) + offset_of!(SharedCpu, kick)) as u64;
    let timer = shared + offset_of!(SharedPage, next_timer_ns) as u64;
    // The first vCPU waits for ever and exits with what the wait gave: nothing.
    let build = |entry| {
        let code = Code::new()
            .store(timer, u64::MAX)
            .call(number::START_CPU, &[1, entry, PAGE_TABLES_GPA])
            .call(number::WAIT, &[u64::MAX, 0, 0])
            .exit_with_result();
        second(code)
    };
    let (code, _) = build(build(0).1);
    let kernel = code
        .store(kick, 1)
        .store(DIRECT_MAP_BASE + slot, number::KICK.into())
        .store(DIRECT_MAP_BASE + slot + 8, 1)
        .ring(slot as u32)
        .spin()
        .kernel(b"");
    let stop = boot_with(&kernel, 2)
        .run(Some(&kernel), &mut Buffered::default())
        .unwrap();
    let exited = Stop::Exited {
        status: 0,
        signal: 0,
    };
    assert_eq!(stop, exited);
}

/// Collects what is written to it.
#[derive(Clone, Default)]
struct Kept(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut kept = self.0.lock().map_err(|_| std::io::ErrorKind::Other)?;
        kept.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_kernel_that_only_has_a_serial_port_is_heard() {
    let text = b"before the doorbell\n";
    let mut code = Code::new();
    // mov dx, 0x3fd; in al, dx; test al, 0x20; jz: once for each byte, as drivers wait for room.
    for byte in text {
        code.0.extend_from_slice(&[0x66, 0xba, 0xfd, 0x03]);
        code.0.extend_from_slice(&[0xec, 0xa8, 0x20, 0x74, 0xfb]);
        // mov dx, 0x3f8; mov al, byte; out dx, al
        code.0
            .extend_from_slice(&[0x66, 0xba, 0xf8, 0x03, 0xb0, *byte, 0xee]);
    }
    // ud2 without an IDT
    code.0.extend_from_slice(&[0x0f, 0x0b]);
    let kernel = code.kernel(b"");
    let kept = Kept::default();
    let mut vm = boot(&kernel);
    vm.attach_serial(Box::new(kept.clone()));
    let error = vm.run(Some(&kernel), &mut Buffered::default());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("triple fault"), "{error}");
    assert_eq!(*kept.0.lock().unwrap(), text);

    // Without one it is what any other port is.
    let error = boot(&kernel).run(Some(&kernel), &mut Buffered::default());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("input from port 0x3fd"), "{error}");
}
