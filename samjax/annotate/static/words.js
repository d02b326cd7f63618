// The sentences that the panels show.

/** @typedef {import('./work.js').Work} Work */

/** @type {Record<string, string>} */
const HINTS = {
  review: 'Click accepts a proposal, right click rejects it. Elsewhere a click begins a mask.',
};
/** @type {Record<string, string>} */
const SOURCES = {
  clicks: 'By clicks', box: 'By a box', brush: 'By brush', proposal: 'By the model', changed: 'By the model, changed',
};

/** What can be done next. @param {Work | null} work @param {string} mode */
export function hintFor(work, mode) {
  if (!work) return '';
  const {draft, questions} = work;
  if (questions.trouble) return `${questions.trouble} …`;
  if (draft.answer) return '';
  if (draft.waits) return 'Asking the model …';
  if (draft.base) return 'Opened again: click to change it, Enter keeps it.';
  if (draft.paint) return 'Drawn by hand.';
  return HINTS[mode] ?? 'Click on an object, or drag a box around it.';
}

/**
 * @param {import('./state.js').Mask | undefined} mask that is selected @param {string} mode
 * @param {boolean} isToRedo
 */
export function aboutMask(mask, mode, isToRedo) {
  if (!mask) return '';
  const about = `${SOURCES[mask.source] ?? mask.source}, ${mask.annotator}.`;
  if (isToRedo) return `To be redone: R opens it to correct it. ${about}`;
  return mode === 'verify' ? `${about} R opens it to correct it.` : `${about} R opens it, Del deletes it.`;
}

/** @param {import('./state.js').Mask} mask @param {number} place */
export function titleOf({source, annotator, predicted_iou}, place) {
  const iou = predicted_iou === null ? '' : `, IoU ${predicted_iou.toFixed(2)}`;
  return `Mask ${place}: ${source}, ${annotator}${iou}`;
}

/** @param {any} session @param {number} decodeMs of the last answer, 0 for none */
export function aboutModel(session, decodeMs) {
  if (!session) return '';
  const time = decodeMs ? `, ${decodeMs.toFixed(0)} ms for the last mask` : '';
  return `Checkpoint ${session.model.name}${time}`;
}

/** @param {number} seconds @param {number} active */
export function clockText(seconds, active) {
  const wall = seconds < 600 ? `${seconds.toFixed(0)} s` : `${Math.floor(seconds / 60)} min`;
  return `${wall}, ${active.toFixed(0)} active`;
}

/** @param {number} count of masks @param {number} redos how many of them are to be redone */
export const countWithRedos = (count, redos) => (redos ? `${count}, ${redos} to redo` : String(count));

/**
 * @param {number} count of things that the server has not got
 * @param {string} why '' while they are on their way
 */
export function savedText(count, why) {
  if (!count) return 'saved';
  return why ? `Not saved: ${count}` : 'saving …';
}

/** @param {number} count */
export const countOfMasks = (count) => `${count} ${count === 1 ? 'mask' : 'masks'}`;
