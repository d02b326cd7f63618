// Masks as COCO's compressed run lengths, and as bitmaps.
//
// Everything here goes column by column, as COCO does: pixel (x, y) of a photo of height h is at x * h + y. Runs are
// alternately outside and inside, the first outside; a first run of 0 says that the first pixel is inside.

/** @typedef {Uint32Array} Runs lengths in pixels, the first outside */
/** @typedef {{size: [number, number], counts: string}} Rle height and width, and the runs as COCO writes them */
/** @typedef {[number, number, number, number]} Rect left, top, right, bottom in pixels; right and bottom are outside */

/**
 * Write runs as COCO does: five bits a character, from the fourth run on the difference to the run two before.
 * @param {ArrayLike<number>} runs
 * @returns {string}
 */
export function encodeCounts(runs) {
  const codes = [];
  for (let i = 0; i < runs.length; i++) {
    let value = i > 2 ? runs[i] - runs[i - 2] : runs[i];
    for (let more = true; more;) {
      let code = value & 31;
      value >>= 5;
      more = code & 16 ? value !== -1 : value !== 0;
      if (more) code |= 32;
      codes.push(code + 48);
    }
  }
  let text = '';
  for (let i = 0; i < codes.length; i += 8192) text += String.fromCharCode(...codes.slice(i, i + 8192));
  return text;
}

/** @type {WeakMap<Runs, string>} */
const written = new WeakMap();

/** `encodeCounts`, written once for each mask. @param {Runs} runs @returns {string} */
export function countsOf(runs) {
  const counts = written.get(runs) ?? encodeCounts(runs);
  written.set(runs, counts);
  return counts;
}

/**
 * Read runs from COCO's counts.
 * @param {string} counts
 * @returns {Runs}
 */
export function decodeCounts(counts) {
  /** @type {number[]} */
  const runs = [];
  for (let i = 0; i < counts.length;) {
    let value = 0, shift = 0, code;
    do {
      code = counts.charCodeAt(i++) - 48;
      if (!(code >= 0 && code < 64)) throw new Error('counts hold a character outside the code, or end in a number');
      value |= (code & 31) << shift;
      shift += 5;
    } while (code & 32);
    if (code & 16 && shift < 32) value |= -1 << shift;
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return Uint32Array.from(runs);
}

/**
 * @param {Uint8Array} bitmap column by column; anything but 0 is inside
 * @returns {Runs} without a last run of no pixels, as pycocotools writes them
 */
export function runsOf(bitmap) {
  const runs = [];
  let start = 0, inside = false;
  for (let i = 0; i < bitmap.length; i++) {
    if ((bitmap[i] !== 0) !== inside) {
      runs.push(i - start);
      start = i;
      inside = !inside;
    }
  }
  runs.push(bitmap.length - start);
  return Uint32Array.from(runs);
}

/**
 * @param {Runs} runs
 * @param {number} pixels of the photo
 * @returns {Uint8Array} 1 inside, column by column
 */
export function bitmapOf(runs, pixels) {
  const bitmap = new Uint8Array(pixels);
  eachInside(runs, (start, end) => bitmap.fill(1, start, end));
  return bitmap;
}

/**
 * Call `visit(start, end)` for each run of pixels inside.
 * @param {Runs} runs
 * @param {(start: number, end: number) => void} visit
 */
export function eachInside(runs, visit) {
  let at = 0;
  for (let i = 0; i < runs.length; i++) {
    if (i & 1 && runs[i]) visit(at, at + runs[i]);
    at += runs[i];
  }
}

/** @param {Runs} runs @returns {number} pixels inside */
export function areaOf(runs) {
  let area = 0;
  for (let i = 1; i < runs.length; i += 2) area += runs[i];
  return area;
}

/**
 * @param {Runs} runs
 * @param {number} height of the photo
 * @returns {Rect | null} what the mask covers; null for a mask without pixels
 */
export function boundsOf(runs, height) {
  let left = Infinity, right = -1, top = Infinity, bottom = -1;
  eachInside(runs, (start, end) => {
    const first = Math.floor(start / height), last = Math.floor((end - 1) / height);
    left = Math.min(left, first);
    right = Math.max(right, last);
    const whole = last > first;  // a run that goes on in the next column reaches the bottom and the top
    top = Math.min(top, whole ? 0 : start - first * height);
    bottom = Math.max(bottom, whole ? height - 1 : end - 1 - last * height);
  });
  return right < 0 ? null : [left, top, right + 1, bottom + 1];
}

/** @param {Runs} one @param {Runs} other @returns {number} intersection over union, 0 where both are empty */
export function iouOf(one, other) {
  let i = 0, j = 0, left = one[0] ?? 0, right = other[0] ?? 0, both = 0, any = 0;
  while (i < one.length && j < other.length) {
    const step = Math.min(left, right);
    if (i & 1 && j & 1) both += step;
    if (i & 1 || j & 1) any += step;
    left -= step;
    right -= step;
    if (!left) left = one[++i];
    if (!right) right = other[++j];
  }
  return any ? both / any : 0;
}

/**
 * Write a map of small values as pairs of value and length, for the undo stack.
 * @param {Uint8Array} map
 * @returns {Uint32Array | null} null where all is 0
 */
export function pairsOf(map) {
  const pairs = [];
  for (let start = 0, i = 1; i <= map.length; i++) {
    if (i === map.length || map[i] !== map[start]) {
      pairs.push(map[start], i - start);
      start = i;
    }
  }
  return pairs.length === 2 && pairs[0] === 0 ? null : Uint32Array.from(pairs);
}

/** @param {Uint32Array | null} pairs @param {number} pixels @returns {Uint8Array} */
export function mapOf(pairs, pixels) {
  const map = new Uint8Array(pixels);
  for (let i = 0, at = 0; pairs && i < pairs.length; at += pairs[i + 1], i += 2) {
    if (pairs[i]) map.fill(pairs[i], at, at + pairs[i + 1]);
  }
  return map;
}
