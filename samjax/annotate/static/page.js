// Photos come and go; what a photo needs is wired together here.

import {Api, RequestError} from './api.js';
import {Stage} from './canvas.js';
import {MaskClock} from './clock.js';
import {Controls} from './controls.js';
import {describe, listen} from './keys.js';
import {Panels} from './panels.js';
import {photoState} from './photo.js';
import {watch} from './pointer.js';
import {isEmpty} from './state.js';
import {Store} from './store.js';
import {Sync} from './sync.js';
import {Work} from './work.js';

/** Where the browser keeps the annotator's name. */
export const NAME = 'samjax/annotator';
const RENEW_MS = 30_000;
/** A person who has not touched the page for so long is away: the lease ends, and the photo goes to others. */
const AWAY_MS = 300_000;
const NOTICE_MS = 4500;

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Page {
  /** @param {string} annotator @param {string | null} token */
  constructor(annotator, token) {
    this.annotator = annotator;
    this.api = new Api({annotator, token});
    this.ui = {
      tool: 'points', brush: 14, hidden: false, outlines: false, help: false, pans: false, crosshair: false,
      threshold: 0.88,
      cursor: /** @type {[number, number] | null} */ (null),
      drag: /** @type {number[] | null} */ (null),
      corner: /** @type {[number, number] | null} */ (null),
    };
    /** @type {any} */
    this.session = null;
    /** @type {Work | null} */
    this.work = null;
    /** @type {Set<Sync>} that have something to send; the open photo's is among them */
    this.syncs = new Set();
    this.clock = new MaskClock(performance.now());
    this.lastAct = performance.now();
    this.waiting = 'Waiting for the server …';
    this.isLeaving = false;
    this.warning = -1;
    this.frame = 0;
    this.root = /** @type {HTMLElement} */ (document.getElementById('stage'));
    this.stage = new Stage(this.root, () => this.changed());
    this.controls = new Controls(this);
    this.panels = new Panels(this);
    watch(this);
    listen(this.controls);
  }

  get mode() {
    return this.session?.mode ?? 'manual';
  }

  /** Draw at the next frame. */
  changed() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = 0;
    const {ui, work, mode} = this;
    this.root.dataset.tool = ui.tool;
    if (work) {
      const pointed = mode === 'review' && isEmpty(work.draft) ? this.controls.keyHere() : '';
      const preview = ui.tool === 'points' ? work.questions.preview : null;
      this.stage.draw({...ui, doc: work.doc, preview, mode, selected: work.selected, pointed});
    }
    this.panels.draw();
  }

  // ---- photos

  async start() {
    describe(this.panels.help, this.mode);
    this.session = await this.untilReached(() => this.api.json('GET', 'session'));
    describe(this.panels.help, this.mode);
    this.store = new Store(this.session.folder ?? '', this.annotator);
    this.adopt();
    setInterval(() => this.panels.drawClock(), 250);
    setInterval(() => void this.renew(), Math.min(RENEW_MS, 250 * this.session.settings.lease_seconds));
    setInterval(() => this.adopt(), RENEW_MS);
    addEventListener('online', () => this.retry());
    document.addEventListener('visibilitychange', () => this.clock.hide(performance.now(), document.hidden));
    for (const name of ['pointermove', 'pointerdown', 'keydown', 'wheel']) {
      addEventListener(name, () => this.touch(), {passive: true, capture: true});
    }
    // What a page before this one could not send goes first: then the photo comes with it.
    await this.untilReached(async () => {
      const late = [...this.syncs].find((sync) => sync.unsaved().length > sync.refusals.size);
      if (late) throw new RequestError('Work of an earlier visit is being saved', 0);
    });
    await this.next({});
  }

  /** Send what other visits of this annotator have left in the browser. */
  adopt() {
    for (const {key, conflicts, work, ...options} of this.store?.orphans() ?? []) {
      if ([...this.syncs].some((sync) => this.store?.keys.get(sync) === key)) continue;
      const sync = this.sync({...options, work});
      sync.conflicts = conflicts;
      sync.want(work);
      this.store?.forget(key);
    }
  }

  /** @param {any} options @returns {Sync} */
  sync(options) {
    /** @type {Sync} */
    const sync = new Sync({
      api: this.api,
      keep: (one) => this.store?.keep(one),
      listener: {
        onChange: () => {
          if (sync !== this.work?.sync && !sync.unsaved().length && !sync.conflicts.length) this.syncs.delete(sync);
          this.changed();
        },
        onStored: (stamp, stored) => this.of(sync)?.takeStored(stamp, stored),
        onConflict: (mask, stored, uuid, message) => {
          this.of(sync)?.takeOther(uuid, stored, mask === null);
          if (!mask) this.notice(`Not deleted: ${message}`);
          this.store?.keep(sync);
        },
      },
      ...options,
    });
    this.syncs.add(sync);
    return sync;
  }

  /** @param {Sync} sync */
  of(sync) {
    return this.work?.sync === sync ? this.work : null;
  }

  /** @param {object} body */
  async next(body) {
    const answer = await this.untilReached(() => this.api.json('POST', 'next', body));
    if (answer) return this.open(answer);
    this.close('Every photo is done, or with somebody else.\nThis page looks again in half a minute.');
    setTimeout(() => !this.work && void this.next({}), RENEW_MS);
  }

  /** @param {string} waiting */
  close(waiting) {
    this.work?.close();
    this.work = null;
    this.waiting = waiting;
    this.changed();
  }

  /** @param {any} answer of `next` or `back` */
  async open(answer) {
    this.close('Opening the photo …');
    const {photo, lease, ahead = []} = answer;
    const blob = await this.untilReached(() => this.api.photo(photo.id));
    const bitmap = await createImageBitmap(blob);
    const {doc, server} = photoState(answer);
    const sync = this.sync({photo, lease: lease.number, server, work: doc});
    this.stage.show(bitmap);
    this.clock.restart(performance.now());
    this.work = new Work({
      api: this.api, sync, stage: this.stage, clock: this.clock, photo, annotator: this.annotator, mode: this.mode,
      smallest: this.session.settings.smallest_mask, doc, changed: () => this.changed(),
      notice: (text) => this.notice(text),
    });
    this.work.select(this.work.due()?.uuid ?? '');
    for (const old of this.syncs) {  // versions of an earlier visit that nobody has decided about
      if (old === sync) continue;
      if (old.photo.id === photo.id) sync.conflicts.push(...old.conflicts.splice(0));
      this.store?.keep(sync);
      this.store?.keep(old);
      if (!old.unsaved().length && !old.conflicts.length) this.syncs.delete(old);
    }
    this.waiting = '';
    this.changed();
    if (ahead.length) this.api.photo(ahead[0]).catch(() => {});
  }

  /** Close the photo, once all of it is saved. @param {'done' | 'skip' | 'back'} way */
  async leave(way) {
    const {work} = this;
    if (!work || this.isLeaving) return;
    if (!isEmpty(work.draft) && this.warning !== work.state.generation) {
      this.warning = work.state.generation;
      this.notice('This mask is not committed: Enter keeps it. The same key again leaves without it');
      return;
    }
    for (let i = 0; i < 150 && work.sync.running && !work.sync.problem; i++) await pause(10);
    if (work.sync.unsaved().length || work.sync.conflicts.length) {
      this.notice('This photo stays until all of its masks are saved');
      return;
    }
    this.isLeaving = true;
    try {
      const {id} = work.photo, lease = work.sync.lease;
      const before = way === 'back' ? await this.api.json('POST', `photos/${id}/back`, {lease}) : null;
      if (way === 'back' && !before) this.notice('There is no photo before this one');
      else if (before) await this.open(before);
      else {
        await this.api.json('POST', `photos/${id}/${way}`, {lease});
        this.syncs.delete(work.sync);
        await this.next(way === 'skip' ? {skip: id} : {});
      }
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      this.notice(error.message);
      if (way === 'done' && error.status === 409) await this.next({});  // somebody else has the photo
    } finally {
      this.isLeaving = false;
    }
  }

  async renew() {
    const {work} = this;
    if (!work || performance.now() - this.lastAct > AWAY_MS) return;
    try {
      await this.api.json('POST', `photos/${work.photo.id}/alive`, {lease: work.sync.lease});
    } catch (error) {
      if (error instanceof RequestError && [403, 409].includes(error.status)) {
        this.notice('This photo has passed to somebody else. Masks you add are still kept; N goes on');
      }
    }
  }

  /** @template T @param {() => Promise<T>} attempt @returns {Promise<T>} */
  async untilReached(attempt) {
    for (let delay = 250; ; delay = Math.min(5000, 2 * delay)) {
      try {
        return await attempt();
      } catch (error) {
        if (!(error instanceof RequestError)) throw error;
        this.waiting = `${error.message} …`;
        this.changed();
        if (!error.isPassing) delay = 5000;
        await pause(delay);
      }
    }
  }

  retry() {
    for (const sync of this.syncs) sync.retry();
  }

  /** Another person sits down: the name is asked again, once everything of this one is saved. */
  rename() {
    if ([...this.syncs].some((sync) => sync.unsaved().length || sync.conflicts.length)) {
      this.notice('The name stays until everything is saved');
      return;
    }
    localStorage.removeItem(NAME);
    location.reload();
  }

  /** The person is there. */
  touch() {
    this.lastAct = performance.now();
    this.clock.touch(this.lastAct);
  }

  /** @param {string} text */
  notice(text) {
    this.panels.notice(text, NOTICE_MS);
  }
}
