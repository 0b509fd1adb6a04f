// Entry point of the guest: loads the function, then answers one request at a time from the
// request channel. The machine is snapshotted while it waits in the channel's read, so whatever a
// request needs has been loaded and run once before the first read.

import { Channel } from './channel.mjs';
import { loadFunction } from './function.mjs';
import { installProcessId } from './process-id.cjs';
import { installRandom, prepareRandom, renewRandom } from './random.cjs';
import { installThreads } from './threads.cjs';
import { installTimeOrigin } from './clock.cjs';
import { inspect } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fs from 'node:fs';

const environment = process.env;
const functionDirectory = environment.SPROUT_FUNCTION ?? '/function';
// A descriptor is how a test or a supervisor hands over the channel; a guest opens the device.
const inherited = environment.SPROUT_CHANNEL_FD;
const channel = inherited === undefined
  ? Channel.open(environment.SPROUT_CHANNEL ?? '/dev/sprout')
  : new Channel(Number(inherited));
delete environment.SPROUT_FUNCTION;
delete environment.SPROUT_CHANNEL_FD;
delete environment.SPROUT_CHANNEL;
// The image's setting for the C library; no business of the function.
delete environment.MALLOC_TOP_PAD_;

const restoreHooks = [];
/** A restored machine is thrown away after its request: only a warm-up leads to a snapshot. */
let isRestored = false;
/** Fails the request in progress; null between requests. */
let failCurrent = null;

/** Rounds after which V8 has compiled the path of a request. */
const REHEARSALS = 100;

/** A read that took longer than this leaves the event loop's clock too old for timers. */
const STALE_CLOCK_MS = 1;

function printError(error) {
  let text;
  try {
    text = inspect(error);
  } catch {
    text = 'an error that cannot be shown';
  }
  try {
    fs.writeSync(2, `${text}\n`);
  } catch {
    // Standard error is gone: there is nowhere left to say so.
  }
}

function errorReport(error) {
  try {
    if (error instanceof Error) {
      return { message: String(error.message), stack: String(error.stack ?? '') };
    }
    return { message: String(error), stack: '' };
  } catch {
    return { message: 'an error that cannot be shown', stack: '' };
  }
}

/** What makes this copy of the snapshot different from every other. */
async function afterRestore(notice) {
  isRestored = true;
  renewRandom();
  for (const hook of restoreHooks) await hook(notice);
}

/**
 * Sends head and body of a response; what is ready in one turn of the event loop goes in one write.
 * Nothing of an exchange that has failed meanwhile may reach the channel.
 */
async function sendResponse(output, response, exchange) {
  if (exchange.over) return;
  if (!(response instanceof Response)) {
    throw new TypeError(`the function gave ${describe(response)} instead of a Response`);
  }
  if (response.status < 200) {
    throw new RangeError(`the function gave a Response of status ${response.status}`);
  }
  const body = response.body;
  const reader = body === null ? null : body.getReader();
  output.putHead({ status: response.status, headers: [...response.headers] });
  if (reader !== null) {
    let turn = null;
    const flush = () => {
      turn = null;
      output.flush();
    };
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done || exchange.over) break;
        output.putBody(value);
        turn ??= setImmediate(flush);
      }
    } finally {
      if (turn !== null) clearImmediate(turn);
    }
  }
}

function describe(value) {
  if (value === null || typeof value !== 'object') return String(value);
  return `a value of class ${value.constructor?.name ?? 'Object'}`;
}

/** Runs one request and sends its response or its failure to the channel `output`. */
async function serve(output, handler, request) {
  const exchange = { over: false };
  const failed = new Promise((_, reject) => {
    failCurrent = reject;
  });
  try {
    if (request.restored !== null) await Promise.race([afterRestore(request.restored), failed]);
    const { method, url, headers } = request.head;
    const bodyless = method === 'GET' || method === 'HEAD' || request.body === null;
    const init = { method, headers, body: bodyless ? undefined : request.body };
    const answer = async () => sendResponse(output, await handler(new Request(url, init)), exchange);
    await Promise.race([answer(), failed]);
    output.putEnd();
  } catch (error) {
    printError(error);
    output.putError(errorReport(error));
  }
  exchange.over = true;
  failCurrent = null;
  output.flush();
}

/** Waits for the next request. Runs as a turn of the event loop of its own. */
function nextTurn(handler) {
  const before = performance.now();
  const request = channel.readRequest();
  if (request === null) process.exit(0);
  const run = () => serve(channel, handler, request).then(idle, fatal);
  const idle = () => {
    if (!isRestored) prepareForSnapshot();
    setImmediate(nextTurn, handler);
  };
  // Timers count from when the loop last looked at the clock: give it one turn to look again.
  if (performance.now() - before > STALE_CLOCK_MS) setImmediate(run);
  else run();
}

function fatal(error) {
  printError(error);
  process.exit(1);
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc');
setFlagsFromString('--no-expose-gc');

/** Empties the young generation, so that no collection falls into the next request. */
function settleHeap() {
  collectGarbage({ type: 'minor' });
  collectGarbage({ type: 'minor' });
}

/** The guest may be snapshotted as soon as it waits for the next request. */
function prepareForSnapshot() {
  prepareRandom();
  settleHeap();
}

/**
 * Serves a few requests of its own on a channel that goes nowhere: what every request runs is then
 * loaded, compiled and has its types known, whatever function there is.
 */
async function rehearse() {
  const nowhere = Channel.open('/dev/null');
  const text = async (request) => new Response(await request.text());
  const json = async (request) => Response.json({ url: new URL(request.url), body: request.body });
  const headers = [['host', 'localhost'], ['content-type', 'text/plain']];
  for (let round = 0; round < REHEARSALS; round++) {
    const url = `http://localhost/?${round}`;
    const get = { method: 'GET', url, headers };
    await serve(nowhere, json, { restored: null, head: get, body: null });
    const post = { method: 'POST', url, headers };
    await serve(nowhere, text, { restored: null, head: post, body: Buffer.from('x') });
  }
  nowhere.close();
}

Object.defineProperty(globalThis, 'sprout', {
  value: Object.freeze({
    /** Registers `hook`, run before the first request after each restore. */
    afterRestore(hook) {
      if (typeof hook !== 'function') {
        throw new TypeError(`sprout.afterRestore takes a function, not ${describe(hook)}`);
      }
      restoreHooks.push(hook);
    },
  }),
  configurable: true,
});

installProcessId();
installRandom();
installTimeOrigin();
installThreads();
await rehearse();
let handler;
try {
  handler = await loadFunction(functionDirectory);
} catch (error) {
  fatal(error);
}

process.on('uncaughtException', (error) => {
  if (failCurrent !== null) failCurrent(error);
  else printError(error);
});
process.on('beforeExit', () => {
  // Nothing is left that could ever settle the function's promise.
  failCurrent?.(new Error('the function never answers: its promise cannot settle any more'));
});

prepareForSnapshot();
setImmediate(nextTurn, handler);
