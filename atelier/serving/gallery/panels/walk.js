// @ts-check
/** Walk: a closed way through latent space from one image to the next, forward by itself or by hand. */

import { choice, fresh } from "../controls.js";
import { element, latest } from "../dom.js";
import { Wall, frame } from "../frame.js";
import { fits, points, slerp } from "../latents.js";
import { ask, inTurn } from "../painter.js";
import { read, write } from "../state.js";

/** @typedef {import("../painter.js").Painted} Painted */

const STOPS = 4;
const [FEWEST, MOST] = [2, 8];
const STEPS = 24; // from one stop to the next
const AHEAD = 12; // images that are there before one comes to them
const PAUSE = 80; // ms between two
const KEPT = 60_000; // ms for which a browser may take to save a file

export const id = "walk";
export const title = () => "Walk";
export { fits };

/** @param {HTMLElement} place @param {import("../main.js").Context} context */
export function open(place, { model, painter, say, fail, signal }) {
  const large = frame(model);
  const slider = element("input", { id: "at", type: "range", min: 0, step: 1, input: moved });
  const play = element("button", { type: "button", class: "main", click: toggle }, "Play");
  const more = element("button", { type: "button", click: () => stop([...stops(), fresh()]) }, "One more stop");
  const fewer = element("button", { type: "button", click: () => stop(stops().slice(0, -1)) }, "One less");
  const others = element("button", { type: "button", click: () => stop(strangers()) }, "New stops");
  const save = element("button", { type: "button", click: () => void saved().catch(fail) }, "Save as WebP");
  const classes = choice("class", "Class", model.classes, "as the first stop", (changes) => (write(changes), show(read())));
  const wall = new Wall(
    (_, at) => ((slider.value = String(at * STEPS)), moved()),
    (_, at) => String(stops()[at]),
  );
  const hung = element("section", { "aria-label": "Stops", class: "beside" }, element("h2", {}, "Stops"), wall.place);
  const way = element("div", { class: "control" }, element("label", { for: "at" }, "Place on the way"), slider);
  const row = element("div", { class: "row" }, more, fewer, others, save);
  place.append(
    large.place,
    element("div", { class: "controls" }, play, way, row, ...(model.classes.length ? [classes.place] : [])),
    hung,
  );
  /** @type {Map<number, Painted>} */
  let made = new Map();
  let made_of = "";
  let timer = 0;
  signal.addEventListener("abort", () => clearTimeout(timer));
  if (!read().stops) write({ stops: strangers().join("_") });

  function strangers() {
    const first = fresh(STOPS);
    return Array.from({ length: STOPS }, (_, at) => first + at);
  }

  /** The seeds of the stops, at least two. */
  function stops() {
    const seeds = (read().stops ?? "")
      .split("_")
      .filter((word) => /^\d{1,15}$/.test(word))
      .map(Number)
      .slice(0, MOST);
    return seeds.length < FEWEST ? [0, 1] : seeds;
  }

  /** @param {number[]} seeds */
  function stop(seeds) {
    write({ stops: seeds.join("_"), at: null }, true);
    show(read());
  }

  function moved() {
    write({ at: slider.value });
    paint(Number(slider.value));
  }

  function toggle() {
    if (timer) return rest();
    play.textContent = "Pause";
    timer = setTimeout(onward, 0);
    say("Walking");
  }

  function rest() {
    clearTimeout(timer);
    timer = 0;
    play.textContent = "Play";
    write({ at: slider.value });
  }

  /** The whole walk as a file, which the server makes, labels and signs. */
  async function saved() {
    say("The walk is being saved");
    const named = model.classes.includes(read().class) ? { class: read().class } : {};
    const body = JSON.stringify({ stops: stops(), steps: STEPS, ...named });
    const file = await (await ask("walk", { method: "POST", body })).blob();
    const url = URL.createObjectURL(file);
    const name = `${model.model.replace("models:/", "").replace("/", "-")}-walk-${stops().join("-")}.webp`;
    element("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), KEPT);
    say("The walk is saved");
  }

  /** @param {any} error @param {number} since */
  function stopped(error, since) {
    rest();
    fail(error, since);
  }

  async function onward() {
    slider.value = String((Number(slider.value) + 1) % (stops().length * STEPS));
    await paint(Number(slider.value));
    if (timer && !signal.aborted) timer = setTimeout(onward, PAUSE);
  }

  /**
   * The images of this way, by their place on it, after those of some places have been painted that were not there.
   * @param {number[]} places @param {() => boolean} enough says that the rest of them is not waited for any more
   */
  async function fill(places, enough = () => false) {
    const seeds = stops();
    const state = read();
    const key = `${seeds} ${state.class ?? ""}`;
    if (key !== made_of) [made, made_of] = [new Map(), key];
    const [all, missing] = [made, places.filter((one) => !made.has(one))];
    const ends = missing.length ? await points(model, seeds) : [];
    const rows = missing.map((one) => {
      const leg = Math.floor(one / STEPS);
      const latent = slerp(ends[leg].latent, ends[(leg + 1) % seeds.length].latent, (one % STEPS) / STEPS);
      const named = model.classes.includes(state.class) ? state.class : ends[0].row.class;
      return { latent, ...(model.classes.length ? { class: named } : {}) };
    });
    for await (const [picture, at] of inTurn(painter, rows)) {
      all.set(missing[at], picture);
      if (enough()) break;
    }
    return all;
  }

  const paint = latest(
    async (/** @type {number} */ at) => {
      const picture = (await fill([at])).get(at);
      if (picture) large.show(picture);
      slider.setAttribute("aria-valuetext", `step ${at % STEPS} after stop ${Math.floor(at / STEPS) + 1}`);
      ahead(at);
    },
    { say, fail: stopped },
  );

  const ahead = latest(
    async (/** @type {number} */ at, overtaken) => {
      const next = Array.from({ length: AHEAD }, (_, step) => (at + 1 + step) % (stops().length * STEPS));
      if (!made.has(next[AHEAD / 2])) await fill(next, overtaken);
    },
    { say, fail: () => {} }, // what fails is asked again
  );

  const hang = latest(
    async (/** @type {number[]} */ seeds) => {
      const places = seeds.map((_, leg) => leg * STEPS);
      const all = await fill(places);
      for (const [leg, place] of places.entries()) {
        const picture = all.get(place);
        if (picture) wall.hang(picture, leg);
      }
      wall.leave(seeds.length);
      return `${seeds.length} stops`;
    },
    { say, fail },
  );

  /** @param {Record<string, string>} state */
  function show(state) {
    const count = stops().length;
    slider.max = String(count * STEPS - 1);
    slider.value = /^\d+$/.test(state.at ?? "") ? state.at : "0";
    more.disabled = count >= MOST;
    fewer.disabled = count <= FEWEST;
    classes.show(state);
    paint(Number(slider.value));
    hang(stops());
  }
  return show;
}
