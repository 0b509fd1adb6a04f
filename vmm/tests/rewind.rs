//! Rewinding hand-assembled guests, everything compared with the seed each time.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use sprout_abi::hypercall::number;
use sprout_abi::layout::{
    BOOT_BLOB_GPA, BOOT_INFO_GPA, HUGE_PAGE_SIZE, HYPERCALL_PAGE_GPA, KERNEL_GPA, PAGE_TABLES_GPA,
    RESTORE_INFO_GPA, SHARED_PAGE_GPA,
};
use sprout_vmm::backend::buffered::Buffered;
use sprout_vmm::boot::kernel::Kernel;
use sprout_vmm::host::isolation::PrivilegeMode;
use sprout_vmm::snapshot::Snapshot;
use sprout_vmm::snapshot::rewind::{GiveUp, Rewinder, Rewound};
use sprout_vmm::vm::shell::Shell;
use sprout_vmm::vm::{Stop, Vm, Waiting};
use support::{Code, DIRECT, EVENTS, REQUEST, echo_server, echo_server_that, take_of};
use vm_memory::{Bytes, GuestAddress};

/// A guest of this kernel that waits to be an instance again and again.
fn seed_of(kernel: &Kernel) -> (Waiting, Rewinder, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("seed");
    take_of(kernel, &target);
    let snapshot = Snapshot::open(&target).unwrap();
    let (vm, rewinder) = Shell::new()
        .unwrap()
        .prepare_to_rewind(snapshot, true)
        .unwrap();
    (vm, rewinder, root)
}

/// Has it answer: its echo, without the events before it.
fn ask(waiting: Waiting, request: &str) -> (Vm, String) {
    let (mut vm, _) = waiting.resume(0).unwrap();
    let mut backend = Buffered::new([request.into()]).with_first_request();
    assert_eq!(vm.run(None, &mut backend).unwrap(), Stop::Ready);
    let answer = String::from_utf8(backend.take_responses().split_off(8)).unwrap();
    (vm, answer)
}

/// Several answers of the same VM, and what the rewinds in between did.
fn answers(kernel: &Kernel) -> Vec<Rewound> {
    let (mut waiting, rewinder, _root) = seed_of(kernel);
    let mut rewinds = Vec::new();
    for request in ["first.", "second", "third."] {
        let (vm, answer) = ask(waiting, request);
        assert_eq!(answer, request);
        let rewound;
        (waiting, rewound) = rewinder.rewind(vm).unwrap();
        rewinds.push(rewound);
    }
    rewinds
}

#[test]
fn a_rewound_guest_is_its_seed_again() {
    let rewinds = answers(&echo_server());
    for rewound in &rewinds {
        assert!(rewound.copied > 0 && rewound.copied <= rewound.compared);
        assert_eq!(rewound.undone, 0);
    }
    // Copies stay, so that their translations do: nothing new is copied later.
    assert_eq!(rewinds[1].compared, rewinds[2].compared);
}

#[test]
fn each_answer_is_an_instance_of_its_own() {
    let (mut waiting, rewinder, _root) = seed_of(&echo_server());
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (mut vm, instance) = waiting.resume(0).unwrap();
        assert_eq!(instance.generation, 1);
        let entropy = GuestAddress(RESTORE_INFO_GPA + 24);
        let entropy: [u64; 8] = vm.memory().ram().read_obj(entropy).unwrap();
        assert!(!seen.contains(&(instance.id, entropy)));
        seen.push((instance.id, entropy));
        let mut backend = Buffered::new([b"hello".to_vec()]).with_first_request();
        assert_eq!(vm.run(None, &mut backend).unwrap(), Stop::Ready);
        (waiting, _) = rewinder.rewind(vm).unwrap();
        let left: [u64; 8] = {
            let entropy = GuestAddress(RESTORE_INFO_GPA + 24);
            waiting.memory().ram().read_obj(entropy).unwrap()
        };
        assert_eq!(left, [0; 8], "the seed has none, and it is the seed");
        assert!(waiting.guest_time().as_secs() < 5);
    }
}

#[test]
fn what_a_guest_wrote_anywhere_is_gone() {
    let everywhere = [
        8,
        BOOT_INFO_GPA + 4088,
        SHARED_PAGE_GPA + 4000,
        HYPERCALL_PAGE_GPA + 4088,
        RESTORE_INFO_GPA + 4000,
        BOOT_BLOB_GPA,
        KERNEL_GPA + 0x8000,
        4 * HUGE_PAGE_SIZE,
        8 * HUGE_PAGE_SIZE - 8,
    ];
    let kernel = echo_server_that(|code| {
        let write = |code: Code, gpa: &u64| code.copy_result_to(DIRECT + gpa);
        everywhere.iter().fold(code, write)
    });
    let (waiting, rewinder, _root) = seed_of(&kernel);
    let read = |vm: &Vm| everywhere.map(|gpa| vm.memory().ram().read_obj(GuestAddress(gpa)));
    let before = read(&waiting).map(Result::<u64, _>::unwrap);
    let (vm, _) = ask(waiting, "second");
    assert_eq!(read(&vm).map(Result::<u64, _>::unwrap), [6; 9]);
    let (waiting, _) = rewinder.rewind(vm).unwrap();
    assert_eq!(read(&waiting).map(Result::<u64, _>::unwrap), before);
}

#[test]
fn model_specific_registers_are_put_back() {
    // mov ecx, KERNEL_GS_BASE; mov eax, [result]; mov edx, 0; wrmsr
    let kernel = echo_server_that(|mut code| {
        code.0.extend_from_slice(&[0x48, 0xbb]);
        code.0.extend_from_slice(&(REQUEST + 56).to_le_bytes());
        code.0
            .extend_from_slice(&[0x8b, 0x03, 0xb9, 0x02, 0x01, 0, 0xc0]);
        // The doorbell's port is kept in edx.
        code.0
            .extend_from_slice(&[0x89, 0xd6, 0x31, 0xd2, 0x0f, 0x30, 0x89, 0xf2]);
        code
    });
    answers(&kernel);
}

#[test]
fn memory_given_back_or_made_ready_is_the_seed_s_again() {
    for call in [number::GIVE_BACK, number::POPULATE] {
        let block = 3 * HUGE_PAGE_SIZE;
        let list = HYPERCALL_PAGE_GPA + 96;
        let kernel = echo_server_that(|code| {
            code.store(DIRECT + list, block)
                .store(DIRECT + list + 8, HUGE_PAGE_SIZE)
                .call(call, &[list, 1])
                .store(DIRECT + block + 16, 77)
        });
        answers(&kernel);
    }
}

#[test]
fn a_guest_that_changes_the_sentry_s_tables_is_given_up() {
    let kernel = echo_server_that(|code| code.copy_result_to(DIRECT + PAGE_TABLES_GPA + 8 * 300));
    let (waiting, rewinder, _root) = seed_of(&kernel);
    let (vm, _) = ask(waiting, "second");
    match (vm.privilege_mode(), rewinder.rewind(vm)) {
        // KVM keeps no shadow of them.
        (PrivilegeMode::Hardware, rewound) => assert_eq!(rewound.unwrap().1.undone, 0),
        (_, Err(GiveUp::SentryTables)) => {}
        (mode, other) => panic!("{mode}: {other:?}"),
    }
}

#[test]
fn a_guest_that_does_not_undo_its_tables_is_given_up() {
    // This one changes them once more instead.
    let kernel = echo_server_that(|code| code.copy(EVENTS, DIRECT + PAGE_TABLES_GPA + 8 * 5));
    if Shell::new().unwrap().expected_mode(false) == PrivilegeMode::Hardware {
        answers(&kernel);
        return;
    }
    let (waiting, rewinder, _root) = seed_of(&kernel);
    let (vm, _) = ask(waiting, "second");
    let error = rewinder.rewind(vm).unwrap_err();
    assert!(matches!(error, GiveUp::NotUndone), "{error}");
}
