//! The JavaScript agent under the host's Node, driven over a socket pair by the Rust side of the
//! protocol. Needs `node` in PATH.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sprout_agent::{
    ErrorReport, Limits, RequestHead, ResponseDecoder, ResponseEvent, ResponseHead, Restored,
    encode_request,
};

pub struct Agent {
    pub process: Child,
    channel: UnixStream,
    _directory: tempfile::TempDir,
}

pub struct Answer {
    pub head: Option<ResponseHead>,
    pub body: Vec<u8>,
    failure: Option<ErrorReport>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text body")
    }

    pub fn status(&self) -> Option<u16> {
        self.head.as_ref().map(|head| head.status)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = &self.head.as_ref()?.headers;
        headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn failure(&self) -> &str {
        &self.failure.as_ref().expect("a failure").message
    }
}

fn agent_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("js")
}

impl Agent {
    pub fn start(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        for (name, content) in files {
            let file = directory.path().join(name);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("folder");
            std::fs::write(file, content).expect("function file");
        }
        let (channel, theirs) = UnixStream::pair().expect("socket pair");
        channel
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("timeout");
        let process = Command::new("node")
            .arg(agent_directory().join("agent.mjs"))
            .env("SPROUT_CHANNEL_FD", "0")
            .env("SPROUT_FUNCTION", directory.path())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("node starts");
        Self {
            process,
            channel,
            _directory: directory,
        }
    }

    pub fn function(source: &str) -> Self {
        Self::start(&[("index.mjs", source)])
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.channel
            .write_all(bytes)
            .expect("agent takes the request");
    }

    pub fn restore(&mut self, generation: u64) {
        let notice = Restored {
            generation,
            instance_id: format!("{generation:032x}"),
        };
        self.send(&notice.encode().expect("notice"));
    }

    pub fn request(
        &mut self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let head = RequestHead {
            id: "test".into(),
            method: method.into(),
            url: url.into(),
            headers: headers
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect(),
        };
        self.send(&encode_request(&head, body).expect("request"));
        self.answer()
    }

    pub fn get(&mut self, url: &str) -> Answer {
        self.request("GET", url, &[], b"")
    }

    pub fn answer(&mut self) -> Answer {
        let mut decoder = ResponseDecoder::new(Limits::default());
        let mut answer = Answer {
            head: None,
            body: Vec::new(),
            failure: None,
        };
        let mut piece = vec![0; 1 << 16];
        loop {
            while let Some(event) = decoder.next_event().expect("valid response") {
                match event {
                    ResponseEvent::Head(head) => answer.head = Some(head),
                    ResponseEvent::Body(bytes) => answer.body.extend(bytes),
                    ResponseEvent::Failed(report) => answer.failure = Some(report),
                    ResponseEvent::End => {}
                    ResponseEvent::Log(line) => panic!("unexpected log line {line}"),
                }
            }
            if decoder.is_finished() {
                return answer;
            }
            let count = self.channel.read(&mut piece).expect("answer in time");
            if count == 0 {
                let mut text = String::new();
                if let Some(stderr) = &mut self.process.stderr {
                    stderr.read_to_string(&mut text).expect("stderr");
                }
                panic!("the agent closed the channel: {text}");
            }
            decoder.push(&piece[..count]);
        }
    }

    /// Closes the channel and returns exit status, standard output and standard error.
    pub fn finish(self) -> (Option<i32>, String, String) {
        drop(self.channel);
        let output = self.process.wait_with_output().expect("agent ends");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    }
}
