// What the model is asked: the draft's mask after every act, and a preview where the cursor is.

import {RequestError} from './api.js';
import {forgetLogits, isEmpty, receive} from './state.js';

/** @typedef {import('./work.js').Work} Work */

const AGAIN_MS = 1000;

export class Questions {
  /** @param {Work} work */
  constructor(work) {
    this.work = work;
    /** @type {AbortController | null} */
    this.asking = null;
    /** @type {AbortController | null} */
    this.hovering = null;
    /** @type {[number, number] | null} */
    this.place = null;
    /** @type {import('./api.js').Answer | null} of a click where the cursor is */
    this.preview = null;
    /** @type {{point: string, answer: Promise<import('./api.js').Answer>} | null} the last preview that was asked for */
    this.previewed = null;
    this.decodeMs = 0;
    this.trouble = '';
    this.isClosed = false;
  }

  /** Ask for the draft's mask, if it has prompts without an answer; the newest question alone counts. */
  async ask() {
    this.asking?.abort();
    this.asking = null;
    const {draft, state, api, photo} = this.work;
    if (!draft.waits || isEmpty(draft)) this.preview = null;  // else it stays until the answer is here
    if (!draft.waits || this.isClosed) return;
    const previewed = this.previewOf(draft);
    if (!previewed) this.hovering?.abort();
    const asking = this.asking = new AbortController();
    const {points, labels, box, previous} = draft;
    const prompt = {points, labels, box, previous, generation: state.generation, hover: false};
    try {
      const seen = previewed && await previewed.answer.catch(() => null);
      if (this.asking !== asking) return;
      const answer = seen ? {...seen, generation: state.generation} : await api.predict(photo.id, prompt, asking.signal);
      if (this.asking !== asking) return;
      this.trouble = '';
      this.decodeMs = answer.decode_ms;
      this.work.clock.decode(answer.decode_ms);
      this.preview = null;
      this.work.receive(receive(this.work.state, answer));
    } catch (error) {
      if (this.asking === asking && !asking.signal.aborted) this.fail(error, previous !== null);
    } finally {
      if (this.asking === asking) this.asking = null;
    }
  }

  /** The preview that asked what a draft asks: a click where the cursor rests. @param {import('./state.js').Draft} draft */
  previewOf({points, labels, box, previous}) {
    const isOne = points.length === 1 && labels[0] === 1 && !box && !previous;
    return isOne && this.previewed?.point === points[0].join() ? this.previewed : null;
  }

  /** @param {unknown} error @param {boolean} hasPrevious */
  fail(error, hasPrevious) {
    const {work} = this;
    if (!(error instanceof RequestError)) throw error;
    if (hasPrevious && [400, 404, 410].includes(error.status)) {  // the server was started again: it has no logits
      work.state = forgetLogits(work.state);
      queueMicrotask(() => this.ask());
      return;
    }
    const isPassing = error.isPassing || error.body.superseded;
    this.trouble = isPassing ? error.message : '';
    if (!isPassing) work.notice(error.message);
    const {generation} = work.state;
    if (isPassing) setTimeout(() => generation === work.state.generation && !this.asking && this.ask(), AGAIN_MS);
    work.changed();
  }

  /**
   * Preview a click: at most one request is under way, and the next goes to where the cursor is then.
   * @param {[number, number] | null} place pixel of the photo; null ends the preview
   */
  async hover(place) {
    const {work} = this;
    this.place = place;
    if (!place && this.preview && isEmpty(work.draft)) {
      this.preview = null;
      work.changed();
    }
    if (this.hovering || (this.preview && place?.join() === this.previewed?.point)) return;
    while (this.place && isEmpty(work.draft) && !this.asking && !this.isClosed) {
      const [point, {generation}] = [this.place, work.state];
      const prompt = {points: [point], labels: [1], box: null, previous: null, generation, hover: true};
      const hovering = this.hovering = new AbortController();
      try {
        const asked = work.api.predict(work.photo.id, prompt, hovering.signal);
        this.previewed = {point: point.join(), answer: asked};
        const answer = await asked;
        if (generation === work.state.generation && this.place && isEmpty(work.draft)) {
          this.preview = answer;
          work.changed();
        }
      } catch (error) {
        if (hovering.signal.aborted) break;
        if (!(error instanceof RequestError)) throw error;
        if (!error.body.superseded) await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      }
      if (this.place?.join() === point.join()) break;
    }
    this.hovering = null;
  }

  close() {
    this.isClosed = true;
    this.asking?.abort();
    this.hovering?.abort();
  }
}
