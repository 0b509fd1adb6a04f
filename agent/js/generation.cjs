// How often this guest was restored, as all threads of the process see it: what is renewed after a
// restore compares its number with this one. The first thread counts; the others look.

'use strict';

const { isMainThread, getEnvironmentData, setEnvironmentData } = require('node:worker_threads');

/** Under this name a worker thread finds the numbers of the thread that started it. */
const NAME = 'sprout:generation';

/** The number of restores, and the number of threads that have to refill buffers after one. */
const [COUNT, BEHIND] = [0, 1];

const shared = isMainThread ? undefined : getEnvironmentData(NAME);
const cells = shared ?? new Int32Array(new SharedArrayBuffer(8));
if (shared === undefined) setEnvironmentData(NAME, cells);

/** The number of restores so far, plus one. */
function generation() {
  return Atomics.load(cells, COUNT) + 1;
}

/** This guest has been restored once more. */
function advance() {
  Atomics.add(cells, COUNT, 1);
  Atomics.notify(cells, COUNT);
}

/**
 * Another thread than the first one holds something that it has to renew itself, by `renew`, as soon
 * as it can after the next restore; [`waitForThreads`] waits for that.
 */
function renewSoon(renew) {
  const current = Atomics.load(cells, COUNT);
  Atomics.add(cells, BEHIND, 1);
  const done = () => {
    renew();
    Atomics.sub(cells, BEHIND, 1);
    Atomics.notify(cells, BEHIND);
  };
  const waiting = Atomics.waitAsync(cells, COUNT, current);
  if (waiting.async) waiting.value.then(done);
  else done();
}

/** Waits until the other threads have renewed what they hold, but no longer than `milliseconds`. */
function waitForThreads(milliseconds) {
  const end = performance.now() + milliseconds;
  for (;;) {
    const behind = Atomics.load(cells, BEHIND);
    const left = end - performance.now();
    if (behind <= 0 || left <= 0) return;
    Atomics.wait(cells, BEHIND, behind, left);
  }
}

module.exports = { generation, advance, renewSoon, waitForThreads };
