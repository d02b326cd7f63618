// Two versions of one mask: another person's is stored, ours is not. Nothing is chosen for the annotator.

import {boundsOf, bitmapOf} from './rle.js';
import {colour, sampleBitmap} from './raster.js';
import {fit, pixelsOnScreen} from './view.js';
import {ACCENT} from './canvas.js';
import {button, get} from './panels.js';
import {keep} from './state.js';
import {spentOn} from './spent.js';
import {newUuid} from './work.js';

/** @typedef {import('./page.js').Page} Page */
/** @typedef {import('./state.js').Mask} Mask */

/** @param {Page} page */
export function drawConflict(page) {
  const panel = get('#conflict');
  const {work} = page;
  const ours = work?.sync.conflicts[0];
  panel.hidden = !ours;
  panel.replaceChildren();
  if (!work || !ours) return;
  const theirs = work.mask(ours.uuid);
  const isOwn = theirs?.annotator === page.annotator;  // another tab of the same person
  const other = !theirs ? 'Drop yours' : isOwn ? 'Keep the stored one' : `Keep ${theirs.annotator}'s`;
  const settle = (/** @type {Mask | null} */ mask) => {
    work.sync.conflicts.shift();
    if (mask) work.set(keep(work.state, mask));
    page.store?.keep(work.sync);
    page.changed();
  };
  const row = document.createElement('div');
  row.className = 'row';
  row.append(
    button('Keep both', () => settle({...ours, uuid: newUuid(), stamp: newUuid(), before: undefined})),
    button(other, () => settle(null)),
    button('Keep yours', () => settle({...ours, stamp: newUuid(), before: theirs ? spentOn(theirs) : ours.before})),
  );
  panel.append(
    Object.assign(document.createElement('h2'), {textContent: 'This mask was changed meanwhile'}),
    ...(theirs ? [picture(page, theirs, `Stored, by ${theirs.annotator}`)] : []),
    picture(page, ours, 'Yours, not stored'),
    row,
  );
}

/** @param {Page} page @param {Mask} mask @param {string} caption */
function picture({stage}, mask, caption) {
  const figure = document.createElement('figure');
  const canvas = Object.assign(document.createElement('canvas'), {width: 220, height: 96});
  figure.append(canvas, Object.assign(document.createElement('figcaption'), {textContent: caption}));
  const {photo, bitmap} = stage;
  const [left, top, right, bottom] = boundsOf(mask.runs, photo.height) ?? [0, 0, photo.width, photo.height];
  const inner = fit({width: right - left, height: bottom - top}, canvas, 8);
  const view = {scale: inner.scale, x: inner.x - left * inner.scale, y: inner.y - top * inner.scale};
  const context = canvas.getContext('2d');
  if (!context || !bitmap) return figure;
  context.drawImage(bitmap, view.x, view.y, photo.width * view.scale, photo.height * view.scale);
  const grid = new Uint16Array(canvas.width * canvas.height);
  const bits = bitmapOf(mask.runs, photo.width * photo.height);
  sampleBitmap(bits, photo.height, pixelsOnScreen(view, canvas, photo), grid, () => 1);
  const image = new ImageData(canvas.width, canvas.height);
  const ink = {rgb: ACCENT, fill: 100, line: 255};
  colour(grid, canvas.width, canvas.height, [ink, ink], new Uint32Array(image.data.buffer));
  const layer = new OffscreenCanvas(canvas.width, canvas.height);
  layer.getContext('2d')?.putImageData(image, 0, 0);
  context.drawImage(layer, 0, 0);
  return figure;
}
