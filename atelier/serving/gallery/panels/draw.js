// @ts-check
/** Draw: a brush for each class of a label map, or a pen for lines, and the picture that follows. */

import { controls, rowOf } from "../controls.js";
import { ARROWS, element, latest } from "../dom.js";
import { Drawing, mapzone } from "../drawing.js";
import { frame } from "../frame.js";
import { read, write } from "../state.js";

const WIDEST = 4; // as a part of the side
const KEYS = "arrow keys move the brush, with Shift they draw, Enter puts a dot";

const LINES = { classes: ["paper", "line"], dark: "#000000", light: "#ffffff" };
const LIGHT = /^#[89a-f]/i; // of the color of a paper

/**
 * What is drawn for a model: its one label map, or lines on paper where it makes a picture in color of a gray one.
 * @param {import("../main.js").Model} model @returns {import("../main.js").Input | null}
 */
function drawn(model) {
  const given = model.takes.filter((one) => ["map", "picture"].includes(one.kind));
  const [one] = given;
  if (given.length !== 1 || one.kind === "map") return given.length === 1 ? one : null;
  if (one.channels !== 1 || model.gives.channels !== 3) return null;
  const line = LIGHT.test(one.background) ? LINES.dark : LINES.light;
  return { ...one, classes: LINES.classes, colors: [one.background, line] };
}

export const id = "draw";
export const title = () => "Draw";
/** @param {import("../main.js").Model} model */
export const fits = (model) => drawn(model) !== null;

/** @param {HTMLElement} place @param {import("../main.js").Context} context */
export function open(place, { model, painter, say, fail, signal }) {
  const map = /** @type {import("../main.js").Input} */ (drawn(model));
  const side = map.resolution;
  const listeners = { pointerdown: begin, pointermove: go, keydown: pressed };
  const canvas = element("canvas", {
    width: side,
    height: side,
    tabindex: 0,
    role: "img",
    "aria-label": `${map.kind === "map" ? "Label map" : "Lines"}: ${KEYS}`,
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
    value: map.kind === "map" ? Math.round(side / 12) : Math.round(side / 32), // lines are thin
  });
  const fills = element("input", { id: "fill", type: "checkbox" });
  /** @type {[number, number]} */
  let at = [side / 2, side / 2];
  let index = Math.min(1, map.classes.length - 1);

  const legend = element("legend", {}, map.kind === "map" ? "Class" : "Pen");
  const palette = element("fieldset", { class: "palette" }, legend, ...map.classes.map(swatch));
  const work = { Undo: () => drawing.undo(), Redo: () => drawing.redo(), "Fill all": all };
  const buttons = Object.entries(work).map(([name, done]) =>
    element("button", { type: "button", click: () => changed(done) }, name),
  );
  const zones = map.kind === "map" ? [mapzone(map, (file) => void changed(() => drawing.load(file)), signal)] : [];
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
      ...zones,
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
