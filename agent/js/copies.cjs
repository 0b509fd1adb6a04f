// Looks through the heap for copies of known blocks of bytes: in the memory behind typed arrays and
// buffers, and in arrays of numbers that are bytes.

'use strict';

const { Session } = require('node:inspector');

/** Bytes that are looked for, kept, or filled anew together: as long as an id, so that ids taken and
 *  marked in place do not keep those behind them. */
const BLOCK = 16;

/** Odd numbers that mix well: of FNV-1a, and of MurmurHash2. */
const FACTOR = 0x01000193;
const OTHER = 0x5bd1e995;
/** FACTOR to the power of BLOCK: what the byte that leaves a window counts. */
let leaving = 1;
for (let i = 0; i < BLOCK; i++) leaving = Math.imul(leaving, FACTOR);

/** The half of a hash that can be rolled over a window. */
function rolled(bytes, start, end) {
  let value = 0;
  for (let at = start; at < end; at++) value = (Math.imul(value, FACTOR) + bytes[at]) | 0;
  return value;
}

/** 64 bits of hash of bytes `start` to `end`: the upper half is the one that can be rolled. */
function hash(bytes, start, end) {
  return combined(rolled(bytes, start, end), bytes, start, end);
}

function combined(half, bytes, start, end) {
  let value = end - start;
  for (let at = start; at < end; at++) {
    value = Math.imul(value ^ bytes[at], OTHER);
    value ^= value >>> 15;
  }
  return (BigInt(half >>> 0) << 32n) | BigInt(value >>> 0);
}

/**
 * The places in the heap that hold blocks of `wanted` (hashes), as `{ holder, start, bytes }`: a
 * buffer or an array, where in it, and what is there. `isKnown(holder, start)` are left out.
 */
function findCopies(wanted, isKnown) {
  const halves = new Set();
  for (const value of wanted) halves.add(Number(value >> 32n));
  const found = [];
  const seen = new Set();
  for (const object of heapObjects()) {
    let holder;
    let bytes;
    if (Array.isArray(object)) {
      if (object.length < BLOCK || !object.every(isByte)) continue;
      holder = object;
      bytes = Uint8Array.from(object);
    } else {
      holder = ArrayBuffer.isView(object) ? object.buffer : object;
      if (!isBuffer(holder) || holder.byteLength < BLOCK) continue;
      if (seen.has(holder)) continue;
      seen.add(holder);
      bytes = new Uint8Array(holder);
    }
    for (const [start, end] of runs(bytes, wanted, halves)) {
      if (!isKnown(holder, start)) found.push({ holder, start, bytes: bytes.subarray(start, end) });
    }
  }
  return found;
}

const isByte = (value) => Number.isInteger(value) && value >= 0 && value <= 255;

function isBuffer(object) {
  try {
    return object.byteLength >= 0 && new Uint8Array(object, 0, 0).buffer === object;
  } catch {
    return false;
  }
}

/** The ranges of `bytes` that consist of wanted blocks. */
function runs(bytes, wanted, halves) {
  const found = [];
  let at = 0;
  let half = rolled(bytes, 0, BLOCK);
  while (at + BLOCK <= bytes.length) {
    if (halves.has(half >>> 0) && wanted.has(combined(half, bytes, at, at + BLOCK))) {
      const last = found.at(-1);
      if (last?.[1] === at) last[1] = at + BLOCK;
      else found.push([at, at + BLOCK]);
      at += BLOCK;
      if (at + BLOCK <= bytes.length) half = rolled(bytes, at, at + BLOCK);
    } else {
      half = (Math.imul(half, FACTOR) + bytes[at + BLOCK] - Math.imul(leaving, bytes[at])) | 0;
      at += 1;
    }
  }
  return found;
}

/** Where the inspector finds what to look for, and leaves what it found. */
const MEETING = Symbol.for('sprout.copies');

/** What inherits from these can hold bytes. */
const PROTOTYPES = [
  Object.getPrototypeOf(Uint8Array.prototype),
  ArrayBuffer.prototype,
  Array.prototype,
];

/** All objects of this context that can hold bytes, as the inspector sees them. */
function heapObjects() {
  const found = [];
  const session = new Session();
  session.connect();
  try {
    for (const prototype of PROTOTYPES) {
      const meeting = { prototype, take: (list) => { found.push(list); } };
      Object.defineProperty(globalThis, MEETING, { value: meeting, configurable: true });
      const place = "globalThis[Symbol.for('sprout.copies')]";
      const { result } = post(session, 'Runtime.evaluate', { expression: `${place}.prototype` });
      const query = { prototypeObjectId: result.objectId };
      const { objects } = post(session, 'Runtime.queryObjects', query);
      const functionDeclaration = `function () { ${place}.take(this) }`;
      post(session, 'Runtime.callFunctionOn', { objectId: objects.objectId, functionDeclaration });
    }
  } finally {
    delete globalThis[MEETING];
    session.disconnect();
  }
  return found.flat();
}

/** A call of the inspector's: those used here are answered before they return. */
function post(session, method, params) {
  let outcome = new Error(`the inspector does not answer ${method}`);
  session.post(method, params, (error, result) => { outcome = error ?? result; });
  if (outcome instanceof Error) throw outcome;
  return outcome;
}

module.exports = { BLOCK, hash, findCopies };
