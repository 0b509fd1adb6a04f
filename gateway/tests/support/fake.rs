//! A worker without a VM: says it is ready, then does what the request's path asks for.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use sprout_agent::{Limits, Request, RequestDecoder, ResponseHead, frame};
use sprout_protocol::nursery;
use sprout_protocol::{
    Assign, Done, FromWorker, LogStream, Outcome, Seed, Timings, ToWorker, receive,
    receive_request, send,
};

/// Set for the processes that are workers, to the directory that gets their pids.
pub const ENVIRONMENT: &str = "SPROUT_FAKE_WORKER";

/// The file in that directory that has the pid of the process they are forked from.
pub const NURSERY: &str = "nursery";

pub fn run() -> ! {
    let pids = std::env::var_os(ENVIRONMENT).expect("pid directory");
    let _ = std::fs::write(
        Path::new(&pids).join(NURSERY),
        std::process::id().to_string(),
    );
    wait_for_the_harness();
    let Some(socket) = nursery::run_inherited().expect("the gateway's socket") else {
        std::process::exit(0)
    };
    let pid = std::process::id();
    let _ = std::fs::write(Path::new(&pids).join(pid.to_string()), "");
    Worker { socket }.serve();
    std::process::exit(0)
}

/// The test harness has a thread of its own: what forks must wait until that one holds no lock.
fn wait_for_the_harness() {
    let stat = format!("/proc/self/task/{}/stat", std::process::id());
    for _ in 0..2000 {
        let text = std::fs::read_to_string(&stat).expect("the harness's thread");
        if text
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.starts_with(" S"))
        {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

struct Worker {
    socket: UnixStream,
}

impl Worker {
    fn say(&mut self, message: FromWorker) {
        if send(&mut self.socket, &message).is_err() {
            std::process::exit(1);
        }
    }

    fn respond(&mut self, bytes: Vec<u8>) {
        let length = bytes.len() as u64;
        self.say(FromWorker::Response { length });
        if self.socket.write_all(&bytes).is_err() {
            std::process::exit(1);
        }
    }

    fn done(&mut self, outcome: Outcome) {
        let timings = Timings {
            create: 500,
            restore: 900,
            run: 1500,
            first_byte: 2000,
            last_byte: 2100,
        };
        self.say(FromWorker::Done(Done {
            outcome,
            timings,
            counters: vec![],
        }));
    }

    fn text(&mut self, request: &Request, text: &str) {
        let mut headers = vec![("x-seen-id".to_owned(), request.head.id.clone())];
        headers.extend(
            request
                .head
                .headers
                .iter()
                .filter(|(name, _)| name == "x-in")
                .cloned(),
        );
        let mut bytes = ResponseHead {
            status: 200,
            headers,
        }
        .encode()
        .expect("head");
        frame::encode(&mut bytes, frame::FrameKind::Body, text.as_bytes()).expect("body");
        frame::encode(&mut bytes, frame::FrameKind::End, b"").expect("end");
        self.respond(bytes);
        self.done(Outcome::Answered);
    }

    fn head(&mut self, headers: Vec<(String, String)>) {
        let head = ResponseHead {
            status: 200,
            headers,
        };
        self.respond(head.encode().expect("head"));
    }

    fn body(&mut self, piece: &[u8]) {
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, frame::FrameKind::Body, piece).expect("body");
        self.respond(bytes);
    }

    fn end(&mut self) {
        let mut bytes = Vec::new();
        frame::encode(&mut bytes, frame::FrameKind::End, b"").expect("end");
        self.respond(bytes);
        self.done(Outcome::Answered);
    }

    /// Sends some 20 MiB in messages as long as they may be.
    fn huge(&mut self, kind: &str) {
        const MESSAGE: usize = 1_000_000;
        let frame = |kind, payload: &[u8]| {
            let mut bytes = Vec::new();
            frame::encode(&mut bytes, kind, payload).expect("frame");
            bytes
        };
        let body = |payload: &[u8]| frame(frame::FrameKind::Body, payload);
        if kind == "fields" {
            let fields = vec![r#"["",""]"#; 149_000].join(",");
            let json = format!(r#"{{"status":200,"headers":[{fields}]}}"#);
            for piece in frame(frame::FrameKind::Head, json.as_bytes()).chunks(MESSAGE) {
                self.respond(piece.to_vec());
            }
            std::thread::sleep(Duration::from_secs(1));
            return;
        }
        self.head(vec![]);
        let message = match kind {
            "empty-frames" => body(b"").repeat(MESSAGE / 5),
            "crumbs" => body(b"c").repeat(MESSAGE / 6),
            "flood" => body(&[b'x'; 256 << 10]).repeat(3),
            "pieces" => body(&[b'x'; 5000]).repeat(MESSAGE / 5005),
            _ => vec![b'\n'; MESSAGE],
        };
        if kind == "long-message" {
            let _ = self.socket.write_all(&(60u32 << 20).to_le_bytes());
            let _ = self.socket.write_all(&vec![1; 60 << 20]);
        }
        for _ in 0..20 {
            if kind == "newlines" {
                let stream = LogStream::Stdout;
                let bytes = message.clone();
                self.say(FromWorker::Log { stream, bytes });
            } else {
                self.respond(message.clone());
            }
        }
        self.end();
    }

    fn serve(&mut self) {
        self.say(FromWorker::Ready);
        let mut prepared = None;
        loop {
            match receive(&self.socket) {
                Ok(ToWorker::Prepare(seed)) => prepared = Some(seed),
                Ok(ToWorker::Assign(assign)) => {
                    let rewinds = assign.seed.instances.rewind();
                    let retires = self.answer(assign, prepared.take());
                    match (rewinds, retires) {
                        (false, _) => return,
                        (true, false) => self.say(FromWorker::Rewound {
                            compared: 2,
                            copied: 1,
                            undone: 0,
                            took: 300,
                        }),
                        (true, true) => {
                            return self.say(FromWorker::Retired {
                                kind: "giant".into(),
                                reason: "it wrote much".into(),
                            });
                        }
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// Whether it is not to be used again.
    fn answer(&mut self, assign: Assign, prepared: Option<Seed>) -> bool {
        let mut requests = RequestDecoder::new(Limits::default());
        let request = receive_request(&self.socket, assign.request_length);
        requests.push(&request.expect("the request"));
        let request = requests
            .next_request()
            .expect("valid request")
            .expect("whole request");
        self.say(FromWorker::Log {
            stream: LogStream::Stdout,
            bytes: b"called\n".to_vec(),
        });
        let url = &request.head.url;
        let path = url.rsplit('/').next().unwrap_or_default();
        match path {
            "prepared" => {
                let same = prepared.is_some_and(|seed| seed == assign.seed);
                self.text(&request, if same { "yes" } else { "no" });
            }
            "pid" | "giant" => self.text(&request, &std::process::id().to_string()),
            "snapshot" => self.text(&request, &assign.seed.snapshot_dir.display().to_string()),
            "crash" => std::process::abort(),
            "hang" => std::thread::sleep(Duration::from_secs(60)),
            "slow" => {
                std::thread::sleep(Duration::from_millis(500));
                self.text(&request, "slow");
            }
            "exit" => self.done(Outcome::Exited { status: 3 }),
            "panic" => self.done(Outcome::Panicked {
                report: "at frame 1".into(),
            }),
            "unanswered" => self.done(Outcome::Answered),
            "garbage" => self.respond(vec![0xff; 64]),
            "noise" => {
                let _ = self.socket.write_all(&[0xff; 64]);
            }
            "bad-header" => {
                let headers = vec![("x".to_owned(), "a\r\nb: c".to_owned())];
                self.respond(
                    ResponseHead {
                        status: 200,
                        headers,
                    }
                    .encode()
                    .expect("head"),
                );
                std::thread::sleep(Duration::from_secs(1));
            }
            "fail" => {
                let mut bytes = Vec::new();
                let report = br#"{"message":"secret","stack":"secret"}"#;
                frame::encode(&mut bytes, frame::FrameKind::Error, report).expect("report");
                self.respond(bytes);
                self.done(Outcome::Answered);
            }
            "count" => {
                let count = request.head.headers.len();
                self.text(&request, &count.to_string());
            }
            "fields-512" | "fields-513" => {
                let count = path.trim_start_matches("fields-").parse().expect("number");
                let headers = (0..count).map(|n| (format!("x-{n}"), "v".to_owned()));
                self.head(headers.collect());
                self.end();
            }
            "large-fields" => {
                self.head(vec![("x".to_owned(), "v".repeat(70_000))]);
                self.end();
            }
            "pause" | "stall" => {
                self.head(vec![]);
                for piece in ["one ", "two ", "three"] {
                    self.body(piece.as_bytes());
                    if path == "stall" {
                        std::thread::sleep(Duration::from_secs(60));
                    }
                    std::thread::sleep(Duration::from_millis(1300));
                }
                self.end();
            }
            "flood" => {
                self.head(vec![]);
                for _ in 0..1000 {
                    self.body(&[b'x'; 60_000]);
                }
                self.end();
            }
            "long-message" => {
                let _ = self.socket.write_all(&(2u32 << 20).to_le_bytes());
                let _ = self.socket.write_all(&vec![1; 2 << 20]);
            }
            "empty-frames" => {
                self.head(vec![]);
                let mut bytes = Vec::new();
                frame::encode(&mut bytes, frame::FrameKind::Body, b"").expect("body");
                let many = bytes.repeat(20_000);
                for _ in 0..100 {
                    self.respond(many.clone());
                }
                self.end();
            }
            "crumbs" => {
                self.head(vec![]);
                let mut bytes = Vec::new();
                frame::encode(&mut bytes, frame::FrameKind::Body, b"c").expect("body");
                let many = bytes.repeat(20_000);
                for _ in 0..10 {
                    self.respond(many.clone());
                }
                self.end();
            }
            huge if huge.starts_with("huge-") => self.huge(&huge["huge-".len()..]),
            "stream" | "crash-inside" => {
                self.head(vec![]);
                for _ in 0..50 {
                    self.body(&[b'x'; 10_000]);
                }
                if path == "crash-inside" {
                    std::process::abort();
                }
                self.end();
            }
            _ => {
                let body = String::from_utf8_lossy(&request.body).into_owned();
                self.text(&request, &format!("{} {url} {body}", request.head.method));
            }
        }
        path == "giant"
    }
}
