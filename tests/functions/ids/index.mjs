// Ids of real packages, most of which draw random bytes ahead.
import crypto from 'node:crypto';
import { ObjectId, UUID } from 'bson';
import { nanoid, customAlphabet } from 'nanoid';
import { monotonicFactory, ulid } from 'ulid';
import { v1, v4, v6, v7 } from 'uuid';

const short = customAlphabet('0123456789abcdef', 24);
const monotonic = monotonicFactory();
const pools = {
  randomBytes: crypto.randomBytes(64),
  randomFillSync: crypto.randomFillSync(new Uint32Array(16)),
  getRandomValues: crypto.getRandomValues(new Uint8Array(64)),
  copied: new Uint32Array(new Uint8Array(crypto.randomBytes(64)).buffer),
};
const hex = (view) => Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString('hex');
const makers = {
  nanoid, short, v1, v4, v6, v7, ulid, monotonic,
  objectId: () => new ObjectId().toHexString(),
  bsonUuid: () => new UUID().toHexString(),
};

export default () => Response.json({
  ids: Object.fromEntries(Object.entries(makers).map(([name, make]) => [name, [make(), make()]])),
  pools: Object.fromEntries(Object.entries(pools).map(([name, view]) => [name, hex(view)])),
});
