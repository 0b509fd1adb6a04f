// `performance.timeOrigin` after a restore. The monotonic clock stands still while a snapshot lies on
// disk, so that timers go on where they were; `timeOrigin + now()` would be late by that time. So the
// origin moves: it is the time of day less what the monotonic clock shows, as found at its first use
// after the restore.

'use strict';

const { generation } = require('./generation.cjs');

/** Makes `performance.timeOrigin` follow restores, in this thread. */
function installTimeOrigin() {
  const prototype = Object.getPrototypeOf(performance);
  const descriptor = Object.getOwnPropertyDescriptor(prototype, 'timeOrigin');
  const { now } = performance;
  let current = generation();
  let moved = null;
  const read = {
    get timeOrigin() {
      // As the original does, refuses what is no Performance.
      const original = Reflect.apply(descriptor.get, this, []);
      if (current !== generation()) {
        current = generation();
        moved = Date.now() - Reflect.apply(now, performance, []);
      }
      return moved ?? original;
    },
  };
  const { get } = Object.getOwnPropertyDescriptor(read, 'timeOrigin');
  Object.defineProperty(prototype, 'timeOrigin', { ...descriptor, get });
}

module.exports = { installTimeOrigin };
