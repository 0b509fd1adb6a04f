// Everything two copies of one snapshot must not share, and the time, which they must know.
import { randomBytes, randomUUID, randomInt, generateKeyPairSync } from 'node:crypto';
import fs from 'node:fs';

const loadedAt = Date.now();

export default async () => {
  const device = Buffer.alloc(16);
  const fd = fs.openSync('/dev/urandom', 'r');
  fs.readSync(fd, device, 0, 16, null);
  fs.closeSync(fd);
  return Response.json({
    values: {
      randomUUID: randomUUID(),
      webUUID: crypto.randomUUID(),
      // More than are drawn around the cache, and more than the cache holds.
      manyUUIDs: Array.from({ length: 200 }, () => randomUUID()),
      randomBytes: randomBytes(16).toString('hex'),
      getRandomValues: Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString('hex'),
      mathRandom: [Math.random(), Math.random()],
      randomInt: randomInt(2 ** 47),
      urandom: device.toString('hex'),
      key: generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'der' })
        .toString('hex'),
    },
    now: Date.now(),
    loadedAt,
    performance: performance.now(),
  });
};
