// Random bytes that a program drew before the snapshot and still holds. Packages that make ids draw
// some hundred bytes ahead into a buffer of their own: every instance of the seed would hand out the
// same ones. So each range that a door of `crypto` filled is remembered, copies of it are looked for
// before the snapshot (copies.cjs), and all are filled anew after the restore.
//
// What the program has put over such bytes since is its own: a block of 16 bytes is only filled anew
// if it still holds what was drawn, which a hash of 64 bits tells; the bytes, which may be secrets,
// are not kept. Blocks that were equal stay equal: a key and its copy still fit each other. Values
// that the program made of the bytes (strings, numbers, keys) are out of reach.

'use strict';

const fs = require('node:fs');
const { isMainThread } = require('node:worker_threads');
const { BLOCK, hash, findCopies } = require('./copies.cjs');
const { generation, renewSoon } = require('./generation.cjs');

/** More buffers than these are not remembered: the oldest are forgotten first. */
const MOST_BUFFERS = 8192;

/** Copies of more blocks than these, drawn between two searches, are not looked for. */
const MOST_BLOCKS = 32768;

/** By buffer: the ranges that were filled, as start → `{ length, hashes }`. */
let ranges = new WeakMap();
/** The buffers in `ranges`, oldest first. */
let buffers = new Set();
/** `buffers` is rid of collected ones at this size. */
let pruneAt = 1024;
/** Blocks drawn since the last search for copies: their hash. Those of buffers that are gone, too. */
let drawnBlocks = new Set();
/** The ones before these. */
let olderBlocks = new Set();

/** The restore before which bytes are remembered: none is after one, the instance ends. */
const first = generation();
let announced = false;

/** Remembers that `bytes`, a Uint8Array, were drawn. */
function remember(bytes) {
  if (generation() !== first || bytes.length === 0) return;
  const hashes = keep(bytes.buffer, bytes.byteOffset, bytes);
  for (const value of hashes) {
    if (drawnBlocks.size >= MOST_BLOCKS / 2) [olderBlocks, drawnBlocks] = [drawnBlocks, new Set()];
    drawnBlocks.add(value);
  }
  if (!isMainThread && !announced) {
    announced = true;
    renewSoon(refill);
  }
}

/** Remembers the range of `holder` (a buffer, or an array of bytes) that has these bytes now. */
function keep(holder, start, bytes) {
  const hashes = [];
  for (let from = 0; from < bytes.length; from += BLOCK) {
    hashes.push(hash(bytes, from, Math.min(bytes.length, from + BLOCK)));
  }
  let known = ranges.get(holder);
  if (known === undefined) {
    known = new Map();
    ranges.set(holder, known);
    buffers.add(new WeakRef(holder));
    if (buffers.size >= pruneAt) prune();
  }
  known.set(start, { length: bytes.length, hashes });
  return hashes;
}

function prune() {
  for (const reference of buffers) if (reference.deref() === undefined) buffers.delete(reference);
  for (const reference of buffers) {
    if (buffers.size <= MOST_BUFFERS / 2) break;
    buffers.delete(reference);
  }
  pruneAt = Math.min(MOST_BUFFERS, Math.max(1024, buffers.size * 2));
}

/** Before a snapshot: looks for copies of what was drawn, and remembers them, too. */
function rememberCopies() {
  if (drawnBlocks.size === 0) return;
  const wanted = drawnBlocks;
  for (const value of olderBlocks) wanted.add(value);
  drawnBlocks = new Set();
  olderBlocks = new Set();
  const isKnown = (holder, start) => ranges.get(holder)?.has(start) ?? false;
  for (const { holder, start, bytes } of findCopies(wanted, isKnown)) keep(holder, start, bytes);
}

/** `length` bytes of a buffer or array from `start` on; undefined if it has not got them any more. */
function bytesAt(holder, start, length) {
  if (Array.isArray(holder)) {
    const part = holder.slice(start, start + length);
    return part.length === length ? Uint8Array.from(part) : undefined;
  }
  // It may have been detached, or have shrunk.
  if (start + length > holder.byteLength) return undefined;
  return new Uint8Array(holder, start, length);
}

/** Fills anew, after a restore, what is still as it was drawn before. */
function refill() {
  const places = [];
  const blocks = new Map();
  let total = 0;
  for (const reference of buffers) {
    const holder = reference.deref();
    const known = holder === undefined ? undefined : ranges.get(holder);
    for (const [start, { length, hashes }] of known ?? []) {
      const bytes = bytesAt(holder, start, length);
      for (let block = 0; bytes !== undefined && block < hashes.length; block++) {
        const from = block * BLOCK;
        const to = Math.min(length, from + BLOCK);
        if (hash(bytes, from, to) !== hashes[block]) continue;
        let fresh = blocks.get(hashes[block]);
        if (fresh === undefined) {
          fresh = total;
          blocks.set(hashes[block], fresh);
          total += BLOCK;
        }
        places.push({ holder, at: start + from, length: to - from, fresh });
      }
    }
  }
  ranges = new WeakMap();
  buffers = new Set();
  drawnBlocks = new Set();
  olderBlocks = new Set();
  if (total === 0) return;
  const drawn = freshBytes(total);
  for (const { holder, at, length, fresh } of places) {
    const target = Array.isArray(holder) ? holder : new Uint8Array(holder);
    for (let i = 0; i < length; i++) target[at + i] = drawn[fresh + i];
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

module.exports = { remember, rememberCopies, refill };
