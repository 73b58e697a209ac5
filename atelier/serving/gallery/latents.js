// @ts-check
/** Latents: where the images of seeds lie, and what lies between them. */

import { ask } from "./painter.js";

/** @typedef {{latent: number[], row: Record<string, any>}} Point where an image lies, and what its seed drew besides */

/** @param {import("./main.js").Model} model */
export const fits = (model) => model.seeded && model.takes.some((one) => one.column === "latent");

/** @type {Map<string, Promise<Point>>} */
const known = new Map();

/** The point of a seed. @param {import("./main.js").Model} model @param {number} seed @returns {Promise<Point>} */
export function point(model, seed) {
  const key = `${model.model} ${seed}`;
  let found = known.get(key);
  if (!found) {
    found = ask(`latent?seed=${seed}`).then((answer) => answer.json());
    found.catch(() => known.delete(key)); // so that it is asked again
    known.set(key, found);
  }
  return found;
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
