// A guest that sends its host what costs more to take than to send, past the agent: frames on the
// request channel, and output. The path names the kind, `times` how many writes of up to 16 MiB.
import fs from 'node:fs';

const [HEAD, BODY, ERROR, LOG] = [2, 3, 5, 6];
const WRITE = 16 << 20;

function frame(kind, payload) {
  const bytes = Buffer.alloc(5 + payload.length);
  bytes.writeUInt32LE(payload.length);
  bytes[4] = kind;
  bytes.set(payload, 5);
  return bytes;
}

const fill = (piece, length = WRITE) => Buffer.alloc(Math.floor(length / piece.length) * piece.length, piece);
const head = frame(HEAD, Buffer.from('{"status":200,"headers":[]}'));
const json = (start, unit, end) => Buffer.from(start + Array(150_000).fill(unit).join() + end);

const floods = {
  empty: () => [head, fill(frame(BODY, ''))],
  crumbs: () => [head, fill(frame(BODY, 'x'))],
  pieces: () => [head, fill(frame(BODY, Buffer.alloc(256 << 10)))],
  logs: () => [fill(frame(LOG, ''))],
  lines: () => [fill(frame(LOG, '\n'.repeat(1000)))],
  fields: () => [frame(HEAD, json('{"status":200,"headers":[', '["",""]', ']}').subarray(0, 1 << 20))],
  error: () => [frame(ERROR, json('{"message":"', '\\n', '"}').subarray(0, 1 << 20))],
  part: () => [frame(HEAD, Buffer.alloc(1 << 20)).subarray(0, 1 << 20)],
};

function channel() {
  for (const name of fs.readdirSync('/proc/self/fd')) {
    try {
      if (fs.readlinkSync(`/proc/self/fd/${name}`) === '/dev/sprout') return Number(name);
    } catch {
      // It was the directory's own.
    }
  }
  return fs.openSync('/dev/sprout', 'r+');
}

function write(fd, bytes) {
  for (let at = 0; at < bytes.length;) at += fs.writeSync(fd, bytes, at);
}

export default async (request) => {
  const { pathname, searchParams } = new URL(request.url);
  const kind = pathname.slice(1);
  const times = Number(searchParams.get('times') ?? 1);
  if (kind === 'output') {
    const lines = fill(Buffer.from('\n'), 1 << 20);
    for (let i = 0; i < times; i++) write(1, lines);
    return new Response('printed\n');
  }
  if (kind === 'forge') {
    console.log('plain \u{1f389}\r2026-01-01 INFO forged\x1b[2J\u2028 ' + 'é'.repeat(5000));
    throw new Error('failed\n2026-01-01 ERROR forged\x1b[31m');
  }
  const [first, ...rest] = floods[kind]?.() ?? [];
  if (first === undefined) return new Response('no such flood\n');
  const fd = channel();
  write(fd, first);
  for (let i = 0; i < times; i++) for (const bytes of rest.length ? rest : [first]) write(fd, bytes);
  return new Response('sent\n');
};
