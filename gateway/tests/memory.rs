//! The gateway's memory under workers that send as much as they can of what is worth least, and
//! clients that take none of it. Alone in its process, whose memory is measured.

mod support;

use std::io::{Read, Write};
use std::time::Duration;

use support::{Server, fake};

/// What all of it may cost: sixteen requests of some 4 MiB, see docs/gateway.md.
const MOST: u64 = 64 << 20;

/// The worker processes run this "test"; the real run of it does nothing.
#[test]
fn fake_worker() {
    if std::env::var_os(fake::ENVIRONMENT).is_some() {
        fake::run();
    }
}

fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let text = line.expect("VmHWM").trim().trim_end_matches(" kB");
    text.parse::<u64>().expect("a number") << 10
}

#[test]
fn what_workers_send_costs_little_more_than_its_bytes() {
    if std::env::var_os(fake::ENVIRONMENT).is_some() {
        return;
    }
    let server = Server::start(|config| (config.workers, config.max_workers) = (4, 16));
    assert_eq!(server.get("/f/hello").status, 200);
    let before = peak();
    for path in [
        "empty-frames",
        "crumbs",
        "flood",
        "pieces",
        "newlines",
        "long-message",
        "fields",
    ] {
        let clients: Vec<_> = (0..16)
            .map(|_| {
                let mut socket = server.socket();
                let request = format!("GET /f/hello/huge-{path} HTTP/1.1\r\nhost: a\r\n\r\n");
                socket.write_all(request.as_bytes()).expect("request");
                socket
            })
            .collect();
        // Long enough for all that is taken of them to have been taken.
        std::thread::sleep(Duration::from_millis(1200));
        for mut socket in clients {
            let timeout = Some(Duration::from_secs(20));
            socket.set_read_timeout(timeout).expect("timeout");
            // The beginning of an answer; the rest is left to wait.
            let mut begin = [0; 12];
            socket.read_exact(&mut begin).expect("an answer begins");
            let expected = match path {
                "fields" => b"HTTP/1.1 502",
                _ => b"HTTP/1.1 200",
            };
            assert_eq!(&begin, expected, "{path}");
        }
        println!(
            "{path}: {} KiB at most, {} before",
            peak() >> 10,
            before >> 10
        );
    }
    assert!(peak() - before < MOST, "{} bytes, {before} before", peak());
}
