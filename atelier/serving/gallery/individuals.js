// @ts-check
/**
 * Individuals of breeding as they stand in an address: a seed, or a child with its whole ancestry,
 * b_FIRST_SECOND_SHARE_MUTATION_SEED, where both parents are individuals again. Share and mutation are in hundredths; the seed
 * says where the mutation leads.
 */

import { point, slerp } from "./latents.js";

/**
 * @typedef {import("./latents.js").Point} Point
 * @typedef {{text: string, seed: number, parents: Individual[], share: number, mutation: number}} Individual
 */

const LONGEST = 6000; // characters of one, so that addresses stay usable

/** @param {string} text @returns {Individual | null} null for what is no individual */
export function parsed(text) {
  const words = text.length > LONGEST ? [] : text.split("_");
  const found = next(words);
  return found && !words.length ? found : null;
}

/** @param {string[]} words @returns {Individual | null} */
function next(words) {
  const word = words.shift();
  if (word !== "b")
    return word && /^\d{1,15}$/.test(word) ? { text: word, seed: Number(word), parents: [], share: 0, mutation: 0 } : null;
  const [first, second] = [next(words), next(words)];
  const numbers = words.splice(0, 3);
  if (!first || !second || numbers.length < 3 || !numbers.every((number) => /^\d{1,15}$/.test(number))) return null;
  const [share, mutation, seed] = numbers.map(Number);
  return share > 100 || mutation > 100 ? null : child(first, second, share, mutation, seed);
}

/** @param {Individual} first @param {Individual} second @param {number} share @param {number} mutation @param {number} seed */
export function child(first, second, share, mutation, seed) {
  const text = ["b", first.text, second.text, share, mutation, seed].join("_");
  return { text, seed, parents: [first, second], share, mutation };
}

/** Whether an address still has room for children of both. @param {Individual} first @param {Individual} second */
export const breedable = (first, second) => first.text.length + second.text.length < LONGEST - 50;

/**
 * Where it lies; its class is that of the parent that has the larger share.
 * @param {import("./main.js").Model} model @param {Individual} one @returns {Promise<Point>}
 */
export async function place(model, one) {
  if (!one.parents.length) return point(model, one.seed);
  const [first, second, mutant] = await Promise.all([
    ...one.parents.map((parent) => place(model, parent)),
    point(model, one.seed),
  ]);
  const between = slerp(first.latent, second.latent, one.share / 100);
  return { latent: slerp(between, mutant.latent, one.mutation / 100), row: (one.share > 50 ? second : first).row };
}

/** Its ancestors, each once, the nearest first. @param {Individual} one */
export function ancestors(one) {
  /** @type {Map<string, Individual>} */
  const found = new Map();
  let generation = one.parents;
  while (generation.length) {
    for (const parent of generation) found.set(parent.text, parent);
    generation = generation.flatMap((parent) => parent.parents);
  }
  return [...found.values()];
}
