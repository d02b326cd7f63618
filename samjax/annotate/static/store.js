// What is not on the server yet, in the browser's local storage: a closed tab, a crash or a reload loses nothing.

import {countsOf, decodeCounts} from './rle.js';
import {differences} from './differences.js';

/** @typedef {import('./sync.js').Sync} Sync */
/** @typedef {import('./state.js').Mask} Mask */

const PREFIX = 'samjax/unsaved/';
/** A record that its page has not written for so long is an orphan: every page writes at each attempt to send. */
const ORPHAN_MS = 30_000;

/** Which page writes a record; a reload keeps it. */
function pageId() {
  const id = sessionStorage.getItem('samjax/page') ?? String(Math.random()).slice(2);
  sessionStorage.setItem('samjax/page', id);
  return id;
}

/** @param {Mask} mask */
const pack = (mask) => ({...mask, runs: countsOf(mask.runs)});
/** @param {any} mask @returns {Mask} */
const unpack = (mask) => ({...mask, runs: decodeCounts(mask.runs)});

export class Store {
  /**
   * @param {string} folder what the server says it writes to, so that another folder's work never goes there
   * @param {string} annotator
   */
  constructor(folder, annotator) {
    this.prefix = `${PREFIX}${JSON.stringify([folder, annotator])}/`;
    this.page = pageId();
    /** @type {WeakMap<Sync, string>} */
    this.keys = new WeakMap();
  }

  /** Write what is not saved, or remove the record. @param {Sync} sync */
  keep(sync) {
    const key = this.keys.get(sync) ?? `${this.prefix}${sync.photo.id}/${String(Math.random()).slice(2)}/${this.page}`;
    this.keys.set(sync, key);
    const tasks = differences(sync.work, sync.server);
    try {
      if (!tasks.length && !sync.conflicts.length) {
        localStorage.removeItem(key);
        return;
      }
      const keys = new Set(tasks.map((task) => task.key));
      const numbers = new Set(tasks.flatMap((task) =>
        (task.kind === 'proposal' ? [task.number] : task.kind === 'accept' ? task.numbers : [])));
      const masks = sync.work.masks.filter(({uuid, proposal}) => keys.has(uuid) || numbers.has(proposal ?? -1));
      for (const {uuid} of masks) keys.add(uuid);
      const proposals = sync.work.proposals.filter(({number}) => numbers.has(number));
      localStorage.setItem(key, JSON.stringify({
        time: Date.now(),
        photo: sync.photo,
        lease: sync.lease,
        work: {
          masks: masks.map(pack),
          proposals: proposals.map((one) => ({...one, runs: countsOf(one.runs)})),
          verdicts: sync.work.verdicts,
        },
        server: {
          masks: [...sync.server.masks].filter(([uuid]) => keys.has(uuid)),
          states: [...sync.server.states],
          verdicts: [...sync.server.verdicts],
        },
        conflicts: sync.conflicts.map(pack),
      }));
    } catch {
      // The storage is full or forbidden: what is not saved stays in this tab's memory, and is sent from there.
    }
  }

  /** @param {string} key of a record whose content another one has now */
  forget(key) {
    localStorage.removeItem(key);
  }

  /** Records that no living page looks after. @returns {any[]} key, options of a Sync, and its conflicts */
  orphans() {
    const found = [];
    for (let i = localStorage.length - 1; i >= 0; i--) {
      const key = localStorage.key(i) ?? '';
      if (!key.startsWith(this.prefix)) continue;
      try {
        const {time, photo, lease, work, server, conflicts} = JSON.parse(localStorage.getItem(key) ?? '');
        const isOwn = key.endsWith(`/${this.page}`);
        if (!isOwn && Date.now() - time < ORPHAN_MS) continue;
        found.push({
          key,
          photo,
          lease,
          work: {
            masks: work.masks.map(unpack),
            proposals: work.proposals.map((/** @type {any} */ one) => ({...one, runs: decodeCounts(one.runs)})),
            verdicts: work.verdicts,
          },
          server: {
            masks: new Map(server.masks),
            deleted: new Map(),  // the server says it again
            states: new Map(server.states),
            verdicts: new Map(server.verdicts),
          },
          conflicts: conflicts.map(unpack),
        });
      } catch {
        // Of another version of the page: that one may come back for it.
      }
    }
    return found;
  }
}
