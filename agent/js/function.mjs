// Loads the function: the default export of a package's entry module.

import { pathToFileURL } from 'node:url';
import { findEntry } from './entry.mjs';

/** Returns the handler of the function in `directory`. */
export async function loadFunction(directory) {
  const entry = await findEntry(directory);
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
