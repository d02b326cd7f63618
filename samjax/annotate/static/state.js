// What is on the page, as one object, and every act on it as a pure function that returns the next.
//
// `doc` is the work itself: masks, proposals, verdicts, and the draft, which is the mask being made. An act puts the
// doc before it on the undo stack; undo and redo exchange docs. What the server has to be told follows from the doc
// alone (sync.js), so undoing a commit and undoing a click are one thing. Every act raises `generation`, and an answer
// of the model to an earlier generation is dropped: a late answer never undoes an undo.

/** @typedef {import('./api.js').Answer} Answer */
/** @typedef {import('./api.js').Prompts} Prompts */
/** @typedef {import('./rle.js').Runs} Runs */
/**
 * @typedef {object} Mask a mask that is committed
 * @property {string} uuid
 * @property {string} stamp changes with the mask's content
 * @property {Runs} runs
 * @property {string} source clicks, box, brush, proposal or changed
 * @property {string} annotator
 * @property {Prompts} prompts
 * @property {number | null} predicted_iou
 * @property {number | null} stability_score
 * @property {string} [handle] of the model's logits on the server; absent where the mask is not the model's alone
 * @property {number} [seconds] of its last commit; so are the next three
 * @property {number} [active_seconds]
 * @property {number} [clicks]
 * @property {import('./clock.js').Effort} [effort]
 * @property {import('./spent.js').Spent} [before] that commit
 * @property {number} [proposal] whose acceptance makes the mask
 */
/** @typedef {'open' | 'accepted' | 'rejected' | 'changed'} ProposalState */
/**
 * @typedef {{number: number, uuid: string, runs: Runs, predicted_iou: number, stability_score: number,
 *   state: ProposalState}} Proposal with the UUID of the mask that it becomes, accepted or changed
 */
/**
 * @typedef {object} Draft the mask being made: the model's answer, or the base, and brush work over it
 * @property {[number, number][]} points
 * @property {(0 | 1)[]} labels
 * @property {number[] | null} box
 * @property {string | null} previous handle of the logits to go on from
 * @property {boolean} waits whether the model has to be asked
 * @property {Answer | null} answer
 * @property {number} chosen
 * @property {Runs | null} base of a mask that was opened again
 * @property {Uint32Array | null} paint brush work, as pairs of 0 none, 1 added, 2 erased, and a length
 * @property {string | null} uuid of the mask or proposal that was opened
 * @property {number | null} proposal that was opened
 * @property {string | null} source of the mask that was opened again
 * @property {number} clicks boxes included
 * @property {number} boxes
 * @property {number} strokes of the brush
 */
/** @typedef {{masks: Mask[], proposals: Proposal[], verdicts: Record<string, string>, draft: Draft}} Doc */
/** @typedef {{doc: Doc, generation: number, undo: Doc[], redo: Doc[]}} State */

const DEPTH = 500;

/** @type {Draft} */
export const EMPTY = Object.freeze({
  points: [], labels: [], box: null, previous: null, waits: false, answer: null, chosen: 0, base: null, paint: null,
  uuid: null, proposal: null, source: null, clicks: 0, boxes: 0, strokes: 0,
});

/** @param {Partial<Doc>} [doc] @param {number} [generation] @returns {State} */
export const openState = (doc = {}, generation = 0) => ({
  doc: {masks: [], proposals: [], verdicts: {}, draft: EMPTY, ...doc},
  generation: generation + 1,
  undo: [],
  redo: [],
});

/** @param {State} state @param {Partial<Doc>} change @returns {State} */
function act(state, change) {
  return {
    doc: {...state.doc, ...change},
    generation: state.generation + 1,
    undo: [...state.undo.slice(1 - DEPTH), state.doc],
    redo: [],
  };
}

/** @param {State} state @param {Partial<Draft>} change @returns {State} */
const redraft = (state, change) => act(state, {draft: {...state.doc.draft, ...change}});

/** @param {Draft} draft */
const chosenHandle = (draft) => draft.answer?.candidates[draft.chosen]?.handle ?? draft.previous;

/** @param {Draft} draft */
export const isEmpty = (draft) =>
  !draft.points.length && !draft.box && !draft.base && !draft.paint && !draft.answer;

/** Whether there is a mask to commit. @param {Draft} draft */
export const hasMask = (draft) => Boolean(draft.answer || draft.base || draft.paint);

/** @param {State} state @param {[number, number]} point @param {0 | 1} label */
export const addPoint = (state, point, label) => redraft(state, {
  points: [...state.doc.draft.points, point],
  labels: [...state.doc.draft.labels, label],
  previous: chosenHandle(state.doc.draft),
  waits: true,
  clicks: state.doc.draft.clicks + 1,
});

/**
 * The logits that a removed point has shaped are not gone on from.
 * @param {State} state @param {number} place
 */
export function removePoint(state, place) {
  const {points, labels, box, base, answer} = state.doc.draft;
  const rest = points.filter((_, i) => i !== place);
  const asks = rest.length > 0 || box !== null;
  return redraft(state, {
    points: rest,
    labels: labels.filter((_, i) => i !== place),
    previous: null,
    waits: asks,
    answer: asks ? answer : null,
    base: asks ? base : null,
    clicks: state.doc.draft.clicks + 1,
  });
}

/** A box begins the prompts anew but for its points. @param {State} state @param {number[]} box */
export const setBox = (state, box) => redraft(state, {
  box, previous: null, waits: true, clicks: state.doc.draft.clicks + 1, boxes: state.doc.draft.boxes + 1,
});

/** @param {State} state @param {Uint32Array | null} paint the brush work after a stroke */
export const paint = (state, paint) => redraft(state, {paint, strokes: state.doc.draft.strokes + 1});

/** Choosing is no act: it can be undone by choosing. @param {State} state @param {number} chosen */
export function choose(state, chosen) {
  const {draft} = state.doc;
  const count = draft.answer?.candidates.length ?? 0;
  if (!count) return state;
  return {...state, doc: {...state.doc, draft: {...draft, chosen: ((chosen % count) + count) % count}}};
}

/**
 * The model has answered. No act: an answer comes by itself.
 * @param {State} state @param {Answer} answer
 */
export function receive(state, answer) {
  const {draft} = state.doc;
  if (answer.generation !== state.generation || !draft.waits) return state;
  const settled = {...draft, answer, chosen: 0, waits: false, base: null};
  return {...state, doc: {...state.doc, draft: settled}};
}

/** The server has lost the logits to go on from: ask again without. @param {State} state */
export const forgetLogits = (state) =>
  ({...state, doc: {...state.doc, draft: {...state.doc.draft, previous: null}}});

/**
 * Put the draft among the masks, or in the place of the mask that was opened.
 * @param {State} state @param {Mask} mask
 */
export function commit(state, mask) {
  const {masks, proposals, draft} = state.doc;
  const exists = masks.some(({uuid}) => uuid === mask.uuid);
  const number = draft.proposal ?? masks.find(({uuid}) => uuid === mask.uuid)?.proposal;
  const made = number === undefined ? mask : {...mask, proposal: number};
  return act(state, {
    verdicts: without(state.doc.verdicts, mask.uuid),
    masks: exists ? masks.map((other) => (other.uuid === mask.uuid ? made : other)) : [...masks, made],
    proposals: number === undefined ? proposals : withStates(proposals, new Map([[number, 'changed']])),
    draft: EMPTY,
  });
}

/** @param {State} state */
export const drop = (state) => (isEmpty(state.doc.draft) ? state : act(state, {draft: EMPTY}));

/** @param {State} state @param {string} uuid */
export function remove(state, uuid) {
  const mask = state.doc.masks.find((other) => other.uuid === uuid);
  if (!mask) return state;
  return act(state, {
    masks: state.doc.masks.filter((other) => other !== mask),
    proposals: mask.proposal === undefined
      ? state.doc.proposals : withStates(state.doc.proposals, new Map([[mask.proposal, 'rejected']])),
    draft: state.doc.draft.uuid === uuid ? EMPTY : state.doc.draft,
  });
}

/** Open a mask again, with its prompts. @param {State} state @param {Mask} mask */
export const reopen = (state, mask) => act(state, {draft: {
  ...EMPTY,
  points: /** @type {[number, number][]} */ (mask.prompts.points),
  labels: /** @type {(0 | 1)[]} */ (mask.prompts.labels),
  box: mask.prompts.box,
  base: mask.runs,
  uuid: mask.uuid,
  source: mask.source,
}});

/** @param {State} state @param {Proposal} proposal */
export const openProposal = (state, proposal) =>
  act(state, {
    draft: {...EMPTY, base: proposal.runs, uuid: proposal.uuid, proposal: proposal.number, source: 'proposal'},
  });

/** @param {Proposal[]} proposals @param {Map<number, ProposalState>} states */
const withStates = (proposals, states) =>
  proposals.map((one) => (states.has(one.number) ? {...one, state: states.get(one.number) ?? one.state} : one));

/** Accept proposals, as one act. @param {State} state @param {number[]} numbers @param {Mask[]} masks they become */
export const accept = (state, numbers, masks) => act(state, {
  masks: [...state.doc.masks, ...masks],
  proposals: withStates(state.doc.proposals, new Map(numbers.map((number) => [number, 'accepted']))),
  draft: numbers.includes(state.doc.draft.proposal ?? -1) ? EMPTY : state.doc.draft,
});

/** @param {State} state @param {number} number */
export const reject = (state, number) => act(state, {
  proposals: withStates(state.doc.proposals, new Map([[number, 'rejected']])),
  draft: state.doc.draft.proposal === number ? EMPTY : state.doc.draft,
});

/** @param {State} state @param {string} uuid @param {string} verdict */
export const judge = (state, uuid, verdict) =>
  act(state, {verdicts: {...state.doc.verdicts, [uuid]: verdict}});

/** @param {Record<string, string>} verdicts @param {string} uuid of a mask that changes: it is to be judged anew */
function without(verdicts, uuid) {
  const {[uuid]: lost, ...rest} = verdicts;
  return lost === undefined ? verdicts : rest;
}

/** @param {State} state @returns {State} */
export function undo(state) {
  const doc = state.undo.at(-1);
  if (!doc) return state;
  const {generation} = state;
  return {doc, generation: generation + 1, undo: state.undo.slice(0, -1), redo: [...state.redo, state.doc]};
}

/** @param {State} state @returns {State} */
export function redo(state) {
  const doc = state.redo.at(-1);
  if (!doc) return state;
  const {generation} = state;
  return {doc, generation: generation + 1, undo: [...state.undo, state.doc], redo: state.redo.slice(0, -1)};
}

/**
 * Change masks everywhere, the undo stack included: the server's own form of one has come. No act.
 * @param {State} state @param {(mask: Mask) => Mask} change @returns {State}
 */
export function rewrite(state, change) {
  /** @type {Map<Mask, Mask>} the same mask stays one object in every doc */
  const made = new Map();
  const once = (/** @type {Mask} */ mask) => made.get(mask) ?? (made.set(mask, change(mask)), made.get(mask) ?? mask);
  return everywhere(state, (doc) => {
    const masks = doc.masks.map(once);
    return masks.every((mask, i) => mask === doc.masks[i]) ? doc : {...doc, masks};
  });
}

/** A mask has changed on the server: no undo brings its verdict back. @param {State} state @param {string} uuid */
export const forgetVerdict = (state, uuid) => everywhere(state, (doc) => {
  const verdicts = without(doc.verdicts, uuid);
  return verdicts === doc.verdicts ? doc : {...doc, verdicts};
});

/** @param {State} state @param {(doc: Doc) => Doc} change @returns {State} */
const everywhere = (state, change) =>
  ({...state, doc: change(state.doc), undo: state.undo.map(change), redo: state.redo.map(change)});

/** Another mask is there without an act of this person. @param {State} state @param {Mask} mask @returns {State} */
export const appear = (state, mask) =>
  ({...state, doc: {...state.doc, masks: [...state.doc.masks, mask]}});

/** Keep our version of a mask too, or in the place of the other. @param {State} state @param {Mask} mask */
export const keep = (state, mask) => act(state, {
  masks: state.doc.masks.some(({uuid}) => uuid === mask.uuid)
    ? state.doc.masks.map((other) => (other.uuid === mask.uuid ? mask : other)) : [...state.doc.masks, mask],
});

/** Where a mask of this draft comes from. @param {Draft} draft */
export function sourceOf({proposal, source, paint, points, box, answer}) {
  if (proposal !== null || source === 'proposal' || source === 'changed') return 'changed';
  if (paint) return 'brush';
  if (!answer && source) return source;
  return box && !points.length ? 'box' : 'clicks';
}
