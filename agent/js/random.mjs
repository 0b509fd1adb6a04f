// Random numbers that differ between copies of one snapshot.
//
// Three sources keep state in memory that a snapshot would copy. V8's Math.random has its state in
// the context, out of reach of JavaScript: it is replaced. Node's crypto.randomUUID and randomInt
// hand out random bytes fetched earlier: what was fetched before a restore is thrown away before
// the next use. OpenSSL's own generators reseed themselves when the process id changes. Contexts
// of node:vm made after a restore get a seed of their instance; those made before keep their state.
//
// Everything is renewed at first use after a restore, so a function that draws nothing pays nothing.

import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import vm from 'node:vm';

/** Bytes fetched ahead, lib/internal/crypto/random.js: 128 UUIDs, and 1024 integers. */
const CACHED_UUIDS = 128;
const CACHED_INTEGERS = 1024;
/** After so many UUIDs without the cache, emptying it is the cheaper way to more. */
const FRESH_UUIDS = 64;

/** Counts restores; a source whose number is another one has to be renewed first. */
let generation = 1;

/** xoshiro128**, seeded by the host: 53 random bits a call, as V8 gives. */
function createMathRandom() {
  let seeded = 0;
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  function seed() {
    const words = crypto.randomFillSync(new Uint32Array(4));
    [a, b, c, d] = words;
    // The generator's one fixed point is the all-zero state.
    if ((a | b | c | d) === 0) a = 1;
    seeded = generation;
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
      if (seeded !== generation) seed();
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
  let current = generation;
  const wrapper = {
    [original.name](...args) {
      if (current !== generation) {
        const value = bypass?.(this, args);
        if (value !== undefined) return value;
        current = generation;
        drain();
      }
      return Reflect.apply(original, this, args);
    },
  }[original.name];
  Object.defineProperty(wrapper, 'length', { value: original.length, configurable: true });
  return wrapper;
}

function replace(object, name, value) {
  const descriptor = Object.getOwnPropertyDescriptor(object, name);
  Object.defineProperty(object, name, { ...descriptor, value });
}

/** Puts the renewable sources in place. Must run before any code of the function is loaded. */
export function installRandom() {
  const { randomUUID, randomUUIDv7, randomInt } = crypto;
  let uuidGeneration = generation;
  let freshGeneration = generation;
  let freshUuids = 0;
  // A UUID that does not come from the cache: most instances draw few, and emptying the cache costs
  // as much as a small request. Calls with options, or on an object that `allows` refuses, are the
  // original's.
  const freshUuid = (original, allows) => (self, args) => {
    if (uuidGeneration === generation || args.length > 0 || !allows(self)) return undefined;
    if (freshGeneration !== generation) {
      freshGeneration = generation;
      freshUuids = 0;
    }
    freshUuids += 1;
    return freshUuids <= FRESH_UUIDS ? original({ disableEntropyCache: true }) : undefined;
  };
  // The doors to UUIDs share one cache. As many calls as it holds UUIDs pass exactly one
  // refill, wherever in it they start; the rest of the cache is then from after the restore.
  const drainUuids = () => {
    if (uuidGeneration === generation) return;
    uuidGeneration = generation;
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
  syncBuiltinESMExports();
}

/** Called after each restore: nothing drawn before may show from here on. */
export function renewRandom() {
  generation += 1;
}
