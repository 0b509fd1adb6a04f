// At work while the snapshot is taken: a worker that ticks, V8's profiler, a child process.
import { fork } from 'node:child_process';
import { Session } from 'node:inspector/promises';
import { Worker } from 'node:worker_threads';

const counter = new Int32Array(new SharedArrayBuffer(4));
new Worker(`
  const { workerData } = require('node:worker_threads');
  setInterval(() => Atomics.add(workerData, 0, 1), 5);
`, { eval: true, workerData: counter });
const child = fork(new URL('./child.mjs', import.meta.url));
const session = new Session();
session.connect();
await session.post('Profiler.enable');
await session.post('Profiler.setSamplingInterval', { interval: 1000 });
await session.post('Profiler.start');

export default async (request) => {
  const before = Atomics.load(counter, 0);
  const doubled = new Promise((resolve) => child.once('message', resolve));
  child.send(21);
  await new Promise((resolve) => setTimeout(resolve, 200));
  const ticks = Atomics.load(counter, 0) - before;
  let samples = null;
  if (request.url.endsWith('/profile')) {
    samples = (await session.post('Profiler.stop')).profile.samples.length;
  }
  return Response.json({ ticks, doubled: await doubled, samples });
};
