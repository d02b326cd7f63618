import assert from 'node:assert/strict';
import test from 'node:test';

import {parseAnswer} from '../static/api.js';
import {ADD, DraftPixels, ERASE, stroke} from '../static/brush.js';
import {IdMap, boundsOfGrid, colour, sampleLogits, union} from '../static/raster.js';
import {areaOf, bitmapOf, boundsOf, runsOf} from '../static/rle.js';
import {EMPTY} from '../static/state.js';
import {fit, pan, pixelsAlong, toPhoto, toScreen, zoom} from '../static/view.js';
import {randomBitmap, randomFrom} from './random.mjs';

const every = (width, height) => ({
  columns: Int32Array.from({length: width}, (_, x) => x), rows: Int32Array.from({length: height}, (_, y) => y)});
const shape = (key, bitmap, height) => {
  const runs = runsOf(bitmap);
  return {key, runs, area: areaOf(runs), bounds: boundsOf(runs, height)};
};

test('the id map shows the smallest mask at each pixel, after any changes', () => {
  for (let seed = 0; seed < 60; seed++) {
    const random = randomFrom(seed), width = 17, height = 13;
    const map = new IdMap(width, height);
    let shown = [];
    for (let turn = 0; turn < 12; turn++) {
      if (random() < 0.6 || !shown.length) shown = [...shown, shape(`k${turn}`, randomBitmap(random, width, height), height)];
      else if (random() < 0.5) shown = shown.filter((_, i) => i !== Math.floor(random() * shown.length));
      else shown = shown.map((one, i) => (i ? one : shape(one.key, randomBitmap(random, width, height), height)));
      map.update(shown);
      assert.equal(map.update(shown), false);
      const bitmaps = shown.map(({runs}) => bitmapOf(runs, width * height));
      for (let x = 0; x < width; x++) {
        for (let y = 0; y < height; y++) {
          const there = shown.filter((_, i) => bitmaps[i][x * height + y]);
          const least = Math.min(...there.map(({area}) => area));
          const found = map.at(x + 0.5, y + 0.5);
          assert.ok(there.length ? there.some(({key, area}) => key === found && area === least) : found === '');
        }
      }
    }
  }
});

test('logits are bilinear between cells, as the routes say', () => {
  const random = randomFrom(1);
  const photo = {width: 37, height: 29}, answer = {height: 6, width: 8, valid: [5.8, 7.4]};
  const logits = Int8Array.from({length: 48}, () => Math.floor(255 * random()) - 127);
  const grid = new Uint8Array(photo.width * photo.height);
  sampleLogits(answer, logits, photo, every(photo.width, photo.height), grid, 1);
  const clamp = (place, cells) => Math.min(cells - 1, Math.max(0, place));
  let inside = 0;
  for (let x = 0; x < photo.width; x++) {
    for (let y = 0; y < photo.height; y++) {
      const gx = clamp((x + 0.5) * answer.valid[1] / photo.width - 0.5, answer.width);
      const gy = clamp((y + 0.5) * answer.valid[0] / photo.height - 0.5, answer.height);
      let sum = 0;
      for (let row = 0; row < 6; row++) {
        for (let column = 0; column < 8; column++) {
          sum += Math.max(0, 1 - Math.abs(gx - column)) * Math.max(0, 1 - Math.abs(gy - row)) * logits[row * 8 + column];
        }
      }
      if (Math.abs(sum) > 1e-3) assert.equal(grid[x * photo.height + y], sum > 0 ? 1 : 0, `${x} ${y}`);
      inside += sum > 0;
    }
  }
  assert.ok(inside > 100 && inside < 900);
});

test('strokes lie over the answer, and the later stroke counts', () => {
  const photo = {width: 20, height: 20}, pixels = new DraftPixels(photo);
  const answer = {generation: 1, height: 2, width: 2, valid: [2, 2], candidates: [{logits: Int8Array.of(9, -9, 9, -9)}]};
  let draft = {...EMPTY, answer};
  const at = (x, y) => bitmapOf(pixels.runsOf(draft), 400)[x * 20 + y];
  assert.deepEqual([at(2, 10), at(17, 10)], [1, 0]);
  pixels.strokeOn(draft, [17, 10], [17, 10], 2, ADD);
  draft = {...draft, paint: pixels.strokeEnd()};
  pixels.strokeOn(draft, [2, 10], [17, 10], 1, ERASE);
  const before = draft;
  draft = {...draft, paint: pixels.strokeEnd()};
  assert.deepEqual([at(2, 10), at(17, 10), at(17, 8), at(2, 5)], [0, 0, 1, 1]);
  draft = before;
  assert.deepEqual([at(2, 10), at(17, 10)], [1, 1], 'undone: the stroke before counts');
  pixels.strokeOn(draft, [10, 10], [10, 10], 4, ERASE);
  pixels.strokeDrop();
  assert.deepEqual([at(2, 10), at(17, 10)], [1, 1]);
});

test('a stroke is a line with round ends', () => {
  const map = new Uint8Array(400);
  stroke(map, {width: 20, height: 20}, [3, 10], [16, 10], 2, 1);
  for (let x = 0; x < 20; x++) {
    for (let y = 0; y < 20; y++) {
      const along = Math.min(16, Math.max(3, x + 0.5));
      assert.equal(map[x * 20 + y], Math.hypot(x + 0.5 - along, y + 0.5 - 10) <= 2 || (x === 16 && y === 10) ? 1 : 0);
    }
  }
  const small = new Uint8Array(400);
  stroke(small, {width: 20, height: 20}, [5.1, 5.1], [5.1, 5.1], 0.01, 1);
  assert.deepEqual([...small.keys()].filter((i) => small[i]), [5 * 20 + 5]);
});

test('outlines are a pixel and a half wide, inside the mask', () => {
  const grid = new Uint16Array(100), pixels = new Uint32Array(100);
  for (let x = 1; x < 9; x++) grid.fill(1, x * 10 + 1, x * 10 + 9);
  colour(grid, 10, 10, [{}, {rgb: 0x0000ff, fill: 90, line: 250}], pixels);
  const alphas = [0, 1, 2, 3, 4].map((x) => pixels[5 * 10 + x] >>> 24);
  assert.deepEqual(alphas, [0, 250, 170, 90, 90]);
  assert.equal(pixels[55] & 0xffffff, 0x0000ff);
});

test('what is coloured does not depend on the bounds given, and every pixel is by its own distance to the edge', () => {
  const [width, height] = [23, 19], random = randomFrom(3);
  for (const [ratio, shade] of [[1, false], [2, true], [1, true], [3, false]]) {
    const grid = new Uint16Array(width * height);
    for (let id = 1; id < 4; id++) {
      const [x0, y0] = [Math.floor(random() * 12) + 2, Math.floor(random() * 9) + (id === 1 ? 0 : 3)];
      for (let x = x0; x < x0 + 8; x++) grid.fill(id, x * height + y0, x * height + y0 + 7);
    }
    for (let x = 15; x < width; x++) grid.fill(1, x * height + 12, (x + 1) * height);  // to the corner of the screen
    const inks = [{}, ...[1, 2, 3].map((id) => ({rgb: id, fill: id === 3 ? 0 : 90, line: id === 2 ? 0 : 250, shade}))];
    const [whole, part] = [new Uint32Array(width * height), new Uint32Array(width * height)];
    colour(grid, width, height, inks, whole, ratio);
    colour(grid, width, height, inks, part, ratio, boundsOfGrid(grid, width, height));
    assert.deepEqual(part, whole);
    const idAt = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? null : grid[x * height + y]);
    const thick = Math.floor(1.5 * ratio), rest = 1.5 * ratio - thick;
    for (let x = 0; x < width; x++) {
      for (let y = 0; y < height; y++) {
        const id = idAt(x, y), alpha = whole[y * width + x] >>> 24;
        if (!id || id === 2) {
          assert.equal(alpha, id ? 90 : 0);
          continue;
        }
        const {fill, line} = inks[id];
        const differs = (step) => [[step, 0], [-step, 0], [0, step], [0, -step]]
          .some(([dx, dy]) => ![null, id].includes(idAt(x + dx, y + dy)));
        const edge = [1, 2, 3, 4, 5].find(differs) ?? 9;
        const next = shade ? 150 : Math.round(fill + (line - fill) * rest);
        assert.equal(alpha, edge <= thick ? line : edge === thick + 1 ? next : fill, `${x} ${y}`);
      }
    }
  }
});

test('the bounds of a grid are those of its pixels', () => {
  const grid = new Uint16Array(30);
  assert.deepEqual(boundsOfGrid(grid, 6, 5), [0, 0, 0, 0]);
  grid[2 * 5 + 3] = grid[4 * 5 + 1] = 7;
  assert.deepEqual(boundsOfGrid(grid, 6, 5), [2, 1, 5, 4]);
  assert.deepEqual(union([0, 0, 0, 0], [2, 1, 5, 4]), [2, 1, 5, 4]);
  assert.deepEqual(union([0, 3, 3, 9], [2, 1, 5, 4]), [0, 1, 5, 9]);
});

test('the view goes to and fro', () => {
  const photo = {width: 300, height: 200}, screen = {width: 640, height: 480};
  const view = fit(photo, screen, 20);
  assert.deepEqual(view, {scale: 2, x: 20, y: 40});
  const near = zoom(view, 100, 100, 1.7);
  const [x, y] = toPhoto(view, 100, 100), [sx, sy] = toScreen(near, x, y);
  assert.ok(Math.abs(sx - 100) <= 1 && Math.abs(sy - 100) <= 1);
  assert.deepEqual(pan(view, 1e6, -1e6, photo, screen), {scale: 2, x: 640 - 48, y: 48 - 400});
  assert.deepEqual([...pixelsAlong(6, 1, 2, 2)], [-1, 0, 0, 1, 1, -1]);
});

test('an answer of the model is read, and a short one refused', () => {
  const header = new TextEncoder().encode(JSON.stringify({generation: 4, height: 1, width: 3, valid: [1, 3], candidates: [{iou: 1, handle: 'a'}, {iou: 0.5, handle: 'b'}]}));
  const bytes = new Uint8Array(4 + header.length + 6);
  new DataView(bytes.buffer).setUint32(0, header.length, true);
  bytes.set(header, 4);
  bytes.set([1, 2, 3, 255, 128, 0], 4 + header.length);
  const answer = parseAnswer(bytes.buffer);
  assert.deepEqual(answer.candidates.map(({logits}) => [...logits]), [[1, 2, 3], [-1, -128, 0]]);
  assert.throws(() => parseAnswer(bytes.buffer.slice(0, -1)), /cut short/);
});
