import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import test from 'node:test';

import * as rle from '../static/rle.js';
import {randomBitmap, randomFrom} from './random.mjs';

test('runs are written and read as pycocotools does', () => {
  const cases = JSON.parse(readFileSync(process.env.RLE_CASES, 'utf8'));
  assert.ok(cases.length >= 50);
  for (const {height, width, pixels, counts, area, bounds} of cases) {
    const bitmap = Uint8Array.from(pixels, Number);
    const runs = rle.runsOf(bitmap);
    assert.equal(rle.encodeCounts(runs), counts);
    assert.deepEqual([...rle.decodeCounts(counts)], [...runs]);
    assert.deepEqual(rle.bitmapOf(runs, height * width), bitmap);
    assert.equal(rle.areaOf(runs), area);
    assert.deepEqual(rle.boundsOf(runs, height), bounds);
  }
});

test('long runs and large differences survive', () => {
  for (const runs of [[2 ** 26], [0, 2 ** 26], [5, 2 ** 25, 3, 1, 2 ** 25, 7], [1, 1, 2 ** 26, 1, 1, 1]]) {
    assert.deepEqual([...rle.decodeCounts(rle.encodeCounts(runs))], runs);
  }
});

test('counts that are no counts are refused', () => {
  for (const counts of ['a\u0001', 'o', 'PPo']) assert.throws(() => rle.decodeCounts(counts), /counts/);
});

test('IoU of runs equals that of bitmaps, and maps survive the undo stack', () => {
  const random = randomFrom(3);
  for (let turn = 0; turn < 50; turn++) {
    const [one, other] = [randomBitmap(random, 13, 11), randomBitmap(random, 13, 11)];
    const both = one.filter((inside, i) => inside && other[i]).length;
    const any = one.filter((inside, i) => inside || other[i]).length;
    assert.equal(rle.iouOf(rle.runsOf(one), rle.runsOf(other)), both / any);
    const map = one.map((inside, i) => (inside ? 1 : other[i] ? 2 : 0));
    assert.deepEqual(rle.mapOf(rle.pairsOf(map), map.length), map);
  }
  assert.equal(rle.pairsOf(new Uint8Array(9)), null);
});
