// Work on one photo: every act, and what follows from it.

import {areaOf, countsOf, decodeCounts} from './rle.js';
import {proposalId} from './canvas.js';
import {maskFrom} from './photo.js';
import {Questions} from './questions.js';
import {spentOn} from './spent.js';
import * as acts from './state.js';

/** @typedef {import('./state.js').State} State */
/** @typedef {import('./state.js').Mask} Mask */

/** A canonical UUID4; `crypto.randomUUID` is missing where the page is not served from this machine or by https. */
export function newUuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = bytes[6] & 15 | 64;
  bytes[8] = bytes[8] & 63 | 128;
  const text = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return [text.slice(0, 8), text.slice(8, 12), text.slice(12, 16), text.slice(16, 20), text.slice(20)].join('-');
}

/**
 * A mask with the pixels and scores that the server made of it.
 * @param {Mask} mask
 * @param {any} stored
 * @returns {Mask}
 */
function exact(mask, {runs: {counts}, annotator, predicted_iou, stability_score}) {
  const runs = counts === countsOf(mask.runs) ? mask.runs : decodeCounts(counts);
  return {...mask, runs, annotator, predicted_iou, stability_score};
}

export class Work {
  /**
   * @param {object} options
   * @param {import('./api.js').Api} options.api
   * @param {import('./sync.js').Sync} options.sync
   * @param {import('./canvas.js').Stage} options.stage
   * @param {import('./clock.js').MaskClock} options.clock
   * @param {{id: number, width: number, height: number, name: string}} options.photo
   * @param {string} options.annotator
   * @param {string} options.mode
   * @param {number} options.smallest pixels of the smallest mask
   * @param {Partial<import('./state.js').Doc>} options.doc
   * @param {() => void} options.changed
   * @param {(text: string) => void} options.notice
   */
  constructor({api, sync, stage, clock, photo, annotator, mode, smallest, doc, changed, notice}) {
    this.api = api;
    this.sync = sync;
    this.stage = stage;
    this.clock = clock;
    this.photo = photo;
    this.annotator = annotator;
    this.mode = mode;
    this.smallest = smallest;
    this.changed = changed;
    this.notice = notice;
    this.state = acts.openState(doc);
    this.selected = '';
    this.commitAt = -1;
    this.questions = new Questions(this);
  }

  get doc() {
    return this.state.doc;
  }

  get draft() {
    return this.state.doc.draft;
  }

  /** @param {State} state */
  set(state) {
    if (state === this.state) return;
    const isAct = state.generation !== this.state.generation;
    const {masks, proposals, verdicts, draft} = this.doc;
    this.state = state;
    this.clock.touch(performance.now());
    if (this.draft.clicks > draft.clicks || this.draft.strokes > draft.strokes) this.clock.prompt(performance.now());
    if (isAct) {
      this.commitAt = -1;
      if (!this.exists(this.selected)) this.selected = '';
    }
    if (masks !== this.doc.masks || proposals !== this.doc.proposals || verdicts !== this.doc.verdicts) {
      this.sync.want(this.doc);
    }
    if (isAct) void this.questions.ask();
    this.changed();
  }

  /** The model has answered; a commit that came before its answer follows. @param {State} state */
  receive(state) {
    const {commitAt} = this;
    this.set(state);
    if (commitAt === this.state.generation) this.commit();
    this.changed();
  }

  /** @param {[number, number]} place in the photo @param {0 | 1} label @param {string} key of the mask there */
  click(place, label, key) {
    const isFree = acts.isEmpty(this.draft);
    if (isFree && this.mode === 'verify') return this.select(key);
    if (isFree && this.mode === 'review' && key) {
      if (key.startsWith('#')) return label ? this.accept([Number(key.slice(1))]) : this.reject(Number(key.slice(1)));
      if (label && this.mask(key)?.source === 'proposal') return this.reopen(key);
    }
    if (isFree && !label) return this.notice('Begin a mask with a left click or a box; right clicks take away from it');
    return this.set(acts.addPoint(this.state, place, label));
  }

  commit() {
    const {draft, state} = this;
    if (draft.waits) {
      this.commitAt = state.generation;  // as soon as the answer is here
      return;
    }
    if (!acts.hasMask(draft)) return;
    if (draft.base && !draft.paint && !draft.answer) {  // opened and left as it was
      if (draft.proposal !== null) this.accept([draft.proposal]);
      else this.set(acts.drop(state));
      return;
    }
    const runs = this.stage.pixels.runsOf(draft);
    if (areaOf(runs) < this.smallest) {
      this.notice(`A mask has at least ${this.smallest} pixels; this one has ${areaOf(runs)}`);
      return;
    }
    const candidate = draft.answer?.candidates[draft.chosen], opened = this.mask(draft.uuid ?? '');
    /** @type {Mask} */
    const mask = {
      uuid: draft.uuid ?? newUuid(),
      stamp: newUuid(),
      runs,
      source: acts.sourceOf(draft),
      annotator: this.annotator,
      prompts: {points: draft.points, labels: draft.labels, box: draft.box},
      predicted_iou: candidate?.iou ?? null,
      stability_score: candidate?.stability ?? null,
      ...(candidate && !draft.paint ? {handle: candidate.handle} : {}),
      ...this.clock.read(performance.now()),
      clicks: draft.clicks,
      effort: {...this.clock.effort(), boxes: draft.boxes, strokes: draft.strokes},
      ...(opened ? {before: spentOn(opened)} : {}),
    };
    this.clock.restart(performance.now());
    const wasDue = this.isToRedo(mask);
    this.set(acts.commit(state, mask));
    if (wasDue) this.select(this.due()?.uuid ?? '');
  }

  /** @param {number[]} numbers of proposals */
  accept(numbers) {
    const masks = this.doc.proposals.filter(({number, state}) => numbers.includes(number) && state === 'open');
    if (!masks.length) return;
    this.clock.restart(performance.now());
    this.set({
      ...acts.accept(this.state, masks.map(({number}) => number), masks.map((one) => ({
        uuid: newUuid(), stamp: newUuid(), runs: one.runs, source: 'proposal', annotator: this.annotator,
        prompts: {points: [], labels: [], box: null}, predicted_iou: one.predicted_iou,
        stability_score: one.stability_score, proposal: one.number,
      }))),
    });
  }

  /** @param {number} number */
  reject(number) {
    this.set(acts.reject(this.state, number));
  }

  /** @param {number} threshold @returns {number[]} open proposals of at least this predicted IoU */
  above(threshold) {
    return this.doc.proposals.filter(({state, predicted_iou}) => state === 'open' && predicted_iou >= threshold)
      .map(({number}) => number);
  }

  drop() {
    this.set(acts.drop(this.state));
    this.select('');
  }

  undo() {
    const {masks} = this.doc;
    if (this.state.undo.length) this.clock.undo();
    this.set(acts.undo(this.state));
    // Undoing a commit takes its mask up again, and the time spent on it.
    const mask = masks.find((one) => !this.doc.masks.includes(one));
    if (mask && !acts.isEmpty(this.draft)) {
      this.clock.resume(mask.seconds ?? 0, mask.active_seconds ?? 0, mask.effort);
    }
  }

  redo() {
    const {masks} = this.doc, wasEmpty = acts.isEmpty(this.draft);
    this.set(acts.redo(this.state));
    // Redoing a commit puts its mask away again, and the time spent on it.
    const mask = this.doc.masks.find((one) => !masks.includes(one));
    if (!mask || wasEmpty || !acts.isEmpty(this.draft)) return;
    const {seconds, active_seconds} = this.clock.read(performance.now());
    this.clock.restart(performance.now());
    this.clock.resume(seconds - (mask.seconds ?? 0), active_seconds - (mask.active_seconds ?? 0));
  }

  /** @param {string} key of a mask or a proposal */
  remove(key) {
    if (key.startsWith('#')) this.reject(Number(key.slice(1)));
    else if (key) this.set(acts.remove(this.state, key));
    else this.notice('Point at a mask, or select one, and then delete it');
  }

  /** @param {string} key */
  reopen(key) {
    if (!acts.isEmpty(this.draft)) return this.notice('First commit this mask (Enter) or drop it (Esc)');
    const mask = this.mask(key);
    const proposal = this.doc.proposals.find(({number}) => proposalId(number) === key);
    this.selected = '';
    if (mask) this.set(acts.reopen(this.state, mask));
    else if (proposal) this.set(acts.openProposal(this.state, proposal));
    else this.notice('Point at a mask, or select one, and then open it');
  }

  /** @param {string} verdict */
  judge(verdict) {
    const mask = this.mask(this.selected) ?? this.unjudged();
    if (!mask) return this.notice('Every mask here has a verdict: N goes on');
    if (mask.annotator === this.annotator) return this.notice('You made this mask: another person judges it');
    this.set(acts.judge(this.state, mask.uuid, verdict));
    this.select(this.unjudged()?.uuid ?? '');
  }

  unjudged() {
    return this.doc.masks.find(({uuid, annotator}) => !this.doc.verdicts[uuid] && annotator !== this.annotator);
  }

  /** @param {Mask} mask */
  isToRedo({uuid}) {
    return this.doc.verdicts[uuid] === 'redo';
  }

  /** The first mask that waits for this person. */
  due() {
    return (this.mode === 'verify' ? this.unjudged() : undefined) ?? this.doc.masks.find((mask) => this.isToRedo(mask));
  }

  /** @param {string} key */
  select(key) {
    this.selected = key;
    this.changed();
  }

  /** The server's own form of a mask of ours. @param {string} stamp @param {any} stored */
  takeStored(stamp, stored) {
    const state = stored.verdict ? this.state : acts.forgetVerdict(this.state, stored.uuid);
    this.set(acts.rewrite(state, (mask) => (mask.stamp === stamp ? exact(mask, stored) : mask)));
  }

  /** Another version of a mask is stored. @param {string} uuid @param {any} stored @param {boolean} isBack */
  takeOther(uuid, stored, isBack) {
    const other = maskFrom(stored, uuid);
    const state = isBack ? acts.appear(this.state, other) : this.state;
    this.set(acts.rewrite(state, (mask) => (mask.uuid === uuid ? other : mask)));
  }

  /** @param {string} key of a mask or an open proposal */
  exists(key) {
    const {masks, proposals} = this.doc;
    return masks.some(({uuid}) => uuid === key)
      || proposals.some(({number, state}) => state === 'open' && proposalId(number) === key);
  }

  /** @param {string} uuid @returns {Mask | undefined} */
  mask(uuid) {
    return this.doc.masks.find((one) => one.uuid === uuid);
  }

  close() {
    this.questions.close();
  }
}
