// Two worker threads that were up before the snapshot add to shared memory; deployed with two vCPUs.
import os from 'node:os';
import { Worker } from 'node:worker_threads';

const code = `
const { parentPort } = require('node:worker_threads');
parentPort.on('message', ({ shared, rounds }) => {
  const counter = new Int32Array(shared);
  for (let round = 0; round < rounds; round++) Atomics.add(counter, 0, 1);
  parentPort.postMessage(rounds);
});
`;
const workers = [0, 1].map(() => new Worker(code, { eval: true }));

export default async () => {
  const shared = new SharedArrayBuffer(4);
  await Promise.all(
    workers.map(
      (worker) =>
        new Promise((resolve, reject) => {
          worker.once('message', resolve);
          worker.once('error', reject);
          worker.postMessage({ shared, rounds: 20000 });
        }),
    ),
  );
  return Response.json({ sum: new Int32Array(shared)[0], processors: os.cpus().length });
};
