// Random numbers that differ between copies of one snapshot.
//
// Three sources keep state in memory that a snapshot would copy. V8's Math.random has its state in
// the context, out of reach of JavaScript: it is replaced. Node's crypto.randomUUID and randomInt
// hand out random bytes fetched earlier: what was fetched before a restore is thrown away before
// the next use. OpenSSL's own generators reseed themselves when the process id changes. Contexts
// of node:vm made after a restore get a seed of their instance; those made before keep their state.
// These are renewed at first use after a restore, so a function that draws nothing pays nothing.
//
// A fourth is out of Node's hands: bytes that a package drew ahead (drawn.cjs). They, and copies of
// them, are filled anew at the restore.

'use strict';

const crypto = require('node:crypto');
const { syncBuiltinESMExports } = require('node:module');
const { setFlagsFromString } = require('node:v8');
const vm = require('node:vm');
const { refill, remember, rememberCopies } = require('./drawn.cjs');
const { advance, generation, waitForThreads } = require('./generation.cjs');

/** What is drawn here is not to be remembered. */
const { randomFillSync } = crypto;

/** Bytes fetched ahead, lib/internal/crypto/random.js: 128 UUIDs, and 1024 integers. */
const CACHED_UUIDS = 128;
const CACHED_INTEGERS = 1024;
/** After so many UUIDs without the cache, emptying it is the cheaper way to more. */
const FRESH_UUIDS = 64;

/** How long a restored program waits for worker threads that hold bytes drawn ahead. */
const THREADS_MS = 50;

/** xoshiro128**, seeded by the host: 53 random bits a call, as V8 gives. */
function createMathRandom() {
  let seeded = 0;
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  function seed() {
    const words = randomFillSync(new Uint32Array(4));
    [a, b, c, d] = words;
    // The generator's one fixed point is the all-zero state.
    if ((a | b | c | d) === 0) a = 1;
    seeded = generation();
  }
  function next() {
    const scrambled = Math.imul(b, 5);
    const result = Math.imul((scrambled << 7) | (scrambled >>> 25), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = (d << 11) | (d >>> 21);
    return result;
  }
  return {
    random() {
      if (seeded !== generation()) seed();
      const high = next() >>> 5;
      const low = next() >>> 6;
      return (high * 67108864 + low) / 9007199254740992;
    },
  }.random;
}

/**
 * Wraps `original` so that after a restore `drain` runs before its first call. Where there is
 * `bypass`, it may give values instead of that call, as long as it has any.
 */
function renewed(original, drain, bypass) {
  let current = generation();
  const wrapper = {
    [original.name](...args) {
      if (current !== generation()) {
        const value = bypass?.(this, args);
        if (value !== undefined) return value;
        current = generation();
        drain();
      }
      return Reflect.apply(original, this, args);
    },
  }[original.name];
  return likeOriginal(wrapper, original);
}

function likeOriginal(wrapper, original) {
  Object.defineProperty(wrapper, 'length', { value: original.length, configurable: true });
  return wrapper;
}

/** `length` bytes of a view or buffer, from byte `start` on. */
function bytesOf(view, start, length) {
  return ArrayBuffer.isView(view)
    ? new Uint8Array(view.buffer, view.byteOffset + start, length)
    : new Uint8Array(view, start, length);
}

/** The bytes that randomFill's and randomFillSync's `offset` and `size` mean, which count elements. */
function filledPart(buffer, offset, size) {
  const unit = buffer.BYTES_PER_ELEMENT ?? 1;
  const start = typeof offset === 'number' ? offset * unit : 0;
  const length = typeof size === 'number' ? size * unit : buffer.byteLength - start;
  return [buffer, start, length];
}

/**
 * Wraps a door to random bytes so that what it fills is remembered. `filled` tells from arguments and
 * result (that of the callback where there is one) which bytes those are.
 */
function remembered(original, filled) {
  const wrapper = {
    [original.name](...args) {
      const callback = args.at(-1);
      if (typeof callback !== 'function') {
        const result = Reflect.apply(original, this, args);
        remember(bytesOf(...filled(args, result)));
        return result;
      }
      const begun = generation();
      const rest = args.slice(0, -1);
      return Reflect.apply(original, this, [...rest, function (error, result) {
        if (!error) {
          const part = filled(rest, result);
          // The bytes were drawn before a restore that came in between.
          if (begun !== generation()) randomFillSync(bytesOf(...part));
          remember(bytesOf(...part));
        }
        Reflect.apply(callback, this, arguments);
      }]);
    },
  }[original.name];
  return likeOriginal(wrapper, original);
}

const wholeResult = (_, bytes) => [bytes, 0, bytes.byteLength];
const wholeArgument = ([view]) => [view, 0, view.byteLength];
const partOfArgument = ([buffer, offset, size]) => filledPart(buffer, offset, size);

function replace(object, name, value) {
  const descriptor = Object.getOwnPropertyDescriptor(object, name);
  Object.defineProperty(object, name, { ...descriptor, value });
}

/** Puts the renewable sources in place. Must run before any code of the function is loaded. */
function installRandom() {
  const { randomUUID, randomUUIDv7, randomInt } = crypto;
  let uuidGeneration = generation();
  let freshGeneration = generation();
  let freshUuids = 0;
  // A UUID that does not come from the cache: most instances draw few, and emptying the cache costs
  // as much as a small request. Calls with options, or on an object that `allows` refuses, are the
  // original's.
  const freshUuid = (original, allows) => (self, args) => {
    if (uuidGeneration === generation() || args.length > 0 || !allows(self)) return undefined;
    if (freshGeneration !== generation()) {
      freshGeneration = generation();
      freshUuids = 0;
    }
    freshUuids += 1;
    return freshUuids <= FRESH_UUIDS ? original({ disableEntropyCache: true }) : undefined;
  };
  // The doors to UUIDs share one cache. As many calls as it holds UUIDs pass exactly one
  // refill, wherever in it they start; the rest of the cache is then from after the restore.
  const drainUuids = () => {
    if (uuidGeneration === generation()) return;
    uuidGeneration = generation();
    for (let i = 0; i < CACHED_UUIDS; i++) randomUUID();
  };
  const drainIntegers = () => {
    for (let i = 0; i < CACHED_INTEGERS; i++) randomInt(2);
  };
  // V8 seeds a context at its first Math.random, from this flag or from state in the snapshot.
  const seedContexts = () => setFlagsFromString(`--random-seed=${randomContextSeed()}`);
  const randomContextSeed = () => 1 + (crypto.randomBytes(4).readUInt32LE() >>> 2);
  replace(Math, 'random', createMathRandom());
  const isWebCrypto = (self) => self === globalThis.crypto;
  const webCrypto = Object.getPrototypeOf(globalThis.crypto);
  for (const [object, name, drain, bypass] of [
    [crypto, 'randomUUID', drainUuids, freshUuid(randomUUID, () => true)],
    [crypto, 'randomUUIDv7', drainUuids, freshUuid(randomUUIDv7, () => true)],
    [webCrypto, 'randomUUID', drainUuids, freshUuid(randomUUID, isWebCrypto)],
    [crypto, 'randomInt', drainIntegers],
    [vm, 'createContext', seedContexts],
    [vm, 'runInNewContext', seedContexts],
    [vm.Script.prototype, 'runInNewContext', seedContexts],
  ]) {
    // Not every version of Node has every one of them.
    if (typeof object[name] === 'function') {
      replace(object, name, renewed(object[name], drain, bypass));
    }
  }
  for (const [object, name, filled] of [
    [crypto, 'randomBytes', wholeResult],
    [crypto, 'randomFill', partOfArgument],
    [crypto, 'randomFillSync', partOfArgument],
    [webCrypto, 'getRandomValues', wholeArgument],
  ]) {
    replace(object, name, remembered(object[name], filled));
  }
  // Old names of randomBytes.
  for (const name of ['pseudoRandomBytes', 'prng', 'rng']) {
    if (Object.hasOwn(crypto, name)) {
      const { enumerable } = Object.getOwnPropertyDescriptor(crypto, name);
      const value = crypto.randomBytes;
      Object.defineProperty(crypto, name, { value, enumerable, writable: true, configurable: true });
    }
  }
  syncBuiltinESMExports();
}

/** Called in the first thread after each restore: nothing drawn before may show from here on. */
function renewRandom() {
  advance();
  refill();
  waitForThreads(THREADS_MS);
}

/** Called before the guest may be snapshotted. */
function prepareRandom() {
  rememberCopies();
}

module.exports = { installRandom, prepareRandom, renewRandom };
