//! The gateway and clients that are unusual, slow, gone or hostile; workers as in `gateway.rs`.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use support::{Server, answer_of, answers_of, fake, read_all, read_answer, wait_until};

/// The worker processes run this "test"; the real run of it does nothing.
#[test]
fn fake_worker() {
    if std::env::var_os(fake::ENVIRONMENT).is_some() {
        fake::run();
    }
}

fn request(line: &str, fields: &str) -> String {
    format!("{line}\r\nhost: test\r\n{fields}\r\n")
}

/// Sends bytes, ends the output, and takes what comes.
fn half_closed(server: &Server, bytes: &str) -> Vec<u8> {
    let mut socket = server.socket();
    socket.write_all(bytes.as_bytes()).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    read_all(socket)
}

/// Reads what begins with `expected`, and leaves the rest.
fn expect(socket: &mut TcpStream, expected: &str) {
    let mut bytes = vec![0; expected.len()];
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    socket.read_exact(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), expected);
}

fn nothing_comes_for(socket: &mut TcpStream, time: Duration) {
    socket.set_read_timeout(Some(time)).unwrap();
    let error = socket.read(&mut [0; 1]).expect_err("nothing comes");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
}

#[test]
fn a_client_that_sends_no_more_gets_its_answer() {
    let server = Server::start(|_| {});
    for fields in ["", "connection: close\r\n", "connection: keep-alive\r\n"] {
        for path in ["", "/slow"] {
            let bytes = half_closed(
                &server,
                &request(&format!("GET /f/hello{path} HTTP/1.1"), fields),
            );
            let answer = answer_of(&bytes);
            let expected = if path.is_empty() {
                "GET http://test/ "
            } else {
                "slow"
            };
            assert_eq!((answer.status, answer.text().as_str()), (200, expected));
        }
    }
    let bytes = half_closed(&server, "GET /f/hello/slow HTTP/1.0\r\n\r\n");
    assert!(
        bytes.starts_with(b"HTTP/1.0 200 OK\r\n"),
        "{}",
        String::from_utf8_lossy(&bytes)
    );
    let post = request("POST /f/hello HTTP/1.1", "content-length: 5\r\n") + "hello";
    assert_eq!(
        answer_of(&half_closed(&server, &post)).text(),
        "POST http://test/ hello"
    );
    let post = request("POST /f/hello HTTP/1.1", "transfer-encoding: chunked\r\n");
    let bytes = half_closed(&server, &(post.clone() + "5\r\nhello\r\n0\r\n\r\n"));
    assert_eq!(answer_of(&bytes).text(), "POST http://test/ hello");
    // A body that breaks off is none.
    assert_eq!(
        answer_of(&half_closed(&server, &(post + "5\r\nhel"))).status,
        400
    );
}

#[test]
fn a_client_that_sends_no_more_gets_all_answers_it_asked_for() {
    let server = Server::start(|_| {});
    let slow = request("GET /f/hello/slow HTTP/1.1", "");
    let post = request("POST /f/hello HTTP/1.1", "content-length: 2\r\n") + "ab";
    let bytes = half_closed(&server, &[slow.as_str(), &post, &slow].concat());
    let texts: Vec<String> = answers_of(&bytes)
        .iter()
        .map(|answer| answer.text())
        .collect();
    assert_eq!(texts, ["slow", "POST http://test/ ab", "slow"]);
}

#[test]
fn a_client_that_sends_no_more_gets_a_stream_to_its_end() {
    let server = Server::start(|_| {});
    let answer = answer_of(&half_closed(
        &server,
        &request("GET /f/hello/pause HTTP/1.1", ""),
    ));
    assert_eq!(
        (answer.text().as_str(), answer.complete),
        ("one two three", true)
    );
}

#[test]
fn a_client_that_is_gone_is_noticed_before_and_inside_its_answer() {
    let server = Server::start(|_| {});
    for path in ["hang", "stall"] {
        let mut socket = server.socket();
        let bytes = request(&format!("GET /f/hello/{path} HTTP/1.1"), "");
        socket.write_all(bytes.as_bytes()).unwrap();
        wait_until("a worker is busy", || server.busy_workers() == 1);
        if path == "stall" {
            // All that has come is read: closing then does not reset the connection.
            let mut bytes = Vec::new();
            while !bytes.ends_with(b"4\r\none \r\n") {
                let mut byte = [0];
                socket.read_exact(&mut byte).unwrap();
                bytes.extend(byte);
            }
        }
        let start = Instant::now();
        drop(socket);
        wait_until("its worker is gone", || server.busy_workers() == 0);
        assert!(start.elapsed() < Duration::from_secs(15), "{path}");
    }
}

#[test]
fn a_client_that_resets_is_noticed_whatever_it_still_sent() {
    let server = Server::start(|_| {});
    let mut socket = server.socket();
    let hang = request("GET /f/hello/hang HTTP/1.1", "");
    socket.write_all(hang.repeat(3).as_bytes()).unwrap();
    wait_until("a worker is busy", || server.busy_workers() == 1);
    socket2::SockRef::from(&socket)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(socket);
    wait_until("its worker is gone", || server.busy_workers() == 0);
}

#[test]
fn a_request_without_a_host_is_400_whatever_it_is_for() {
    let server = Server::start(|_| {});
    for host in [
        "",
        "host:\r\n",
        "host: a\r\nhost: a\r\n",
        "host: localhost:99999\r\n",
        "host: [::1\r\n",
    ] {
        for path in ["/f/hello", "/f/nobody", "/healthz"] {
            let bytes = format!("GET {path} HTTP/1.1\r\nconnection: close\r\n{host}\r\n");
            assert_eq!(
                server.bytes(bytes.as_bytes()).status,
                400,
                "{path} {host:?}"
            );
        }
    }
    let answer = server.bytes(b"GET /f/hello HTTP/1.0\r\n\r\n");
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "GET http://localhost/ ")
    );
    let answer =
        server.bytes(b"GET http://b:1/f/hello/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert_eq!(answer.text(), "GET http://b:1/x ");
}

#[test]
fn no_request_line_is_the_gateway_s_fault() {
    let server = Server::start(|_| {});
    for target in [
        "*",
        "//f/hello",
        "http:///f/hello",
        "http://a b/f/hello",
        "ftp://a/f/hello",
        "/f/hello/%zz%",
        "/f/hello?%00&{}|^`",
        "/f/hello#x",
        "http://u:p@a/f/hello",
        "a:80",
        "/f/hello/\u{e9}",
        "/f/hello/[:x",
        "/f/hello/..//..\\x",
        "hello",
        "http://[::1/f/hello",
        "",
    ] {
        let bytes = format!("GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let status = server.bytes(bytes.as_bytes()).status;
        assert!(status < 500, "{target:?}: {status}");
    }
    for (method, status) in [
        ("trace", 405),
        ("Connect", 405),
        ("TRACK", 405),
        ("get", 200),
        ("BREW", 200),
    ] {
        assert_eq!(
            server
                .request(&format!("{method} /f/hello"), "", b"x")
                .status,
            status,
            "{method}"
        );
    }
}

#[test]
fn as_many_header_fields_pass_as_configured() {
    let server = Server::start(|_| {});
    let get = |count: usize| {
        // Two more are the helper's own.
        let fields: String = (2..count).map(|n| format!("x-{n}: 1\r\n")).collect();
        server.raw("GET /f/hello/count", &fields, b"")
    };
    // `connection` stays behind; the request's id is added.
    assert_eq!(get(512).text(), "512");
    assert_eq!(get(513).status, 431);
    assert_eq!(
        server
            .raw(
                "GET /f/hello",
                &format!("x: {}\r\n", "v".repeat(60_000)),
                b""
            )
            .status,
        200
    );
    assert_eq!(
        server
            .raw(
                "GET /f/hello",
                &format!("x: {}\r\n", "v".repeat(70_000)),
                b""
            )
            .status,
        431
    );
    assert_eq!(server.get("/f/hello/fields-512").header("x-511"), Some("v"));
    assert_eq!(server.get("/f/hello/fields-513").status, 502);
    assert_eq!(server.get("/f/hello/large-fields").status, 502);
    let server = Server::start(|config| {
        (config.max_header_fields, config.max_header_size) = (2000, 100_000);
    });
    assert_eq!(server.get("/f/hello/fields-513").status, 200);
    assert_eq!(server.get("/f/hello/large-fields").status, 200);
    let fields: String = (0..1900).map(|n| format!("x-{n}: 1\r\n")).collect();
    assert_eq!(server.raw("GET /f/hello", &fields, b"").status, 200);
}

#[test]
fn a_refusal_arrives_though_the_body_was_not_read() {
    let server = Server::start(|config| config.max_request_body = 1 << 20);
    let large = vec![b'x'; 64 << 20];
    for (line, host, status) in [
        ("POST /f/hello", "test", 413),
        ("POST /f/nobody", "test", 404),
        ("TRACE /f/hello", "test", 405),
        ("POST /healthz", "test", 405),
        ("POST /f/hello", "a b", 400),
    ] {
        let mut socket = server.socket();
        let length = large.len();
        let head = format!("{line} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        // All of it, before the answer is looked at.
        socket.write_all(&large).unwrap();
        let answer = read_answer(socket);
        assert_eq!(
            (answer.status, answer.header("connection")),
            (status, Some("close")),
            "{line}"
        );
    }
    let chunk = format!("100000\r\n{}\r\n", "x".repeat(1 << 20)).repeat(20);
    let answer = server.raw(
        "POST /f/hello",
        "transfer-encoding: chunked\r\n",
        (chunk + "0\r\n\r\n").as_bytes(),
    );
    assert_eq!(answer.status, 413);
    // What the HTTP parser refuses.
    for (fields, status) in [
        ("content-length: x\r\n", 400),
        ("transfer-encoding: gzip\r\n", 400),
    ] {
        assert_eq!(
            server
                .raw("POST /f/hello", fields, &large[..8 << 20])
                .status,
            status
        );
    }
}

#[test]
fn a_body_is_asked_for_only_when_it_is_wanted() {
    let server = Server::start(|config| {
        (config.workers, config.max_workers, config.max_request_body) = (1, 1, 1000);
    });
    let expecting = |line: &str, length: usize| {
        let mut socket = server.socket();
        let fields =
            format!("expect: 100-continue\r\ncontent-length: {length}\r\nconnection: close\r\n");
        socket.write_all(request(line, &fields).as_bytes()).unwrap();
        socket
    };
    for (line, length, status) in [
        ("POST /f/hello HTTP/1.1", 1001, 413),
        ("POST /f/nobody HTTP/1.1", 5, 404),
        ("TRACE /f/hello HTTP/1.1", 5, 405),
    ] {
        let bytes = read_all(expecting(line, length));
        assert_eq!(answer_of(&bytes).status, status, "{line}");
    }
    let mut socket = expecting("POST /f/hello HTTP/1.1", 5);
    expect(&mut socket, "HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"hello").unwrap();
    assert_eq!(read_answer(socket).text(), "POST http://test/ hello");
    // One that waits for a worker is not asked, and those for whom there is no room are told so.
    wait_until("that worker is gone", || server.busy_workers() == 0);
    let hanging = server.send("GET /f/hello/hang", "", b"");
    wait_until("the worker is busy", || server.busy_workers() == 1);
    let mut socket = expecting("POST /f/hello HTTP/1.1", 5);
    nothing_comes_for(&mut socket, Duration::from_millis(500));
    drop(hanging);
    expect(&mut socket, "HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"later").unwrap();
    assert_eq!(read_answer(socket).text(), "POST http://test/ later");
}

#[test]
fn a_body_that_does_not_come_is_408_and_holds_no_worker() {
    let server = Server::start(|config| config.body_timeout = Duration::from_millis(300));
    let mut socket = server.socket();
    let fields = "content-length: 10\r\n";
    socket
        .write_all((request("POST /f/hello HTTP/1.1", fields) + "some").as_bytes())
        .unwrap();
    assert_eq!(read_answer(socket).status, 408);
    wait_until("no worker waits for it", || server.busy_workers() == 0);
}

#[test]
fn slow_bodies_leave_workers_to_others() {
    let server = Server::start(|config| (config.workers, config.max_workers) = (2, 4));
    let slow: Vec<TcpStream> = (0..10)
        .map(|_| {
            let mut socket = server.socket();
            let bytes = request("POST /f/hello HTTP/1.1", "content-length: 10\r\n");
            socket.write_all(bytes.as_bytes()).unwrap();
            socket
        })
        .collect();
    wait_until("some wait for their bodies", || server.busy_workers() == 2);
    for _ in 0..5 {
        assert_eq!(server.get("/f/hello").status, 200);
    }
    drop(slow);
    wait_until("they are gone", || server.busy_workers() == 0);
}

#[test]
fn clients_that_do_not_read_leave_workers_to_others() {
    let server = Server::start(|config| {
        (
            config.workers,
            config.max_workers,
            config.workers_per_client,
        ) = (2, 4, 3);
    });
    let flood = request("GET /f/hello/flood HTTP/1.1", "");
    let slow: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut socket = server.socket_from([127, 0, 0, 9]);
            socket.write_all(flood.as_bytes()).unwrap();
            socket
        })
        .collect();
    wait_until("they have their share", || server.busy_workers() == 3);
    for _ in 0..5 {
        assert_eq!(server.get("/f/hello").status, 200);
    }
    // A worker that has just answered may be counted for a moment after its client has all of it.
    wait_until("they keep their share", || server.busy_workers() == 3);
    drop(slow);
    wait_until("they are gone", || server.busy_workers() == 0);
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let server = Server::start(|config| config.send_timeout = Duration::from_millis(500));
    let mut socket = server.socket();
    socket
        .write_all(request("GET /f/hello/flood HTTP/1.1", "").as_bytes())
        .unwrap();
    wait_until("a worker is busy", || server.busy_workers() == 1);
    wait_until("its worker is gone", || server.busy_workers() == 0);
    let mut bytes = Vec::new();
    let _ = socket.read_to_end(&mut bytes);
    assert!(bytes.len() < 60_000_000);
}

#[test]
fn a_client_has_so_many_connections_and_others_are_served() {
    let server = Server::start(|config| config.connections_per_client = 3);
    let held: Vec<TcpStream> = (0..3).map(|_| server.socket_from([127, 0, 0, 9])).collect();
    let get = request("GET /f/hello HTTP/1.1", "connection: close\r\n");
    let ask = |source| {
        let mut socket = server.socket_from(source);
        socket.write_all(get.as_bytes()).unwrap();
        read_answer(socket)
    };
    let refused = ask([127, 0, 0, 9]);
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (429, Some("1"))
    );
    assert_eq!(ask([127, 0, 0, 8]).status, 200);
    drop(held);
    wait_until("its connections are closed", || {
        ask([127, 0, 0, 9]).status == 200
    });
}

#[test]
fn a_head_that_does_not_come_ends_the_connection() {
    let server = Server::start(|config| config.head_timeout = Duration::from_millis(300));
    let mut socket = server.socket();
    socket.write_all(b"GET /f/hello HTTP/1.1\r\nhost:").unwrap();
    assert_eq!(read_all(socket), b"");
}

#[test]
fn frames_of_nothing_and_crumbs_are_no_burden() {
    let server = Server::start(|_| {});
    assert!(!server.get("/f/hello/empty-frames").complete);
    let crumbs = server.get("/f/hello/crumbs");
    assert_eq!((crumbs.body.len(), crumbs.complete), (200_000, true));
    assert_eq!(server.get("/f/hello/long-message").status, 502);
    assert_eq!(server.get("/f/hello").status, 200);
}
