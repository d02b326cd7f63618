import assert from 'node:assert/strict';
import test from 'node:test';

import {MaskClock} from '../static/clock.js';
import {maskFrom} from '../static/photo.js';
import {spentOn} from '../static/spent.js';

test('pauses over five seconds are wall time, not active time', () => {
  const clock = new MaskClock(0);
  for (const now of [1000, 4000, 9000]) clock.touch(now);
  assert.deepEqual(clock.read(9000), {seconds: 9, active_seconds: 9});
  clock.touch(14_001);
  assert.deepEqual(clock.read(15_001), {seconds: 15.001, active_seconds: 10});
  assert.deepEqual(clock.read(25_001), {seconds: 25.001, active_seconds: 9});
});

test('the first prompt, undos and answers of the model are those of one mask', () => {
  const clock = new MaskClock(1000);
  assert.deepEqual(clock.effort(), {first_seconds: null, undos: 0, decode_ms: []});
  for (const now of [3500, 9000]) clock.prompt(now);
  clock.undo();
  clock.decode(41.5);
  const effort = {...clock.effort(), boxes: 0, strokes: 0};
  assert.deepEqual(effort, {first_seconds: 2.5, undos: 1, decode_ms: [41.5], boxes: 0, strokes: 0});
  clock.restart(10_000);
  clock.undo();
  clock.decode(7);
  clock.resume(9, 9, effort);
  clock.prompt(12_000);
  assert.deepEqual(clock.effort(), {first_seconds: 2.5, undos: 2, decode_ms: [41.5, 7]});
  for (let i = 0; i < 2000; i++) clock.decode(1);
  assert.equal(clock.effort().decode_ms.length, 1000);
});

test('a hidden tab is not active', () => {
  const clock = new MaskClock(0);
  clock.hide(2000, true);
  clock.hide(4000, false);
  clock.touch(5000);
  assert.deepEqual(clock.read(5000), {seconds: 5, active_seconds: 3});
});

test('a mask that is taken up again goes on from its time', () => {
  const clock = new MaskClock(0);
  clock.restart(60_000);
  clock.resume(12, 7);
  assert.deepEqual(clock.read(61_000), {seconds: 13, active_seconds: 8});
});

test('what a mask has taken is the sum of its commits, and of what the server told', () => {
  const effort = (first, boxes, ...decodes) => ({first_seconds: first, boxes, strokes: 1, undos: 2, decode_ms: decodes});
  const made = {seconds: 1.1, active_seconds: 1, clicks: 2, effort: effort(null, 1, 40)};
  const changed = {seconds: 2.2, active_seconds: 2, clicks: 3, effort: effort(0.5, 0, 50, 60), before: spentOn(made)};
  const all = {first_seconds: 0.5, boxes: 1, strokes: 2, undos: 4, decode_ms: [40, 50, 60]};
  assert.deepEqual(spentOn(changed), {seconds: 3.3, active_seconds: 3, clicks: 5, since: 0, effort: all});
  const stored = maskFrom({uuid: 'm', revision: 4, runs: {counts: '0'}, seconds: 30, active_seconds: 20, clicks: 9});
  const later = {...changed, before: spentOn(stored)};
  assert.deepEqual(spentOn(later), {seconds: 32.2, active_seconds: 22, clicks: 12, since: 4, effort: changed.effort});
  assert.deepEqual(spentOn({...later, effort: effort(1, 1, ...Array(1200).fill(1))}).effort.decode_ms.length, 1000);
});
