// @ts-check
/**
 * The worker that paints: both halves of the generator in onnxruntime-web, on one thread. More of them need an isolated
 * page, which it is not in the frame of a dashboard, and were slower for small images.
 * @typedef {{runtime: string, wasm: string, mapping: string, synthesis: string, xmp: string}} Paint addresses, and the XMP label
 * @typedef {{latent: number[], label: number, truncation: number, about: object}} Wanted
 */

import { png } from "./png.js";

const AT_ONCE = 8; // images of a batch, which bounds the memory

/** @type {Promise<{run: (rows: Wanted[]) => Promise<Blob[]>, truncates: boolean}>} */
let started;
/** @type {Promise<any>} */
let last = Promise.resolve(); // a session does one thing at a time

self.onmessage = ({ data: { id, paint, size, rows } }) => {
  if (paint) started = start(paint, size);
  const answer = last.then(async () => {
    const { run, truncates } = await started;
    return paint ? { truncates } : { files: await run(rows) };
  });
  last = answer.then(
    (found) => self.postMessage({ id, ...found }),
    (error) => self.postMessage({ id, error: String(error?.message ?? error) }),
  );
};

/** @param {Paint} paint @param {number} size of a latent */
async function start({ runtime, wasm, mapping, synthesis, xmp }, size) {
  const ort = await import(runtime);
  Object.assign(ort.env.wasm, { wasmPaths: { wasm }, numThreads: 1 });
  const options = { executionProviders: ["wasm"] };
  const [codes, pixels] = await Promise.all([mapping, synthesis].map((half) => ort.InferenceSession.create(half, options)));
  const takes = (/** @type {any} */ session, /** @type {Record<string, any>} */ all) =>
    Object.fromEntries(session.inputNames.map((/** @type {string} */ name) => [name, all[name]]));

  /** @param {Wanted[]} rows @returns {Promise<Blob[]>} */
  async function batch(rows) {
    const count = rows.length;
    const inputs = {
      latent: new ort.Tensor("float32", Float32Array.from(rows.flatMap((row) => row.latent)), [count, rows[0].latent.length]),
      label: new ort.Tensor(
        "int64",
        BigInt64Array.from(rows, (row) => BigInt(row.label)),
        [count],
      ),
      truncation: new ort.Tensor(
        "float32",
        Float32Array.from(rows, (row) => row.truncation),
        [count],
      ),
    };
    const { code } = await codes.run(takes(codes, inputs));
    const { data, dims } = (await pixels.run(takes(pixels, { ...inputs, code }))).pixels;
    const bytes = data.length / count;
    return rows.map(({ about }, row) => png(data.subarray(row * bytes, (row + 1) * bytes), dims[1], dims[3], { about, xmp }));
  }

  /** @param {Wanted[]} rows */
  async function run(rows) {
    const files = [];
    for (let first = 0; first < rows.length; first += AT_ONCE) files.push(...(await batch(rows.slice(first, first + AT_ONCE))));
    return files;
  }
  await batch([{ latent: Array(size).fill(0), label: 0, truncation: 1, about: {} }]); // the first time takes longer
  return { run, truncates: codes.inputNames.includes("truncation") };
}
