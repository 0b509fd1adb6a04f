//! A running gateway and a plain HTTP client.

// Each test program uses its part.
#![allow(dead_code)]

pub mod fake;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use sprout_gateway::config::Config;
use sprout_gateway::registry::{FunctionRecord, RECORD_VERSION, record_path};
use tokio::sync::oneshot;

/// Waits for something that another thread or process brings about.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "not within 20 s: {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A gateway in this process, on a port of its own, with one function `hello`.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    home: tempfile::TempDir,
}

impl Server {
    pub fn start(change: impl FnOnce(&mut Config)) -> Self {
        let home = tempfile::tempdir().expect("temporary directory");
        let pids = home.path().join("pids");
        std::fs::create_dir(&pids).expect("pid directory");
        let mut environment = std::ffi::OsString::from(fake::ENVIRONMENT);
        environment.push("=");
        environment.push(&pids);
        let binary = std::env::current_exe().expect("this binary");
        let command = vec![
            "/usr/bin/env".into(),
            environment,
            binary.into(),
            "--exact".into(),
            "fake_worker".into(),
        ];
        let mut config = Config::new(
            home.path().join("functions"),
            home.path().join("snapshots"),
            command,
        );
        (config.workers, config.max_workers, config.queue) = (3, 8, 16);
        change(&mut config);
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, address) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                    .await
                    .expect("listener");
                ready
                    .send(listener.local_addr().expect("address"))
                    .expect("test waits");
                let stop = async { drop(stopped.await) };
                sprout_gateway::server::serve(config, listener, stop, std::future::pending())
                    .await
                    .expect("gateway");
            });
        });
        let address = address.recv().expect("gateway starts");
        let server = Self {
            address,
            stop: Some(stop),
            thread: Some(thread),
            home,
        };
        server.deploy("hello", "hello-1");
        server
    }

    pub fn deploy(&self, name: &str, snapshot: &str) {
        let record = FunctionRecord {
            version: RECORD_VERSION,
            name: name.into(),
            image: "node:24".into(),
            function_image: "blake3-00".into(),
            snapshot: snapshot.into(),
            previous_snapshot: None,
            memory: 256 << 20,
            deployed_at: 0,
            instances: None,
        };
        let path = record_path(&self.home.path().join("functions"), name);
        std::fs::create_dir_all(path.parent().expect("directory")).expect("function directory");
        let new = path.with_extension("new");
        std::fs::write(&new, serde_json::to_vec(&record).expect("json")).expect("record");
        std::fs::rename(new, path).expect("record in place");
    }

    pub fn stop(&mut self) {
        drop(self.stop.take());
    }

    pub fn join(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            assert!(
                thread.join().is_ok() || std::thread::panicking(),
                "the gateway panicked"
            );
        }
    }

    /// Sends a request and leaves the connection open.
    pub fn send(&self, line: &str, headers: &str, body: &[u8]) -> TcpStream {
        let length = body.len();
        let headers = format!("{headers}content-length: {length}\r\n");
        self.connect(line, &headers, body)
    }

    fn connect(&self, line: &str, headers: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).expect("connection");
        let head = format!("{line} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).expect("head");
        // A gateway that refuses the request may not read its body.
        let _ = stream.write_all(body);
        stream
    }

    /// A connection to it.
    pub fn socket(&self) -> TcpStream {
        TcpStream::connect(self.address).expect("connection")
    }

    /// A connection to it from another loopback address.
    pub fn socket_from(&self, source: [u8; 4]) -> TcpStream {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("socket");
        let source = SocketAddr::from((source, 0));
        socket.bind(&source.into()).expect("source address");
        socket.connect(&self.address.into()).expect("connection");
        socket.into()
    }

    pub fn raw(&self, line: &str, headers: &str, body: &[u8]) -> Answer {
        read_answer(self.connect(line, headers, body))
    }

    pub fn bytes(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).expect("connection");
        stream.write_all(bytes).expect("request");
        read_answer(stream)
    }

    pub fn request(&self, line: &str, headers: &str, body: &[u8]) -> Answer {
        read_answer(self.send(line, headers, body))
    }

    pub fn get_as(&self, method: &str, path: &str) -> Answer {
        self.raw(&format!("{method} {path}"), "", b"")
    }

    pub fn get(&self, path: &str) -> Answer {
        self.get_as("GET", path)
    }

    /// Whether the metrics page has `text`.
    pub fn metric(&self, text: &str) -> bool {
        self.get("/metrics").text().contains(text)
    }

    fn workers(&self, state: &str) -> u64 {
        let prefix = format!("sprout_workers{{state=\"{state}\"}} ");
        let page = self.get("/metrics").text();
        let value = page.lines().find_map(|line| line.strip_prefix(&prefix));
        value.map_or(0, |value| value.parse().expect("gauge"))
    }

    pub fn ready_workers(&self) -> u64 {
        self.workers("ready")
    }

    pub fn busy_workers(&self) -> u64 {
        self.workers("busy")
    }

    /// The workers started so far that still live.
    pub fn worker_pids(&self) -> Vec<u32> {
        let entries = std::fs::read_dir(self.home.path().join("pids")).expect("pid directory");
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| Path::new(&format!("/proc/{pid}")).exists())
            .collect()
    }

    /// The process workers are forked from.
    pub fn nursery_pid(&self) -> u32 {
        let path = self.home.path().join("pids").join(fake::NURSERY);
        let text = std::fs::read_to_string(path).expect("the nursery's pid");
        text.parse().expect("a pid")
    }

    pub fn kill(&self, pid: u32) {
        self.signal(pid, "KILL");
    }

    /// Sends a worker the signal of that name.
    pub fn signal(&self, pid: u32, name: &str) {
        let status = std::process::Command::new("kill")
            .args(["-s", name, &pid.to_string()])
            .status();
        assert!(status.expect("kill").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.join();
    }
}

pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
    /// Whether the body is all there by the rules of HTTP.
    pub complete: bool,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

pub fn read_answer(stream: TcpStream) -> Answer {
    answer_of(&read_all(stream))
}

/// All that comes until the gateway closes the connection.
pub fn read_all(mut stream: TcpStream) -> Vec<u8> {
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("timeout");
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes);
    assert!(end.is_ok(), "{end:?} after {} bytes", bytes.len());
    bytes
}

/// The one answer in these bytes.
pub fn answer_of(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {}", String::from_utf8_lossy(bytes)));
    let head = String::from_utf8(bytes[..end].to_vec()).expect("head is text");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .expect("status");
    let mut answer = Answer {
        status,
        head,
        body: bytes[end + 4..].to_vec(),
        complete: true,
    };
    if answer.header("transfer-encoding") == Some("chunked") {
        (answer.body, answer.complete) = unchunk(&answer.body);
    }
    answer
}

/// The answers in these bytes, whose bodies all have a length.
pub fn answers_of(mut bytes: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let mut answer = answer_of(bytes);
        let length = answer.header("content-length").expect("a length");
        let rest = answer.body.split_off(length.parse().expect("number"));
        bytes = &bytes[bytes.len() - rest.len()..];
        answers.push(answer);
    }
    answers
}

fn unchunk(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let digits = std::str::from_utf8(&bytes[..end]).expect("chunk length");
        let length = usize::from_str_radix(digits, 16).expect("chunk length");
        if length == 0 {
            return (body, true);
        }
        let Some(chunk) = bytes.get(end + 2..end + 2 + length) else {
            break;
        };
        body.extend_from_slice(chunk);
        bytes = bytes.get(end + 4 + length..).unwrap_or_default();
    }
    (body, false)
}
