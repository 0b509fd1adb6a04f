// Random bytes that a program drew before the snapshot and still holds. Packages that make ids draw
// some hundred bytes ahead into a buffer of their own: every instance of the seed would hand out the
// same ones. So each range that a door of `crypto` filled is remembered, and filled anew after the
// restore.
//
// What the program has put over such bytes since is its own: a block of 16 bytes is only filled anew
// if it still holds what was drawn, which a hash of 32 bits tells; copies of the bytes, which may be
// secrets, are not kept. Values that the program made of the bytes (strings, numbers, keys) are out
// of reach.

'use strict';

const fs = require('node:fs');
const { isMainThread } = require('node:worker_threads');
const { generation, renewSoon } = require('./generation.cjs');

/** Bytes that are kept or filled anew together: as long as an id, so that ids taken and marked in
 *  place do not keep those behind them. */
const BLOCK = 16;

/** More buffers than these are not remembered: the oldest are forgotten first. */
const MOST_BUFFERS = 65536;

/** By buffer: the ranges that were filled, as start → `{ length, hashes }`. */
let ranges = new WeakMap();
/** The buffers in `ranges`, oldest first. */
let buffers = new Set();
/** `buffers` is rid of collected ones at this size. */
let pruneAt = 1024;

/** The restore before which bytes are remembered: none is after one, the instance ends. */
const first = generation();
let announced = false;

function hash(bytes, start, end) {
  let value = 0x811c9dc5;
  for (let at = start; at < end; at++) value = Math.imul(value ^ bytes[at], 0x01000193);
  return value >>> 0;
}

/** Remembers that `bytes`, a Uint8Array, were drawn. */
function remember(bytes) {
  const { buffer, byteOffset: start, length } = bytes;
  if (generation() !== first || length === 0) return;
  const hashes = new Uint32Array(Math.ceil(length / BLOCK));
  for (let block = 0; block < hashes.length; block++) {
    hashes[block] = hash(bytes, block * BLOCK, Math.min(length, (block + 1) * BLOCK));
  }
  let known = ranges.get(buffer);
  if (known === undefined) {
    known = new Map();
    ranges.set(buffer, known);
    buffers.add(new WeakRef(buffer));
    if (buffers.size >= pruneAt) prune();
  }
  known.set(start, { length, hashes });
  if (!isMainThread && !announced) {
    announced = true;
    renewSoon(refill);
  }
}

function prune() {
  for (const reference of buffers) if (reference.deref() === undefined) buffers.delete(reference);
  for (const reference of buffers) {
    if (buffers.size <= MOST_BUFFERS / 2) break;
    if (pruneAt >= MOST_BUFFERS) buffers.delete(reference);
    else break;
  }
  pruneAt = Math.min(MOST_BUFFERS, Math.max(1024, buffers.size * 2));
}

/** Fills anew, after a restore, what is still as it was drawn before. */
function refill() {
  const old = buffers;
  const places = [];
  let total = 0;
  for (const reference of old) {
    const buffer = reference.deref();
    const known = buffer === undefined ? undefined : ranges.get(buffer);
    for (const [start, { length, hashes }] of known ?? []) {
      // It may have been detached, or have shrunk.
      if (start + length > buffer.byteLength) continue;
      const bytes = new Uint8Array(buffer, start, length);
      for (let block = 0; block < hashes.length; block++) {
        const from = block * BLOCK;
        const to = Math.min(length, from + BLOCK);
        if (hash(bytes, from, to) !== hashes[block]) continue;
        const last = places.at(-1);
        if (last?.bytes === bytes && last.to === from) last.to = to;
        else places.push({ bytes, from, to });
        total += to - from;
      }
    }
  }
  ranges = new WeakMap();
  buffers = new Set();
  if (total === 0) return;
  const fresh = freshBytes(total);
  let used = 0;
  for (const { bytes, from, to } of places) {
    bytes.set(fresh.subarray(used, used + to - from), from);
    used += to - from;
  }
}

/** From the kernel, which was reseeded at the restore: OpenSSL's generator would first have to be. */
function freshBytes(length) {
  const bytes = new Uint8Array(length);
  const fd = fs.openSync('/dev/urandom', 'r');
  try {
    let filled = 0;
    while (filled < length) filled += fs.readSync(fd, bytes, filled, length - filled, null);
  } finally {
    fs.closeSync(fd);
  }
  return bytes;
}

module.exports = { remember, refill };
