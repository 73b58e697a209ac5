// @ts-check
/** Seeds: one picture by its number, of any class and truncation, with its neighbors. */

import { controls, rowOf } from "../controls.js";
import { element, latest } from "../dom.js";
import { frame, wall } from "../frame.js";
import { read, write } from "../state.js";

const ADDRESSED = ["seed", "class", "truncation"]; // by GET /image.png
const NEIGHBORS = 8;
const CLASSES = 24; // that are shown of one seed
const REST = 250; // ms without a change, after which the neighbors follow

export const id = "seeds";
export const title = () => "Seeds";
/** @param {import("../main.js").Model} model */
export const fits = (model) => model.seeded;

/** @param {HTMLElement} place @param {import("../main.js").Context} context */
export function open(place, { model, painter, say, fail, signal }) {
  const large = frame(model);
  const set = controls(model, changed);
  const address = element("a", { class: "address" }, "Address of this image");
  const next = element("section", { "aria-label": "Next seeds" }, element("h2", {}, "Next seeds"));
  const others = element("section", { "aria-label": "Every class of this seed" }, element("h2", {}, "Every class of this seed"));
  const beside = element("div", { class: "beside" }, next, ...(model.classes.length > 1 ? [others] : []));
  set.place.append(address);
  place.append(large.place, set.place, beside);
  let timer = 0;
  signal.addEventListener("abort", () => clearTimeout(timer));

  /** @param {Record<string, any>} changes */
  function changed(changes) {
    write(changes);
    show(read());
  }

  const paint = latest(async (/** @type {Record<string, string>} */ state) => {
    const [painted] = await painter.paint([rowOf(model, state)]);
    large.show(painted);
    say(`Seed ${painted.row.seed}${painted.row.class ? `, class ${painted.row.class}` : ""}`);
  }, fail);

  const follow = latest(async (/** @type {Record<string, string>} */ state) => {
    const row = rowOf(model, state);
    const most = Math.min(NEIGHBORS, model.limits.images);
    const rows = Array.from({ length: most }, (_, place) => ({ ...row, seed: row.seed + 1 + place }));
    const choose = (/** @type {Record<string, any>} */ one) => changed({ seed: one.seed });
    replaced(
      next,
      wall(await painter.paint(rows), choose, (one) => String(one.seed)),
    );
    if (model.classes.length < 2) return;
    const classes = model.classes.slice(0, Math.min(CLASSES, model.limits.images)).map((name) => ({ ...row, class: name }));
    const choose_class = (/** @type {Record<string, any>} */ one) => changed({ class: one.class });
    replaced(
      others,
      wall(await painter.paint(classes), choose_class, (one) => one.class),
    );
  }, fail);

  /** @param {Record<string, string>} state */
  function show(state) {
    set.show(state);
    const row = rowOf(model, state);
    address.href = `image.png?${new URLSearchParams(row)}`;
    address.hidden = !Object.keys(row).every((name) => ADDRESSED.includes(name));
    paint(state);
    clearTimeout(timer);
    timer = setTimeout(() => follow(state), REST);
  }
  return show;
}

/**
 * A wall in the place of the one of before; a person who was on a button of it stays on that place.
 * @param {any} section @param {HTMLElement} made
 */
function replaced(section, made) {
  const before = section.querySelector(".wall");
  const place = before ? [...before.querySelectorAll("button")].indexOf(document.activeElement) : -1;
  before?.remove();
  section.append(made);
  /** @type {HTMLButtonElement | undefined} */ ([...made.querySelectorAll("button")][place])?.focus();
}
