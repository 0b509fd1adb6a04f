//! Snapshots with a hand-assembled guest: an echo server that waits for requests.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::fs;
use std::path::Path;

use sprout_abi::ABI_VERSION;
use sprout_abi::hypercall::event;
use sprout_abi::layout::RESTORE_INFO_GPA;
use sprout_vmm::backend::buffered::Buffered;
use sprout_vmm::snapshot::manifest::FORMAT_VERSION;
use sprout_vmm::snapshot::working_set::touched_pages;
use sprout_vmm::snapshot::write::{Description, Rehearsal};
use sprout_vmm::snapshot::{MANIFEST_FILE, MEMORY_FILE, STATE_FILE, Snapshot};
use sprout_vmm::vm::shell::Shell;
use sprout_vmm::vm::{Stop, VmError, Waiting};
use support::{boot, echo_server, take};
use vm_memory::{Bytes, GuestAddress};

const REHEARSAL: Rehearsal<'static> = Rehearsal {
    request: b"rehearsal",
    first: |_, request| Ok(request.to_vec()),
};

fn restore(snapshot: &Snapshot) -> Waiting {
    Shell::new().unwrap().prepare(snapshot).unwrap()
}

fn refusal(directory: &Path) -> String {
    let error = Snapshot::open(directory)
        .map_err(VmError::from)
        .and_then(|snapshot| {
            snapshot.verify()?;
            Shell::new()?.prepare(&snapshot).map(|_| ())
        });
    error.unwrap_err().to_string()
}

#[test]
fn clones_answer_on_their_own_and_never_look_alike() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("seed");
    take(&target);
    let snapshot = Snapshot::open(&target).unwrap();
    snapshot.verify().unwrap();
    let mut secrets = Vec::new();
    for text in ["first", "second"] {
        let (mut vm, instance) = restore(&snapshot).resume(0).unwrap();
        assert_eq!(instance.generation, 1);
        let entropy: [u64; 8] = vm
            .memory()
            .ram()
            .read_obj(GuestAddress(RESTORE_INFO_GPA + 24))
            .unwrap();
        secrets.push((instance.id, entropy));
        let mut backend = Buffered::new([text.into()]).with_first_request();
        assert_eq!(vm.run(None, &mut backend).unwrap(), Stop::Ready);
        let response = backend.take_responses();
        assert_eq!(
            response[..8],
            (event::RESTORED | event::REQUEST).to_le_bytes()
        );
        assert_eq!(response[8..], *text.as_bytes());
    }
    assert_ne!(secrets[0].0, secrets[1].0);
    assert_ne!(secrets[0].1, secrets[1].1);
    // What the clones wrote is not in the snapshot.
    snapshot.verify().unwrap();
    assert_eq!(
        fs::read_dir(root.path()).unwrap().count(),
        1,
        "nothing else is left behind"
    );
}

#[test]
fn a_rehearsal_finds_the_working_set() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("seed");
    let kernel = echo_server();
    let mut vm = boot(&kernel);
    assert_eq!(
        vm.run(Some(&kernel), &mut Buffered::default()).unwrap(),
        Stop::Ready
    );
    let description = Description {
        sentry: kernel.build_id(),
        command: vec![],
    };
    let waiting = vm.waiting().unwrap();
    waiting
        .snapshot_rehearsed(&target, &description, REHEARSAL)
        .unwrap();
    let snapshot = Snapshot::open(&target).unwrap();
    snapshot.verify().unwrap();
    let set = snapshot.working_set();
    let has = |page| set.runs().any(|(run, _)| run.contains(&page));
    // The hypercall page, the restore information, the code, and the echo's buffer.
    for page in [3, 4, 0x200, 0x204] {
        assert!(has(page), "{page:#x} of {set:x?}");
    }
    assert!(!has(0x300), "{set:x?}");
    let vm = restore(&snapshot);
    let memory = vm.memory();
    let present = touched_pages(memory.ram_host_address(), memory.ram_size())
        .unwrap()
        .all;
    for (run, _) in set.runs() {
        assert!(
            present
                .iter()
                .any(|other| other.start <= run.start && run.end <= other.end)
        );
    }
}

#[test]
fn guest_time_goes_on_where_it_stopped() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("seed");
    take(&target);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let waiting = restore(&Snapshot::open(&target).unwrap());
    let (vm, _) = waiting.resume(0).unwrap();
    let monotonic: u64 = vm
        .memory()
        .ram()
        .read_obj(GuestAddress(RESTORE_INFO_GPA + 24 + 64 + 24))
        .unwrap();
    assert!(monotonic > 0 && monotonic < 250_000_000, "{monotonic}");
}

#[test]
fn damage_and_foreign_snapshots_are_refused_with_the_reason() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("seed");
    let edit = |from: &str, to: &str| {
        let path = target.join(MANIFEST_FILE);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        fs::write(&path, text.replace(from, to)).unwrap();
    };
    assert!(refusal(&target).contains("there is no snapshot"));

    take(&target);
    fs::OpenOptions::new()
        .write(true)
        .open(target.join(MEMORY_FILE))
        .unwrap()
        .set_len(99)
        .unwrap();
    assert!(refusal(&target).contains("memory has 99 bytes"));

    take(&target);
    let memory = fs::OpenOptions::new()
        .write(true)
        .open(target.join(MEMORY_FILE))
        .unwrap();
    std::os::unix::fs::FileExt::write_all_at(&memory, b"x", 0x20_0000).unwrap();
    assert!(refusal(&target).contains("does not match its digest"));

    take(&target);
    fs::write(target.join(STATE_FILE), b"garbage").unwrap();
    assert!(refusal(&target).contains("state.bin"));

    take(&target);
    edit(&format!("\"abi\": {ABI_VERSION}"), "\"abi\": 999");
    assert!(refusal(&target).contains("ABI version 999"));

    take(&target);
    edit(&format!("\"format\": {FORMAT_VERSION}"), "\"format\": 7");
    assert!(refusal(&target).contains("format version 7"));

    take(&target);
    let text = fs::read_to_string(target.join(MANIFEST_FILE)).unwrap();
    let other = if text.contains("\"ring3\"") {
        ("ring3", "hardware")
    } else {
        ("hardware", "ring3")
    };
    edit(&format!("\"{}\"", other.0), &format!("\"{}\"", other.1));
    assert!(refusal(&target).contains("it was made in"));

    take(&target);
    edit("\"1:edx\": ", "\"2:edx\": ");
    assert!(refusal(&target).contains("CPUID 2:edx"));

    take(&target);
    edit("{", "[");
    assert!(refusal(&target).contains("manifest.json"));
}

#[test]
fn a_guest_that_is_not_ready_gives_no_snapshot() {
    let root = tempfile::tempdir().unwrap();
    let vm = boot(&echo_server());
    let description = Description {
        sentry: String::new(),
        command: vec![],
    };
    let taken = vm.waiting().map_err(VmError::from).and_then(|waiting| {
        let target = root.path().join("seed");
        waiting.snapshot(&target, &description)
    });
    let error = taken.unwrap_err();
    assert!(error.to_string().contains("does not wait"), "{error}");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn an_unwritable_place_is_an_error_and_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let parent = root.path().join("file");
    fs::write(&parent, b"").unwrap();
    let kernel = echo_server();
    let mut vm = boot(&kernel);
    assert_eq!(
        vm.run(Some(&kernel), &mut Buffered::default()).unwrap(),
        Stop::Ready
    );
    let description = Description {
        sentry: String::new(),
        command: vec![],
    };
    let waiting = vm.waiting().unwrap();
    let error = waiting
        .snapshot(&parent.join("seed"), &description)
        .unwrap_err()
        .to_string();
    assert!(error.contains("cannot create"), "{error}");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
}
