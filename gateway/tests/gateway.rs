//! The gateway as a client sees it, with a worker that speaks the real protocol but runs no VM: this
//! test binary, started again as `fake_worker`.

mod support;

use std::time::{Duration, Instant};

use sprout_protocol::Instances;
use support::{Server, fake, wait_until};

/// The worker processes run this "test"; the real run of it does nothing.
#[test]
fn fake_worker() {
    if std::env::var_os(fake::ENVIRONMENT).is_some() {
        fake::run();
    }
}

#[test]
fn a_request_reaches_the_function_and_its_response_the_client() {
    let server = Server::start(|_| {});
    let answer = server.request("PUT /f/hello/a/b?c=d", "x-in: 1\r\n", b"body");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.text(), "PUT http://test/a/b?c=d body");
    assert_eq!(answer.header("x-in"), Some("1"));
    assert_eq!(answer.header("content-length"), Some("28"));
    let id = answer
        .header("x-request-id")
        .expect("request id")
        .to_owned();
    assert_eq!(answer.header("x-seen-id"), Some(id.as_str()));
    assert_eq!(server.get("/f/hello").text(), "GET http://test/ ");
}

#[test]
fn each_request_gets_a_worker_of_its_own() {
    let server = Server::start(|config| config.workers = 2);
    let mut pids: Vec<String> = (0..6).map(|_| server.get("/f/hello/pid").text()).collect();
    pids.sort();
    pids.dedup();
    assert_eq!(pids.len(), 6);
}

#[test]
fn unknown_functions_and_paths_are_404() {
    let server = Server::start(|_| {});
    for path in [
        "/",
        "/f",
        "/f/",
        "/f/nobody",
        "/f/..%2fhello",
        "/f/hello%00",
        "/f/HELLO",
    ] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
}

#[test]
fn a_function_that_throws_is_500_and_tells_the_client_nothing() {
    let server = Server::start(|_| {});
    let answer = server.get("/f/hello/fail");
    assert_eq!(answer.status, 500);
    assert_eq!(answer.text(), "the function failed\n");
    assert!(server.metric(r#"sprout_failures_total{function="hello",reason="function"} 1"#));
}

#[test]
fn a_worker_that_ends_panics_or_talks_nonsense_is_502() {
    let server = Server::start(|_| {});
    let paths = [
        "crash",
        "exit",
        "panic",
        "unanswered",
        "garbage",
        "noise",
        "bad-header",
    ];
    for path in paths {
        assert_eq!(
            server.get(&format!("/f/hello/{path}")).status,
            502,
            "{path}"
        );
    }
    assert_eq!(server.get("/f/hello").status, 200);
}

#[test]
fn a_response_that_breaks_off_is_incomplete_for_the_client() {
    let server = Server::start(|_| {});
    let answer = server.get("/f/hello/crash-inside");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    assert!(!answer.complete);
}

#[test]
fn a_streamed_response_arrives_whole() {
    let server = Server::start(|_| {});
    let answer = server.get("/f/hello/stream");
    assert_eq!((answer.status, answer.complete), (200, true));
    assert_eq!(answer.body.len(), 50 * 10_000);
}

#[test]
fn a_function_that_takes_too_long_is_504_and_its_worker_is_killed() {
    let server = Server::start(|config| config.timeout = Duration::from_millis(400));
    let start = Instant::now();
    let answer = server.get("/f/hello/hang");
    assert_eq!(answer.status, 504);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(server.metric(r#"reason="timeout"} 1"#));
    wait_until("the hanging worker is gone", || server.busy_workers() == 0);
}

#[test]
fn a_client_that_leaves_takes_its_worker_with_it() {
    let server = Server::start(|_| {});
    let connection = server.send("GET /f/hello/hang", "", b"");
    wait_until("a worker is busy", || server.busy_workers() == 1);
    drop(connection);
    wait_until("its worker is gone", || server.busy_workers() == 0);
}

#[test]
fn requests_beyond_the_queue_are_503_with_a_hint() {
    let server = Server::start(|config| {
        (config.workers, config.max_workers, config.queue) = (1, 1, 2);
    });
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let connection = server.send("GET /f/hello/hang", "", b"");
            std::thread::sleep(Duration::from_millis(200));
            connection
        })
        .collect();
    let answer = server.get("/f/hello");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("1"));
    drop(waiting);
    wait_until("the queue moves again", || {
        server.get("/f/hello").status == 200
    });
}

#[test]
fn a_request_no_worker_was_ever_free_for_is_503() {
    let server = Server::start(|config| {
        config.worker_command = vec!["/bin/false".into()];
        config.timeout = Duration::from_millis(300);
    });
    assert_eq!(server.get("/f/hello").status, 503);
    assert_eq!(server.get("/healthz").status, 200);
    assert!(server.metric("sprout_worker_start_failures_total"));
}

#[test]
fn a_body_above_the_limit_is_413() {
    let server = Server::start(|config| config.max_request_body = 1000);
    assert_eq!(
        server.request("POST /f/hello", "", &[b'x'; 1000]).status,
        200
    );
    assert_eq!(
        server.request("POST /f/hello", "", &[b'x'; 1001]).status,
        413
    );
    let chunked = "transfer-encoding: chunked\r\n";
    let body = format!("7d0\r\n{}\r\n0\r\n\r\n", "x".repeat(2000));
    assert_eq!(
        server.raw("POST /f/hello", chunked, body.as_bytes()).status,
        413
    );
}

#[test]
fn malformed_http_is_400_and_tunnels_are_405() {
    let server = Server::start(|_| {});
    assert_eq!(server.bytes(b"nonsense\r\n\r\n").status, 400);
    assert_eq!(server.get_as("TRACE", "/f/hello").status, 405);
    assert_eq!(server.get_as("POST", "/healthz").status, 405);
    let head = server.get_as("HEAD", "/f/hello");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn a_worker_that_dies_while_waiting_is_replaced() {
    let server = Server::start(|config| config.workers = 2);
    wait_until("both workers wait", || server.ready_workers() == 2);
    let before = server.worker_pids();
    server.kill(before[0]);
    wait_until("the loss is counted", || {
        server.metric("sprout_workers_lost_total 1")
    });
    wait_until("both workers wait again", || server.ready_workers() == 2);
    assert_eq!(server.get("/f/hello").status, 200);
}

#[test]
fn the_process_workers_are_forked_from_is_replaced_when_it_dies() {
    let server = Server::start(|config| config.workers = 1);
    wait_until("the worker waits", || server.ready_workers() == 1);
    let (nursery, worker) = (server.nursery_pid(), server.worker_pids()[0]);
    server.kill(nursery);
    // Workers are not its children: the one that waits is none the worse.
    assert_eq!(server.get("/f/hello").status, 200);
    wait_until("another worker waits", || server.ready_workers() == 1);
    assert_eq!(server.get("/f/hello").status, 200);
    assert_ne!(server.nursery_pid(), nursery);
    assert!(!server.worker_pids().contains(&worker));
}

#[test]
fn a_request_whose_worker_dies_before_it_reads_it_goes_to_another() {
    let server = Server::start(|config| (config.workers, config.max_workers) = (1, 2));
    wait_until("the worker waits", || server.ready_workers() == 1);
    let worker = server.worker_pids()[0];
    // Stopped, it is given the request and cannot read it.
    server.signal(worker, "STOP");
    let answer = std::thread::scope(|scope| {
        let request = scope.spawn(|| server.get("/f/hello"));
        wait_until("the worker has the request", || {
            server.metric("sprout_workers{state=\"busy\"} 1")
        });
        server.kill(worker);
        request.join().expect("a response")
    });
    assert_eq!(answer.status, 200);
    assert!(server.metric("sprout_workers_lost_total 1"));
}

#[test]
fn workers_prepare_the_functions_that_are_asked_for() {
    let server = Server::start(|config| config.workers = 1);
    assert_eq!(server.get("/f/hello/prepared").text(), "no");
    assert_eq!(server.get("/f/hello/prepared").text(), "yes");
    server.deploy("hello", "hello-2");
    assert_eq!(server.get("/f/hello/prepared").text(), "no");
    assert_eq!(server.get("/f/hello/prepared").text(), "yes");
}

#[test]
fn a_redeployment_takes_effect_with_the_next_request() {
    let server = Server::start(|_| {});
    assert!(
        server
            .get("/f/hello/snapshot")
            .text()
            .ends_with("/snapshots/hello-1")
    );
    server.deploy("hello", "hello-2");
    assert!(
        server
            .get("/f/hello/snapshot")
            .text()
            .ends_with("/snapshots/hello-2")
    );
}

#[test]
fn stopping_lets_requests_finish_and_leaves_no_process() {
    let mut server = Server::start(|_| {});
    wait_until("workers wait", || server.ready_workers() > 0);
    let connection = server.send("GET /f/hello/slow", "", b"");
    wait_until("a worker is busy", || server.busy_workers() == 1);
    let pids = server.worker_pids();
    assert!(pids.len() > 1);
    server.stop();
    assert_eq!(support::read_answer(connection).text(), "slow");
    server.join();
    for pid in pids {
        let process = format!("/proc/{pid}");
        assert!(
            !std::path::Path::new(&process).exists(),
            "worker {pid} is still there"
        );
    }
}

#[test]
fn the_metrics_count_requests_and_split_their_latency() {
    let server = Server::start(|_| {});
    assert_eq!(server.get("/f/hello").status, 200);
    assert_eq!(server.get("/f/nobody").status, 404);
    for line in [
        r#"sprout_requests_total{function="hello",status="200"} 1"#,
        r#"sprout_requests_total{function="",status="404"} 1"#,
        r#"sprout_latency_seconds_count{function="hello",stage="queue"} 1"#,
        r#"sprout_latency_seconds_count{function="hello",stage="create"} 1"#,
        r#"sprout_latency_seconds_count{function="hello",stage="restore"} 1"#,
        r#"sprout_latency_seconds_count{function="hello",stage="run"} 1"#,
        r#"sprout_latency_seconds_count{function="hello",stage="total"} 1"#,
    ] {
        wait_until(line, || server.metric(line));
    }
}

#[test]
fn a_rewound_worker_serves_its_function_again() {
    let server = Server::start(|config| {
        (config.workers, config.max_workers, config.instances) = (1, 2, Instances::Rewind);
    });
    server.deploy("other", "other-1");
    let pid = |path: &str| server.get(path).text();
    let rewound = || {
        wait_until("it is rewound", || {
            server.metric("sprout_workers{state=\"rewound\"} 1")
        });
    };
    let first = pid("/f/hello/pid");
    for _ in 0..3 {
        rewound();
        assert_eq!(pid("/f/hello/pid"), first);
    }
    // Another function has another worker.
    rewound();
    let other = pid("/f/other/pid");
    assert_ne!(other, first);
    wait_until("both are rewound", || {
        server.metric("sprout_workers{state=\"rewound\"} 2")
    });
    assert_eq!(pid("/f/other/pid"), other);
    assert_eq!(pid("/f/hello/pid"), first);
    // One that goes away takes nothing with it.
    wait_until("both are rewound", || {
        server.metric("sprout_workers{state=\"rewound\"} 2")
    });
    server.kill(first.parse().expect("a pid"));
    wait_until("it is missed", || {
        server.metric("sprout_workers_lost_total 1")
    });
    assert_ne!(pid("/f/hello/pid"), first);
}

#[test]
fn a_new_deployment_gets_workers_of_its_own() {
    let server = Server::start(|config| config.instances = Instances::Rewind);
    for snapshot in ["hello-2", "hello-3"] {
        assert_eq!(server.get("/f/hello").status, 200);
        server.deploy("hello", snapshot);
        let seen = server.get("/f/hello/snapshot").text();
        assert!(seen.ends_with(snapshot), "{seen}");
    }
}

#[test]
fn rewound_workers_make_room_for_other_functions() {
    let server = Server::start(|config| {
        (config.workers, config.max_workers, config.instances) = (1, 1, Instances::Rewind);
    });
    server.deploy("other", "other-1");
    for _ in 0..3 {
        assert_eq!(server.get("/f/hello").status, 200);
        assert_eq!(server.get("/f/other").status, 200);
    }
}

#[test]
fn a_worker_that_retires_or_has_served_enough_is_replaced() {
    let server = Server::start(|config| {
        (config.instances, config.most_rewinds) = (Instances::Rewind, 2);
    });
    let pid = |path: &str| server.get(path).text();
    let giant = pid("/f/hello/giant");
    wait_until("it has retired", || server.metric("reason=\"giant\"} 1"));
    let pids: Vec<String> = (0..4)
        .map(|_| {
            let pid = pid("/f/hello/pid");
            wait_until("it is rewound or gone", || server.busy_workers() == 0);
            pid
        })
        .collect();
    assert!(!pids.contains(&giant));
    assert!(
        pids.iter()
            .all(|pid| pids.iter().filter(|other| *other == pid).count() <= 2)
    );
    wait_until("two have served enough", || {
        server.metric("reason=\"count\"} 2")
    });
}
