// Finds and loads the function: the default export of a package's entry module.

import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const CONDITIONS = new Set(['node', 'import', 'default']);
const DEFAULT_ENTRIES = ['index.mjs', 'index.js', 'index.cjs'];

/** Returns the handler of the function in `directory`. */
export async function loadFunction(directory) {
  const entry = findEntry(directory);
  const module = await import(pathToFileURL(entry));
  // A CommonJS module compiled from ES modules carries its default export as a property.
  const exported = module.default;
  const handler = typeof exported === 'function' ? exported : exported?.default;
  if (typeof handler !== 'function') {
    throw new TypeError(
      `${entry} has no function as its default export; it needs ` +
        '`export default async (request) => new Response(...)`',
    );
  }
  return handler;
}

function findEntry(directory) {
  const manifest = readManifest(path.join(directory, 'package.json'));
  const exported = exportTarget(manifest.exports);
  if (exported !== undefined) return existing(directory, [exported], 'exports');
  if (typeof manifest.main === 'string') {
    const main = manifest.main;
    const candidates = [main, `${main}.mjs`, `${main}.js`, `${main}/index.mjs`, `${main}/index.js`];
    return existing(directory, candidates, 'main');
  }
  return existing(directory, DEFAULT_ENTRIES, undefined);
}

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
    manifest = JSON.parse(text);
  } catch (error) {
    throw new SyntaxError(`${file} is not JSON: ${error.message}`);
  }
  return manifest !== null && typeof manifest === 'object' ? manifest : {};
}

/** The file that a package's "exports" names for its root, if it does. */
function exportTarget(exported) {
  if (typeof exported === 'string') return exported;
  if (Array.isArray(exported)) return exported.map(exportTarget).find((target) => target);
  if (exported === null || typeof exported !== 'object') return undefined;
  if ('.' in exported) return exportTarget(exported['.']);
  for (const [condition, target] of Object.entries(exported)) {
    if (!CONDITIONS.has(condition)) continue;
    const file = exportTarget(target);
    if (file !== undefined) return file;
  }
  return undefined;
}

function existing(directory, candidates, field) {
  for (const candidate of candidates) {
    const file = path.resolve(directory, candidate);
    if (fs.statSync(file, { throwIfNoEntry: false })?.isFile()) return file;
  }
  const origin = field === undefined ? '' : `, named by "${field}" in package.json,`;
  throw new Error(`${candidates.join(' or ')}${origin} is not in ${directory}`);
}
