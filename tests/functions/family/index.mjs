// A child process that was there before the snapshot, and what it and its parent make of the copy.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const child = spawn('/function/copy', { stdio: ['pipe', 'pipe', 'inherit'] });
const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
const ask = async () => {
  child.stdin.write('\n');
  return (await lines.next()).value;
};
const atLoad = await ask();

export default async (request) => {
  const now = await ask();
  const found = process.kill(child.pid, 0);
  if (!request.url.endsWith('/end')) return Response.json({ atLoad, now, found });
  const ended = new Promise((resolve) => {
    child.once('exit', (status, signal) => resolve({ status, signal }));
  });
  child.stdin.end();
  return Response.json({ atLoad, now, found, ended: await ended });
};
