// The process id changes at each restore, so that what remembers it (OpenSSL's generators of random
// numbers) sees that it is a copy. Node reads `process.pid` once, at its start.
//
// The id is looked up when it is asked for: that touches as much memory as a small request.

import fs from 'node:fs';

let known = process.pid;

/** Makes `process.pid` follow the process id. */
export function installProcessId() {
  const { enumerable, configurable } = Object.getOwnPropertyDescriptor(process, 'pid');
  const get = () => (known ??= Number(fs.readlinkSync('/proc/self')));
  Object.defineProperty(process, 'pid', { get, enumerable, configurable });
}

/** Called after each restore. */
export function renewProcessId() {
  known = null;
}
