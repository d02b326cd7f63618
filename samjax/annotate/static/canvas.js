// The layers on the screen: photo, committed masks, draft, cursor. Each is drawn again only where what it shows has
// changed, and only what is on the screen.

import {areaOf, bitmapOf, boundsOf} from './rle.js';
import {IdMap, NOWHERE, boundsOfGrid, colour, hue, sampleBitmap, union} from './raster.js';
import {DraftPixels} from './brush.js';
import {fit, pixelsOnScreen, toScreen} from './view.js';
import {drawCursor} from './cursor.js';
import {EMPTY} from './state.js';

/** @typedef {import('./view.js').View} View */
/** @typedef {import('./state.js').Doc} Doc */
/** @typedef {import('./api.js').Answer} Answer */
/**
 * @typedef {object} Scene all that is drawn
 * @property {Doc} doc
 * @property {Answer | null} preview of a click where the cursor is
 * @property {string} mode
 * @property {boolean} hidden
 * @property {boolean} outlines
 * @property {string} selected key of a mask: its UUID, or # and a proposal's number
 * @property {string} pointed key of the mask beneath the cursor
 * @property {string} tool
 * @property {number} brush radius, CSS pixels
 * @property {[number, number] | null} cursor CSS pixels
 * @property {boolean} crosshair
 * @property {number} threshold proposals of at least this predicted IoU are in the accent's colour
 * @property {number[] | null} drag a box that is being drawn, in pixels of the photo
 */

export const ACCENT = 0xffc65a;  // #5ac6ff
const AMBER = 0x47b5ff;  // #ffb547
const GREY = 0xc4bfbb, WHITE = 0xffffff;
const FILL = Math.round(0.35 * 255), SLOW_MS = 14, QUIET_MS = 90;

/** The key by which a proposal is known on the screen. @param {number} number */
export const proposalId = (number) => `#${number}`;

export class Stage {
  /** @param {HTMLElement} root @param {() => void} changed called after the view or the size has changed */
  constructor(root, changed) {
    this.root = root;
    this.changed = changed;
    const layer = (/** @type {string} */ name) =>
      /** @type {HTMLCanvasElement} */ (root.querySelector(`canvas[data-layer=${name}]`));
    this.layers = {photo: layer('photo'), masks: layer('masks'), draft: layer('draft'), cursor: layer('cursor')};
    this.ratio = 1;
    this.screen = {width: 1, height: 1};
    this.grid = new Uint16Array(1);
    this.image = new ImageData(1, 1);
    this.rgba = new Uint32Array(this.image.data.buffer);
    /** @type {import('./rle.js').Runs | null} of the mask whose bitmap is kept, to light it up */
    this.litRuns = null;
    /** @type {Uint8Array} */
    this.litBitmap = new Uint8Array(1);
    /** Changes with the map of ids. */
    this.version = {};
    /** @type {ImageBitmap | null} */
    this.bitmap = null;
    this.photo = {width: 1, height: 1};
    /** @type {View} */
    this.view = {scale: 1, x: 0, y: 0};
    this.isFitted = true;
    /** @type {Map<string, import('./raster.js').Shape>} */
    this.shapes = new Map();
    /** @type {Map<string, number>} */
    this.places = new Map();
    /** @type {Set<string>} */
    this.fromModel = new Set();
    this.map = new IdMap(1, 1);
    this.pixels = new DraftPixels(this.photo);
    this.strokes = 0;
    /** @type {Record<string, any[]>} */
    this.before = {};
    /** Where the layer of the draft is not clear. */
    this.drafted = NOWHERE;
    this.cost = 0;
    this.timer = 0;
    new ResizeObserver(() => this.resize()).observe(root);
    this.resize();
  }

  resize() {
    this.ratio = window.devicePixelRatio || 1;
    this.screen = {
      width: Math.max(1, Math.round(this.root.clientWidth * this.ratio)),
      height: Math.max(1, Math.round(this.root.clientHeight * this.ratio)),
    };
    for (const canvas of Object.values(this.layers)) Object.assign(canvas, this.screen);
    const {width, height} = this.screen;
    this.grid = new Uint16Array(width * height);
    this.image = new ImageData(width, height);
    this.rgba = new Uint32Array(this.image.data.buffer);
    this.before = {};
    this.drafted = NOWHERE;
    if (this.isFitted) this.fit();
    else this.look(this.view);
  }

  /** @param {ImageBitmap} bitmap */
  show(bitmap) {
    this.bitmap?.close();
    this.bitmap = bitmap;
    this.photo = {width: bitmap.width, height: bitmap.height};
    this.map = new IdMap(bitmap.width, bitmap.height);
    this.pixels = new DraftPixels(this.photo);
    this.shapes.clear();
    this.places.clear();
    this.fit();
  }

  fit() {
    this.look(fit(this.photo, this.screen, Math.round(16 * this.ratio)));
    this.isFitted = true;
  }

  /** @param {View} view */
  look(view) {
    this.view = view;
    this.isFitted = false;
    Object.assign(this.root.dataset, {
      scale: String(view.scale / this.ratio), x: String(view.x / this.ratio), y: String(view.y / this.ratio)});
    this.changed();
  }

  /** @param {Scene} scene */
  draw(scene) {
    this.update(scene);
    const {view, screen, bitmap, map} = this;
    const {doc, hidden, outlines, mode} = scene;
    if (this.differs('photo', [view, screen, bitmap])) this.drawPhoto();
    const isMove = this.before.masks && this.before.masks[0] !== view && this.before.masks[1] === screen;
    if (isMove && this.cost > SLOW_MS) {
      this.carry();
    } else {
      const start = performance.now();
      const shown = [view, screen, map, this.version, hidden, outlines, mode, scene.threshold, doc.verdicts];
      if (this.differs('masks', shown)) this.drawMasks(scene);
      const lit = scene.selected || scene.pointed;
      const {answer, chosen, base, paint, uuid} = doc.draft;
      const mask = [answer, chosen, base, paint, uuid, scene.preview, this.strokes, scene.outlines];
      const what = [view, screen, map, ...mask, hidden, lit, this.shapes.get(lit)];
      if (this.differs('draft', what)) this.drawDraft(scene, lit);
      if (isMove) this.cost = performance.now() - start;
    }
    this.root.ariaBusy = String(doc.draft.waits);
    drawCursor(this.layers.cursor, scene, (x, y) => toScreen(view, x, y), this.ratio);
  }

  /** Where exact drawing is too slow for every frame of a move: move what is drawn, and draw when the view rests. */
  carry() {
    const [old] = this.before.masks, {view, ratio} = this;
    const scale = view.scale / old.scale;
    const [x, y] = [(view.x - old.x * scale) / ratio, (view.y - old.y * scale) / ratio];
    for (const layer of [this.layers.masks, this.layers.draft]) {
      layer.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    }
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => {
      this.cost = 0;
      this.changed();
    }, QUIET_MS);
  }

  /** @param {string} layer @param {any[]} now what it shows @returns {boolean} whether that is not drawn yet */
  differs(layer, now) {
    const before = this.before[layer];
    if (before && before.length === now.length && now.every((value, i) => value === before[i])) return false;
    this.before[layer] = now;
    return true;
  }

  /** Bring the map of ids to the masks and proposals that are shown. @param {Scene} scene */
  update({doc}) {
    const what = [this.map, doc.masks, doc.proposals, doc.draft.uuid, doc.draft.proposal];
    if (!this.differs('ids', what)) return;
    const shown = doc.masks.filter(({uuid}) => uuid !== doc.draft.uuid).map(({uuid, runs}) => this.shape(uuid, runs));
    for (const {number, runs, state} of doc.proposals) {
      if (state === 'open' && number !== doc.draft.proposal) shown.push(this.shape(proposalId(number), runs));
    }
    for (const {uuid} of doc.masks) this.placeOf(uuid);
    this.fromModel = new Set(doc.masks.filter(({source}) => source === 'proposal').map(({uuid}) => uuid));
    if (this.map.update(shown)) this.version = {};
  }

  /** @param {string} key @param {import('./rle.js').Runs} runs */
  shape(key, runs) {
    const old = this.shapes.get(key);
    if (old?.runs === runs) return old;
    const shape = {key, runs, area: areaOf(runs), bounds: boundsOf(runs, this.photo.height)};
    this.shapes.set(key, shape);
    return shape;
  }

  /** The mask's place among those seen on this photo, which gives it its hue. @param {string} uuid */
  placeOf(uuid) {
    const place = this.places.get(uuid) ?? this.places.size;
    this.places.set(uuid, place);
    return place;
  }

  /** Whether a mask is grey: the model's, and nobody has touched it. @param {string} key @param {string} mode */
  isGrey(key, mode) {
    return key.startsWith('#') || (mode === 'prefill' && this.fromModel.has(key));
  }

  /** @param {string} key @param {string} mode @returns {number} its colour, as 0xBBGGRR */
  colourOf(key, mode) {
    return this.isGrey(key, mode) ? GREY : hue(this.placeOf(key));
  }

  drawPhoto() {
    const {layers: {photo: canvas}, view: {scale, x, y}, bitmap, screen} = this;
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!bitmap) return;
    const left = Math.max(0, Math.floor(-x / scale)), top = Math.max(0, Math.floor(-y / scale));
    const right = Math.min(bitmap.width, Math.ceil((screen.width - x) / scale));
    const bottom = Math.min(bitmap.height, Math.ceil((screen.height - y) / scale));
    if (right <= left || bottom <= top) return;
    context.imageSmoothingEnabled = scale < 2;
    context.imageSmoothingQuality = 'medium';
    context.drawImage(bitmap, left, top, right - left, bottom - top,
      x + left * scale, y + top * scale, (right - left) * scale, (bottom - top) * scale);
  }

  /** @param {Scene} scene */
  drawMasks(scene) {
    const {screen: {width, height}, rgba, grid, map} = this;
    rgba.fill(0);
    if (!scene.hidden && map.shapes.size) {
      const above = new Set(scene.doc.proposals.filter(({predicted_iou}) => predicted_iou >= scene.threshold)
        .map(({number}) => proposalId(number)));
      const inks = map.keys.map((key) => {
        if (!key) return {rgb: 0, fill: 0, line: 0};
        const isProposal = key.startsWith('#');
        const isGrey = this.isGrey(key, scene.mode);
        const isToRedo = scene.doc.verdicts[key] === 'redo';
        const isBare = scene.outlines || scene.mode === 'verify' || (isProposal && scene.mode === 'review');
        const fill = scene.outlines || (isBare && !isToRedo) ? 0 : isGrey ? 70 : FILL;
        const rgb = isToRedo ? AMBER : scene.mode === 'review' && above.has(key) ? ACCENT : this.colourOf(key, scene.mode);
        return {rgb, fill, line: isGrey ? 220 : 255, shade: isProposal};
      });
      map.sample(pixelsOnScreen(this.view, this.screen, this.photo), grid);
      colour(grid, width, height, inks, rgba, this.ratio);
    }
    this.put(this.layers.masks, [0, 0, width, height]);
  }

  /** @param {Scene} scene @param {string} lit key of the mask to light up */
  drawDraft(scene, lit) {
    const {screen: {width, height}, rgba, grid, photo} = this;
    const pixels = pixelsOnScreen(this.view, this.screen, photo);
    rgba.fill(0);
    let drawn = NOWHERE;
    const ink = (/** @type {import('./raster.js').Ink[]} */ inks) => {
      const bounds = boundsOfGrid(grid, width, height);
      for (const one of inks) colour(grid, width, height, [one, one], rgba, this.ratio, bounds);
      drawn = union(drawn, bounds);
    };
    const shape = this.shapes.get(lit);
    if (shape && !scene.hidden && lit !== scene.doc.draft.uuid) {
      grid.fill(0);
      sampleBitmap(this.bitmapFor(shape.runs), photo.height, pixels, grid, () => 1);
      const rgb = lit.startsWith('#') ? ACCENT : this.colourOf(lit, scene.mode);
      const fill = {rgb, fill: scene.mode === 'verify' ? FILL : 60, line: 0};
      const line = {rgb: WHITE, fill: 0, line: 255, shade: true};
      ink([fill, line]);
    }
    const {draft} = scene.doc;
    const preview = scene.preview && !draft.answer && !draft.base && !draft.paint;
    grid.fill(0);
    if (this.pixels.sample(preview ? {...EMPTY, answer: scene.preview} : draft, pixels, grid)) {
      ink([{rgb: ACCENT, fill: scene.outlines ? 0 : preview ? 56 : 100, line: preview ? 170 : 255}]);
    }
    this.put(this.layers.draft, union(this.drafted, drawn));
    this.drafted = drawn;
  }

  /** @param {import('./rle.js').Runs} runs */
  bitmapFor(runs) {
    if (this.litRuns !== runs) this.litBitmap = bitmapOf(runs, this.photo.width * this.photo.height);
    this.litRuns = runs;
    return this.litBitmap;
  }

  /** @param {HTMLCanvasElement} canvas @param {import('./rle.js').Rect} changed what of it may be other than before */
  put(canvas, [left, top, right, bottom]) {
    canvas.style.transform = '';
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    context.putImageData(this.image, 0, 0, left, top, right - left, bottom - top);
  }
}
