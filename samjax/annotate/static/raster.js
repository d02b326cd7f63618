// Masks as pixels. Only what is on the screen is computed: its cost is that of the screen, however large the photo is
// and however many masks there are. Grids here go column by column, like runs.

import {eachInside} from './rle.js';

/** @typedef {import('./rle.js').Runs} Runs */
/** @typedef {import('./rle.js').Rect} Rect */
/**
 * @typedef {{columns: Int32Array, rows: Int32Array}} Pixels which pixel of the photo is at each of a grid's; -1: none
 */
/** @typedef {{key: string, runs: Runs, area: number, bounds: Rect | null}} Shape */

/**
 * Which mask is seen at each pixel of the photo: the smallest of those that lie there. Masks overlap, and a part stays
 * visible and reachable on its whole. A change repaints the rectangle of what changed alone.
 */
export class IdMap {
  /** @param {number} width @param {number} height */
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.ids = new Uint16Array(width * height);
    /** @type {Map<string, Shape & {id: number}>} */
    this.shapes = new Map();
    /** @type {number[]} */
    this.free = [];
    /** @type {string[]} by id */
    this.keys = [''];
  }

  /** @param {Shape[]} shapes all that are shown @returns {boolean} whether anything changed */
  update(shapes) {
    /** @type {Rect[]} */
    const dirty = [];
    const shown = new Map(shapes.map((shape) => [shape.key, shape]));
    for (const [key, old] of this.shapes) {
      if (shown.get(key)?.runs === old.runs) continue;
      this.shapes.delete(key);
      this.free.push(old.id);
      this.keys[old.id] = '';
      if (old.bounds) dirty.push(old.bounds);
    }
    for (const shape of shapes) {
      if (this.shapes.has(shape.key)) continue;
      const id = this.free.pop() ?? this.keys.length;
      if (id > 65535) continue;
      this.keys[id] = shape.key;
      this.shapes.set(shape.key, {...shape, id});
      if (shape.bounds) dirty.push(shape.bounds);
    }
    if (!dirty.length) return false;
    const order = [...this.shapes.values()].sort((one, other) => other.area - one.area);
    const rects = dirty.length > 8 ? [dirty.reduce(union)] : dirty;
    for (const rect of rects) this.repaint(rect, order);
    return true;
  }

  /** @param {Rect} rect @param {(Shape & {id: number})[]} order largest first */
  repaint(rect, order) {
    const {ids, height} = this;
    const [left, top, right, bottom] = rect;
    for (let x = left; x < right; x++) ids.fill(0, x * height + top, x * height + bottom);
    for (const {id, runs, bounds} of order) {
      if (!bounds || bounds[0] >= right || bounds[2] <= left || bounds[1] >= bottom || bounds[3] <= top) continue;
      eachInside(runs, (start, end) => {
        if (end <= left * height || start >= right * height) return;
        const first = Math.max(left, Math.floor(start / height));
        const last = Math.min(right - 1, Math.floor((end - 1) / height));
        for (let x = first; x <= last; x++) {
          const from = Math.max(start, x * height + top), to = Math.min(end, x * height + bottom);
          if (from < to) ids.fill(id, from, to);
        }
      });
    }
  }

  /** @param {number} x @param {number} y @returns {string} the key of the mask seen there, '' for none */
  at(x, y) {
    const [column, row] = [Math.floor(x), Math.floor(y)];
    if (column < 0 || row < 0 || column >= this.width || row >= this.height) return '';
    return this.keys[this.ids[column * this.height + row]];
  }

  /** @param {Pixels} pixels @param {Uint16Array} grid is filled */
  sample({columns, rows}, grid) {
    const {ids, height} = this;
    for (let i = 0, at = 0; i < columns.length; i++) {
      const start = columns[i] * height;
      if (start < 0) {
        grid.fill(0, at, at += rows.length);
        continue;
      }
      for (let j = 0; j < rows.length; j++) grid[at++] = rows[j] < 0 ? 0 : ids[start + rows[j]];
    }
  }
}

/** @type {Rect} */
export const NOWHERE = [0, 0, 0, 0];

/** The smallest rectangle around two, of which one may be empty. @param {Rect} one @param {Rect} other @returns {Rect} */
export function union(one, other) {
  if (one[0] >= one[2]) return other;
  if (other[0] >= other[2]) return one;
  return [
    Math.min(one[0], other[0]), Math.min(one[1], other[1]), Math.max(one[2], other[2]), Math.max(one[3], other[3])];
}

/**
 * Set `value` where the model's mask is inside: where logits, bilinear between the cells of their grid, are above 0.
 * Pixel x of the photo lies at (x + 0.5) * valid / side - 0.5 of the grid.
 * @param {import('./api.js').Answer} answer @param {Int8Array} logits
 * @param {{width: number, height: number}} photo
 * @param {Pixels} pixels @param {Uint8Array | Uint16Array} grid is written to where inside
 * @param {number} value
 */
export function sampleLogits(answer, logits, photo, {columns, rows}, grid, value = 1) {
  const across = tapsAlong(columns, answer.valid[1] / photo.width, answer.width);
  const down = tapsAlong(rows, answer.valid[0] / photo.height, answer.height);
  const line = new Float32Array(answer.height);
  let before = -1, isEmpty = true;
  for (let i = 0; i < columns.length; i++) {
    if (columns[i] < 0) continue;
    if (columns[i] !== before) {
      before = columns[i];
      const {low, high, part} = across;
      let largest = -128;
      for (let row = 0; row < answer.height; row++) {
        const start = row * answer.width;
        const one = logits[start + low[i]], other = logits[start + high[i]];
        line[row] = one + (other - one) * part[i];
        if (line[row] > largest) largest = line[row];
      }
      isEmpty = largest <= 0;
    }
    if (isEmpty) continue;
    const {low, high, part} = down;
    for (let j = 0, at = i * rows.length; j < rows.length; j++, at++) {
      if (rows[j] < 0) continue;
      const one = line[low[j]];
      if (one + (line[high[j]] - one) * part[j] > 0) grid[at] = value;
    }
  }
}

/** @param {Int32Array} pixels @param {number} scale @param {number} cells */
function tapsAlong(pixels, scale, cells) {
  const low = new Int32Array(pixels.length), high = new Int32Array(pixels.length);
  const part = new Float32Array(pixels.length);
  for (let i = 0; i < pixels.length; i++) {
    const place = Math.min(cells - 1, Math.max(0, (pixels[i] + 0.5) * scale - 0.5));
    low[i] = Math.floor(place);
    high[i] = Math.min(cells - 1, low[i] + 1);
    part[i] = place - low[i];
  }
  return {low, high, part};
}

/**
 * @param {Uint8Array} bitmap of the photo @param {number} height of the photo
 * @param {Pixels} pixels @param {Uint8Array | Uint16Array} grid is written to where the bitmap is not 0
 * @param {(value: number) => number} value to write
 */
export function sampleBitmap(bitmap, height, {columns, rows}, grid, value) {
  for (let i = 0; i < columns.length; i++) {
    if (columns[i] < 0) continue;
    const start = columns[i] * height;
    for (let j = 0, at = i * rows.length; j < rows.length; j++, at++) {
      const inside = rows[j] < 0 ? 0 : bitmap[start + rows[j]];
      if (inside) grid[at] = value(inside);
    }
  }
}

/**
 * @typedef {object} Ink
 * @property {number} rgb as 0xBBGGRR
 * @property {number} fill opacity, 0 to 255
 * @property {number} line opacity of the outline
 * @property {boolean} [shade] whether a dark line lies inside the outline, which then shows on white too
 */
const SHADE = 0x1c1b1a, SHADE_OPACITY = 150;

/**
 * The rectangle of a grid's pixels that are not 0; empty if there are none.
 * @param {Uint16Array} grid column by column @param {number} width @param {number} height @returns {Rect}
 */
export function boundsOfGrid(grid, width, height) {
  let left = width, right = 0, top = height, bottom = 0;
  for (let x = 0; x < width; x++) {
    const start = x * height, end = start + height;
    let first = start, last = end - 1;
    while (first < end && !grid[first]) first++;
    if (first === end) continue;
    while (!grid[last]) last--;
    if (x < left) left = x;
    right = x + 1;
    top = Math.min(top, first - start);
    bottom = Math.max(bottom, last + 1 - start);
  }
  return right ? [left, top, right, bottom] : NOWHERE;
}

/**
 * What an ink is by the distance to the next pixel of another id, from 1; the last one holds for all greater ones.
 * @param {Ink} ink @param {number} thick whole pixels of the outline @param {number} rest what the next one is worth
 * @returns {number[]} RGBA, 0 for none
 */
function tonesOf({rgb, fill, line, shade}, thick, rest) {
  const tone = (/** @type {number} */ colour, /** @type {number} */ alpha) =>
    (alpha ? (Math.round(alpha) << 24 | colour) >>> 0 : 0);
  const inside = tone(rgb, fill);
  if (!line) return [0, inside];
  const next = shade ? tone(SHADE, SHADE_OPACITY) : tone(rgb, fill + (line - fill) * rest);
  return [0, ...Array(thick).fill(tone(rgb, line)), next, inside];
}

/**
 * Colour a grid of ids: fills, and outlines of a pixel and a half that lie inside the masks. The screen's end is no
 * edge of a mask.
 * @param {Uint16Array} grid column by column @param {number} width @param {number} height
 * @param {Ink[]} inks by id @param {Uint32Array} pixels RGBA row by row; written to where there is a mask
 * @param {number} ratio device pixels a CSS pixel
 * @param {Rect} bounds outside which the grid is 0
 */
export function colour(grid, width, height, inks, pixels, ratio = 1, bounds = [0, 0, width, height]) {
  const thick = Math.floor(1.5 * ratio), tonesById = inks.map((ink) => tonesOf(ink, thick, 1.5 * ratio - thick));
  const [left, top, right, bottom] = bounds;
  for (let x = left; x < right; x++) {
    const column = x * height;
    for (let y = top, start = top; y < bottom; start = y) {
      const id = grid[column + y];
      for (y++; y < bottom && grid[column + y] === id; y++);
      if (!id) continue;
      const tones = tonesById[id], most = tones.length - 1, inside = tones[most];
      for (let row = start; row < y; row++) {
        let edge = most;
        if (start > 0) edge = Math.min(edge, row - start + 1);
        if (y < height) edge = Math.min(edge, y - row);
        const at = column + row;
        for (let step = 1; step < edge; step++) {
          if ((x >= step && grid[at - step * height] !== id) || (x + step < width && grid[at + step * height] !== id)) {
            edge = step;
          }
        }
        const tone = edge < most ? tones[edge] : inside;
        if (tone) pixels[row * width + x] = tone;
      }
    }
  }
}

/**
 * A hue for the mask at `place`, a golden angle from the one before, of even lightness (OKLCH).
 * @param {number} place
 */
export function hue(place, lightness = 0.76, chroma = 0.15) {
  const angle = (place * 2.399963 + 2.6) % (2 * Math.PI);
  const a = chroma * Math.cos(angle), b = chroma * Math.sin(angle);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const channels = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ].map((linear) => Math.max(0, Math.min(1, linear)))
    .map((linear) => Math.round(255 * (linear <= 0.0031308 ? 12.92 * linear : 1.055 * linear ** (1 / 2.4) - 0.055)));
  return channels[0] | channels[1] << 8 | channels[2] << 16;
}

/** @param {number} rgb as `hue` gives it @returns {string} for CSS */
export const css = (rgb) => `rgb(${rgb & 255} ${rgb >> 8 & 255} ${rgb >> 16})`;
