// Everything around the photo: tools, candidates, proposals, masks, and the line at the bottom.

import {drawCandidate, surroundings} from './cursor.js';
import {ACCENT} from './canvas.js';
import {css} from './raster.js';
import {drawConflict} from './conflict.js';
import {aboutMask, aboutModel, clockText, countOfMasks, countWithRedos, hintFor, savedText, titleOf} from './words.js';

/** @typedef {import('./page.js').Page} Page */

/** @type {(string[] | null)[]} icon, label, key; null is a line */
const TOOLS = [
  ['points', 'Points and boxes', 'V'], ['brush', 'Brush', 'B'], ['eraser', 'Eraser', 'E'], null,
  ['undo', 'Undo', 'Ctrl+Z'], ['redo', 'Redo', 'Ctrl+Shift+Z'], null,
  ['reopen', 'Open the mask again', 'R'], ['delete', 'Delete the mask', 'Del'], null,
  ['hide', 'Hide masks', 'H'], ['outlines', 'Outlines only', 'O'], ['fit', 'The whole photo', '0'],
  ['help', 'All keys', '?'],
];
const PLACES = 3;
const VERDICTS = [['yes', 'Yes', 'Y'], ['no', 'No', 'X'], ['redo', 'Redo', 'U']];

/** @template {HTMLElement} T @param {string} selector @returns {T} */
export const get = (selector) => /** @type {T} */ (document.querySelector(selector));

/** @param {string} label @param {() => void} act */
export function button(label, act) {
  const made = document.createElement('button');
  made.type = 'button';
  made.textContent = label;
  made.addEventListener('click', (event) => {
    act();
    if (event.detail) get('#stage').focus();  // after the mouse, keys go to the photo again
  });
  return made;
}

export class Panels {
  /** @param {Page} page */
  constructor(page) {
    this.page = page;
    this.help = get('#help');
    /** @type {Map<string, HTMLButtonElement>} */
    this.tools = new Map();
    /** @type {Map<string, HTMLButtonElement>} */
    this.swatches = new Map();
    /** @type {Record<string, any[]>} */
    this.before = {};
    /** @type {HTMLButtonElement[]} */
    this.candidates = [];
    this.makeTools();
    this.makeCandidates();
    this.makeActs();
  }

  makeTools() {
    const {controls} = this.page;
    /** @type {Record<string, () => void>} */
    const acts = {
      undo: () => this.page.work?.undo(),
      redo: () => this.page.work?.redo(),
      reopen: () => controls.reopen(),
      delete: () => controls.remove(),
      hide: () => controls.toggle('hidden'),
      outlines: () => controls.toggle('outlines'),
      fit: () => controls.fit(),
      help: () => controls.toggle('help'),
    };
    for (const tool of TOOLS) {
      if (!tool) {
        get('#tools').append(document.createElement('hr'));
        continue;
      }
      const [name, label, key] = tool;
      const made = button('', acts[name] ?? (() => controls.use(name)));
      made.innerHTML = `<svg class="icon" aria-hidden="true"><use href="#i-${name}"/></svg>`;
      made.title = `${label} (${key})`;
      made.setAttribute('aria-label', label);
      made.setAttribute('aria-keyshortcuts', key.replace('Ctrl', 'Control').replace('Del', 'Delete'));
      this.tools.set(name, made);
      get('#tools').append(made);
    }
  }

  makeActs() {
    const {page} = this;
    for (const made of document.querySelectorAll('#side > footer button')) {
      const way = /** @type {any} */ (/** @type {HTMLElement} */ (made).dataset.act);
      made.addEventListener('click', () => void page.leave(way));
    }
    get('#saved').addEventListener('click', () => page.retry());
    get('#who').addEventListener('click', () => page.rename());
    for (const [verdict, label, key] of VERDICTS) {
      const made = button(`${label} `, () => page.work?.judge(verdict));
      made.dataset.verdict = verdict;
      made.append(Object.assign(document.createElement('kbd'), {textContent: key}));
      get('#verify .row').append(made);
    }
    const slider = /** @type {HTMLInputElement} */ (get('#proposals input'));
    slider.addEventListener('input', () => {
      page.ui.threshold = Number(slider.value);
      page.changed();
    });
    get('#proposals button').addEventListener('click', () => page.controls.acceptAbove());
    get('#masks .swatches').addEventListener('keydown', (event) => {
      const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
      if (!step) return;
      page.controls.step(step);
      event.preventDefault();
      this.swatches.get(page.work?.selected ?? '')?.focus();
    });
  }

  /** @param {string} panel @param {any[]} now what it shows @returns {boolean} whether that is new */
  differs(panel, now) {
    const before = this.before[panel];
    if (before && now.every((value, i) => value === before[i])) return false;
    this.before[panel] = now;
    return true;
  }

  draw() {
    const {page} = this, {work, ui, waiting, session} = page;
    get('#waiting').hidden = Boolean(work);
    get('#waiting').textContent = work ? '' : waiting;
    this.help.hidden = !ui.help;
    for (const [name, made] of this.tools) {
      const isOn = {hide: ui.hidden, outlines: ui.outlines, help: ui.help}[name] ?? ui.tool === name;
      if (['points', 'brush', 'eraser', 'hide', 'outlines', 'help'].includes(name)) made.ariaPressed = String(isOn);
    }
    const [undo, redo] = ['undo', 'redo'].map((name) => /** @type {HTMLButtonElement} */ (this.tools.get(name)));
    undo.disabled = !work?.state.undo.length;
    redo.disabled = !work?.state.redo.length;
    for (const made of document.querySelectorAll('#side > footer button')) {
      /** @type {HTMLButtonElement} */ (made).disabled = !work;
    }
    get('#photo-name').textContent = work?.photo.name ?? 'samjax annotate';
    get('#photo-name').title = work?.photo.name ?? '';
    get('#photo-about').textContent = work ? `${work.photo.width} × ${work.photo.height}` : '';
    this.drawCandidates();
    this.drawProposals();
    this.drawMasks();
    if (this.differs('conflict', [work, work?.sync.conflicts.length, work?.doc.masks])) drawConflict(page);
    get('#who').textContent = page.annotator;
    get('#model').textContent = session ? session.model.name : '';
    get('#model').title = aboutModel(session, work?.questions.decodeMs ?? 0);
    const {scale} = page.stage.view;
    get('#zoom').textContent = work ? `${Math.round(100 * scale / page.stage.ratio)}%` : '';
    this.drawSaved();
    this.drawClock();
  }

  /** Three places that stay where they are: what a click changes moves nothing else. */
  makeCandidates() {
    for (let i = 0; i < PLACES; i++) {
      const made = button('', () => this.page.controls.choose(i));
      made.append(document.createElement('canvas'), tag('key', String(i + 1)), tag('iou', ''));
      get('#candidates .candidates').append(made);
      this.candidates.push(made);
    }
  }

  drawCandidates() {
    const {work, mode} = this.page;
    const answer = work?.draft.answer ?? null;
    get('#candidates').hidden = mode === 'verify' && !answer;
    if (this.differs('candidates', [answer, work])) {
      this.candidates.forEach((made, i) => {
        const candidate = answer?.candidates[i];
        made.disabled = !candidate;
        if (!candidate) return;
        const {iou, stability} = candidate;
        made.title = `Predicted IoU ${iou.toFixed(3)}, stability ${stability.toFixed(3)}`;
        made.ariaLabel = `Candidate ${i + 1}, predicted IoU ${iou.toFixed(2)}`;
        /** @type {HTMLElement} */ (made.lastElementChild).textContent = iou.toFixed(2);
      });
      if (answer) requestAnimationFrame(() => setTimeout(() => this.drawPictures(answer)));  // the mask itself first
    }
    const chosen = work?.draft.chosen ?? 0;
    this.candidates.forEach((made, i) => {
      made.ariaPressed = String(!made.disabled && i === chosen);
    });
    write('#candidates .hint', hintFor(work, mode));
  }

  /** @param {import('./api.js').Answer} answer */
  drawPictures(answer) {
    const {work, stage} = this.page;
    if (work?.draft.answer !== answer) return;
    answer.candidates.slice(0, PLACES).forEach((_, i) => {
      const picture = /** @type {HTMLCanvasElement} */ (this.candidates[i].firstElementChild);
      const width = Math.round(picture.clientWidth * stage.ratio);
      const height = Math.round(picture.clientHeight * stage.ratio);
      if (picture.width !== width || picture.height !== height) Object.assign(picture, {width, height});
      const part = surroundings(answer, stage.photo, width / height);
      if (stage.bitmap) drawCandidate(picture, stage.bitmap, answer, i, part, ACCENT);
    });
  }

  drawProposals() {
    const {work, ui, mode} = this.page;
    const proposals = work?.doc.proposals ?? [];
    get('#verify').hidden = mode !== 'verify' || !work;
    const judged = work?.doc.verdicts[work.selected];
    for (const made of document.querySelectorAll('#verify .row button')) {
      made.setAttribute('aria-pressed', String(/** @type {HTMLElement} */ (made).dataset.verdict === judged));
    }
    get('#proposals').hidden = !proposals.length || mode === 'verify';
    if (!this.differs('proposals', [proposals, ui.threshold])) return;
    const open = proposals.filter(({state}) => state === 'open').length;
    const above = work?.above(ui.threshold).length ?? 0;
    get('#proposals .count').textContent = `${open} open`;
    get('#proposals output').textContent = ui.threshold.toFixed(2);
    const accept = /** @type {HTMLButtonElement} */ (get('#proposals button'));
    accept.textContent = above ? `Accept ${above}` : 'None to accept';
    accept.disabled = !above;
  }

  drawMasks() {
    const {work, stage, mode} = this.page;
    const masks = work?.doc.masks ?? [];
    const unsaved = new Set(work?.sync.unsaved().map(({key}) => key));
    if (!this.differs('masks', [masks, work?.selected, work?.doc.verdicts, [...unsaved].join()])) return;
    const list = get('#masks .swatches');
    const shown = new Set(masks.map(({uuid}) => uuid));
    for (const [uuid, made] of this.swatches) {
      if (shown.has(uuid)) continue;
      made.remove();
      this.swatches.delete(uuid);
    }
    masks.forEach((mask, i) => {
      const {uuid} = mask;
      let made = this.swatches.get(uuid);
      if (!made) {
        made = button('', () => work?.select(uuid));
        made.setAttribute('role', 'option');
        this.swatches.set(uuid, made);
        list.append(made);
      }
      made.title = titleOf(mask, i + 1);
      made.ariaLabel = made.title;
      if (work) made.style.backgroundColor = css(stage.colourOf(uuid, mode));
      made.ariaSelected = String(uuid === work?.selected);
      made.tabIndex = uuid === work?.selected || (!shown.has(work?.selected ?? '') && i === 0) ? 0 : -1;
      made.dataset.unsaved = String(unsaved.has(uuid));
      made.dataset.verdict = work?.doc.verdicts[uuid] ?? '';
    });
    const redos = masks.filter((mask) => work?.isToRedo(mask)), selected = masks.find(({uuid}) => uuid === work?.selected);
    get('#masks .count').textContent = work ? countWithRedos(masks.length, redos.length) : '';
    write('#masks .about', aboutMask(selected, mode, redos.some((mask) => mask === selected)));
    write('#count', work ? countOfMasks(masks.length) : '');
  }

  drawSaved() {
    const saved = get('#saved'), note = get('#note');
    const syncs = [...this.page.syncs];
    const count = syncs.reduce((sum, sync) => sum + sync.unsaved().length, 0);
    const why = syncs.map((sync) => sync.complaints()[0] ?? sync.problem).find(Boolean) ?? '';
    const isStuck = Boolean(why && count);  // else it is on its way, for some milliseconds
    saved.dataset.state = isStuck ? 'unsaved' : 'saved';
    write('#saved', this.page.work || count ? savedText(count, why) : '');
    saved.title = isStuck ? 'Try again now' : 'Every mask is on the disk of the server';
    note.dataset.why = isStuck ? why : '';
  }

  drawClock() {
    const {work, session, clock} = this.page;
    const {seconds, active_seconds} = clock.read(performance.now());
    const late = Boolean(work) && seconds >= (session?.settings.amber_seconds ?? 30);
    write('#clock', work ? clockText(seconds, active_seconds) : '');
    get('#clock').dataset.late = String(late);
    const why = get('#note').dataset.why;
    write('#note', why || (late ? 'Long for one mask: N takes the next photo' : ''));
    get('#note').dataset.late = String(late && !why);
  }

  /** A sentence over the photo that goes by itself. @param {string} text @param {number} ms */
  notice(text, ms) {
    const notices = get('#notices');
    for (const old of notices.children) if (old.textContent === text) old.remove();
    const made = Object.assign(document.createElement('p'), {textContent: text});
    notices.append(made);
    while (notices.children.length > 3) notices.firstChild?.remove();
    setTimeout(() => made.remove(), ms);
  }
}

/** Write a text that has changed: what stays is not read out again. @param {string} selector @param {string} text */
function write(selector, text) {
  const place = get(selector);
  if (place.textContent !== text) place.textContent = text;
}

/** @param {string} name @param {string} text */
const tag = (name, text) => Object.assign(document.createElement('span'), {className: name, textContent: text});
