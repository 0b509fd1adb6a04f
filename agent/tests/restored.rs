//! What a restore changes in the JavaScript agent: nothing random repeats, and the time is right.

mod support;

use std::time::Duration;

use support::Agent;

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

/// Draws ahead through every door, in all the ways a package may hold what it drew.
const AHEAD: &str = r#"
    import crypto, { randomBytes, randomFill, randomFillSync, getRandomValues, webcrypto } from 'node:crypto';
    import { createRequire } from 'node:module';
    import { promisify } from 'node:util';
    import { Worker } from 'node:worker_threads';
    const required = createRequire(import.meta.url)('crypto');
    const hex = (view) => Buffer.from(view.buffer ?? view, view.byteOffset ?? 0, view.byteLength)
      .toString('hex');
    const part = Buffer.alloc(64);
    randomFillSync(part, 16, 32);
    const words = new Uint32Array(32);
    randomFillSync(words, 8, 16);
    const onlyBuffer = randomFillSync(new Uint8Array(48)).buffer;
    const shared = new Uint8Array(new SharedArrayBuffer(32));
    randomFillSync(shared);
    const asked = await new Promise((done) => randomBytes(32, (_, bytes) => done(bytes)));
    const filled = await new Promise((done) => randomFill(Buffer.alloc(40), 8, (_, bytes) => done(bytes)));
    const held = {
      randomBytes: randomBytes(24), odd: randomBytes(5), asked, filled, onlyBuffer, shared,
      promised: await promisify(randomBytes)(32),
      fillPromised: await promisify(randomFill)(new Float64Array(4)),
      arrayBuffer: randomFillSync(new ArrayBuffer(32)),
      dataView: randomFillSync(new DataView(new ArrayBuffer(32))),
      pooled: randomFillSync(Buffer.allocUnsafe(32)),
      required: required.randomBytes(16), getter: process.getBuiltinModule('crypto').randomBytes(16),
      old: crypto.pseudoRandomBytes(16), older: crypto.rng(16), oldest: crypto.prng(16),
      web: globalThis.crypto.getRandomValues(new Uint8Array(16)),
      named: getRandomValues.call(webcrypto, new BigUint64Array(2)),
      webcrypto: webcrypto.getRandomValues(new Int16Array(8)),
      words: words.subarray(8, 24), part: part.subarray(16, 48),
    };
    Object.assign(held, {
      copied: new Uint32Array(new Uint8Array(randomBytes(64)).buffer),
      shifted: Buffer.concat([Buffer.from('abc'), randomBytes(80)]).subarray(3 + 16, 3 + 64),
    });
    const numbers = [...randomBytes(48)];
    const key = randomBytes(32);
    const keyCopy = Buffer.from(key);
    const marked = randomBytes(48);
    marked[0] ^= 0xff;
    const whole = randomBytes(32).fill(7);
    const outside = () => hex(words.subarray(0, 8)) + hex(words.subarray(24)) + hex(part.subarray(0, 16))
      + hex(part.subarray(48));
    const worker = new Worker(`
      const { parentPort } = require('node:worker_threads');
      const crypto = require('node:crypto');
      const pool = crypto.randomBytes(64);
      const early = Math.random();
      parentPort.on('message', () => parentPort.postMessage({ pool: pool.toString('hex'),
        uuid: crypto.randomUUID(), math: Math.random(), execArgv: process.execArgv.length,
        lag: performance.timeOrigin + performance.now() - Date.now() }));
    `, { eval: true });
    const ask = () => new Promise((done) => { worker.once('message', done); worker.postMessage('?') });
    await ask();
    export default async () => {
      const values = Object.fromEntries(Object.entries(held).map(([name, view]) => [name, hex(view)]));
      const kept = { marked: marked.subarray(0, 16).toString('hex'), whole: hex(whole), outside: outside() };
      values.numbers = hex(Uint8Array.from(numbers));
      kept.keysFit = keyCopy.equals(key);
      return Response.json({ values: { ...values, key: hex(key), behindMark: hex(marked.subarray(16)) }, kept,
        worker: await ask() });
    };
"#;

fn json(answer: &support::Answer) -> serde_json::Value {
    serde_json::from_str(answer.text()).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

#[test]
fn what_was_drawn_ahead_is_filled_anew_and_what_was_written_stays() {
    let mut agent = Agent::function(AHEAD);
    let first = json(&agent.get("http://localhost/"));
    let again = json(&agent.get("http://localhost/"));
    assert_eq!(first["values"], again["values"]);
    agent.restore(1);
    let restored = json(&agent.get("http://localhost/"));
    let values = first["values"].as_object().expect("an object");
    assert_eq!(values.len(), 26);
    for (name, before) in values {
        assert_ne!(before, &restored["values"][name], "{name}");
    }
    assert_eq!(first["kept"], restored["kept"]);
    assert_ne!(first["worker"]["pool"], restored["worker"]["pool"]);
    assert_eq!(restored["worker"]["execArgv"], 0);
    // An instance ends with its request: what it draws is not looked after any more.
    let later = json(&agent.get("http://localhost/"));
    assert_eq!(restored["values"], later["values"]);
}

#[test]
fn what_is_under_way_when_the_snapshot_is_taken_is_drawn_anew() {
    // Each turn of the loop asks for bytes. Those of the turn in which the agent begins to wait are
    // there before their callback can run, which a thread sees meanwhile.
    let mut agent = Agent::function(
        "import { randomFill } from 'node:crypto';
         import { Worker } from 'node:worker_threads';
         const views = Array.from({ length: 64 }, () => new Uint8Array(new SharedArrayBuffer(32)));
         const seen = new Uint8Array(new SharedArrayBuffer(64 * 32));
         const worker = new Worker(`
           const { parentPort } = require('node:worker_threads');
           parentPort.on('message', ({ views, seen }) => {
             Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
             views.forEach((view, at) => seen.set(view, at * 32));
           });
         `, { eval: true });
         let restored = false;
         sprout.afterRestore(() => { restored = true });
         const late = [];
         const turn = (at) => {
           randomFill(views[at], () => { if (restored) late.push(at) });
           if (at < 63) setImmediate(turn, at + 1);
         };
         export default async () => {
           if (!restored) {
             worker.postMessage({ views, seen });
             setImmediate(turn, 0);
             return new Response('asked');
           }
           await new Promise((resolve) => setTimeout(resolve, 50));
           const same = late.filter((at) => views[at].every((byte, i) => byte === seen[at * 32 + i]));
           return Response.json({ late: late.length > 0, same });
         };",
    );
    assert_eq!(agent.get("http://localhost/").text(), "asked");
    std::thread::sleep(Duration::from_millis(800));
    agent.restore(1);
    let answer = agent.get("http://localhost/");
    assert_eq!(answer.text(), r#"{"late":true,"same":[]}"#);
}

#[test]
fn many_short_lived_buffers_are_forgotten() {
    let mut agent = Agent::function(
        "import { randomBytes } from 'node:crypto';
         for (let round = 0; round < 20000; round++) randomBytes(16);
         const last = randomBytes(16);
         export default () => new Response(last.toString('hex'));",
    );
    let before = agent.get("http://localhost/").text().to_owned();
    agent.restore(1);
    assert_ne!(agent.get("http://localhost/").text(), before);
}

#[test]
fn the_time_origin_follows_the_time_of_day() {
    // The clock of the test stands still for no one: what the agent sees of a snapshot's age is a
    // `Date.now` that has moved on.
    let mut agent = Agent::function(
        "import { performance as hooks } from 'node:perf_hooks';
         const now = Date.now;
         Date.now = () => now() + 3600000;
         const lag = (clock) => Math.round((clock.timeOrigin + clock.now() - Date.now()) / 60000);
         export default () => Response.json([lag(performance), lag(hooks),
           Math.round((performance.toJSON().timeOrigin - performance.timeOrigin)),
           performance.timeOrigin === performance.timeOrigin,
           Object.keys(Object.getOwnPropertyDescriptor(Performance.prototype, 'timeOrigin')).join()]);",
    );
    let shape = r#","get,set,enumerable,configurable"]"#;
    let before = format!("[-60,-60,0,true{shape}");
    assert_eq!(agent.get("http://localhost/").text(), before);
    agent.restore(1);
    let after = format!("[0,0,0,true{shape}");
    assert_eq!(agent.get("http://localhost/").text(), after);
}
