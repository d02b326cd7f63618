// The pixels of the draft, and brush work over them.
//
// Brush work is a map over the photo: 0 none, 1 added, 2 erased. It lies over the model's answer and is never fed back
// to the model, so further clicks change the mask beneath and keep the strokes.

import {bitmapOf, mapOf, pairsOf, runsOf} from './rle.js';
import {sampleBitmap, sampleLogits} from './raster.js';

/** @typedef {import('./state.js').Draft} Draft */
/** @typedef {import('./raster.js').Pixels} Pixels */

export const ADD = 1, ERASE = 2;

/**
 * Fill every pixel whose centre is within `radius` of the line between two places.
 * @param {Uint8Array} map column by column @param {{width: number, height: number}} photo
 * @param {[number, number]} from @param {[number, number]} to in pixels of the photo
 * @param {number} radius @param {number} value
 */
export function stroke(map, {width, height}, from, to, radius, value) {
  const [x0, y0] = from, dx = to[0] - x0, dy = to[1] - y0, length = dx * dx + dy * dy;
  const left = Math.max(0, Math.floor(Math.min(x0, to[0]) - radius));
  const right = Math.min(width - 1, Math.ceil(Math.max(x0, to[0]) + radius));
  const top = Math.max(0, Math.floor(Math.min(y0, to[1]) - radius));
  const bottom = Math.min(height - 1, Math.ceil(Math.max(y0, to[1]) + radius));
  for (let x = left; x <= right; x++) {
    for (let y = top; y <= bottom; y++) {
      const px = x + 0.5 - x0, py = y + 0.5 - y0;
      const along = length ? Math.max(0, Math.min(1, (px * dx + py * dy) / length)) : 0;
      if ((px - along * dx) ** 2 + (py - along * dy) ** 2 <= radius * radius) map[x * height + y] = value;
    }
  }
  // A brush of less than a pixel still paints the one it is on.
  const x = Math.floor(to[0]), y = Math.floor(to[1]);
  if (x >= 0 && y >= 0 && x < width && y < height) map[x * height + y] = value;
}

/** A draft's pixels, at the photo's size or on the screen. Bitmaps are kept while the draft's base and paint stay. */
export class DraftPixels {
  /** @param {{width: number, height: number}} photo */
  constructor(photo) {
    this.photo = photo;
    this.size = photo.width * photo.height;
    /** @type {Uint8Array | null} */
    this.map = null;
    /** @type {Uint32Array | null} */
    this.pairs = null;
    /** @type {Uint8Array | null} */
    this.base = null;
    /** @type {Uint32Array | null} */
    this.runs = null;
  }

  /**
   * Draw a piece of a stroke; `strokeEnd` makes an act of it.
   * @param {Draft} draft @param {[number, number]} from @param {[number, number]} to
   * @param {number} radius @param {number} value
   */
  strokeOn(draft, from, to, radius, value) {
    const map = this.paintOf(draft.paint) ?? (this.map = new Uint8Array(this.size));
    this.pairs = draft.paint;
    stroke(map, this.photo, from, to, radius, value);
  }

  /** @returns {Uint32Array | null} the brush work as the undo stack keeps it */
  strokeEnd() {
    this.pairs = this.map ? pairsOf(this.map) : null;
    return this.pairs;
  }

  /** Forget a stroke that was broken off. */
  strokeDrop() {
    this.map = this.pairs = null;
  }

  /** @param {Uint32Array | null} pairs @returns {Uint8Array | null} */
  paintOf(pairs) {
    if (this.map && this.pairs === pairs) return this.map;
    this.pairs = pairs;
    this.map = pairs ? mapOf(pairs, this.size) : null;
    return this.map;
  }

  /**
   * Write `value` to the grid's pixels that are inside the draft's mask.
   * @param {Draft} draft @param {Pixels} pixels @param {Uint8Array | Uint16Array} grid @param {number} value
   * @returns {boolean} whether the draft has a mask at all
   */
  sample(draft, pixels, grid, value = 1) {
    const candidate = draft.answer?.candidates[draft.chosen];
    const paint = this.paintOf(draft.paint);
    if (draft.answer && candidate) {
      sampleLogits(draft.answer, candidate.logits, this.photo, pixels, grid, value);
    } else if (draft.base) {
      if (this.runs !== draft.base) {
        this.runs = draft.base;
        this.base = bitmapOf(draft.base, this.size);
      }
      sampleBitmap(/** @type {Uint8Array} */ (this.base), this.photo.height, pixels, grid, () => value);
    }
    if (paint) sampleBitmap(paint, this.photo.height, pixels, grid, (work) => (work === ADD ? value : 0));
    return Boolean(candidate || draft.base || paint);
  }

  /** @param {Draft} draft @returns {import('./rle.js').Runs} the draft's mask at the photo's size */
  runsOf(draft) {
    const bitmap = new Uint8Array(this.size);
    const columns = Int32Array.from({length: this.photo.width}, (_, x) => x);
    const rows = Int32Array.from({length: this.photo.height}, (_, y) => y);
    this.sample(draft, {columns, rows}, bitmap);
    return runsOf(bitmap);
  }
}
