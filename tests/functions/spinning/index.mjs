// Two threads that never rest.
import { Worker } from 'node:worker_threads';

const counter = new BigInt64Array(new SharedArrayBuffer(16));
for (const index of [0, 1]) {
  new Worker(`
    const { workerData: { counter, index } } = require('node:worker_threads');
    for (;;) Atomics.add(counter, index, 1n);
  `, { eval: true, workerData: { counter, index } });
}

export default async () => {
  const before = [...counter];
  await new Promise((resolve) => setTimeout(resolve, 100));
  return Response.json({ counts: [...counter].map((value, index) => value > before[index]) });
};
