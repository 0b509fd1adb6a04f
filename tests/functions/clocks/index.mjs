// The clocks of all threads, and timers that were set before the snapshot.
import { performance as hooks } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';

const loadedAt = Date.now();
let ticks = 0;
setInterval(() => { ticks += 1; }, 50).unref();
const worker = new Worker(`
  const { parentPort } = require('node:worker_threads');
  const { performance: hooks } = require('node:perf_hooks');
  let ticks = 0;
  setInterval(() => { ticks += 1; }, 50);
  parentPort.on('message', () => {
    const before = ticks;
    setTimeout(() => parentPort.postMessage({ ticks: ticks - before, lag: [performance, hooks]
      .map((clock) => clock.timeOrigin + clock.now() - Date.now()) }), 300);
  });
`, { eval: true });
worker.unref();

export default async () => {
  const before = ticks;
  const inWorker = new Promise((resolve) => {
    worker.once('message', resolve);
    worker.postMessage('?');
  });
  const lag = [performance, hooks].map((clock) => clock.timeOrigin + clock.now() - Date.now());
  const mark = performance.mark('now');
  lag.push(performance.timeOrigin + mark.startTime - Date.now());
  await new Promise((resolve) => setTimeout(resolve, 300));
  return Response.json({ age: Date.now() - loadedAt, lag, ticks: ticks - before,
    worker: await inWorker });
};
