/** Numbers in [0, 1) that are the same at every run. @param {number} seed */
export function randomFrom(seed) {
  return () => {
    seed = seed + 0x6d2b79f5 | 0;
    let t = Math.imul(seed ^ seed >>> 15, 1 | seed);
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
    return ((t ^ t >>> 14) >>> 0) / 4294967296;
  };
}

/** A bitmap of blobs. @param {() => number} random @param {number} width @param {number} height */
export function randomBitmap(random, width, height) {
  const bitmap = new Uint8Array(width * height);
  for (let count = 1 + Math.floor(3 * random()); count--;) {
    const [left, top] = [Math.floor(width * random()), Math.floor(height * random())];
    const [right, bottom] = [left + 1 + Math.floor(width * random() / 2), top + 1 + Math.floor(height * random() / 2)];
    for (let x = left; x < Math.min(width, right); x++) bitmap.fill(1, x * height + top, x * height + Math.min(height, bottom));
  }
  return bitmap;
}
