//! Workers with a hand-assembled guest: an echo server that waits for requests.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../../tests/support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use sprout_protocol::{
    self as protocol, Assign, Done, FromWorker, Instances, Outcome, Required, Seed, ToWorker,
};
use sprout_worker::{self as worker, Jail};
use support::take;

#[test]
fn a_worker_serves_one_request() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("seed");
    take(&target);
    for prepare in [false, true] {
        let (gateway, theirs) = UnixStream::pair().unwrap();
        let worker = std::thread::spawn(move || worker::serve(&theirs, Jail::Open));
        assert_eq!(
            protocol::receive::<FromWorker>(&gateway).unwrap(),
            FromWorker::Ready
        );
        let seed = Seed {
            snapshot_dir: target.clone(),
            required_isolation: Required::Shared,
            instances: Instances::Fresh,
        };
        if prepare {
            protocol::send(&gateway, &ToWorker::Prepare(seed.clone())).unwrap();
        }
        let request = b"the request";
        let assign = Assign {
            seed,
            request_length: request.len() as u64,
            strace: false,
            stats: true,
        };
        protocol::send(&gateway, &ToWorker::Assign(assign)).unwrap();
        (&gateway).write_all(request).unwrap();
        let mut response = Vec::new();
        let done = loop {
            match protocol::receive::<FromWorker>(&gateway).unwrap() {
                FromWorker::Response { length } => {
                    let end = response.len() + usize::try_from(length).unwrap();
                    (&gateway).take(length).read_to_end(&mut response).unwrap();
                    assert_eq!(response.len(), end);
                }
                FromWorker::Done(done) => break done,
                other => panic!("{other:?}"),
            }
        };
        // The notice of the restore comes first, then the request.
        assert!(response.ends_with(b"the request"), "{response:?}");
        assert!(response.windows(11).any(|part| part == b"instance_id"));
        assert_eq!(done.outcome, Outcome::Answered);
        assert!(done.timings.create > 0 && done.timings.restore > 0);
        assert!(done.timings.first_byte > 0 && done.timings.last_byte > 0);
        assert!(done.counters.iter().any(|(name, _)| name == "kvm.exits"));
        println!("{:?}", done.timings);
        worker.join().unwrap().unwrap();
    }
}

/// Has the worker answer a request: its response, and how it went.
fn ask(gateway: &UnixStream, seed: &Seed, request: &[u8]) -> (Vec<u8>, Done) {
    let assign = Assign {
        seed: seed.clone(),
        request_length: request.len() as u64,
        strace: false,
        stats: false,
    };
    protocol::send(gateway, &ToWorker::Assign(assign)).unwrap();
    let (mut writer, mut response) = (gateway, Vec::new());
    writer.write_all(request).unwrap();
    loop {
        match protocol::receive::<FromWorker>(gateway).unwrap() {
            FromWorker::Response { length } => {
                gateway.take(length).read_to_end(&mut response).unwrap();
            }
            FromWorker::Done(done) => return (response, done),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_rewound_worker_serves_one_request_after_the_other_of_one_seed() {
    let root = tempfile::tempdir().unwrap();
    let [target, other] = ["seed", "other"].map(|name| root.path().join(name));
    take(&target);
    take(&other);
    let (gateway, theirs) = UnixStream::pair().unwrap();
    let worker = std::thread::spawn(move || worker::serve(&theirs, Jail::Open));
    let first = protocol::receive::<FromWorker>(&gateway).unwrap();
    assert_eq!(first, FromWorker::Ready);
    let seed = Seed {
        snapshot_dir: target,
        required_isolation: Required::Shared,
        instances: Instances::RewindChecked,
    };
    protocol::send(&gateway, &ToWorker::Prepare(seed.clone())).unwrap();
    for request in ["one", "two", "three"] {
        let (response, done) = ask(&gateway, &seed, request.as_bytes());
        assert!(response.ends_with(request.as_bytes()), "{response:?}");
        assert_eq!(done.outcome, Outcome::Answered);
        assert_eq!(done.timings.create > 0, request == "one");
        let rewound = protocol::receive::<FromWorker>(&gateway).unwrap();
        let FromWorker::Rewound { copied, .. } = rewound else {
            panic!("{rewound:?}")
        };
        assert!(copied > 0);
    }
    // What has been one function is never another one.
    let seed = Seed {
        snapshot_dir: other,
        ..seed
    };
    let (response, done) = ask(&gateway, &seed, b"four");
    assert_eq!(response, b"");
    let Outcome::Failed { error } = done.outcome else {
        panic!("{done:?}")
    };
    assert!(error.contains("another function"), "{error}");
    worker.join().unwrap().unwrap();
}

#[test]
fn a_worker_reports_a_seed_it_can_not_use() {
    let (gateway, theirs) = UnixStream::pair().unwrap();
    let worker = std::thread::spawn(move || worker::serve(&theirs, Jail::Open));
    assert_eq!(
        protocol::receive::<FromWorker>(&gateway).unwrap(),
        FromWorker::Ready
    );
    let seed = Seed {
        snapshot_dir: "/no/such/seed".into(),
        required_isolation: Required::Shared,
        instances: Instances::Fresh,
    };
    let assign = Assign {
        seed,
        request_length: 0,
        strace: false,
        stats: false,
    };
    protocol::send(&gateway, &ToWorker::Assign(assign)).unwrap();
    let FromWorker::Done(Done {
        outcome: Outcome::Failed { error },
        ..
    }) = protocol::receive(&gateway).unwrap()
    else {
        panic!("not Done");
    };
    assert!(error.contains("/no/such/seed"), "{error}");
    worker.join().unwrap().unwrap();
}
