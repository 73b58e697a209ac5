// @ts-check
/** Walk: a closed way through latent space from one image to the next, forward by itself or by hand. */

import { choice, fresh } from "../controls.js";
import { element, latest } from "../dom.js";
import { frame, wall } from "../frame.js";
import { fits, point, slerp } from "../latents.js";
import { ask } from "../painter.js";
import { read, write } from "../state.js";

/** @typedef {import("../painter.js").Painted} Painted */

const STOPS = 4;
const [FEWEST, MOST] = [2, 8];
const STEPS = 24; // from one stop to the next
const BATCH = 12; // images that are asked for at once
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
  const hung = element("section", { "aria-label": "Stops", class: "beside" }, element("h2", {}, "Stops"));
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

  /** @param {any} error */
  function stopped(error) {
    rest();
    fail(error);
  }

  async function onward() {
    slider.value = String((Number(slider.value) + 1) % (stops().length * STEPS));
    await paint(Number(slider.value));
    if (timer && !signal.aborted) timer = setTimeout(onward, PAUSE);
  }

  /** Images from a place on, where they are not there yet. @param {number} at @param {number} count */
  async function fetched(at, count = BATCH) {
    const seeds = stops();
    const state = read();
    const key = `${seeds} ${state.class ?? ""}`;
    if (key !== made_of) [made, made_of] = [new Map(), key];
    if (made.has(at)) return made;
    const points = await Promise.all(seeds.map((seed) => point(model, seed)));
    const places = Array.from({ length: count }, (_, step) => (at + step) % (seeds.length * STEPS)).filter(
      (one) => !made.has(one),
    );
    const named = model.classes.includes(state.class) ? state.class : points[0].row.class;
    const rows = places.map((one) => {
      const leg = Math.floor(one / STEPS);
      const latent = slerp(points[leg].latent, points[(leg + 1) % seeds.length].latent, (one % STEPS) / STEPS);
      return { latent, ...(model.classes.length ? { class: named } : {}) };
    });
    const wanted = made;
    const pictures = await painter.paint(rows.slice(0, model.limits.images));
    pictures.forEach((picture, number) => wanted.set(places[number], picture));
    return wanted;
  }

  const paint = latest(async (/** @type {number} */ at) => {
    const picture = (await fetched(at)).get(at);
    if (picture) large.show(picture);
    slider.setAttribute("aria-valuetext", `step ${at % STEPS} after stop ${Math.floor(at / STEPS) + 1}`);
    if (timer) fetched((at + BATCH / 2) % (stops().length * STEPS)).catch(() => {}); // ahead; what fails is asked again
  }, stopped);

  const hang = latest(async () => {
    const seeds = stops();
    const every = await Promise.all(seeds.map((_, leg) => fetched(leg * STEPS, 1)));
    const pictures = every.flatMap((all, leg) => all.get(leg * STEPS) ?? []);
    const go = (/** @type {Record<string, any>} */ _, /** @type {number} */ at) => ((slider.value = String(at * STEPS)), moved());
    hung.querySelector(".wall")?.remove();
    hung.append(wall(pictures, go, (_, at) => String(seeds[at])));
    say(`${seeds.length} stops`);
  }, fail);

  /** @param {Record<string, string>} state */
  function show(state) {
    const count = stops().length;
    slider.max = String(count * STEPS - 1);
    slider.value = /^\d+$/.test(state.at ?? "") ? state.at : "0";
    more.disabled = count >= MOST;
    fewer.disabled = count <= FEWEST;
    classes.show(state);
    paint(Number(slider.value));
    hang();
  }
  return show;
}
