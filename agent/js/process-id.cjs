// The process id changes at each restore, so that what remembers it (OpenSSL's generators of random
// numbers) sees that it is a copy. Node reads `process.pid` once, at its start.
//
// The id is looked up when it is asked for: that touches as much memory as a small request.

'use strict';

const fs = require('node:fs');
const { generation } = require('./generation.cjs');

/** Makes `process.pid` follow the process id, in this thread. */
function installProcessId() {
  let known = process.pid;
  let current = generation();
  const { enumerable, configurable } = Object.getOwnPropertyDescriptor(process, 'pid');
  const get = () => {
    if (current !== generation()) {
      current = generation();
      known = Number(fs.readlinkSync('/proc/self'));
    }
    return known;
  };
  Object.defineProperty(process, 'pid', { get, enumerable, configurable });
}

module.exports = { installProcessId };
