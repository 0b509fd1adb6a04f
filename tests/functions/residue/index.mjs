// Leaves as much behind as a request can, and looks for what others left.
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { Worker } from 'node:worker_threads';

let requests = 0;
const kept = [];
const text = (answer) => Response.json({ requests, ...answer });

/** The mark a secret begins with, which stands nowhere in this text. */
const mark = () => Buffer.from([0x2f, 0x33, 0x3e, 0x31, 0x2b, 0x3a, 0x3b, 0x52].map((byte) => byte ^ 0x7f));

/** How often the mark and 16 digits behind it lie in the memory of this VM. */
async function hunt(megabytes) {
  const hunter = spawn('/function/hunt', [String(megabytes)], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  hunter.stdout.on('data', (data) => (said += data));
  await new Promise((resolve) => hunter.once('close', resolve));
  return JSON.parse(said);
}

async function plant(digits) {
  const secret = mark().toString('latin1') + digits;
  globalThis.secret = secret;
  process.env.SECRET = secret;
  kept.push(Buffer.alloc(1 << 20, secret), { [secret]: [secret, new Error(secret)] });
  fs.writeFileSync('/tmp/secret', secret);
  fs.mkdirSync(`/tmp/${secret}`);
  kept.push(setInterval(() => kept.push(secret), 1));
  kept.push(new Promise(() => {}).then(() => secret));
  const worker = new Worker(`require('node:worker_threads').parentPort.postMessage(1); setInterval(() => {}, 9)`, {
    eval: true,
    workerData: secret,
  });
  await new Promise((resolve) => worker.once('message', resolve));
  const child = spawn(process.execPath, ['-e', 'console.log(1); setInterval(() => {}, 9)'], {
    env: { SECRET: secret },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await new Promise((resolve) => child.stdout.once('data', resolve));
}

const acts = {
  count: () => ({ files: fs.readdirSync('/tmp').length }),
  allocate: (size) => {
    kept.push(Buffer.alloc(size << 20, 1));
    return { size };
  },
  worker: async () => {
    const worker = new Worker(`require('node:worker_threads').parentPort.postMessage(42)`, { eval: true });
    return { said: await new Promise((resolve) => worker.once('message', resolve)) };
  },
  child: async () => {
    const child = spawn(process.execPath, ['-p', '6 * 7'], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.on('data', (data) => (said += data));
    await new Promise((resolve) => child.once('close', resolve));
    return { said: Number(said) };
  },
  files: () => {
    for (let number = 0; number < 50; number += 1) {
      fs.writeFileSync(`/tmp/file-${number}`, randomBytes(10_000));
    }
    return { files: fs.readdirSync('/tmp').length };
  },
  timers: () => {
    kept.push(setInterval(() => kept.push(requests), 1), new Promise(() => {}));
    return {};
  },
  signals: async () => {
    const heard = new Promise((resolve) => process.once('SIGUSR2', resolve));
    // A listener alone keeps no process waiting.
    kept.push(setInterval(() => {}, 1000));
    process.kill(process.pid, 'SIGUSR2');
    return { heard: await heard };
  },
  compile: async () => {
    // A module with 17 pages of memory and one function, 20 + 22.
    const bytes = '0061736d010000000105016000017f03020100050301001107070103616464' +
      '00000a09010700411441166a0b';
    const { instance } = await WebAssembly.instantiate(Buffer.from(bytes, 'hex'));
    const grown = Function('a', `${'a += 1;'.repeat(500)} return a`);
    return { sum: instance.exports.add(), grown: grown(0) };
  },
  vectors: () => {
    const numbers = Float64Array.from({ length: 10_000 }, (_, index) => index * 1.5);
    const digest = createHash('sha512').update(Buffer.from(numbers.buffer)).digest('hex');
    return { digest: digest.slice(0, 16) };
  },
  leave: () => process.exit(3),
};

export default async (request) => {
  requests += 1;
  const { pathname, searchParams } = new URL(request.url);
  const act = pathname.slice(1);
  if (act === 'plant') {
    await plant(searchParams.get('digits'));
    return text(searchParams.has('hunt') ? await hunt(searchParams.get('hunt')) : {});
  }
  if (act === 'hunt') return text(await hunt(searchParams.get('size')));
  return text(await acts[act](Number(searchParams.get('size') ?? 0)));
};
