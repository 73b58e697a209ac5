// @ts-check
/** Compare: the version in use and another one of its name, on the same seeds and uploads, with their numbers. */

import { choice, controls, rowOf } from "../controls.js";
import { Crop, named, picturezone } from "../crop.js";
import { element, latest } from "../dom.js";
import { Drawing, mapzone } from "../drawing.js";
import { Wall, frame } from "../frame.js";
import { ask } from "../painter.js";
import { read, write } from "../state.js";

/**
 * @typedef {{name: string, title: string, value: number, text: string, higher_is_better: boolean, better: string,
 *   interval: [number, number] | null, identity: string}} Measured
 * @typedef {{version: number, aliases: string[], gate: string, numbers: Measured[]}} Version
 * @typedef {import("../main.js").Model} Model
 */

const SEEDS = 8;
const PREVIOUS = "previous"; // the alias of the champion before

export const id = "versions";
export const title = () => "Compare";
/** @param {Model} model */
export const fits = (model) => model.compares;

/** @param {HTMLElement} place @param {import("../main.js").Context} context */
export function open(place, { model, painter, say, fail, signal }) {
  const own = Number(model.model.split("/").pop());
  const uploads = model.takes.flatMap((input) => upload(input));
  const set = controls(model, changed);
  const chosen = element("div");
  const [left, right] = [half(), half()];
  const table = element("section", { "aria-label": "Numbers", class: "beside" });
  const words = model.takes.filter((one) => one.kind === "text" && one.encoder).map(written);
  place.append(
    element("div", { class: "pair" }, left.place, right.place),
    element("div", { class: "controls" }, chosen, ...uploads.map((one) => one.place), ...words, set.place),
    table,
  );
  /** @type {Promise<Version[]>} */
  const versions = ask("versions").then(async (answer) => (await answer.json()).versions);
  /** @type {{show: (state: Record<string, string>) => void} | null} */
  let choosing = null;
  /** @type {Map<number, Promise<Model>>} */
  const models = new Map();

  /** What a person gives of an input. @param {import("../main.js").Input} input */
  function upload(input) {
    if (input.kind === "picture") {
      const crop = new Crop(named(input.column), input.resolution, () => paint(read()));
      const most = () => Math.floor(model.limits.body / 2);
      const zone = picturezone(input, crop, { wanted: () => !crop.picture, fail, signal });
      return [{ input, place: zone, ready: () => Boolean(crop.picture), value: () => crop.encoded(most()) }];
    }
    if (input.kind !== "map") return [];
    const canvas = element("canvas", {
      width: input.resolution,
      height: input.resolution,
      role: "img",
      "aria-label": "Label map",
    });
    const drawing = new Drawing(canvas, input.colors);
    const taken = (/** @type {File} */ file) => void drawing.load(file).then(() => paint(read()), fail);
    const zone = element("div", { class: "easel" }, canvas, mapzone(input, taken, signal));
    return [{ input, place: zone, ready: () => true, value: () => drawing.encoded() }];
  }

  /** @param {import("../main.js").Input} input */
  function written(input) {
    const field = element("input", { id: "text", type: "text", value: read()[input.column] ?? "", autocomplete: "off" });
    field.addEventListener("change", () => changed({ [input.column]: field.value.trim() }));
    return element("div", { class: "control" }, element("label", { for: "text" }, "In words"), field);
  }

  /** @param {Record<string, string | number | null>} changes */
  function changed(changes) {
    write(changes);
    show(read());
  }

  /** @param {number} version @returns {Promise<Model>} */
  function modelOf(version) {
    let found = models.get(version);
    if (!found) {
      found = ask(`model?version=${version}`).then((answer) => answer.json());
      found.catch(() => models.delete(version)); // so that it is asked again
      models.set(version, found);
    }
    return found;
  }

  const paint = latest(work, { say, fail });

  /** @param {Record<string, string>} state */
  async function work(state) {
    const all = await versions;
    const others = all.filter((one) => one.version !== own);
    if (!others.length) return `${model.model} is the only version of its name`;
    if (!choosing) {
      const label = "Beside the version in use";
      const made = choice(
        "other",
        label,
        others.map((one) => String(one.version)),
        "the one before",
        changed,
      );
      chosen.append(made.place);
      choosing = made;
    }
    choosing.show(state);
    const other =
      others.find((one) => String(one.version) === state.other) ??
      others.find((one) => one.aliases.includes(PREVIOUS)) ??
      others[0];
    const mine = all.find((one) => one.version === own);
    if (mine) table.replaceChildren(element("h2", {}, "Numbers"), numbers(mine, other));
    const theirs = await modelOf(other.version);
    const wrong = difference(model, theirs);
    if (wrong) throw new Error(`version ${other.version} ${wrong}, so that both cannot be given the same`);
    if (uploads.some((one) => !one.ready())) return "Give a picture, and both make something of it";
    /** @type {Record<string, any>} */
    const given = {};
    for (const one of uploads) given[one.input.column] = await one.value();
    for (const one of model.takes) if (one.kind === "text" && state[one.column]) given[one.column] = state[one.column];
    const count = model.random ? Math.min(SEEDS, model.limits.images, theirs.limits.images) : 1;
    const rows = (/** @type {Model} */ of) => {
      const row = { ...rowOf(of, state), ...given };
      return Array.from({ length: count }, (_, at) => (model.random ? { ...row, seed: row.seed + at } : row));
    };
    const [ours, yours] = await Promise.all([painter.paint(rows(model)), painter.of(other.version).paint(rows(theirs))]);
    left.hang(model, `Version ${own}, in use`, ours);
    right.hang(theirs, `Version ${other.version}${about(other)}`, yours);
    return `Version ${own} beside version ${other.version}${model.random ? `, from seed ${rows(model)[0].seed} on` : ""}`;
  }

  /** The place of a version's pictures, which stays as long as it is that of the same version. */
  function half() {
    const place = element("section");
    let large = frame(model);
    let wall = new Wall(() => {});
    /** @param {Model} of @param {string} heading @param {import("../painter.js").Painted[]} painted */
    function hang(of, heading, painted) {
      if (place.getAttribute("aria-label") !== heading) {
        large = frame(of);
        wall = new Wall((row) => changed({ seed: row.seed }));
        place.setAttribute("aria-label", heading);
        place.replaceChildren(element("h2", {}, heading), large.place, ...(painted.length > 1 ? [wall.place] : []));
      }
      large.show(painted[0]);
      for (const [at, one] of painted.entries()) wall.hang(one, at);
    }
    return { place, hang };
  }

  /** @param {Record<string, string>} state */
  function show(state) {
    set.show(state);
    paint(state);
  }
  return show;
}

/** @param {Version} one */
const about = (one) => (one.aliases.length ? `, ${one.aliases.join(", ")}` : "");

/** Why two versions cannot be given the same, "" where they can. @param {Model} one @param {Model} other */
function difference(one, other) {
  const given = (/** @type {Model} */ model) =>
    model.takes
      .filter((input) => ["picture", "map"].includes(input.kind))
      .map((input) => JSON.stringify([input.kind, input.column, input.resolution, input.colors]))
      .join();
  if (one.random !== other.random) return other.random ? "takes a seed" : "takes no seed";
  return given(one) === given(other) ? "" : "takes other pictures";
}

/** @param {Version} mine @param {Version} other */
function numbers(mine, other) {
  const names = [...new Map([...mine.numbers, ...other.numbers].map((one) => [one.name, one])).values()];
  const of = (/** @type {Version} */ version, /** @type {string} */ name) => version.numbers.find((one) => one.name === name);
  const head = ["", `Version ${mine.version}`, `Version ${other.version}`, ""].map((text) =>
    text ? element("th", { scope: "col" }, text) : element("td", {}),
  );
  const row = (/** @type {string[]} */ [name, ...cells]) =>
    element("tr", {}, element("th", { scope: "row" }, name), ...cells.map((text) => element("td", {}, text)));
  const said = names.map(({ name, title }) => {
    const [one, two] = [of(mine, name), of(other, name)];
    return row([title, one?.text ?? "not measured", two?.text ?? "not measured", verdict(mine, one, other, two)]);
  });
  const gate = row(["Gate", mine.gate, other.gate, ""]);
  const body = element("tbody", {}, element("tr", {}, ...head), gate, ...said);
  return element(
    "div",
    { class: "scrolls", tabindex: 0, role: "group", "aria-label": "Table of numbers" },
    element("table", {}, body),
  );
}

/**
 * Numbers are compared where all that moves them is the same, and differ where their 95 % intervals do not meet.
 * @param {Version} mine @param {Measured | undefined} one @param {Version} other @param {Measured | undefined} two
 */
function verdict(mine, one, other, two) {
  if (!one || !two) return "";
  if (one.identity !== two.identity) return "measured otherwise: not comparable";
  const [low, high] = one.value < two.value ? [one, two] : [two, one];
  if (one.value === two.value || (low.interval && high.interval && low.interval[1] >= high.interval[0]))
    return "no clear difference";
  const better = (one.higher_is_better ? high : low) === one ? mine : other;
  return `version ${better.version} is ${one.better}`;
}
