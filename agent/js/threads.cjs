// Worker threads: each has a `crypto`, a `performance` and a `process` of its own, in which a restore
// has to show as in the first thread. So each loads thread.cjs before the program's code.

'use strict';

const worker = require('node:worker_threads');
const { isMainThread } = worker;
const { syncBuiltinESMExports } = require('node:module');

const PRELOAD = `--require=${require.resolve('./thread.cjs')}`;

/** Options of the process that a worker's own list of options must not have. */
const OF_PROCESS = /^--(v8-pool-size|max-semi-space-size)=/;

/** Has the worker threads started from now on, by this thread, load thread.cjs. */
function installThreads() {
  const { Worker: Original } = worker;
  const Worker = class Worker extends Original {
    constructor(file, options) {
      super(file, { ...options, execArgv: withPreload(options?.execArgv) });
    }
  };
  worker.Worker = Worker;
  syncBuiltinESMExports();
}

function withPreload(given) {
  if (given !== undefined && !Array.isArray(given)) return given;
  const own = given ?? process.execArgv.filter((option) => !OF_PROCESS.test(option));
  return own.includes(PRELOAD) ? own : [...own, PRELOAD];
}

/** Options as the program sees them are those it knows of. */
function hidePreload() {
  if (isMainThread) return;
  const index = process.execArgv.indexOf(PRELOAD);
  if (index >= 0) process.execArgv.splice(index, 1);
}

module.exports = { installThreads, hidePreload };
