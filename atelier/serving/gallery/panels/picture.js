// @ts-check
/** Pictures of one's own: translated, enlarged, restored or restyled, whatever the model does with them. */

import { compare } from "../compare.js";
import { controls, rowOf } from "../controls.js";
import { Crop, named, picturezone } from "../crop.js";
import { element, latest } from "../dom.js";
import { frame } from "../frame.js";
import { read, write } from "../state.js";

const REST_OF_BODY = 2000; // characters of a request beside its pictures

/** @param {import("../main.js").Model} model */
const pictures = (model) => model.takes.filter((one) => one.kind === "picture");

export const id = "picture";
/** @param {import("../main.js").Model} model */
export const title = (model) => {
  const given = pictures(model);
  if (given.length > 1) return "Restyle";
  return model.gives.resolution > given[0].resolution ? "Enlarge" : "Transform";
};
/** @param {import("../main.js").Model} model */
export const fits = (model) => pictures(model).length > 0;

/** @param {HTMLElement} place @param {import("../main.js").Context} context */
export function open(place, { model, painter, say, fail, signal }) {
  const inputs = pictures(model);
  const most = Math.floor((model.limits.body - REST_OF_BODY) / inputs.length);
  const crops = inputs.map((one) => new Crop(named(one.column), one.resolution, () => paint(read())));
  const zones = inputs.map((one, number) => {
    const wanted = () => crops[number] === (crops.find((crop) => !crop.picture) ?? crops[0]);
    return picturezone(one, crops[number], { wanted, fail, signal });
  });
  const large = frame(model, { hint: "Give a picture, and what becomes of it stands here" });
  const pair = compare(large.image);
  large.place.prepend(pair.place);
  pair.place.hidden = true;
  const set = controls(model, (changes) => {
    write(changes);
    show(read());
  });
  const note = element(
    "p",
    { class: "note" },
    "A picture leaves this page for this server alone, without what its file says of place and camera, and is not kept.",
  );
  place.append(large.place, element("div", { class: "controls" }, ...zones, set.place, note));

  const paint = latest(
    async (/** @type {Record<string, string>} */ state) => {
      if (crops.some((crop) => !crop.picture)) return;
      const row = rowOf(model, state);
      for (const [number, one] of inputs.entries()) row[one.column] = await crops[number].encoded(most);
      pair.before(crops[0].canvas);
      const [painted] = await painter.paint([row]);
      large.show(painted);
      pair.place.hidden = false;
      return "The picture is done. Before and after can be compared";
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
