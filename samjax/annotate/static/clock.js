// How long a person works on a mask.

export const PAUSE_MS = 5000;

/**
 * Wall time since the last commit or the photo was shown, and the active part of it: pauses of more than five seconds
 * and times in which the tab was hidden are no work. Milliseconds come from outside, so that tests need not wait.
 */
export class MaskClock {
  /** @param {number} now */
  constructor(now) {
    this.start = this.last = now;
    this.active = this.earlier = 0;
    this.hidden = false;
  }

  /** @param {number} now */
  restart(now) {
    this.start = this.last = now;
    this.active = this.earlier = 0;
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
   * @param {number} seconds @param {number} activeSeconds
   */
  resume(seconds, activeSeconds) {
    this.earlier += 1000 * seconds;
    this.active += 1000 * activeSeconds;
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
