// @ts-check
/** Draw: a brush for each class, and the picture that follows. */

import { controls, rowOf } from "../controls.js";
import { ARROWS, element, latest } from "../dom.js";
import { Drawing, mapzone } from "../drawing.js";
import { frame } from "../frame.js";
import { read, write } from "../state.js";

const WIDEST = 4; // as a part of the side
const KEYS = "arrow keys move the brush, with Shift they draw, Enter puts a dot";

/** @param {import("../main.js").Model} model */
const maps = (model) => model.takes.filter((one) => one.kind === "map");

export const id = "draw";
export const title = () => "Draw";
/** @param {import("../main.js").Model} model */
export const fits = (model) => maps(model).length === 1;

/** @param {HTMLElement} place @param {import("../main.js").Context} context */
export function open(place, { model, painter, say, fail, signal }) {
  const [map] = maps(model);
  const side = map.resolution;
  const listeners = { pointerdown: begin, pointermove: go, keydown: pressed };
  const canvas = element("canvas", {
    width: side,
    height: side,
    tabindex: 0,
    role: "img",
    "aria-label": `Label map: ${KEYS}`,
    ...listeners,
  });
  const drawing = new Drawing(canvas, map.colors);
  const cursor = element("span", { class: "cursor", hidden: true, "aria-hidden": "true" });
  const large = frame(model);
  const set = controls(model, (changes) => {
    write(changes);
    show(read());
  });
  const width = element("input", {
    id: "width",
    type: "range",
    min: 1,
    max: Math.max(2, Math.round(side / WIDEST)),
    value: Math.round(side / 12),
  });
  const fills = element("input", { id: "fill", type: "checkbox" });
  /** @type {[number, number]} */
  let at = [side / 2, side / 2];
  let index = Math.min(1, map.classes.length - 1);

  const palette = element("fieldset", { class: "palette" }, element("legend", {}, "Class"), ...map.classes.map(swatch));
  const work = { Undo: () => drawing.undo(), Redo: () => drawing.redo(), "Fill all": all };
  const buttons = Object.entries(work).map(([name, done]) =>
    element("button", { type: "button", click: () => changed(done) }, name),
  );
  const zone = mapzone(map, (file) => void changed(() => drawing.load(file)), signal);
  place.append(
    element("div", { class: "easel" }, canvas, cursor),
    large.place,
    element(
      "div",
      { class: "controls" },
      palette,
      element("div", { class: "control" }, element("label", { for: "width" }, "Width"), width),
      element("div", { class: "control check" }, fills, element("label", { for: "fill" }, "Fill areas instead")),
      element("div", { class: "row" }, ...buttons),
      set.place,
      zone,
    ),
  );

  /** @param {string} name @param {number} number */
  function swatch(name, number) {
    const chosen = element("input", {
      type: "radio",
      name: "palette",
      checked: number === index,
      change: () => (index = number),
    });
    const color = element("span", { class: "color", "aria-hidden": "true" });
    color.style.backgroundColor = map.colors[number];
    return element("label", {}, chosen, color, name);
  }

  /** @param {any} work */
  async function changed(work) {
    try {
      await work();
      paint(read());
    } catch (error) {
      fail(error);
    }
  }

  function all() {
    drawing.begin();
    drawing.classes.fill(index);
    drawing.show();
  }

  /** @param {[number, number]} to @param {boolean} joined whether the line comes from where the brush was */
  function put(to, joined) {
    if (fills.checked) drawing.fill(to[0], to[1], index);
    else drawing.line(joined ? at : to, to, Number(width.value), index);
    at = to;
    paint(read());
  }

  /** @param {PointerEvent} event @returns {[number, number]} */
  const where = (event) => [(event.offsetX * side) / canvas.clientWidth, (event.offsetY * side) / canvas.clientHeight];

  /** @param {PointerEvent} event */
  function begin(event) {
    canvas.setPointerCapture(event.pointerId);
    cursor.hidden = true;
    drawing.begin();
    put(where(event), false);
  }

  /** @param {PointerEvent} event */
  function go(event) {
    if (canvas.hasPointerCapture(event.pointerId) && !fills.checked) put(where(event), true);
  }

  /** @param {KeyboardEvent} event */
  function pressed(event) {
    const arrow = ARROWS[event.key];
    if (!arrow && event.key !== "Enter") return;
    event.preventDefault();
    const step = Math.max(1, side / 32);
    const to = /** @type {[number, number]} */ (
      at.map((value, axis) => Math.min(side, Math.max(0, value + (arrow ? arrow[axis] * step : 0))))
    );
    if (!arrow || event.shiftKey) {
      if (!event.repeat) drawing.begin();
      put(to, Boolean(arrow));
    }
    at = to;
    cursor.hidden = false;
    cursor.style.left = `${(100 * at[0]) / side}%`;
    cursor.style.top = `${(100 * at[1]) / side}%`;
  }

  const paint = latest(
    async (/** @type {Record<string, string>} */ state) => {
      const [painted] = await painter.paint([{ ...rowOf(model, state), [map.column]: await drawing.encoded() }]);
      large.show(painted);
      return "The picture follows what is drawn";
    },
    { say, fail },
  );

  /** @param {Record<string, string>} state */
  function show(state) {
    set.show(state);
    paint(state);
  }
  return show;
}
