// Where the photo lies on the screen: zoom and pan. All lengths on the screen are device pixels.

/** @typedef {{scale: number, x: number, y: number}} View device pixels a photo pixel; where the photo's corner lies */
/** @typedef {{width: number, height: number}} Size */

const SMALLEST = 0.02, LARGEST = 64;

/** The whole photo, in the middle. @param {Size} photo @param {Size} screen @param {number} margin @returns {View} */
export function fit(photo, screen, margin = 0) {
  const scale = Math.max(SMALLEST, Math.min(
    (screen.width - 2 * margin) / photo.width, (screen.height - 2 * margin) / photo.height, LARGEST));
  return {
    scale,
    x: Math.round((screen.width - photo.width * scale) / 2),
    y: Math.round((screen.height - photo.height * scale) / 2),
  };
}

/**
 * Zoom about a place on the screen, which stays.
 * @param {View} view
 * @param {number} x
 * @param {number} y
 * @param {number} factor
 * @returns {View}
 */
export function zoom(view, x, y, factor) {
  const scale = Math.min(LARGEST, Math.max(SMALLEST, view.scale * factor));
  const ratio = scale / view.scale;
  return {scale, x: Math.round(x - (x - view.x) * ratio), y: Math.round(y - (y - view.y) * ratio)};
}

/**
 * Move, but keep a corner of the photo on the screen.
 * @param {View} view
 * @param {number} dx
 * @param {number} dy
 * @param {Size} photo
 * @param {Size} screen
 * @returns {View}
 */
export function pan(view, dx, dy, photo, screen) {
  const least = 48;
  const clamp = (/** @type {number} */ place, /** @type {number} */ side, /** @type {number} */ room) =>
    Math.round(Math.min(room - least, Math.max(least - side * view.scale, place)));
  return {
    scale: view.scale,
    x: clamp(view.x + dx, photo.width, screen.width),
    y: clamp(view.y + dy, photo.height, screen.height),
  };
}

/**
 * A place on the screen, in pixels of the photo.
 * @param {View} view
 * @param {number} x
 * @param {number} y
 * @returns {[number, number]}
 */
export const toPhoto = (view, x, y) => [(x - view.x) / view.scale, (y - view.y) / view.scale];

/** @param {View} view @param {number} x @param {number} y @returns {[number, number]} */
export const toScreen = (view, x, y) => [view.x + x * view.scale, view.y + y * view.scale];

/**
 * Which pixel of the photo each pixel of the screen shows along an axis, -1 beside the photo.
 * @param {number} length of the screen @param {number} offset of the photo @param {number} scale
 * @param {number} side of the photo
 * @returns {Int32Array}
 */
export function pixelsAlong(length, offset, scale, side) {
  const pixels = new Int32Array(length);
  for (let i = 0; i < length; i++) {
    const pixel = Math.floor((i + 0.5 - offset) / scale);
    pixels[i] = pixel >= 0 && pixel < side ? pixel : -1;
  }
  return pixels;
}

/** @param {View} view @param {Size} screen @param {Size} photo */
export const pixelsOnScreen = (view, screen, photo) => ({
  columns: pixelsAlong(screen.width, view.x, view.scale, photo.width),
  rows: pixelsAlong(screen.height, view.y, view.scale, photo.height),
});
