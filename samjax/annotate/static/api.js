// The routes of the server. Nothing here knows of the page.

/**
 * @typedef {{points: number[][], labels: number[], box: number[] | null}} Prompts in pixels of the photo, counted from
 * 0; a box has both corners inside
 */
/** @typedef {{iou: number, stability: number, handle: string, logits: Int8Array}} Candidate */
/**
 * @typedef {object} Answer what the model makes of prompts; logits are 1/16 each, row by row
 * @property {number} generation
 * @property {number} height of the grid of logits
 * @property {number} width
 * @property {[number, number]} valid how much of that grid the photo covers: height, width
 * @property {Candidate[]} candidates by predicted IoU, best first
 * @property {number} decode_ms
 */

/** A request that failed; `status` is 0 where no answer came. */
export class RequestError extends Error {
  /** @param {string} message @param {number} status @param {any} [body] */
  constructor(message, status, body = {}) {
    super(message);
    this.status = status;
    this.body = body;
  }

  /** Whether the same request may succeed later: no answer, the server's own fault, a full disk. */
  get isPassing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/**
 * Read the binary answer of `predict`: length of a JSON header, the header, a grid of int8 for each candidate.
 * @param {ArrayBuffer} buffer
 * @returns {Answer}
 */
export function parseAnswer(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const cells = header.height * header.width;
  if (buffer.byteLength !== 4 + length + cells * header.candidates.length) {
    throw new RequestError('The answer of the model was cut short', 0);
  }
  const candidates = header.candidates.map((/** @type {any} */ candidate, /** @type {number} */ place) => ({
    ...candidate,
    logits: new Int8Array(buffer, 4 + length + cells * place, cells),
  }));
  return {...header, candidates};
}

export class Api {
  /** @param {{annotator: string, token?: string | null, fetch?: typeof fetch, patience?: number}} options */
  constructor({annotator, token = null, fetch = (...args) => globalThis.fetch(...args), patience = 20_000}) {
    this.fetch = fetch;
    this.patience = patience;
    /** @type {Record<string, string>} */
    this.headers = {'X-Annotator': encodeURIComponent(annotator)};
    if (token) this.headers.Authorization = `Bearer ${token}`;
  }

  /**
   * @param {string} method @param {string} path below /api/
   * @param {object} [body]
   * @param {{signal?: AbortSignal, patience?: number, cache?: RequestCache}} [options]
   * @returns {Promise<Response>}
   */
  async request(method, path, body, {signal, patience = this.patience, cache = 'no-store'} = {}) {
    const limit = AbortSignal.timeout(patience);
    const headers = body === undefined ? this.headers : {...this.headers, 'Content-Type': 'application/json'};
    /** @type {Response} */
    let response;
    try {
      response = await this.fetch(`/api/${path}`, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: signal ? AbortSignal.any([signal, limit]) : limit,
        cache,
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new RequestError('The server cannot be reached', 0);
    }
    if (response.ok) return response;
    const told = await response.json().catch(() => ({}));
    throw new RequestError(told.error ?? `The server answered ${response.status}`, response.status, told);
  }

  /** @param {string} method @param {string} path @param {object} [body] @returns {Promise<any>} null for 204 */
  async json(method, path, body) {
    const response = await this.request(method, path, body);
    if (response.status === 204) return null;
    try {
      return await response.json();
    } catch {
      throw new RequestError('The answer of the server was cut short', 0);
    }
  }

  /**
   * @param {number} photo
   * @param {Prompts & {previous: string | null, generation: number, hover: boolean}} prompt
   * @param {AbortSignal} signal
   * @returns {Promise<Answer>}
   */
  async predict(photo, prompt, signal) {
    const response = await this.request('POST', `photos/${photo}/predict`, prompt, {signal, patience: 300_000});
    return parseAnswer(await response.arrayBuffer());
  }

  /** A photo never changes, so asking for it early leaves it in the browser's cache. @param {number} photo */
  async photo(photo) {
    const options = {patience: 120_000, cache: /** @type {RequestCache} */ ('default')};
    return (await this.request('GET', `photos/${photo}.jpg`, undefined, options)).blob();
  }
}
