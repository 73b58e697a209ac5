// @ts-check
/** Seeds: one picture by its number, of any class and truncation, with its neighbors. */

import { controls, rowOf } from "../controls.js";
import { element, latest } from "../dom.js";
import { Wall, frame } from "../frame.js";
import { inTurn } from "../painter.js";
import { read, write } from "../state.js";

const ADDRESSED = ["seed", "class", "truncation"]; // by GET /image.png
const NEIGHBORS = 8;
const CLASSES = 24; // that are shown of one seed
const REST = 500; // ms without a change, after which the neighbors follow: whoever goes on step by step waits for none of them

export const id = "seeds";
export const title = () => "Seeds";
/** @param {import("../main.js").Model} model */
export const fits = (model) => model.seeded;

/** @param {HTMLElement} place @param {import("../main.js").Context} context */
export function open(place, { model, painter, say, fail, signal }) {
  const large = frame(model);
  const set = controls(model, changed);
  const address = element("a", { class: "address" }, "Address of this image");
  const neighbors = new Wall(
    (one) => changed({ seed: one.seed }),
    (one) => String(one.seed),
  );
  const classes = new Wall(
    (one) => changed({ class: one.class }),
    (one) => one.class,
  );
  const [next, others] = Object.entries({ "Next seeds": neighbors, "Every class of this seed": classes }).map(([name, wall]) =>
    element("section", { "aria-label": name }, element("h2", {}, name), wall.place),
  );
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

  const paint = latest(
    async (/** @type {Record<string, string>} */ state) => {
      const [painted] = await painter.paint([rowOf(model, state)]);
      large.show(painted);
      return `Seed ${painted.row.seed}${painted.row.class ? `, class ${painted.row.class}` : ""}`;
    },
    { say, fail },
  );

  const follow = latest(
    async (/** @type {Record<string, string>} */ state) => {
      const row = rowOf(model, state);
      await hang(
        neighbors,
        Array.from({ length: NEIGHBORS }, (_, place) => ({ ...row, seed: row.seed + 1 + place })),
      );
      if (model.classes.length < 2) return;
      await hang(
        classes,
        model.classes.slice(0, CLASSES).map((name) => ({ ...row, class: name })),
      );
    },
    { say, fail },
  );

  /** Hangs what is painted, until the state changes. @param {Wall} wall @param {Record<string, any>[]} rows */
  async function hang(wall, rows) {
    if (timer) return;
    for await (const [painted, at] of inTurn(painter, rows)) {
      wall.hang(painted, at);
      if (timer) return;
    }
    wall.leave(rows.length);
  }

  /** @param {Record<string, string>} state */
  function show(state) {
    set.show(state);
    const row = rowOf(model, state);
    address.href = `image.png?${new URLSearchParams(row)}`;
    address.hidden = !Object.keys(row).every((name) => ADDRESSED.includes(name));
    paint(state);
    clearTimeout(timer);
    timer = setTimeout(() => {
      timer = 0;
      follow(state);
    }, REST);
  }
  return show;
}
