// @ts-check
/** Latents: where the images of seeds lie, and what lies between them. */

import { ask } from "./painter.js";

/**
 * @typedef {{latent: number[], row: Record<string, any>}} Point where an image lies, and what its seed drew besides
 * @typedef {Point & {model: string}} Drawn that of a seed, and the version that said so
 */

/** @param {import("./main.js").Model} model */
export const fits = (model) => model.seeded && model.takes.some((one) => one.column === "latent");

/** @type {Map<string, Promise<Drawn>>} */
const known = new Map();

/** The point of a seed. @param {import("./main.js").Model} model @param {number} seed @returns {Promise<Drawn>} */
export const point = async (model, seed) => (await points(model, [seed]))[0];

/**
 * The points of seeds, at most as many as a request may have.
 * @param {import("./main.js").Model} model @param {number[]} seeds @returns {Promise<Drawn[]>}
 */
export function points(model, seeds) {
  const key = (/** @type {number} */ seed) => `${model.model} ${seed}`;
  const missing = [...new Set(seeds)].filter((seed) => !known.has(key(seed)));
  if (missing.length) {
    const found = fetched(missing);
    missing.forEach((seed, place) => {
      const one = found.then((all) => all[place]);
      one.catch(() => known.delete(key(seed))); // so that it is asked again
      known.set(key(seed), one);
    });
  }
  return Promise.all(seeds.map((seed) => /** @type {Promise<Drawn>} */ (known.get(key(seed)))));
}

/** @param {number[]} seeds @returns {Promise<Drawn[]>} */
async function fetched(seeds) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" } };
  const body = JSON.stringify({ rows: seeds.map((seed) => ({ seed })) });
  const { model, latents } = await (await ask("latent", { ...options, body })).json();
  return latents.map((/** @type {Point} */ one) => ({ ...one, model }));
}

/**
 * A latent moved by steps along vectors; it keeps its length, as atelier.latent.space has it, since others are rare.
 * @param {number[]} start @param {number[][]} vectors @param {number[]} steps
 */
export function moved(start, vectors, steps) {
  const there = start.map((value, at) => vectors.reduce((sum, vector, number) => sum + steps[number] * vector[at], value));
  const share = Math.hypot(...start) / Math.hypot(...there);
  return there.map((value) => value * share);
}

/**
 * A share of the angle on the great circle between two latents (White 2016), as atelier.models.model.slerp has it.
 * @param {number[]} first @param {number[]} second @param {number} share
 */
export function slerp(first, second, share) {
  const dot = (/** @type {number[]} */ one, /** @type {number[]} */ other) =>
    one.reduce((sum, value, at) => sum + value * other[at], 0);
  const cosine = dot(first, second) / Math.sqrt(dot(first, first) * dot(second, second));
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  const sine = Math.sin(angle);
  const [mine, others] =
    sine > 1e-3 ? [Math.sin((1 - share) * angle) / sine, Math.sin(share * angle) / sine] : [1 - share, share];
  return first.map((value, at) => mine * value + others * second[at]);
}
