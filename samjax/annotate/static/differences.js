// What the page shows and the server has not, as requests. Pure: sync.js sends them.

import {countsOf} from './rle.js';

/** @typedef {import('./state.js').Mask} Mask */
/** @typedef {import('./state.js').Doc} Doc */
/** @typedef {import('./state.js').Proposal} Proposal */
/** @typedef {{source: string, annotator: string, counts: string, handle?: string, prompts: any}} Content */
/**
 * @typedef {object} Known what the server has of a mask
 * @property {string} stamp of its content; '' where that is not sure
 * @property {number} revision 0 where it may not be there
 * @property {string} name its UUID there
 * @property {Content[]} [sent] contents that were sent and not answered: any may be the stored one
 */
/** @typedef {{state: string, revision: number}} Stored state of a proposal; `revision` says how often it was set */
/**
 * @typedef {object} Server
 * @property {Map<string, Known>} masks
 * @property {Map<string, {name: string, revision: number}>} deleted what brings each deleted mask back
 * @property {Map<number, Stored>} states of proposals that somebody has touched
 * @property {Map<string, string>} verdicts
 */
/**
 * @typedef {{kind: 'put', key: string, mask: Mask} | {kind: 'delete', key: string, known: Known}
 *   | {kind: 'proposal', key: string, number: number, state: string}
 *   | {kind: 'accept', key: string, numbers: number[]}
 *   | {kind: 'verdict', key: string, uuid: string, verdict: string}} Task
 */
/** @typedef {Pick<Doc, 'masks' | 'proposals' | 'verdicts'>} Work */

/** @type {Stored} of a proposal that nobody has touched */
export const UNTOUCHED = Object.freeze({state: 'open', revision: 0});

/**
 * @param {Work} work what the page shows
 * @param {Server} server what the server is known to have
 * @returns {Task[]} what has to be told to the server, in this order
 */
export function differences(work, server) {
  /** @type {Task[]} */
  const tasks = [];
  const shown = new Set(work.masks.map(({uuid}) => uuid));
  const stateOf = (/** @type {number} */ number) => (server.states.get(number) ?? UNTOUCHED).state;
  const isTakenBack = (/** @type {Proposal} */ {number, state}) =>
    ['open', 'rejected'].includes(state) && stateOf(number) === 'accepted';
  const takenBack = new Set(work.proposals.filter(isTakenBack).map(({uuid}) => uuid));  // that deletes the mask, too
  for (const [uuid, known] of server.masks) {
    if (!shown.has(uuid) && !takenBack.has(known.name)) tasks.push({kind: 'delete', key: uuid, known});
  }
  // What a proposal became is the server's to make: its answer brings the mask's UUID, again where it was lost.
  const isUnknown = (/** @type {Mask} */ {uuid, source, proposal}) =>
    source === 'proposal' && proposal !== undefined && !server.masks.has(uuid);
  const unknown = new Set(work.masks.filter(isUnknown).map(({proposal}) => proposal));
  const other = work.proposals.filter(({number, state}) => {
    const isFirstForm = state === 'accepted' && stateOf(number) === 'changed';  // undone: that changes its mask
    return (state !== stateOf(number) && !isFirstForm) || (state === 'accepted' && unknown.has(number));
  });
  const accepted = other.filter(({state}) => state === 'accepted').map(({number}) => number);
  if (accepted.length) tasks.push({kind: 'accept', key: `accept-${accepted}`, numbers: accepted});
  for (const {number, state} of other) {
    if (state !== 'accepted') tasks.push({kind: 'proposal', key: `state-${number}`, number, state});
  }
  for (const mask of work.masks) {
    if (server.masks.get(mask.uuid)?.stamp !== mask.stamp && !isUnknown(mask)) {
      tasks.push({kind: 'put', key: mask.uuid, mask});
    }
  }
  for (const uuid of new Set([...Object.keys(work.verdicts), ...server.verdicts.keys()])) {
    const verdict = work.verdicts[uuid] ?? 'open';
    const isChanging = tasks.some(({kind, key}) => kind === 'put' && key === uuid);  // that withdraws the verdict
    if (!isChanging && verdict !== (server.verdicts.get(uuid) ?? 'open')) {
      tasks.push({kind: 'verdict', key: `verdict-${uuid}`, uuid, verdict});
    }
  }
  return tasks;
}

/** What a refusal is about: another content of the same thing may be tried. @param {Task} task */
export function stampOf(task) {
  if (task.kind === 'put') return task.mask.stamp;
  if (task.kind === 'proposal') return task.state;
  return task.kind === 'verdict' ? task.verdict : '';
}

/** @param {Mask} mask @returns {Content} */
export function contentOf({source, annotator, handle, prompts, runs}) {
  return {source, annotator, handle, prompts, counts: countsOf(runs)};
}

/**
 * Whether what the server has stored is that content.
 * @param {any} stored
 * @param {Content} content
 */
export const isSame = (stored, {annotator, source, counts, handle, prompts}) =>
  stored.annotator === annotator && stored.source === source && (stored.runs.counts === counts
    || (Boolean(handle) && JSON.stringify(promptsOf(stored)) === JSON.stringify(promptsOf({prompts}))));

/** @param {{prompts: import('./api.js').Prompts}} mask */
const promptsOf = ({prompts}) => [prompts?.points ?? [], prompts?.labels ?? [], prompts?.box ?? null];
