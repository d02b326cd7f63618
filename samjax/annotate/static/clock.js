// How long a person works on a mask.

/**
 * @typedef {object} Effort what went into a mask besides its seconds and clicks
 * @property {number | null} first_seconds to the first click, box or stroke
 * @property {number} boxes
 * @property {number} strokes
 * @property {number} undos
 * @property {number[]} decode_ms of each answer of the model, previews excluded
 */

export const PAUSE_MS = 5000;
export const MOST_DECODES = 1000;

/**
 * Wall time since the last commit or the photo was shown, and the active part of it: pauses of more than five seconds
 * and times in which the tab was hidden are no work. Milliseconds come from outside, so that tests need not wait.
 */
export class MaskClock {
  /** @param {number} now */
  constructor(now) {
    this.hidden = false;
    this.start = now;
    this.last = now;
    this.active = 0;
    this.earlier = 0;
    /** @type {number | null} milliseconds to the first click, box or stroke */
    this.first = null;
    this.undos = 0;
    /** @type {number[]} milliseconds that the model took for each answer */
    this.decodes = [];
  }

  /** @param {number} now */
  restart(now) {
    Object.assign(this, new MaskClock(now), {hidden: this.hidden});
  }

  /** The person clicked, drew a box or a stroke. @param {number} now */
  prompt(now) {
    this.first ??= now - this.start + this.earlier;
  }

  undo() {
    this.undos += 1;
  }

  /** The model has answered. @param {number} ms */
  decode(ms) {
    if (this.decodes.length < MOST_DECODES) this.decodes.push(ms);
  }

  /** The person did something. @param {number} now */
  touch(now) {
    if (!this.hidden) this.active += this.stretch(now);
    this.last = now;
  }

  /** The tab was hidden or shown. @param {number} now @param {boolean} hidden */
  hide(now, hidden) {
    if (hidden === this.hidden) return;
    this.touch(now);
    this.hidden = hidden;
  }

  /**
   * Go on with a mask that was put away, as undoing a commit does.
   * @param {number} seconds @param {number} activeSeconds @param {Effort} [effort]
   */
  resume(seconds, activeSeconds, effort) {
    this.earlier += 1000 * seconds;
    this.active += 1000 * activeSeconds;
    if (!effort) return;
    this.first = effort.first_seconds === null ? this.first : 1000 * effort.first_seconds;
    this.undos += effort.undos;
    this.decodes = [...effort.decode_ms, ...this.decodes].slice(0, MOST_DECODES);
  }

  /** @returns {Pick<Effort, 'first_seconds' | 'undos' | 'decode_ms'>} */
  effort() {
    return {
      first_seconds: this.first === null ? null : round(this.first), undos: this.undos, decode_ms: [...this.decodes],
    };
  }

  /** @param {number} now @returns {{seconds: number, active_seconds: number}} */
  read(now) {
    const active = this.active + (this.hidden ? 0 : this.stretch(now));
    const wall = now - this.start + this.earlier;
    return {seconds: round(wall), active_seconds: round(Math.min(active, wall))};
  }

  /** @param {number} now */
  stretch(now) {
    const passed = now - this.last;
    return passed > PAUSE_MS ? 0 : passed;
  }
}

/** @param {number} ms */
const round = (ms) => Math.round(ms) / 1000;
