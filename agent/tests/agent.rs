//! The JavaScript agent under the host's Node, driven over a socket pair by the Rust side of the
//! protocol. Needs `node` in PATH.

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

struct Agent {
    process: Child,
    channel: UnixStream,
    _directory: tempfile::TempDir,
}

struct Answer {
    head: Option<ResponseHead>,
    body: Vec<u8>,
    failure: Option<ErrorReport>,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text body")
    }

    fn status(&self) -> Option<u16> {
        self.head.as_ref().map(|head| head.status)
    }

    fn header(&self, name: &str) -> Option<&str> {
        let headers = &self.head.as_ref()?.headers;
        headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    fn failure(&self) -> &str {
        &self.failure.as_ref().expect("a failure").message
    }
}

fn agent_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("js")
}

impl Agent {
    fn start(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        for (name, content) in files {
            std::fs::write(directory.path().join(name), content).expect("function file");
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

    fn function(source: &str) -> Self {
        Self::start(&[("index.mjs", source)])
    }

    fn send(&mut self, bytes: &[u8]) {
        self.channel
            .write_all(bytes)
            .expect("agent takes the request");
    }

    fn restore(&mut self, generation: u64) {
        let notice = Restored {
            generation,
            instance_id: format!("{generation:032x}"),
        };
        self.send(&notice.encode().expect("notice"));
    }

    fn request(
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

    fn get(&mut self, url: &str) -> Answer {
        self.request("GET", url, &[], b"")
    }

    fn answer(&mut self) -> Answer {
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
    fn finish(self) -> (Option<i32>, String, String) {
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

#[test]
fn answers_requests_in_a_row_and_ends_when_the_host_closes_the_channel() {
    let mut agent = Agent::function(
        "let count = 0;
         export default (request) => {
           console.log('log', ++count);
           return new Response(`hello ${count} ${request.url}`);
         };",
    );
    for count in 1..=5 {
        let answer = agent.get("http://localhost/a?b=c");
        assert_eq!(answer.status(), Some(200));
        assert_eq!(
            answer.text(),
            format!("hello {count} http://localhost/a?b=c")
        );
    }
    let (status, stdout, stderr) = agent.finish();
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    assert_eq!(stdout, "log 1\nlog 2\nlog 3\nlog 4\nlog 5\n");
}

#[test]
fn passes_bodies_methods_headers_and_status_through() {
    let mut agent = Agent::function(
        "export default async (request) => {
           const value = await request.json();
           const headers = [['x-seen', request.headers.get('x-in')], ['set-cookie', 'a=1'],
                            ['set-cookie', 'b=2'], ['x-host', request.headers.get('host')]];
           return Response.json({ method: request.method, value }, { status: 201, headers });
         };",
    );
    let headers = [
        ("content-type", "application/json"),
        ("x-in", "caf\u{e9}"),
        ("host", "h:1"),
    ];
    let answer = agent.request("PUT", "http://localhost/", &headers, br#"{"n":[1,2]}"#);
    assert_eq!(answer.status(), Some(201));
    assert_eq!(answer.text(), r#"{"method":"PUT","value":{"n":[1,2]}}"#);
    assert_eq!(answer.header("x-seen"), Some("caf\u{e9}"));
    assert_eq!(answer.header("x-host"), Some("h:1"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let headers = &answer.head.as_ref().expect("head").headers;
    let cookies: Vec<_> = headers
        .iter()
        .filter(|(key, _)| key == "set-cookie")
        .collect();
    assert_eq!(cookies.len(), 2);
}

#[test]
fn carries_large_bodies_both_ways() {
    let mut agent = Agent::function(
        "export default async (request) => new Response(await request.arrayBuffer());",
    );
    let body: Vec<u8> = (0..(1 << 20) + 12_345u32)
        .map(|i| (i * 7 % 251) as u8)
        .collect();
    for _ in 0..3 {
        assert!(agent.request("POST", "http://localhost/", &[], &body).body == body);
    }
    assert_eq!(
        agent.request("POST", "http://localhost/", &[], b"").body,
        b""
    );
}

#[test]
fn streams_a_body_as_it_is_made() {
    let mut agent = Agent::function(
        "export default () => {
           let n = 0;
           return new Response(new ReadableStream({
             async pull(controller) {
               await new Promise((resolve) => setTimeout(resolve, 5));
               controller.enqueue(new TextEncoder().encode(`${n++};`));
               if (n === 4) controller.close();
             },
           }));
         };",
    );
    assert_eq!(agent.get("http://localhost/").text(), "0;1;2;3;");
}

#[test]
fn exceptions_rejections_and_wrong_values_are_failures_and_the_next_request_works() {
    let mut agent = Agent::function(
        "export default async (request) => {
           const { pathname } = new URL(request.url);
           if (pathname === '/throw') throw new RangeError('boom');
           if (pathname === '/value') return { not: 'a response' };
           if (pathname === '/nothing') return;
           if (pathname === '/string') throw 'just a string';
           if (pathname === '/error') return Response.error();
           if (pathname === '/late') {
             setTimeout(() => { throw new Error('late') }, 1);
             return new Promise(() => {});
           }
           if (pathname === '/unhandled') {
             Promise.reject(new Error('unhandled'));
             return new Promise((resolve) => setTimeout(resolve, 1000));
           }
           if (pathname === '/never') return new Promise(() => {});
           if (pathname === '/stream') return new Response(new ReadableStream({
             start(controller) {
               controller.enqueue(new Uint8Array(3));
               setTimeout(() => controller.error(new Error('cut')), 5);
             },
           }));
           if (pathname === '/hostile') throw { get message() { throw 1 }, toString() { throw 2 } };
           return new Response('fine');
         };",
    );
    let cases = [
        ("throw", "boom"),
        (
            "value",
            "the function gave a value of class Object instead of a Response",
        ),
        (
            "nothing",
            "the function gave undefined instead of a Response",
        ),
        ("string", "just a string"),
        ("error", "the function gave a Response of status 0"),
        ("late", "late"),
        ("unhandled", "unhandled"),
        (
            "never",
            "the function never answers: its promise cannot settle any more",
        ),
        ("stream", "cut"),
        ("hostile", "an error that cannot be shown"),
    ];
    for (path, message) in cases {
        let answer = agent.get(&format!("http://localhost/{path}"));
        assert_eq!(answer.failure(), message, "{path}");
        assert_eq!(answer.head.is_some(), path == "stream", "{path}");
        assert_eq!(
            agent.get("http://localhost/").text(),
            "fine",
            "after {path}"
        );
    }
    let (status, _, stderr) = agent.finish();
    assert_eq!(status, Some(0));
    assert!(stderr.contains("RangeError: boom\n    at "), "{stderr}");
}

#[test]
fn an_answer_that_comes_after_its_request_failed_is_dropped() {
    let mut agent = Agent::function(
        "export default (request) => {
           if (request.url.endsWith('/next')) {
             return new Promise((resolve) => setTimeout(resolve, 100, new Response('next')));
           }
           setTimeout(() => { throw new Error('early') }, 1);
           return new Promise((resolve) => setTimeout(resolve, 50, new Response('stale')));
         };",
    );
    assert_eq!(agent.get("http://localhost/").failure(), "early");
    assert_eq!(agent.get("http://localhost/next").text(), "next");
}

#[test]
fn finds_the_function_by_exports_main_and_default_names() {
    let esm = "export default () => new Response('esm');";
    let cjs = "module.exports = () => new Response('cjs');";
    let compiled = "exports.__esModule = true; exports.default = () => new Response('compiled');";
    let cases: &[(&str, &[(&str, &str)])] = &[
        (
            "esm",
            &[
                ("package.json", r#"{"exports":"./f.mjs","main":"g.js"}"#),
                ("f.mjs", esm),
            ],
        ),
        (
            "esm",
            &[
                (
                    "package.json",
                    r#"{"exports":{".":{"require":"./no.cjs","import":{"default":"./f.mjs"}}}}"#,
                ),
                ("f.mjs", esm),
            ],
        ),
        ("cjs", &[("package.json", r#"{"main":"f"}"#), ("f.js", cjs)]),
        (
            "esm",
            &[("package.json", r#"{"type":"module"}"#), ("index.js", esm)],
        ),
        ("cjs", &[("index.js", cjs)]),
        ("compiled", &[("index.cjs", compiled)]),
    ];
    for (expected, files) in cases {
        assert_eq!(
            Agent::start(files).get("http://localhost/").text(),
            *expected,
            "{files:?}"
        );
    }
}

#[test]
fn a_function_that_cannot_be_loaded_ends_the_agent_with_a_clear_error() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[], "index.mjs or index.js or index.cjs is not in "),
        (
            &[("package.json", r#"{"main":"x"}"#)],
            "named by \"main\" in package.json",
        ),
        (&[("package.json", "{")], "package.json is not JSON"),
        (
            &[("index.mjs", "export const a = 1;")],
            "has no function as its default export",
        ),
        (&[("index.mjs", "throw new Error('at load')")], "at load"),
        (&[("index.mjs", "syntax error")], "SyntaxError"),
    ];
    for (files, expected) in cases {
        let agent = Agent::start(files);
        let (status, _, stderr) = agent.finish();
        assert_eq!(status, Some(1), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
}

/// Draws from every source before and after a restore notice.
const RANDOM: &str = "
    import crypto, { randomUUID, randomInt } from 'node:crypto';
    import vm from 'node:vm';
    crypto.randomUUID(); randomInt(5); Math.random();
    const draw = () => ({
      uuid: randomUUID(), webUuid: globalThis.crypto.randomUUID(), integer: randomInt(2 ** 47),
      math: Math.random(), context: vm.runInNewContext('Math.random()'),
      bytes: crypto.randomBytes(8).toString('hex'),
    });
    const same = [Math.random.name, Math.random.length, crypto.randomUUID.name, randomInt.length,
                  Object.keys(Math).length, 'prototype' in Math.random];
    const restored = [];
    sprout.afterRestore((notice) => { restored.push(notice.generation) });
    sprout.afterRestore(async () => { await null; restored.push('second') });
    export default () => Response.json({ draw: draw(), same, restored, now: Date.now() });
";

#[test]
fn restore_hooks_run_once_before_the_request_and_shapes_stay() {
    let mut agent = Agent::function(RANDOM);
    let text = agent.get("http://localhost/").text().to_owned();
    assert!(
        text.contains(r#""same":["random",0,"randomUUID",3,0,false],"restored":[]"#),
        "{text}"
    );
    agent.restore(7);
    let text = agent.get("http://localhost/").text().to_owned();
    assert!(text.contains(r#""restored":[7,"second"]"#), "{text}");
    let text = agent.get("http://localhost/").text().to_owned();
    assert!(text.contains(r#""restored":[7,"second"]"#), "{text}");
}

#[test]
fn the_process_id_is_right_before_and_after_a_restore() {
    let mut agent = Agent::function("export default () => new Response(String(process.pid));");
    let expected = agent.process.id().to_string();
    assert_eq!(agent.get("http://localhost/").text(), expected);
    agent.restore(1);
    assert_eq!(agent.get("http://localhost/").text(), expected);
}

#[test]
fn a_failing_restore_hook_fails_the_request() {
    let mut agent = Agent::function(
        "sprout.afterRestore(() => { throw new Error('no reconnect') });
         export default () => new Response('x');",
    );
    agent.restore(1);
    assert_eq!(agent.get("http://localhost/").failure(), "no reconnect");
}

#[test]
fn timers_count_from_the_request_after_a_long_wait() {
    let mut agent = Agent::function(
        "export default async () => {
           const start = performance.now();
           await new Promise((resolve) => setTimeout(resolve, 150));
           return new Response(String(performance.now() - start >= 149));
         };",
    );
    assert_eq!(agent.get("http://localhost/").text(), "true");
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(agent.get("http://localhost/").text(), "true");
}
