import assert from 'node:assert/strict';
import test from 'node:test';

import {RequestError} from '../static/api.js';
import {differences} from '../static/differences.js';
import {encodeCounts} from '../static/rle.js';
import {spentOn} from '../static/spent.js';
import {Sync} from '../static/sync.js';
import {randomFrom} from './random.mjs';

const photo = {id: 7, width: 4, height: 4};
const prompts = {points: [], labels: [], box: null};
let stamps = 0;

const mask = (uuid, more = {}) => {
  const inside = 1 + stamps++ % 14;
  return {uuid, stamp: `s${stamps}`, runs: Uint32Array.of(1, inside, 15 - inside), source: 'clicks', annotator: 'ann',
    prompts, predicted_iou: 0.9, stability_score: 1, seconds: 2, ...more};
};
const empty = () => ({masks: new Map(), deleted: new Map(), states: new Map(), verdicts: new Map()});

/**
 * The routes that store things; `fate` says what becomes of each request: '', 'lost' (no answer), 'dead' (not heard),
 * 'late' (heard when the page has given it up).
 */
class FakeApi {
  constructor(fate = () => '') {
    this.fate = fate;
    this.masks = new Map();
    this.deleted = new Map();
    this.states = new Map();
    this.verdicts = new Map();
    this.handles = new Set();
    this.log = [];
    this.late = [];
  }

  async json(method, path, body) {
    await new Promise((resolve) => setImmediate(resolve));
    const fate = this.fate();
    const {pathname, searchParams} = new URL(path, 'http://x/');
    const hear = () => {
      this.log.push([method, path, body]);
      return this.answer(method, pathname.split('/').slice(3), searchParams, body);
    };
    if (fate === 'late') this.late.push(hear);
    if (fate === 'late' || fate === 'dead') throw new RequestError('The server cannot be reached', 0);
    const answer = hear();
    if (fate === 'lost') throw new RequestError('The server cannot be reached', 0);
    return answer;
  }

  /** Hear requests of which the page has given up hope. */
  hearLate(count = this.late.length) {
    for (const hear of this.late.splice(0, count)) {
      try {
        hear();
      } catch (error) {
        assert.equal(error.status, 409);
      }
    }
  }

  answer(method, [what, name], query, body) {
    if (what === 'verdicts') return this.verdicts.set(name, body.verdict), {};
    if (what === 'proposals') return this.accept(name, body);
    const old = this.masks.get(name);
    if (method === 'DELETE') {
      if (!old && this.deleted.has(name)) return {revision: this.deleted.get(name)};
      if (!old) throw new RequestError('No such mask', 404);
      if (old.revision !== Number(query.get('revision'))) throw new RequestError('Changed', 409, {stored: old});
      const number = Number(name.split('-')[1]);
      if (name.startsWith('of-') && this.stateOf(number).state === 'accepted') this.setState(number, 'rejected');
      return this.remove(name);
    }
    if (old && body.revision === undefined) return old;
    const deleted = old ? undefined : this.deleted.get(name);
    const revision = old?.revision ?? deleted;
    if (body.revision !== revision) throw new RequestError('Changed', 409, {stored: old, deleted});
    if (body.handle && !this.handles.has(body.handle)) throw new RequestError('The logits are gone', 400);
    const runs = body.runs ?? {counts: '0'};
    this.masks.set(name, {uuid: name, revision: (revision ?? 0) + 1, runs, source: body.source, annotator: 'ann', prompts: body.prompts, seconds: body.seconds});
    return this.masks.get(name);
  }

  remove(name) {
    const revision = this.masks.get(name).revision + 1;
    this.masks.delete(name);
    this.deleted.set(name, revision);
    return {revision};
  }

  stateOf(number) {
    return this.states.get(number) ?? {state: 'open', revision: 0};
  }

  setState(number, state) {
    this.states.set(number, {state, revision: this.stateOf(number).revision + 1});
  }

  accept(name, body) {
    const states = () => Object.fromEntries(proposals.map(({number}) => [number, this.stateOf(number)]));
    const refuse = () => { throw new RequestError('Set since', 409, {states: states()}); };
    const numbers = Object.keys(name === undefined ? body.accepted : {[name]: body.revision}).map(Number);
    if (name === undefined) {
      const isCurrent = (number) => body.accepted[number] === this.stateOf(number).revision;
      if (!numbers.every((number) => this.masks.has(`of-${number}`) || isCurrent(number))) refuse();
      for (const number of numbers) {
        const uuid = `of-${number}`, isThere = this.masks.has(uuid);
        if (!isThere || isCurrent(number)) this.setState(number, isThere ? this.stateOf(number).state : 'accepted');
        if (isThere) continue;
        const revision = (this.deleted.get(uuid) ?? 0) + 1;
        this.masks.set(uuid, {uuid, revision, runs: {counts: encodeCounts(proposals[number].runs)}, source: 'proposal', annotator: 'ann', prompts});
      }
      return {accepted: numbers.map((number) => this.masks.get(`of-${number}`)), states: states()};
    }
    const [number] = numbers, now = this.stateOf(number), mask = this.masks.get(`of-${number}`);
    if (body.revision === now.revision - 1 && body.state === now.state) return {accepted: [], states: states()};
    if (body.revision !== now.revision) refuse();
    if (mask && body.state !== 'changed') {
      if (mask.source !== 'proposal') throw new RequestError('Its mask has been changed', 409, {stored: mask});
      this.remove(mask.uuid);
    }
    this.setState(number, body.state);
    return {accepted: [], states: states()};
  }
}

const proposals = [0.95, 0.9, 0.8].map((iou, number) => ({
  number, uuid: `of-${number}`, runs: Uint32Array.of(number + 1, 3, 12 - number), predicted_iou: iou, stability_score: 1, state: 'open'}));
const work = (masks, more = {}) => ({masks, proposals: [], verdicts: {}, ...more});

function make(api, {server = empty(), first = work([]), listener = {}} = {}) {
  const kept = [];
  const sync = new Sync({
    api, photo, lease: 1, server, work: first, keep: (one) => kept.push(one.unsaved().length), delays: [0],
    listener: {onChange() {}, onStored() {}, onConflict() {}, ...listener},
  });
  return {sync, kept};
}

async function settle(sync) {
  for (let i = 0; i < 2000 && (sync.running || sync.unsaved().some((task) => !sync.refusalOf(task))); i++) {
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

test('what was committed and undone before it was sent is never sent', async () => {
  const api = new FakeApi();
  const {sync} = make(api);
  sync.want(work([mask('blocks')]));
  sync.want(work([mask('gone')]));
  sync.want(work([]));
  await settle(sync);
  assert.ok(!api.log.some(([, path]) => path.includes('gone')));
  assert.equal(api.masks.size, 0);
});

test('any acts over any failures end with the server as the page', async () => {
  for (let seed = 0; seed < 150; seed++) {
    const random = randomFrom(seed);
    const api = new FakeApi(() => (random() < 0.25 ? 'lost' : random() < 0.25 ? 'dead' : ''));
    const {sync, kept} = make(api);
    let masks = [], verdicts = {}, count = 0;
    const stack = [];
    for (let turn = 0; turn < 15; turn++) {
      const before = masks, kind = Math.floor(5 * random());
      const place = Math.floor(masks.length * random());
      if (kind < 2) masks = [...masks, mask(`m${seed}-${count++}`)];
      else if (kind === 2 && masks.length) masks = masks.filter((_, i) => i !== place);
      else if (kind === 3 && masks.length) masks = masks.map((one, i) => (i === place ? mask(one.uuid, {before: spentOn(one)}) : one));
      else if (stack.length) masks = stack.pop();
      if (kind < 4) stack.push(before);
      if (random() < 0.2) verdicts = {...verdicts, a: random() < 0.5 ? 'yes' : 'no'};
      sync.want(work(masks, {verdicts}));
      for (let wait = Math.floor(4 * random()); wait--;) await new Promise((resolve) => setImmediate(resolve));
    }
    await settle(sync);
    const stored = [...api.masks].map(([uuid, {runs, seconds}]) => [uuid, runs.counts, seconds]).sort();
    const shown = masks.map((one) => [one.uuid, encodeCounts(one.runs), spentOn(one).seconds]).sort();
    assert.deepEqual(stored, shown, `seed ${seed}`);
    assert.deepEqual(Object.fromEntries(api.verdicts), verdicts);
    assert.equal(kept.at(-1), 0);
    assert.deepEqual(sync.conflicts, []);
  }
});

test('a deletion whose answer is lost, and which is undone, is undone on the server', async () => {
  for (const fate of ['lost', 'dead']) {
    let now = '';
    const api = new FakeApi(() => now), one = mask('m');
    const {sync} = make(api);
    sync.want(work([one]));
    await settle(sync);
    now = fate;
    sync.want(work([]));
    while (api.log.length < 2 && fate === 'lost') await new Promise((resolve) => setImmediate(resolve));
    sync.want(work([one]));
    now = '';
    await settle(sync);
    assert.deepEqual([...api.masks.values()].map(({runs}) => runs.counts), [encodeCounts(one.runs)], fate);
  }
});

test('an add that comes again after its deletion adds nothing, and an undo of the deletion brings the mask back', async () => {
  const api = new FakeApi(), one = mask('m');
  const {sync} = make(api);
  sync.want(work([one]));
  await settle(sync);
  const [, path, add] = api.log[0];
  sync.want(work([]));
  await settle(sync);
  await assert.rejects(api.json('PUT', path, add), {status: 409});
  assert.equal(api.masks.size, 0);
  const before = api.log.length;
  sync.want(work([one]));
  await settle(sync);
  assert.deepEqual([...api.masks.values()].map(({revision}) => revision), [3]);
  assert.deepEqual(api.log.slice(before).map(([, , body]) => body.revision), [2], 'one request');
});

test('a mask that somebody deleted while it was changed here is brought back as it is here', async () => {
  const api = new FakeApi(), first = mask('m'), second = mask('m');
  const {sync} = make(api);
  sync.want(work([first]));
  await settle(sync);
  await api.json('DELETE', 'photos/7/masks/m?revision=1');
  sync.want(work([second]));
  await settle(sync);
  assert.deepEqual([...api.masks.values()].map(({revision, runs}) => [revision, runs.counts]), [[3, encodeCounts(second.runs)]]);
  assert.deepEqual(sync.conflicts, []);
});

test('a handle that the server has no more gives way to runs', async () => {
  const api = new FakeApi();
  const {sync} = make(api);
  const made = mask('m', {handle: 'h'});
  sync.want(work([made]));
  await settle(sync);
  assert.deepEqual(api.log.map(([, , body]) => [body.handle, body.runs?.counts]), [['h', undefined], [undefined, encodeCounts(made.runs)]]);
  assert.deepEqual(sync.unsaved(), []);
});

test('another person\'s version is shown and ours is kept aside, not sent again', async () => {
  const api = new FakeApi();
  api.masks.set('m', {uuid: 'm', revision: 3, runs: {counts: encodeCounts([0, 16])}, source: 'brush', annotator: 'bob', prompts});
  const server = empty();
  server.masks.set('m', {stamp: 'm@1', revision: 1, name: 'm'});
  const told = [];
  const {sync} = make(api, {server, listener: {onConflict: (ours, stored) => told.push([ours?.uuid, stored.annotator])}});
  sync.want(work([mask('m')]));
  await settle(sync);
  assert.deepEqual(told, [['m', 'bob']]);
  assert.equal(api.masks.get('m').revision, 3);
  assert.equal(sync.conflicts.length, 1);
  assert.equal(sync.work.masks[0].annotator, 'bob');
  sync.want(work([]));
  await settle(sync);
  assert.equal(api.masks.size, 0);
});

test('a deletion of what was changed meanwhile brings it back', async () => {
  const api = new FakeApi();
  api.masks.set('m', {uuid: 'm', revision: 2, runs: {counts: encodeCounts([0, 16])}, source: 'brush', annotator: 'bob', prompts});
  const server = empty();
  server.masks.set('m', {stamp: 'm@1', revision: 1, name: 'm'});
  const told = [];
  const {sync} = make(api, {server, listener: {onConflict: (ours, stored) => told.push([ours, stored.revision])}});
  sync.want(work([]));
  await settle(sync);
  assert.deepEqual(told, [[null, 2]]);
  assert.equal(api.masks.size, 1);
  assert.equal(sync.work.masks[0].uuid, 'm');
});

test('proposals that are accepted together are one request; undo takes their masks away', async () => {
  const api = new FakeApi();
  const {sync} = make(api, {first: work([], {proposals})});
  const accepted = [0, 1].map((number) => mask(`local-${number}`, {source: 'proposal', proposal: number, runs: proposals[number].runs}));
  const states = (...wanted) => proposals.map((one, i) => ({...one, state: wanted[i]}));
  sync.want(work(accepted, {proposals: states('accepted', 'accepted', 'open')}));
  await settle(sync);
  assert.deepEqual(api.log.map(([method, path]) => [method, path]), [['PUT', 'photos/7/proposals']]);
  assert.deepEqual([...api.masks.keys()], ['of-0', 'of-1']);
  sync.want(work([], {proposals}));
  await settle(sync);
  assert.equal(api.masks.size, 0);
  assert.deepEqual([...api.states.values()].map(({state}) => state), ['open', 'open']);
  sync.want(work([accepted[1]], {proposals: states('rejected', 'accepted', 'open')}));
  await settle(sync);
  assert.deepEqual([...api.masks.keys()], ['of-1']);
  assert.deepEqual([...api.states].map(([number, {state}]) => [number, state]), [[0, 'rejected'], [1, 'accepted']]);
  const changed = {...accepted[1], stamp: 'other', source: 'changed'};
  sync.want(work([changed], {proposals: states('rejected', 'changed', 'open')}));
  await settle(sync);
  assert.deepEqual([...api.masks.values()].map(({source, revision}) => [source, revision]), [['changed', 4]]);
});

test('an acceptance that comes again after its rejection is refused, and the page has its revision', async () => {
  const api = new FakeApi(), states = (state) => proposals.map((one, i) => (i ? one : {...one, state}));
  const {sync} = make(api, {first: work([], {proposals})});
  const accepted = mask('local', {source: 'proposal', proposal: 0, runs: proposals[0].runs});
  sync.want(work([accepted], {proposals: states('accepted')}));
  await settle(sync);
  sync.want(work([], {proposals: states('rejected')}));
  await settle(sync);
  const [, path, accept] = api.log[0];
  await assert.rejects(api.json('PUT', path, accept), {status: 409});
  assert.deepEqual([api.masks.size, api.stateOf(0)], [0, {state: 'rejected', revision: 2}]);
  api.setState(0, 'rejected');  // by an act of this page whose answer was lost
  sync.want(work([], {proposals: states('open')}));
  await settle(sync);
  assert.deepEqual(api.stateOf(0), {state: 'open', revision: 4});
  assert.deepEqual(sync.complaints(), []);
});

test('proposals over any failures end with the server as the page', async () => {
  for (let seed = 0; seed < 150; seed++) {
    const random = randomFrom(seed);
    const api = new FakeApi(() => (random() < 0.2 ? 'lost' : random() < 0.2 ? 'dead' : random() < 0.2 ? 'late' : ''));
    const {sync} = make(api, {first: work([], {proposals})});
    let now = {proposals, masks: []};
    const stack = [];
    for (let turn = 0; turn < 10; turn++) {
      const before = now, open = now.proposals.filter(({state}) => state === 'open'), kind = random();
      const change = (numbers, state) => now.proposals.map((one) => (numbers.includes(one.number) ? {...one, state} : one));
      const accepted = (numbers) => numbers.map((number) => mask(`l${seed}-${turn}-${number}`, {source: 'proposal', proposal: number, runs: proposals[number].runs}));
      if (kind < 0.3 && open.length) {
        const numbers = [open[0].number];
        now = {proposals: change(numbers, 'accepted'), masks: [...now.masks, ...accepted(numbers)]};
      } else if (kind < 0.5 && open.length) {
        const numbers = open.filter((one) => one.predicted_iou >= 0.9).map(({number}) => number);
        now = {proposals: change(numbers, 'accepted'), masks: [...now.masks, ...accepted(numbers)]};
      } else if (kind < 0.6 && open.length) {
        now = {...now, proposals: change([open[0].number], 'rejected')};
      } else if (kind < 0.75 && now.masks.length) {
        const [first, ...rest] = now.masks;
        now = {proposals: change([first.proposal], 'rejected'), masks: rest};
      } else if (stack.length) {
        now = stack.pop();
      }
      if (now !== before && kind < 0.75) stack.push(before);
      sync.want(work(now.masks, {proposals: now.proposals}));
      if (random() < 0.3) api.hearLate(1);
      for (let wait = Math.floor(4 * random()); wait--;) await new Promise((resolve) => setImmediate(resolve));
    }
    await settle(sync);
    api.hearLate();
    assert.deepEqual([...api.masks.values()].map(({runs}) => runs.counts).sort(), now.masks.map(({runs}) => encodeCounts(runs)).sort(), `seed ${seed}`);
    for (const {number, state} of now.proposals) assert.equal(api.stateOf(number).state, state, `seed ${seed}`);
    assert.deepEqual(sync.complaints(), []);
  }
});

test('a refusal is told, does not stop the rest, and is tried again when asked', async () => {
  const api = new FakeApi();
  const answer = api.answer.bind(api);
  let isFull = true;
  api.answer = (method, [what, name], ...rest) => {
    if (isFull && name === 'bad') throw new RequestError('The body is too large', 413);
    return answer(method, [what, name], ...rest);
  };
  const {sync} = make(api);
  sync.want(work([mask('bad'), mask('good')]));
  await settle(sync);
  assert.deepEqual([...api.masks.keys()], ['good']);
  assert.deepEqual(sync.complaints(), ['The body is too large']);
  isFull = false;
  sync.retry();
  await settle(sync);
  assert.deepEqual([...api.masks.keys()].sort(), ['bad', 'good']);
});

test('a server that answers and keeps nothing is not asked for ever', async () => {
  const api = new FakeApi();
  api.answer = (method, [what], query, body) => {
    if (what === 'proposals') return {accepted: [], states: {0: {state: 'open', revision: 0}}};
    return {uuid: 'm', revision: 1, runs: {counts: 'other'}, source: 'brush', annotator: 'ann', prompts: body.prompts};
  };
  const {sync} = make(api, {first: work([], {proposals})});
  sync.want(work([], {proposals: proposals.map((one, i) => ({...one, state: i ? 'open' : 'accepted'}))}));
  await settle(sync);
  assert.ok(api.log.length < 10);
  assert.deepEqual(sync.complaints(), ['The server answers, but does not keep this']);
});

test('undo and redo may go to and fro', async () => {
  const api = new FakeApi(), one = mask('m');
  const {sync} = make(api);
  for (let turn = 0; turn < 30; turn++) {
    sync.want(work(turn % 2 ? [] : [one]));
    await settle(sync);
    assert.equal(api.masks.size, turn % 2 ? 0 : 1);
  }
  assert.deepEqual(sync.complaints(), []);
});

test('differences of equal things are none', () => {
  const server = empty(), one = mask('m');
  server.masks.set('m', {stamp: one.stamp, revision: 1, name: 'm'});
  assert.deepEqual(differences(work([one], {proposals}), server), []);
});
