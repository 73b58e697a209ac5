// @ts-check
/** What can be set of a model beside pictures, texts and sounds: a control for each number and class that it takes. */

import { element } from "./dom.js";
import { read } from "./state.js";

/** @typedef {import("./main.js").Model} Model */

const STEPS = 20; // of a slider, from its lowest value to its highest
const LEAST_TRUNCATION = 0.05;
const SEEDS = 2 ** 32; // as many are drawn from; any up to 2 ** 53 can be typed
const shown = new Set();

/** So many seeds in a row, none of which this visit has met. @param {number} count */
export function fresh(count = 1) {
  for (;;) {
    const first = crypto.getRandomValues(new Uint32Array(1))[0] % (SEEDS - count);
    const seeds = Array.from({ length: count }, (_, place) => first + place);
    if (seeds.some((seed) => shown.has(seed))) continue;
    for (const seed of seeds) shown.add(seed);
    return first;
  }
}

/** The seed of a state, 0 where it names none. @param {Record<string, string>} state */
export function seedOf(state) {
  const seed = Number(state.seed ?? 0);
  if (Number.isSafeInteger(seed) && seed >= 0) shown.add(seed);
  return Number.isSafeInteger(seed) ? seed : 0;
}

/**
 * The row that a state asks for, but for what a panel adds.
 * @param {Model} model @param {Record<string, string>} state
 */
export function rowOf(model, state) {
  /** @type {Record<string, any>} */
  const row = model.random ? { seed: seedOf(state) } : {};
  if (model.classes.includes(state.class)) row.class = state.class;
  if (model.truncates && state.truncation) row.truncation = Number(state.truncation);
  for (const one of scalars(model)) if (state[one.column]) row[one.column] = Number(state[one.column]);
  return row;
}

/** @param {Model} model */
const scalars = (model) => model.takes.filter((one) => one.kind === "scalar");

/** What a row says, for people. @param {Record<string, any>} row */
export function words(row) {
  const said = Object.entries(row).filter(([name, value]) => ["number", "string"].includes(typeof value) && !usual(name, value));
  return said
    .map(([name, value]) => `${name} ${typeof value === "number" && name !== "seed" ? +value.toFixed(3) : value}`)
    .join(", ");
}

/** @param {string} name @param {any} value */
const usual = (name, value) => name === "truncation" && value === 1;

/**
 * The controls of a model; `show` sets them to a state, `change` hears what a person sets.
 * @param {Model} model
 * @param {(changes: Record<string, string | number | null>) => void} change
 * @returns {{place: HTMLElement, show: (state: Record<string, string>) => void}}
 */
export function controls(model, change) {
  /** @type {{place: HTMLElement, show: (state: Record<string, string>) => void}[]} */
  const all = [];
  if (model.random) all.push(seed(change));
  if (model.classes.length) all.push(choice("class", "Class", model.classes, "any", change));
  if (model.truncates) all.push(slider("truncation", "Truncation", LEAST_TRUNCATION, 1, 1, change));
  for (const one of scalars(model)) all.push(slider(one.column, title(one.column), one.low, one.high, one.default, change));
  const place = element("div", { class: "controls" }, ...all.map((one) => one.place));
  return { place, show: (state) => all.forEach((one) => one.show(state)) };
}

/** @param {string} column */
const title = (column) => column[0].toUpperCase() + column.slice(1).replaceAll("_", " ");

/** @param {(changes: Record<string, string | number | null>) => void} change */
function seed(change) {
  const input = element("input", { id: "seed", type: "number", min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, change: typed });
  const dice = element("button", { type: "button", click: () => change({ seed: fresh() }) }, "New seed");
  function typed() {
    if (input.value && input.checkValidity()) change({ seed: input.value });
    else input.value = String(seedOf(read()));
  }
  const place = element(
    "div",
    { class: "control" },
    element("label", { for: "seed" }, "Seed"),
    element("div", { class: "row" }, input, dice),
  );
  return { place, show: (/** @type {Record<string, string>} */ state) => void (input.value = String(seedOf(state))) };
}

/**
 * A list of which one is chosen, or none.
 * @param {string} name @param {string} label @param {string[]} values @param {string} none
 * @param {(changes: Record<string, string | number | null>) => void} change
 */
export function choice(name, label, values, none, change) {
  const options = [element("option", { value: "" }, none), ...values.map((value) => element("option", { value }, value))];
  const input = element("select", { id: name, change: () => change({ [name]: input.value }) }, ...options);
  const place = element("div", { class: "control" }, element("label", { for: name }, label), input);
  const show = (/** @type {Record<string, string>} */ state) =>
    void (input.value = values.includes(state[name]) ? state[name] : "");
  return { place, show };
}

/**
 * A slider with its value beside it.
 * @param {string} name @param {string} label @param {number} low @param {number} high @param {number} usual
 * @param {(changes: Record<string, string | number | null>) => void} change
 */
export function slider(name, label, low, high, usual, change) {
  const input = element("input", { id: name, type: "range", min: low, max: high, step: (high - low) / STEPS, input: moved });
  const value = element("output", { for: name });
  const digits = high - low > STEPS ? 0 : 2;
  function moved() {
    value.value = (+input.value).toFixed(digits);
    change({ [name]: +input.value === usual ? null : +(+input.value).toFixed(4) });
  }
  const place = element("div", { class: "control" }, element("label", { for: name }, label, " ", value), input);
  const show = (/** @type {Record<string, string>} */ state) => {
    input.value = state[name] ?? usual;
    value.value = (+input.value).toFixed(digits);
  };
  return { place, show };
}
