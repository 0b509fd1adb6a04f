//! The JavaScript agent answers requests, and says what is wrong with a function.

mod support;

use std::time::Duration;

use support::Agent;

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
        (
            "cjs",
            &[
                ("package.json", "\u{feff}{\"main\":\"lib\"}"),
                ("lib/index.js", cjs),
                ("index.js", "throw new Error('not this one')"),
            ],
        ),
        (
            "esm",
            &[("package.json", r#"{"main":"f"}"#), ("f.mjs", esm)],
        ),
        (
            "esm",
            &[
                (
                    "package.json",
                    r#"{"exports":[{"browser":"./no.js"},{"node":{"default":"./lib/f.mjs"}}]}"#,
                ),
                ("lib/f.mjs", esm),
            ],
        ),
        (
            "cjs",
            &[("package.json", r#"{"main":"gone"}"#), ("index.js", cjs)],
        ),
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
        (&[], "or index.mts or index.cts is not in "),
        (
            &[("package.json", r#"{"main":"x"}"#)],
            "named by \"main\" in package.json",
        ),
        (&[("package.json", "{")], "package.json is not JSON"),
        (
            &[("package.json", "[]")],
            "package.json holds no JSON object",
        ),
        (
            &[("package.json", r#"{"exports":{"./sub":"./f.mjs"}}"#)],
            "No \"exports\" main defined",
        ),
        (
            &[("package.json", r#"{"exports":"./f.mjs"}"#)],
            "named by \"exports\" in package.json",
        ),
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
