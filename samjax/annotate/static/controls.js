// What keys, buttons and the mouse do: acts that depend on the cursor, the selection or the tool.

import {proposalId} from './canvas.js';
import {boxOf, brush, click, isOn, pixelIn, placeIn} from './pointer.js';
import {choose, isEmpty, setBox} from './state.js';
import {pan, zoom} from './view.js';

/** @typedef {import('./page.js').Page} Page */

const SMALLEST_BRUSH = 1, LARGEST_BRUSH = 200;

export class Controls {
  /** @param {Page} page */
  constructor(page) {
    this.page = page;
  }

  get work() {
    return this.page.work;
  }

  get mode() {
    return this.page.mode;
  }

  /** The middle of the photo, until there is a cursor. @returns {[number, number]} */
  get cursor() {
    const {ui, stage} = this.page;
    return ui.cursor ?? [stage.root.clientWidth / 2, stage.root.clientHeight / 2];
  }

  // ---- the draft

  escape() {
    const {ui, work} = this.page;
    if (ui.help) return this.toggle('help');
    ui.corner = ui.drag = null;
    if (!work || isEmpty(work.draft)) this.use('points');
    work?.drop();
  }

  /** @param {number} step */
  turn(step) {
    const {work} = this;
    if (!work?.draft.answer) return false;  // the key moves the focus, as everywhere
    work.set(choose(work.state, work.draft.chosen + step));
  }

  /** @param {number} number of the candidate */
  choose(number) {
    const {work} = this;
    if (work && number < (work.draft.answer?.candidates.length ?? 0)) work.set(choose(work.state, number));
  }

  /** @param {string} tool */
  use(tool) {
    this.page.ui.tool = tool;
    if (tool !== 'points') void this.work?.questions.hover(null);
    this.page.changed();
  }

  /** @param {number} factor */
  resizeBrush(factor) {
    const {ui} = this.page;
    ui.brush = Math.min(LARGEST_BRUSH, Math.max(SMALLEST_BRUSH, ui.brush * factor));
    this.page.changed();
  }

  // ---- masks

  /** The mask beneath the cursor. */
  keyHere() {
    const {ui, stage} = this.page;
    if (!ui.cursor || ui.hidden || !isOn(this.page, ...ui.cursor)) return '';
    return stage.map.at(...placeIn(this.page, ...ui.cursor));
  }

  selectHere() {
    this.work?.select(this.keyHere());
  }

  reopen() {
    const {work} = this;
    work?.reopen(work.selected || this.keyHere());
  }

  /** The mask or proposal that is open, the selected one, or the one beneath the cursor. */
  remove() {
    const {work} = this;
    if (!work) return;
    const {uuid, proposal} = work.draft;
    work.remove(proposal === null ? uuid ?? (work.selected || this.keyHere()) : proposalId(proposal));
  }

  /** Select the next of masks and open proposals. @param {number} step */
  step(step) {
    const {work} = this;
    if (!work) return;
    const open = work.doc.proposals.filter(({state}) => state === 'open').map(({number}) => `#${number}`);
    const keys = [...work.doc.masks.map(({uuid}) => uuid), ...open];
    if (!keys.length) return;
    const place = keys.indexOf(work.selected);
    work.select(keys[place < 0 ? (step > 0 ? 0 : keys.length - 1) : (place + step + keys.length) % keys.length]);
  }

  acceptAbove() {
    const {work, page: {ui}} = this;
    const numbers = work?.above(ui.threshold) ?? [];
    if (numbers.length) work?.accept(numbers);
    else if (work?.doc.proposals.length) this.page.notice('No open proposal is above the slider');
  }

  // ---- photos

  /** @param {'done' | 'skip' | 'back'} way */
  leave(way) {
    return this.page.leave(way);
  }

  // ---- the look

  fit() {
    this.page.stage.fit();
  }

  /** @param {number} factor */
  zoom(factor) {
    const {stage} = this.page, [x, y] = this.cursor;
    stage.look(zoom(stage.view, x * stage.ratio, y * stage.ratio, factor));
  }

  /** @param {'hidden' | 'outlines' | 'help'} what */
  toggle(what) {
    const {ui} = this.page;
    ui[what] = !ui[what];
    this.page.changed();
  }

  /** @param {boolean} pans whether dragging moves the photo */
  grab(pans) {
    const {ui, root} = this.page;
    ui.pans = pans;
    if (root.dataset.pans !== 'moving' || !pans) root.dataset.pans = String(pans);
  }

  // ---- the cursor

  /** The cursor has moved: preview a click there. */
  point() {
    const {page, work} = this;
    const {ui} = page;
    const isFree = ui.cursor && ui.tool === 'points' && !ui.drag && !ui.pans && isOn(page, ...ui.cursor);
    const wants = isFree && work && isEmpty(work.draft) && page.mode !== 'verify'
      && !(page.mode === 'review' && this.keyHere());
    void work?.questions.hover(wants && ui.cursor ? pixelIn(page, ...ui.cursor) : null);
    page.changed();
  }

  /** Move the cursor by key; the photo follows where it leaves the screen. @param {number} dx @param {number} dy */
  nudge(dx, dy) {
    const {ui, stage} = this.page, {clientWidth, clientHeight} = stage.root;
    const [x, y] = [this.cursor[0] + dx, this.cursor[1] + dy];
    const inside = /** @type {[number, number]} */ (
      [Math.min(clientWidth - 8, Math.max(8, x)), Math.min(clientHeight - 8, Math.max(8, y))]);
    if (inside[0] !== x || inside[1] !== y) {
      const [mx, my] = [(inside[0] - x) * stage.ratio, (inside[1] - y) * stage.ratio];
      stage.look(pan(stage.view, mx, my, stage.photo, stage.screen));
    }
    ui.cursor = inside;
    ui.crosshair = true;
    if (ui.corner) ui.drag = boxOf(ui.corner, pixelIn(this.page, ...inside));
    this.point();
  }

  /** A click, or a dab of the brush, by key. @param {0 | 1} label */
  press(label) {
    const {page, cursor} = this;
    page.ui.cursor = cursor;
    page.ui.crosshair = true;
    if (page.ui.tool === 'points') return click(page, ...cursor, label);
    const place = placeIn(page, ...cursor);
    brush(page, place, place, (page.ui.tool === 'eraser') !== (label === 0), true);
  }

  corner() {
    const {page, work} = this, {ui} = page;
    const here = pixelIn(page, ...this.cursor);
    ui.cursor = this.cursor;
    ui.crosshair = true;
    if (ui.corner && work) {
      const box = boxOf(ui.corner, here);
      ui.corner = ui.drag = null;
      work.set(setBox(work.state, box));
    } else {
      ui.corner = here;
      ui.drag = boxOf(here, here);
    }
    page.changed();
  }
}
