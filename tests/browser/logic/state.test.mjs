import assert from 'node:assert/strict';
import test from 'node:test';

import * as acts from '../static/state.js';
import {randomFrom} from './random.mjs';

const answer = (generation, name = 'a') => ({
  generation, height: 1, width: 1, valid: [1, 1], decode_ms: 1,
  candidates: [0, 1, 2].map((i) => ({iou: 0.9 - i / 10, stability: 1, handle: `${name}${i}`, logits: new Int8Array(1)})),
});
const mask = (uuid) => ({
  uuid, stamp: `${uuid}!`, runs: Uint32Array.of(0, 1), source: 'clicks', annotator: 'ann',
  prompts: {points: [[1, 2]], labels: [1], box: null}, predicted_iou: 0.9, stability_score: 1,
});
const proposals = [0, 1, 2].map((number) => ({
  number, runs: Uint32Array.of(number, 1), predicted_iou: 0.9, stability_score: 1, state: 'open'}));

test('a late answer never undoes an undo', () => {
  const clicked = acts.addPoint(acts.openState(), [1, 1], 1);
  const undone = acts.undo(clicked);
  assert.equal(acts.receive(undone, answer(clicked.generation)), undone);
  assert.ok(acts.isEmpty(undone.doc.draft));
  const redone = acts.redo(undone);
  assert.equal(acts.receive(redone, answer(clicked.generation)), redone);
  assert.ok(redone.doc.draft.waits, 'a redone click without its answer is asked again');
});

test('an answer to an earlier click is dropped', () => {
  const one = acts.addPoint(acts.openState(), [1, 1], 1);
  const two = acts.addPoint(one, [2, 2], 1);
  assert.equal(acts.receive(two, answer(one.generation)), two);
  assert.equal(acts.receive(two, answer(two.generation)).doc.draft.answer.generation, two.generation);
});

test('the next click goes on from the chosen logits, but not after a point was removed', () => {
  let state = acts.addPoint(acts.openState(), [1, 1], 1);
  assert.equal(state.doc.draft.previous, null);
  state = acts.choose(acts.receive(state, answer(state.generation)), 1);
  state = acts.addPoint(state, [2, 2], 0);
  assert.equal(state.doc.draft.previous, 'a1');
  state = acts.removePoint(acts.receive(state, answer(state.generation, 'b')), 0);
  assert.equal(state.doc.draft.previous, null);
  assert.deepEqual(state.doc.draft.labels, [0]);
  state = acts.removePoint(state, 0);
  assert.ok(acts.isEmpty(state.doc.draft) && !state.doc.draft.waits);
});

test('undoing a commit gives the draft back with its answer', () => {
  let state = acts.addPoint(acts.openState(), [1, 1], 1);
  state = acts.receive(state, answer(state.generation));
  const {draft} = state.doc;
  state = acts.commit(state, mask('m'));
  assert.ok(acts.isEmpty(state.doc.draft));
  const undone = acts.undo(state);
  assert.deepEqual([undone.doc.draft, undone.doc.masks], [draft, []]);
  assert.deepEqual(acts.redo(undone).doc, state.doc);
});

test('choosing wraps around', () => {
  let state = acts.addPoint(acts.openState(), [1, 1], 1);
  assert.equal(acts.choose(state, 1), state);
  state = acts.receive(state, answer(state.generation));
  assert.deepEqual([1, 3, -1].map((chosen) => acts.choose(state, chosen).doc.draft.chosen), [1, 0, 2]);
});

test('a proposal that is changed or deleted says so', () => {
  let state = acts.openState({proposals});
  state = acts.accept(state, [0, 1], [{...mask('p'), source: 'proposal', proposal: 0}, {...mask('q'), proposal: 1}]);
  assert.deepEqual(state.doc.proposals.map((one) => one.state), ['accepted', 'accepted', 'open']);
  state = acts.reopen(state, state.doc.masks[0]);
  assert.equal(acts.sourceOf({...state.doc.draft, answer: answer(0)}), 'changed');
  state = acts.commit(state, {...mask('p'), stamp: 'new'});
  assert.equal(state.doc.masks[0].proposal, 0);
  state = acts.remove(state, 'q');
  assert.deepEqual(state.doc.proposals.map((one) => one.state), ['changed', 'rejected', 'open']);
  state = acts.undo(acts.undo(acts.undo(acts.undo(state))));
  assert.deepEqual(state.doc.proposals.map((one) => one.state), ['open', 'open', 'open']);
  assert.equal(state.undo.length, 0);
});

test('a proposal that is opened becomes the mask that accepting it would have made', () => {
  const opened = acts.openProposal(acts.openState({proposals}), {...proposals[1], uuid: 'u'});
  assert.deepEqual([opened.doc.draft.uuid, opened.doc.draft.proposal], ['u', proposals[1].number]);
  const changed = acts.commit(opened, {...mask('u'), source: 'changed'});
  assert.deepEqual(changed.doc.masks.map(({uuid, proposal}) => [uuid, proposal]), [['u', proposals[1].number]]);
  const rejected = acts.reject(opened, proposals[1].number);
  assert.ok(acts.isEmpty(rejected.doc.draft));
  assert.equal(rejected.doc.proposals[1].state, 'rejected');
});

test('boxes and strokes are counted, and not when they are undone', () => {
  let state = acts.setBox(acts.addPoint(acts.openState(), [1, 1], 1), [0, 0, 5, 5]);
  state = acts.paint(acts.paint(state, Uint32Array.of(1, 4)), Uint32Array.of(1, 5));
  const counts = ({doc: {draft: {clicks, boxes, strokes}}}) => [clicks, boxes, strokes];
  assert.deepEqual(counts(state), [2, 1, 2]);
  assert.deepEqual(counts(acts.undo(state)), [2, 1, 1]);
  assert.deepEqual(counts(acts.drop(state)), [0, 0, 0]);
});

test('a mask that is changed has no verdict, and none that undo brings back once the change is stored', () => {
  const judged = acts.judge(acts.judge(acts.openState({masks: [mask('m'), mask('n')]}), 'm', 'redo'), 'n', 'yes');
  const changed = acts.commit(judged, mask('m'));
  assert.deepEqual(changed.doc.verdicts, {n: 'yes'});
  assert.deepEqual(acts.undo(changed).doc.verdicts, {m: 'redo', n: 'yes'});
  const stored = acts.forgetVerdict(changed, 'm');
  assert.deepEqual(acts.undo(stored).doc.verdicts, {n: 'yes'});
});

test('where masks come from', () => {
  const {EMPTY, sourceOf} = acts;
  assert.equal(sourceOf({...EMPTY, points: [[1, 1]], answer: answer(1)}), 'clicks');
  assert.equal(sourceOf({...EMPTY, box: [0, 0, 1, 1], answer: answer(1)}), 'box');
  assert.equal(sourceOf({...EMPTY, paint: Uint32Array.of(1, 1)}), 'brush');
  assert.equal(sourceOf({...EMPTY, proposal: 3, answer: answer(1)}), 'changed');
  assert.equal(sourceOf({...EMPTY, source: 'proposal', paint: Uint32Array.of(1, 1)}), 'changed');
});

test('any acts are undone one by one, and redone', () => {
  for (let seed = 0; seed < 200; seed++) {
    const random = randomFrom(seed), pick = (list) => list[Math.floor(random() * list.length)];
    let state = acts.openState({proposals}), generation = state.generation;
    const docs = [state.doc];
    for (let turn = 0; turn < 12; turn++) {
      const {doc} = state;
      const next = pick([
        () => acts.addPoint(state, [random(), random()], 1),
        () => acts.setBox(state, [0, 0, 1, 1]),
        () => acts.paint(state, Uint32Array.of(1, 4)),
        () => (doc.draft.points.length ? acts.removePoint(state, 0) : state),
        () => acts.commit(state, mask(`m${turn}`)),
        () => acts.drop(state),
        () => (doc.masks.length ? acts.remove(state, pick(doc.masks).uuid) : state),
        () => (doc.masks.length ? acts.reopen(state, pick(doc.masks)) : state),
        () => acts.accept(state, [1], [{...mask(`p${turn}`), proposal: 1}]),
        () => acts.reject(state, 2),
        () => acts.judge(state, 'm', pick(['yes', 'no'])),
      ])();
      if (next === state) continue;
      assert.ok(next.generation > generation);
      ({generation} = state = next);
      docs.push(state.doc);
    }
    for (let i = docs.length - 1; i > 0; i--) {
      assert.equal(state.doc, docs[i]);
      state = acts.undo(state);
    }
    assert.equal(acts.undo(state), state);
    for (const doc of docs) {
      assert.equal(state.doc, doc);
      state = acts.redo(state);
    }
  }
});

test('the server\'s form of a mask is one object in every doc of the undo stack', () => {
  let state = acts.commit(acts.openState(), mask('m'));
  state = acts.commit(state, mask('n'));
  state = acts.rewrite(state, (one) => (one.uuid === 'm' ? {...one, predicted_iou: 0.5} : one));
  assert.equal(state.doc.masks[0].predicted_iou, 0.5);
  assert.equal(state.doc.masks[0], state.undo[1].masks[0]);
  assert.equal(state.undo.length, 2);
});
