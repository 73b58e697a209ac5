// @ts-check
/** Another one: a picture that nobody has seen, at each click and each press of the space bar. */

import { choice, fresh, rowOf, seedOf } from "../controls.js";
import { element, latest } from "../dom.js";
import { Wall, frame } from "../frame.js";
import { inTurn } from "../painter.js";
import { read, write } from "../state.js";

const GRID = 16;

export const id = "another";
export const title = () => "Another one";
/** @param {import("../main.js").Model} model */
export const fits = (model) => model.seeded;

/** @param {HTMLElement} place @param {import("../main.js").Context} context */
export function open(place, { model, painter, say, fail, signal }) {
  const count = Math.min(GRID, model.limits.images);
  const large = frame(model, { button: { name: "Another one", act: next } });
  const wall = new Wall((one) => set({ seed: one.seed, grid: null }));
  const many = element("div", { class: "many", hidden: true }, wall.place);
  const button = element("button", { type: "button", class: "main", click: next }, "Another one ", element("kbd", {}, "space"));
  const grid = element("button", { type: "button", click: () => set({ grid: read().grid ? null : 1 }) }, "Grid");
  const classes = choice("class", "Class", model.classes, "any", set);
  const chosen = model.classes.length ? [classes.place] : [];
  place.append(large.place, many, element("div", { class: "controls" }, button, grid, ...chosen));
  document.addEventListener("keydown", pressed, { signal });
  if (!("seed" in read())) write({ seed: fresh(count) });

  /** @param {KeyboardEvent} event */
  function pressed(event) {
    const free = event.target === document.body || event.target === place;
    if (event.key !== " " || !free || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault(); // no scrolling
    if (!event.repeat) next();
  }

  function next() {
    write({ panel: id, seed: fresh(read().grid ? count : 1) }, true);
    show(read());
  }

  /** @param {Record<string, string | number | null>} changes */
  function set(changes) {
    write(changes);
    show(read());
  }

  const paint = latest(
    async (/** @type {Record<string, string>} */ state, overtaken) => {
      const row = { ...rowOf(model, state), seed: seedOf(state) };
      const rows = Array.from({ length: state.grid ? count : 1 }, (_, place) => ({ ...row, seed: row.seed + place }));
      for await (const [painted, at] of inTurn(painter, rows)) {
        if (state.grid) wall.hang(painted, at);
        else large.show(painted);
        large.place.hidden = Boolean(state.grid);
        many.hidden = !state.grid;
        if (overtaken()) return;
      }
      return state.grid ? `${count} images from seed ${row.seed} on` : `Seed ${row.seed}`;
    },
    { say, fail },
  );

  /** @param {Record<string, string>} state */
  function show(state) {
    grid.setAttribute("aria-pressed", String(Boolean(state.grid)));
    classes.show(state);
    paint(state);
  }
  return show;
}
