// The top layer: points, boxes and the cursor; and the small pictures of candidates. Shapes tell, not colours alone.

import {colour, sampleLogits} from './raster.js';
import {fit, pixelsOnScreen} from './view.js';

/** @typedef {import('./canvas.js').Scene} Scene */

const INK = '#0d1116', PAPER = '#ffffff', FOREGROUND = '#34d17f', BACKGROUND = '#ff6a5c', ACCENT = '#5ac6ff';

/**
 * @param {HTMLCanvasElement} canvas @param {Scene} scene
 * @param {(x: number, y: number) => [number, number]} place from pixels of the photo to those of the device
 * @param {number} ratio device pixels a CSS pixel
 */
export function drawCursor(canvas, scene, place, ratio) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.scale(ratio, ratio);
  const at = (/** @type {number} */ x, /** @type {number} */ y) => place(x, y).map((side) => side / ratio);
  const {draft} = scene.doc;
  const box = scene.drag ?? draft.box;
  if (box) {
    const [x0, y0] = at(box[0], box[1]), [x1, y1] = at(box[2] + 1, box[3] + 1);
    for (const [style, width] of /** @type {[string, number][]} */ ([[INK, 3.5], [ACCENT, 1.5]])) {
      context.strokeStyle = style;
      context.lineWidth = width;
      context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    }
  }
  draft.points.forEach(([x, y], i) => {
    const [cx, cy] = at(x + 0.5, y + 0.5);
    if (draft.labels[i]) drawDisc(context, cx, cy);
    else drawRing(context, cx, cy);
  });
  if (scene.cursor && scene.tool !== 'points') drawBrush(context, scene.cursor, scene.brush, scene.tool === 'eraser');
  if (scene.cursor && scene.crosshair) drawCross(context, scene.cursor);
}

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y */
function drawDisc(context, x, y) {
  for (const [radius, style] of /** @type {[number, string][]} */ ([[8, INK], [7, PAPER], [5, FOREGROUND]])) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fillStyle = style;
    context.fill();
  }
}

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y */
function drawRing(context, x, y) {
  for (const [radius, style] of /** @type {[number, string][]} */ ([[8.5, PAPER], [7.5, BACKGROUND], [5.25, INK]])) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fillStyle = style;
    context.fill();
  }
  context.fillStyle = PAPER;
  context.fillRect(x - 3.25, y - 1, 6.5, 2);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {[number, number]} cursor
 * @param {number} radius
 * @param {boolean} erases
 */
function drawBrush(context, [x, y], radius, erases) {
  context.setLineDash(erases ? [4, 4] : []);
  for (const [style, width] of /** @type {[string, number][]} */ ([[INK, 3], [PAPER, 1.25]])) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.stroke();
  }
  context.setLineDash([]);
}

/** @param {CanvasRenderingContext2D} context @param {[number, number]} cursor */
function drawCross(context, [x, y]) {
  for (const [style, width] of /** @type {[string, number][]} */ ([[INK, 3.5], [PAPER, 1.5]])) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 4 * dx, y + 4 * dy);
      context.lineTo(x + 14 * dx, y + 14 * dy);
    }
    context.stroke();
  }
}

/**
 * The part of the photo around all candidates: where their logits are above 0, with room around.
 * @param {import('./api.js').Answer} answer @param {{width: number, height: number}} photo
 * @param {number} aspect width over height of the picture
 * @returns {{x: number, y: number, width: number, height: number}}
 */
export function surroundings(answer, photo, aspect) {
  let left = answer.width, right = -1, top = answer.height, bottom = -1;
  for (const {logits} of answer.candidates) {
    for (let at = 0; at < logits.length; at++) {
      if (logits[at] <= 0) continue;
      const x = at % answer.width, y = Math.floor(at / answer.width);
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < top) top = y;
      if (y > bottom) bottom = y;
    }
  }
  if (right < 0) return {x: 0, y: 0, ...photo};
  const across = photo.width / answer.valid[1], down = photo.height / answer.valid[0];
  const room = 0.15 * Math.max((right - left) * across, (bottom - top) * down) + 8;
  const needed = {width: (right + 1 - left) * across + 2 * room, height: (bottom + 1 - top) * down + 2 * room};
  const width = Math.min(photo.width, Math.max(needed.width, needed.height * aspect));
  const height = Math.min(photo.height, Math.max(needed.height, needed.width / aspect));
  const middle = [(left + right + 1) / 2 * across, (top + bottom + 1) / 2 * down];
  return {
    x: Math.max(0, Math.min(photo.width - width, middle[0] - width / 2)),
    y: Math.max(0, Math.min(photo.height - height, middle[1] - height / 2)),
    width,
    height,
  };
}

/**
 * Draw a candidate's small picture.
 * @param {HTMLCanvasElement} canvas @param {ImageBitmap} bitmap @param {import('./api.js').Answer} answer
 * @param {number} number of the candidate
 * @param {{x: number, y: number, width: number, height: number}} part of the photo
 * @param {number} rgb
 */
export function drawCandidate(canvas, bitmap, answer, number, part, rgb) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  const {width, height} = canvas;
  const inner = fit(part, canvas);
  const {scale} = inner;
  const view = {scale, x: Math.round(inner.x - part.x * scale), y: Math.round(inner.y - part.y * scale)};
  const grid = new Uint16Array(width * height);
  sampleLogits(answer, answer.candidates[number].logits, bitmap, pixelsOnScreen(view, canvas, bitmap), grid);
  const image = new ImageData(width, height);
  const ink = {rgb, fill: 100, line: 255};
  colour(grid, width, height, [ink, ink], new Uint32Array(image.data.buffer), devicePixelRatio || 1);
  const layer = new OffscreenCanvas(width, height);
  layer.getContext('2d')?.putImageData(image, 0, 0);
  context.fillStyle = '#0f1012';
  context.fillRect(0, 0, width, height);
  context.globalAlpha = 0.85;
  context.drawImage(bitmap, view.x, view.y, bitmap.width * view.scale, bitmap.height * view.scale);
  context.globalAlpha = 1;
  context.drawImage(layer, 0, 0);
}
