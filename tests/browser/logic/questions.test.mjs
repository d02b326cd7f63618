import assert from 'node:assert/strict';
import test from 'node:test';

import {RequestError} from '../static/api.js';
import {Questions} from '../static/questions.js';
import {addPoint, openState} from '../static/state.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Work on a photo, whose model answers when it is told to. What a failed test left is not asked again for ever. */
function make(t) {
  const asked = [], received = [];
  const work = {
    state: openState(),
    photo: {id: 7},
    api: {
      predict: (photo, prompt, signal) => new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
        const answer = () => resolve({generation: prompt.generation, candidates: [{handle: `h${asked.length}`}], decode_ms: 1});
        asked.push({prompt, signal, answer, refuse: () => reject(new RequestError('newer', 409, {superseded: true}))});
      }),
    },
    clock: {decode() {}},
    get draft() { return this.state.doc.draft; },
    receive(state) { this.state = state; received.push(state.doc.draft.answer); },
    changed() {},
    notice(text) { assert.fail(text); },
  };
  const questions = new Questions(work);
  t.after(() => questions.close());
  const click = (point, label = 1) => {
    work.state = addPoint(work.state, point, label);
    questions.ask();
  };
  return {asked, received, work, questions, click};
}

test('a click where a preview is shown has its answer, and the model is not asked again', async (t) => {
  const {asked, received, work, questions, click} = make(t);
  questions.hover([3, 4]);
  asked[0].answer();
  await turn();
  click([3, 4]);
  await turn();
  assert.equal(asked.length, 1);
  assert.equal(received.length, 1);
  assert.equal(work.draft.waits, false);
  assert.equal(work.draft.answer.generation, work.state.generation);
  click([9, 9], 0);  // refines it
  assert.equal(asked.length, 2);
  assert.equal(asked[1].prompt.previous, work.draft.previous);
});

test('the mouse that moves within a pixel asks for no other preview', async (t) => {
  const {asked, questions} = make(t);
  questions.hover([3, 4]);
  asked[0].answer();
  await turn();
  questions.hover([3, 4]);
  assert.equal(asked.length, 1);
  questions.hover([3, 5]);
  assert.equal(asked.length, 2);
});

test('a click waits for the preview of the same place that is under way', async (t) => {
  const {asked, received, questions, click} = make(t);
  questions.hover([3, 4]);
  click([3, 4]);
  await turn();
  assert.equal(asked[0].signal.aborted, false);
  assert.equal(received.length, 0);
  asked[0].answer();
  await turn();
  assert.deepEqual([asked.length, received.length], [1, 1]);
});

test('a click beside the preview, or of background, is asked', async (t) => {
  for (const [point, label] of [[[3, 5], 1], [[3, 4], 0]]) {
    const {asked, questions, click} = make(t);
    questions.hover([3, 4]);
    click(point, label);
    await turn();
    assert.equal(asked[0].signal.aborted, true);
    assert.deepEqual(asked[1].prompt.points, [point]);
    assert.equal(asked[1].prompt.hover, false);
  }
});

test('where the preview fails, the click is asked', async (t) => {
  const {asked, received, questions, click} = make(t);
  questions.hover([3, 4]);
  click([3, 4]);
  asked[0].refuse();
  await turn();
  assert.equal(asked.length, 2);
  asked[1].answer();
  await turn();
  assert.equal(received.length, 1);
});

test('of two clicks in a row the second counts', async (t) => {
  const {asked, received, questions, click} = make(t);
  questions.hover([3, 4]);
  click([3, 4]);
  click([5, 6]);
  await turn();
  assert.equal(asked[0].signal.aborted, true);
  asked[1].answer();
  await turn();
  assert.deepEqual(received.length, 1);
  assert.deepEqual(asked[1].prompt.points, [[3, 4], [5, 6]]);
});
