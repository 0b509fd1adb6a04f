// Finds a package's entry module as Node itself does: a module beside a link to the package imports
// it by name. What Node would not find on its own (TypeScript, a package without package.json) is
// looked for after that.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** Extensions of modules, in the order in which they are tried. */
const EXTENSIONS = ['.js', '.mjs', '.cjs', '.ts', '.mts', '.cts'];
const DEFAULT_ENTRIES = ['.mjs', '.js', '.cjs', '.ts', '.mts', '.cts'].map((end) => `index${end}`);

/** Returns the path of the entry module of the package in `directory`. */
export async function findEntry(directory) {
  const manifest = readManifest(path.join(directory, 'package.json'));
  const { exports, main } = manifest;
  if (exports !== undefined && exports !== null) {
    const file = await resolveByNode(directory).catch((error) => {
      throw new Error(`"exports" in ${path.join(directory, 'package.json')}: ${error.message}`);
    });
    return existing(directory, [file], 'exports');
  }
  if (typeof main === 'string' && main !== '') {
    const file = await resolveByNode(directory).catch(() => undefined);
    // Node takes index.js where "main" names nothing.
    const isMain = file !== undefined && !file.endsWith(`${path.sep}index.js`);
    const candidates = [main, ...EXTENSIONS.map((end) => main + end),
      ...EXTENSIONS.map((end) => path.join(main, `index${end}`))];
    if (isMain) return file;
    return find(directory, candidates) ?? file ?? existing(directory, candidates, 'main');
  }
  return existing(directory, DEFAULT_ENTRIES, undefined);
}

/** package.json as npm and Node read it: an object, with or without a byte-order mark. */
function readManifest(file) {
  let text;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return {};
    throw error;
  }
  let manifest;
  try {
    manifest = JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch (error) {
    throw new SyntaxError(`${file} is not JSON: ${error.message}`);
  }
  if (manifest === null || typeof manifest !== 'object' || Array.isArray(manifest)) {
    throw new TypeError(`${file} holds no JSON object`);
  }
  return manifest;
}

/** What `import 'PACKAGE'` would load. */
async function resolveByNode(directory) {
  const place = fs.mkdtempSync(path.join(os.tmpdir(), 'sprout-entry-'));
  try {
    fs.mkdirSync(path.join(place, 'node_modules'));
    fs.symlinkSync(path.resolve(directory), path.join(place, 'node_modules', 'function'));
    const module = path.join(place, 'resolve.mjs');
    fs.writeFileSync(module, "export default import.meta.resolve('function');\n");
    const { default: url } = await import(pathToFileURL(module));
    return fileURLToPath(url);
  } finally {
    fs.rmSync(place, { recursive: true, force: true });
  }
}

function find(directory, candidates) {
  return candidates
    .map((candidate) => path.resolve(directory, candidate))
    .find((file) => fs.statSync(file, { throwIfNoEntry: false })?.isFile());
}

function existing(directory, candidates, field) {
  const file = find(directory, candidates);
  if (file !== undefined) return file;
  const origin = field === undefined ? '' : `, named by "${field}" in package.json,`;
  throw new Error(`${candidates.join(' or ')}${origin} is not in ${directory}`);
}
