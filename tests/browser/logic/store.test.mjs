import assert from 'node:assert/strict';
import test from 'node:test';

import {RequestError} from '../static/api.js';
import {encodeCounts} from '../static/rle.js';
import {Store} from '../static/store.js';
import {Sync} from '../static/sync.js';
import {randomFrom} from './random.mjs';

class MemoryStorage {
  items = new Map();
  get length() { return this.items.size; }
  key(place) { return [...this.items.keys()][place] ?? null; }
  getItem(key) { return this.items.get(key) ?? null; }
  setItem(key, value) { this.items.set(key, value); }
  removeItem(key) { this.items.delete(key); }
}

const photo = {id: 7, width: 4, height: 4};
const prompts = {points: [], labels: [], box: null};
const runsOf = (seed) => Uint32Array.of(1, 1 + seed % 14, 14 - seed % 14);
const mask = (uuid, seed) => ({uuid, stamp: `${uuid}/${seed}`, runs: runsOf(seed), source: 'clicks', annotator: 'ann', prompts,
  predicted_iou: 0.9, stability_score: 1});

/** What every page talks to; requests of a page that has died may still be heard, and are never answered. */
class Masks {
  stored = new Map();
  deleted = new Map();

  put(name, body) {
    const old = this.stored.get(name);
    if (old && body.revision === undefined) return old;
    const deleted = old ? undefined : this.deleted.get(name);
    const revision = old?.revision ?? deleted;
    if (body.revision !== revision) throw new RequestError('Changed', 409, {stored: old, deleted});
    const made = {uuid: name, revision: (revision ?? 0) + 1, runs: body.runs, source: body.source, annotator: 'ann', prompts};
    this.stored.set(name, made);
    return made;
  }

  delete(name, revision) {
    const old = this.stored.get(name);
    if (!old) throw new RequestError('No such mask', 404);
    if (old.revision !== revision) throw new RequestError('Changed', 409, {stored: old});
    this.stored.delete(name);
    this.deleted.set(name, revision + 1);
    return {revision: revision + 1};
  }
}

function openPage(server, random, store) {
  const page = {isAlive: true};
  const api = {async json(method, path, body) {
    await new Promise((resolve) => setImmediate(resolve));
    const fate = random();
    const isHeard = page.isAlive ? fate > 0.2 : fate > 0.5;
    const {pathname, searchParams} = new URL(path, 'http://x/');
    const name = pathname.split('/').at(-1);
    let outcome = () => { throw new RequestError('The server cannot be reached', 0); };
    if (isHeard) {
      try {
        const answer = method === 'PUT' ? server.put(name, body) : server.delete(name, Number(searchParams.get('revision')));
        if (fate > 0.4) outcome = () => answer;
      } catch (error) {
        outcome = () => { throw error; };
      }
    }
    if (!page.isAlive) await new Promise(() => {});
    return outcome();
  }};
  page.sync = (options) => new Sync({api, photo, lease: 1, delays: [0], keep: (one) => page.isAlive && store.keep(one),
    listener: {onChange() {}, onStored() {}, onConflict() { assert.fail('nobody else is there'); }}, ...options});
  return page;
}

async function settle(sync) {
  for (let i = 0; i < 3000 && (sync.running || sync.unsaved().length); i++) {
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

test('pages that die at any moment lose and double nothing', async () => {
  for (let seed = 0; seed < 150; seed++) {
    const random = randomFrom(seed), server = new Masks();
    globalThis.localStorage = new MemoryStorage();
    globalThis.sessionStorage = new MemoryStorage();
    let masks = [], known = new Map(), count = 0;
    for (let life = 0; life < 3; life++) {
      const store = new Store('folder', 'ann');
      const page = openPage(server, random, store);
      for (const {key, conflicts, ...options} of store.orphans()) {
        const sync = page.sync(options);
        sync.want(options.work);
        store.forget(key);
        await settle(sync);
      }
      const stored = [...server.stored.values()].map(({uuid, runs}) => [uuid, runs.counts]).sort();
      const wanted = masks.map(({uuid, runs}) => [uuid, encodeCounts(runs)]).sort();
      assert.deepEqual(stored, wanted, `seed ${seed}, life ${life}`);
      known = new Map(masks.map(({uuid, stamp}) => [uuid, {stamp, revision: server.stored.get(uuid).revision, name: uuid}]));
      const sync = page.sync({work: {masks, proposals: [], verdicts: {}}, server: {masks: known, deleted: new Map(), states: new Map(), verdicts: new Map()}});
      for (let turn = 0; turn < 8; turn++) {
        const place = Math.floor(masks.length * random()), kind = random();
        if (kind < 0.5) masks = [...masks, mask(`m${count}`, count++)];
        else if (kind < 0.75 && masks.length) masks = masks.map((one, i) => (i === place ? mask(one.uuid, count++) : one));
        else masks = masks.filter((_, i) => i !== place);
        sync.want({masks, proposals: [], verdicts: {}});
        for (let wait = Math.floor(5 * random()); wait--;) await new Promise((resolve) => setImmediate(resolve));
      }
      page.isAlive = false;
      for (let wait = 0; wait < 4; wait++) await new Promise((resolve) => setImmediate(resolve));
    }
  }
});

test('the records of a living page are left to it', () => {
  globalThis.localStorage = new MemoryStorage();
  globalThis.sessionStorage = new MemoryStorage();
  const sync = (work) => ({photo, lease: 1, work, server: {masks: new Map(), deleted: new Map(), states: new Map(), verdicts: new Map()}, conflicts: []});
  const work = {masks: [mask('m', 1)], proposals: [], verdicts: {}};
  const one = new Store('folder', 'ann'), first = sync(work);
  one.keep(first);
  globalThis.sessionStorage = new MemoryStorage();  // another tab
  const other = new Store('folder', 'ann');
  assert.equal(other.orphans().length, 0);
  const now = Date.now;
  Date.now = () => now() + 31_000;
  assert.deepEqual(other.orphans().map((record) => record.work.masks[0].uuid), ['m']);
  assert.equal(new Store('another folder', 'ann').orphans().length, 0);
  Date.now = now;
  one.keep(Object.assign(first, {work: {masks: [], proposals: [], verdicts: {}}}));
  assert.equal(localStorage.length, 0);
});
