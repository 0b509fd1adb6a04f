// Changes everything a later request could see if instances were shared: a global, a file, the
// environment. Every request must find the snapshot's state.
import fs from 'node:fs';

let counter = 0;

export default async () => {
  counter += 1;
  fs.appendFileSync('/tmp/state', 'x');
  process.env.SPROUT_STATE = `${process.env.SPROUT_STATE ?? ''}x`;
  globalThis.leftBehind = (globalThis.leftBehind ?? 0) + 1;
  return Response.json({
    counter,
    file: fs.readFileSync('/tmp/state', 'utf8').length,
    environment: process.env.SPROUT_STATE.length,
    global: globalThis.leftBehind,
  });
};
