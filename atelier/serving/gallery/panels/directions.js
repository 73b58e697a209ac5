// @ts-check
/** Directions: sliders that change one thing of an image, named by what they change most. */

import { controls, rowOf, slider } from "../controls.js";
import { element, latest } from "../dom.js";
import { frame } from "../frame.js";
import { fits as latent, moved, point } from "../latents.js";
import { ask, pause } from "../painter.js";
import { read, write } from "../state.js";

/** @typedef {{name: string, attribute: string, correlation: number, vector: number[]}} Slider */

const FORM = /[^a-z0-9]/g;
const POLL = 0.5; // seconds between two questions while they are being found

export const id = "directions";
export const title = () => "Directions";
/** @param {import("../main.js").Model} model */
export const fits = (model) => latent(model) && model.takes.every((one) => ["noise", "label"].includes(one.kind));

/** @param {HTMLElement} place @param {import("../main.js").Context} context */
export function open(place, { model, painter, say, fail, signal }) {
  const large = frame(model);
  const set = controls(model, changed);
  const back = element("button", { type: "button", click: reset }, "All to the middle");
  const found = element("div", { class: "controls" });
  place.append(large.place, element("div", { class: "controls" }, found, element("div", { class: "row" }, back), set.place));
  /** @type {{name: string, vector: number[], show: (state: Record<string, string>) => void}[]} */
  let sliders = [];
  const begun = performance.now();
  const ready = find().catch(fail);

  /** Asks for the sliders until they are found. */
  async function find() {
    for (;;) {
      const { sliders: all, reach, done } = await (await ask("directions")).json();
      if (signal.aborted) return;
      if (all) return offer(all, reach);
      say(`The directions of this version are being found: ${Math.round(100 * done)} %`, begun);
      found.replaceChildren(element("progress", { value: done, "aria-label": "Directions are being found" }));
      await pause(POLL);
    }
  }

  /** @param {Slider[]} all @param {number} reach */
  function offer(all, reach) {
    const made = all.map((one) => {
      const name = `d_${one.name.replace(FORM, "_")}`;
      const control = slider(name, label(one.name), -reach, reach, 0, changed);
      const about = `Correlation with ${label(one.attribute).toLowerCase()}: ${one.correlation.toFixed(2)}`;
      control.place.append(element("p", { class: "note" }, about));
      return { name, vector: one.vector, ...control };
    });
    found.replaceChildren(...made.map((one) => one.place));
    if (!made.length) found.append(element("p", { class: "note" }, "No direction of this version changes what can be measured."));
    sliders = made;
  }

  function reset() {
    changed(Object.fromEntries(sliders.map((one) => [one.name, null])));
  }

  /** @param {Record<string, any>} changes */
  function changed(changes) {
    write(changes);
    show(read());
  }

  const paint = latest(work, { say, fail });

  /** @param {Record<string, string>} state */
  async function work(state) {
    await ready;
    for (const one of sliders) one.show(state);
    const { seed, ...rest } = rowOf(model, state);
    const { latent: start, row } = await point(model, seed);
    const steps = sliders.map((one) => Number(state[one.name] ?? 0));
    const turned = steps.some((step) => step);
    const to = moved(
      start,
      sliders.map((one) => one.vector),
      steps,
    );
    const [painted] = await painter.paint([
      turned ? { latent: to, ...(model.classes.length ? { class: row.class } : {}), ...rest } : { seed, ...rest },
    ]);
    large.show(painted);
    const said = sliders
      .filter((_, at) => steps[at])
      .map((one) => `${label(one.name.slice(2))} ${+Number(state[one.name]).toFixed(2)}`);
    return `Seed ${seed}${said.length ? `: ${said.join(", ")}` : ""}`;
  }

  /** @param {Record<string, string>} state */
  function show(state) {
    set.show(state);
    paint(state);
  }
  return show;
}

/** @param {string} name */
const label = (name) => name[0].toUpperCase() + name.slice(1).replaceAll(/[_-]/g, " ");
