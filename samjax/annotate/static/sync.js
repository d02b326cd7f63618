// Brings the server to what the page shows. There is no list of things to send: what differs between the doc and what
// the server is known to have is sent, one request at a time, until nothing differs. So undoing a commit before it was
// sent sends nothing, and a request whose answer was lost is sent again; UUIDs and revisions make that harmless.

import {RequestError} from './api.js';
import {UNTOUCHED, contentOf, differences, isSame, stampOf} from './differences.js';
import {UNSURE, inDoubt, unsure} from './doubt.js';
import {maskFrom} from './photo.js';
import {countsOf} from './rle.js';
import {spentOn} from './spent.js';

/** @typedef {import('./state.js').Mask} Mask */
/** @typedef {import('./differences.js').Task} Task */
/** @typedef {import('./differences.js').Work} Work */
/** @typedef {import('./differences.js').Server} Server */
/** @typedef {import('./differences.js').Known} Known */
/**
 * @typedef {object} Listener
 * @property {() => void} onChange what is saved has changed
 * @property {(stamp: string, stored: any) => void} onStored the server's own form of a mask
 * @property {(mask: Mask | null, stored: any, uuid: string, message: string) => void} onConflict another version is
 *   stored; null: of a deletion
 */

/** So often is one content sent in a row: a server that answers and does not keep it is at odds with the page. */
const MOST_TURNS = 5;

export class Sync {
  /**
   * @param {{api: import('./api.js').Api, photo: {id: number, width: number, height: number}, lease: number,
   *   server: Server, work: Work, listener: Listener, keep: (sync: Sync) => void, delays?: number[]}} options
   */
  constructor({api, photo, lease, server, work, listener, keep, delays = [300, 1000, 2000, 4000, 8000]}) {
    this.api = api;
    this.photo = photo;
    this.lease = lease;
    this.server = server;
    this.work = work;
    this.listener = listener;
    this.keep = keep;
    this.delays = delays;
    /** @type {Map<string, {stamp: string, message: string}>} */
    this.refusals = new Map();
    /** @type {Set<string>} handles that the server has no more */
    this.lost = new Set();
    /** @type {Task[] | null} what is not saved, until something changes */
    this.list = null;
    /** @type {Map<string, number>} how often each task was answered, and still has to be done */
    this.turns = new Map();
    /** @type {Mask[]} versions of ours that nobody has decided about */
    this.conflicts = [];
    this.problem = '';
    this.failures = 0;
    this.running = false;
    /** @type {() => void} */
    this.wake = () => {};
  }

  /** @param {Work} work */
  want(work) {
    this.work = work;
    this.list = null;
    this.keep(this);
    this.run();
  }

  /** @returns {Task[]} what is not saved, refused things included */
  unsaved() {
    return this.list ??= differences(this.work, this.server);
  }

  /** @returns {string[]} why something was refused */
  complaints() {
    return [...new Set(this.unsaved().map((task) => this.refusalOf(task)).filter(Boolean))];
  }

  /** Try refused things again, and do not wait. */
  retry() {
    this.refusals.clear();
    this.turns.clear();
    this.wake();
    this.run();
  }

  /** @returns {Promise<void>} */
  async run() {
    if (this.running) return;
    this.running = true;
    try {
      for (;;) {
        const task = this.unsaved().find((one) => !this.refusalOf(one));
        if (!task) break;
        this.listener.onChange();
        await this.attempt(task);
        this.list = null;
        if (!this.unsaved().some((one) => turnOf(one) === turnOf(task))) this.turns.delete(turnOf(task));
        this.keep(this);
      }
      this.problem = '';
    } finally {
      this.running = false;
      this.listener.onChange();
    }
  }

  /** @param {Task} task */
  async attempt(task) {
    const turns = (this.turns.get(turnOf(task)) ?? 0) + 1;
    this.turns.set(turnOf(task), turns);
    try {
      if (turns > MOST_TURNS) throw new RequestError('The server answers, but does not keep this', 400);
      await this.send(task);
      this.problem = '';
      this.failures = 0;
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      if (this.settles(task, error)) return;
      if (!error.isPassing) {
        this.refusals.set(task.key, {stamp: stampOf(task), message: error.message});
        return;
      }
      this.turns.delete(turnOf(task));
      this.problem = error.message;
      this.listener.onChange();
      const delay = this.delays[Math.min(this.failures++, this.delays.length - 1)];
      await new Promise((resolve) => {
        this.wake = () => resolve(undefined);
        setTimeout(resolve, delay);
      });
    }
  }

  /** @param {Task} task */
  refusalOf(task) {
    const refusal = this.refusals.get(task.key);
    return refusal && refusal.stamp === stampOf(task) ? refusal.message : '';
  }

  /** @param {Task} task */
  async send(task) {
    const base = `photos/${this.photo.id}`;
    const {lease, api, server} = this;
    if (task.kind === 'put') {
      await this.put(task.mask);
    } else if (task.kind === 'delete') {
      const {name, revision} = task.known;
      server.masks.set(task.key, {...task.known, stamp: ''});
      const answer = await api.json('DELETE', `${base}/masks/${name}?revision=${revision || 1}&lease=${lease}`);
      server.masks.delete(task.key);
      server.deleted.set(task.key, {name, revision: answer.revision});
    } else if (task.kind === 'verdict') {
      const put = () => api.json('PUT', `${base}/verdicts/${task.uuid}`, {verdict: task.verdict, lease});
      await unsure(server.verdicts, [task.uuid], () => UNSURE, put);
      server.verdicts.set(task.uuid, task.verdict);
    } else if (task.kind === 'proposal') {
      const {number, state} = task, body = {state, revision: this.stored(number).revision, lease};
      const put = () => api.json('PUT', `${base}/proposals/${number}`, body);
      this.takeStates(await unsure(server.states, [number], inDoubt, put));
    } else {
      const accepted = Object.fromEntries(task.numbers.map((number) => [number, this.stored(number).revision]));
      const put = () => api.json('PUT', `${base}/proposals`, {accepted, lease});
      const answer = await unsure(server.states, task.numbers, inDoubt, put);
      this.takeStates(answer);
      this.takeAccepted(answer);
    }
  }

  /** @param {Mask} mask */
  async put(mask) {
    const {masks, deleted} = this.server;
    const before = masks.get(mask.uuid);
    const name = before?.name ?? deleted.get(mask.uuid)?.name ?? mask.uuid;
    const revision = before?.revision || deleted.get(mask.uuid)?.revision;
    // Until an answer comes, whether the server has this is not known: an undo then has something to delete.
    const sent = [...before?.sent ?? [], contentOf(mask)];
    masks.set(mask.uuid, {stamp: '', revision: before?.revision ?? 0, name, sent});
    const {handle, predicted_iou, stability_score} = mask, {since, effort, ...spent} = spentOn(mask);
    const body = {
      ...(handle && !this.lost.has(handle) ? {handle} : {runs: this.rle(mask), predicted_iou, stability_score}),
      prompts: mask.prompts,
      source: mask.source,
      ...spent,
      effort: {...effort, since},
      lease: this.lease,
      ...(revision ? {revision} : {}),
    };
    let stored;
    try {
      stored = await this.api.json('PUT', `photos/${this.photo.id}/masks/${name}`, body);
    } catch (error) {
      const isRefused = error instanceof RequestError && (!error.isPassing || error.status === 507);
      if (isRefused && before) masks.set(mask.uuid, before);
      else if (isRefused) masks.delete(mask.uuid);
      throw error;
    }
    // An add that was sent before with other content may be the one that counts: then what is there is unsure.
    const sure = !before || Boolean(revision) || isSame(stored, contentOf(mask));
    masks.set(mask.uuid, {stamp: sure ? mask.stamp : '', revision: stored.revision, name});
    if (sure) this.confirm(mask, stored);
  }

  /** What the server has stored is this mask. @param {Mask} mask @param {any} stored */
  confirm(mask, stored) {
    if (!stored.verdict) this.server.verdicts.delete(mask.uuid);
    this.listener.onStored(mask.stamp, stored);
  }

  /** @param {Mask} mask */
  rle({runs}) {
    return {size: [this.photo.height, this.photo.width], counts: countsOf(runs)};
  }

  /** What the server has of a proposal. @param {number} number */
  stored(number) {
    return this.server.states.get(number) ?? UNTOUCHED;
  }

  /** @param {{states: Record<string, import('./differences.js').Stored>}} answer */
  takeStates({states}) {
    for (const [number, now] of Object.entries(states)) this.server.states.set(Number(number), now);
  }

  /**
   * Accepting made masks, under UUIDs of the server's. One that was undone meanwhile is known by its UUID alone, and so
   * deleted next.
   * @param {{accepted: any[]}} answer
   */
  takeAccepted({accepted}) {
    for (const stored of accepted) {
      const number = this.work.proposals.find(({uuid}) => uuid === stored.uuid)?.number;
      const mask = this.work.masks.find(({proposal, source}) => source === 'proposal' && proposal === number);
      const known = {stamp: mask?.stamp ?? '', revision: stored.revision, name: stored.uuid};
      this.server.masks.set(mask?.uuid ?? stored.uuid, known);
    }
  }

  /**
   * Some failures settle the task: what was to be deleted is gone, what was to be stored is stored, a lost handle.
   * @param {Task} task @param {RequestError} error
   */
  settles(task, error) {
    const {masks, deleted, states} = this.server, {status} = error, stored = error.body?.stored;
    if (task.kind === 'proposal' || task.kind === 'accept') {
      // The lease is this page's, so what was set since is its own: an act whose answer was lost, or a deleted mask.
      if (error.body?.states) this.takeStates(error.body);
      else if (stored && task.kind === 'proposal') states.set(task.number, {...this.stored(task.number), state: 'changed'});
      return Boolean(error.body?.states ?? stored);
    }
    if (task.kind === 'verdict') return false;
    const known = masks.get(task.key);
    if (task.kind === 'delete' && status === 404) return masks.delete(task.key);
    if (task.kind === 'put' && error.body?.deleted) {  // and wanted here: it is brought back
      deleted.set(task.key, {name: known?.name ?? task.key, revision: error.body.deleted});
      masks.delete(task.key);
      return true;
    }
    if (status === 409 && stored) {
      this.takeStored(task, stored, known, error.message);
      return true;
    }
    const handle = task.kind === 'put' ? task.mask.handle : undefined;
    if (handle && !this.lost.has(handle) && [400, 404, 410].includes(status)) {
      this.lost.add(handle);
      return true;
    }
    if (task.kind === 'put' && known?.revision && [404, 409].includes(status)) {
      return masks.delete(task.key);  // it is not there, and changed here: it is added
    }
    return false;
  }

  /**
   * Something else is stored than was thought: what we had sent ourselves, or another person's version.
   * @param {Extract<Task, {kind: 'put' | 'delete'}>} task @param {any} stored @param {Known | undefined} known
   * @param {string} message of the server
   */
  takeStored(task, stored, known, message) {
    const {masks} = this.server;
    const now = {name: known?.name ?? task.key, revision: stored.revision, stamp: ''};
    if (task.kind === 'put' && isSame(stored, contentOf(task.mask))) {
      masks.set(task.key, {...now, stamp: task.mask.stamp});
      this.confirm(task.mask, stored);
    } else if (known?.sent?.some((content) => isSame(stored, content))) {
      masks.set(task.key, now);  // an answer was lost: go on from that revision
    } else {
      const other = maskFrom(stored, task.key);
      masks.set(task.key, {...now, stamp: other.stamp});
      const rest = this.work.masks.filter(({uuid}) => uuid !== task.key);
      this.work = {...this.work, masks: [...rest, other]};
      if (task.kind === 'put') this.conflicts.push(task.mask);
      this.listener.onConflict(task.kind === 'put' ? task.mask : null, stored, task.key, message);
    }
  }
}

/** @param {Task} task */
const turnOf = (task) => `${task.kind} ${task.key} ${stampOf(task)}`;
