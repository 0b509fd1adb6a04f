//! Tiny hand-assembled guests on the real `/dev/kvm`: they ring the doorbell instead of booting a
//! sentry.

mod common;

use std::time::{Duration, Instant};

use common::{Code, MESSAGE_AT, REQUEST, boot};
use sprout_abi::hypercall::{number, stream, wait_flags};
use sprout_abi::layout::{HYPERCALL_PAGE_GPA, KERNEL_BASE, KERNEL_GPA};
use sprout_vmm::backend::Stream;
use sprout_vmm::backend::buffered::Buffered;
use sprout_vmm::vm::{Stop, VmError};

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
