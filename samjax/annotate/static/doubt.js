// What the server has is not known between a request and its answer.

import {RequestError} from './api.js';
import {UNTOUCHED} from './differences.js';

export const UNSURE = '?';

/** @param {import('./differences.js').Stored} [before] */
export const inDoubt = (before = UNTOUCHED) => ({...before, state: UNSURE});

/**
 * Send something; until an answer comes, what the server has under these keys is not known.
 * @template K, V
 * @param {Map<K, V>} known @param {K[]} keys @param {(before: V | undefined) => V} doubt @param {() => Promise<any>} put
 */
export async function unsure(known, keys, doubt, put) {
  const before = new Map(known);
  for (const key of keys) known.set(key, doubt(before.get(key)));
  try {
    return await put();
  } catch (error) {
    if (!(error instanceof RequestError) || error.isPassing) throw error;
    for (const key of keys) {
      const value = before.get(key);
      if (value === undefined) known.delete(key);
      else known.set(key, value);
    }
    throw error;
  }
}
