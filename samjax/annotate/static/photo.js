// A photo as the server gives it, as the page holds it.

import {decodeCounts} from './rle.js';
import {spentBefore} from './spent.js';

/** @param {any} stored MASK of the routes @returns {import('./state.js').Mask} */
export const maskFrom = (stored, uuid = stored.uuid) => ({
  uuid,
  stamp: `${uuid}@${stored.revision}`,
  runs: decodeCounts(stored.runs.counts),
  source: stored.source,
  annotator: stored.annotator,
  prompts: {
    points: stored.prompts?.points ?? [], labels: stored.prompts?.labels ?? [], box: stored.prompts?.box ?? null},
  predicted_iou: stored.predicted_iou ?? null,
  stability_score: stored.stability_score ?? null,
  before: spentBefore(stored),
  ...(stored.proposal === undefined || stored.proposal === null ? {} : {proposal: stored.proposal}),
});

/**
 * @param {any} answer of `next` or `back`
 * @returns {{doc: Pick<import('./state.js').Doc, 'masks' | 'proposals' | 'verdicts'>,
 *   server: import('./differences.js').Server}} what is shown, and the same as known to be on the server
 */
export function photoState({masks = [], proposals = []}) {
  const shown = masks.map((/** @type {any} */ stored) => maskFrom(stored));
  const verdicts = masks.filter((/** @type {any} */ one) => one.verdict)
    .map((/** @type {any} */ one) => [one.uuid, one.verdict]);
  return {
    doc: {
      masks: shown,
      proposals: proposals.map((/** @type {any} */ one) => ({...one, runs: decodeCounts(one.runs.counts)})),
      verdicts: Object.fromEntries(verdicts),
    },
    server: {
      masks: new Map(shown.map((/** @type {any} */ {uuid, stamp}, /** @type {number} */ i) =>
        [uuid, {stamp, revision: masks[i].revision, name: uuid}])),
      deleted: new Map(),
      states: new Map(proposals.map((/** @type {any} */ {number, state, revision}) => [number, {state, revision}])),
      verdicts: new Map(verdicts),
    },
  };
}
