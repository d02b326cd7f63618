// What a mask has taken in all. The server is told the sum, not what a commit added: a request that is sent again, or
// undone, counts no second twice.

import {MOST_DECODES} from './clock.js';

/** @typedef {import('./clock.js').Effort} Effort */
/**
 * @typedef {object} Spent
 * @property {number} seconds
 * @property {number} active_seconds
 * @property {number} clicks
 * @property {number} since revision of the mask when the page got it, 0 for one that was made here
 * @property {Effort} effort since then
 */

/** @type {Effort} */
const NO_EFFORT = {first_seconds: null, boxes: 0, strokes: 0, undos: 0, decode_ms: []};
/** @type {Spent} */
const NOTHING = {seconds: 0, active_seconds: 0, clicks: 0, since: 0, effort: NO_EFFORT};

/** What a mask has taken, its last commit included. @param {import('./state.js').Mask} mask @returns {Spent} */
export function spentOn({seconds = 0, active_seconds = 0, clicks = 0, effort = NO_EFFORT, before = NOTHING}) {
  return {
    seconds: round(before.seconds + seconds),
    active_seconds: round(before.active_seconds + active_seconds),
    clicks: before.clicks + clicks,
    since: before.since,
    effort: {
      first_seconds: before.effort.first_seconds ?? effort.first_seconds,
      boxes: before.effort.boxes + effort.boxes,
      strokes: before.effort.strokes + effort.strokes,
      undos: before.effort.undos + effort.undos,
      decode_ms: [...before.effort.decode_ms, ...effort.decode_ms].slice(0, MOST_DECODES),
    },
  };
}

/** What a mask of the server's has taken. @param {any} stored MASK of the routes @returns {Spent} */
export const spentBefore = ({seconds = 0, active_seconds = 0, clicks = 0, revision = 0}) =>
  ({seconds, active_seconds, clicks, since: revision, effort: NO_EFFORT});

/** To milliseconds. @param {number} seconds */
const round = (seconds) => Math.round(1000 * seconds) / 1000;
