// Allocation-heavy JavaScript: short-lived objects, then 1 GiB of arrays and Buffers. Prints the
// milliseconds it took.
const start = performance.now();
let sum = 0;
for (let round = 0; round < 200; round++) {
  let list = null;
  for (let i = 0; i < 50_000; i++) {
    list = { next: i % 100 ? list : null, pair: [i, i + 1], name: `n${i}` };
  }
  sum += list.pair[0];
}
for (let i = 0; i < 128; i++) {
  sum += new Float64Array(512 * 1024).fill(i)[i];
}
for (let i = 0; i < 8192; i++) {
  sum += Buffer.alloc(64 * 1024, i & 255)[i];
}
if (!(sum > 0)) {
  throw new Error(`an impossible sum: ${sum}`);
}
console.log((performance.now() - start).toFixed(1));
