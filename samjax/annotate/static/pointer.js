// The mouse, the pen and the finger on the photo.

import {ADD, ERASE} from './brush.js';
import {paint, removePoint, setBox} from './state.js';
import {pan, toPhoto, zoom} from './view.js';

/** @typedef {import('./page.js').Page} Page */

const NEAR = 10, DRAG = 4;  // CSS pixels

/**
 * @param {Page} page
 * @param {number} x
 * @param {number} y in CSS pixels of the stage
 * @returns {[number, number]} in the photo, not beside it
 */
export function placeIn(page, x, y) {
  const {stage} = page;
  const [px, py] = toPhoto(stage.view, x * stage.ratio, y * stage.ratio);
  return [Math.min(stage.photo.width, Math.max(0, px)), Math.min(stage.photo.height, Math.max(0, py))];
}

/**
 * The pixel of the photo at a place: prompts are pixels, counted from 0.
 * @param {Page} page
 * @param {number} x
 * @param {number} y
 * @returns {[number, number]}
 */
export function pixelIn(page, x, y) {
  const [px, py] = placeIn(page, x, y), {width, height} = page.stage.photo;
  return [Math.min(width - 1, Math.floor(px)), Math.min(height - 1, Math.floor(py))];
}

/** Whether a place is on the photo. @param {Page} page @param {number} x @param {number} y */
export function isOn(page, x, y) {
  const {stage} = page;
  const [px, py] = toPhoto(stage.view, x * stage.ratio, y * stage.ratio);
  return px >= 0 && py >= 0 && px < stage.photo.width && py < stage.photo.height;
}

/** The draft's point beneath a place, -1 for none. @param {Page} page @param {number} x @param {number} y */
function pointAt(page, x, y) {
  const {stage: {view, ratio}, work} = page;
  return work ? work.draft.points.findLastIndex(([px, py]) =>
    Math.hypot((view.x + (px + 0.5) * view.scale) / ratio - x, (view.y + (py + 0.5) * view.scale) / ratio - y) <= NEAR)
    : -1;
}

/** A click, by mouse or key. @param {Page} page @param {number} x @param {number} y @param {0 | 1} label */
export function click(page, x, y, label) {
  const {work, stage} = page;
  if (!work || !isOn(page, x, y)) return;
  const point = pointAt(page, x, y);
  const place = pixelIn(page, x, y);
  if (point >= 0) work.set(removePoint(work.state, point));
  else work.click(place, label, page.ui.hidden ? '' : stage.map.at(...place));
}

/**
 * A piece of a stroke; `isLast` makes an act of it.
 * @param {Page} page
 * @param {[number, number]} from
 * @param {[number, number]} to
 * @param {boolean} erases
 * @param {boolean} isLast
 */
export function brush(page, from, to, erases, isLast) {
  const {stage, work, ui} = page;
  if (!work) return;
  const radius = ui.brush * stage.ratio / stage.view.scale;
  stage.pixels.strokeOn(work.draft, from, to, radius, erases ? ERASE : ADD);
  stage.strokes++;
  if (isLast) work.set(paint(work.state, stage.pixels.strokeEnd()));
  page.changed();
}

/** @param {Page} page */
export function watch(page) {
  const {stage, ui} = page, {root} = stage;
  /**
   * @typedef {{kind: string, x: number, y: number, from: [number, number], pixel: [number, number], button: number}}
   * Gesture
   */
  /** @type {Gesture | null} */
  let gesture = null;

  const local = (/** @type {PointerEvent | WheelEvent} */ event) => {
    const {left, top} = root.getBoundingClientRect();
    return /** @type {[number, number]} */ ([event.clientX - left, event.clientY - top]);
  };

  root.addEventListener('pointerdown', (event) => {
    const {work} = page;
    if (!work || gesture) return;
    const [x, y] = local(event);
    root.focus({preventScroll: true});
    root.setPointerCapture(event.pointerId);
    const from = placeIn(page, x, y);
    const isPan = ui.pans || event.button === 1;
    const isBrush = ui.tool !== 'points' && event.button !== 1;
    const kind = isPan ? 'pan' : event.shiftKey ? 'select' : isBrush ? 'brush' : 'click';
    gesture = {kind, x, y, from, pixel: pixelIn(page, x, y), button: event.button};
    if (kind === 'pan') root.dataset.pans = 'moving';
    if (kind === 'brush') {
      work.questions.preview = null;
      brush(page, from, from, (ui.tool === 'eraser') !== (event.button === 2), false);
    }
    event.preventDefault();
  });

  root.addEventListener('pointermove', (event) => {
    const [x, y] = local(event);
    ui.cursor = [x, y];
    ui.crosshair = false;
    const {work} = page;
    if (gesture && work) {
      const {kind, button} = gesture;
      if (kind === 'pan') {
        const [dx, dy] = [(x - gesture.x) * stage.ratio, (y - gesture.y) * stage.ratio];
        stage.look(pan(stage.view, dx, dy, stage.photo, stage.screen));
        Object.assign(gesture, {x, y});
      } else if (kind === 'brush') {
        for (const part of event.getCoalescedEvents?.() ?? [event]) {
          const to = placeIn(page, ...local(part));
          brush(page, gesture.from, to, (ui.tool === 'eraser') !== (button === 2), false);
          gesture.from = to;
        }
      } else if (kind === 'click' && button === 0 && Math.hypot(x - gesture.x, y - gesture.y) > DRAG) {
        gesture.kind = 'box';
      }
      if (gesture.kind === 'box') ui.drag = boxOf(gesture.pixel, pixelIn(page, x, y));
    }
    page.controls.point();
  });

  root.addEventListener('pointerup', (event) => {
    const {work} = page;
    const ended = gesture;
    gesture = null;
    ui.drag = null;
    root.dataset.pans = String(ui.pans);
    if (!ended || !work) return;
    const [x, y] = local(event);
    if (ended.kind === 'brush') {
      brush(page, ended.from, placeIn(page, x, y), (ui.tool === 'eraser') !== (ended.button === 2), true);
    } else if (ended.kind === 'box') {
      work.set(setBox(work.state, boxOf(ended.pixel, pixelIn(page, x, y))));
    } else if (ended.kind === 'select') {
      page.controls.selectHere();
    } else if (ended.kind === 'click') {
      click(page, x, y, ended.button === 2 ? 0 : 1);
    }
    page.changed();
  });

  const breakOff = () => {
    if (gesture?.kind === 'brush') stage.pixels.strokeDrop();
    stage.strokes++;
    gesture = null;
    ui.drag = null;
    page.changed();
  };
  root.addEventListener('pointercancel', breakOff);
  root.addEventListener('pointerleave', () => {
    if (gesture) return;
    ui.cursor = null;
    page.controls.point();
  });
  root.addEventListener('contextmenu', (event) => event.preventDefault());
  root.addEventListener('wheel', (event) => {
    event.preventDefault();
    const [x, y] = local(event);
    const unit = event.deltaMode === 1 ? 33 : event.ctrlKey ? 5 : 1;  // lines; a pinch; pixels
    const factor = Math.exp(-Math.max(-240, Math.min(240, event.deltaY * unit)) / 400);
    stage.look(zoom(stage.view, x * stage.ratio, y * stage.ratio, factor));
    page.controls.point();
  }, {passive: false});
}

/** The box of two corners, both inside it. @param {[number, number]} one @param {[number, number]} other */
export const boxOf = (one, other) => [
  Math.min(one[0], other[0]), Math.min(one[1], other[1]), Math.max(one[0], other[0]), Math.max(one[1], other[1])];
