// @ts-check
/** Breed: two parents, their children, and the ancestors to which one can go back. */

import { choice, fresh, slider } from "../controls.js";
import { element, latest } from "../dom.js";
import { Wall, frame } from "../frame.js";
import { ancestors, breedable, child, parsed, place as placed } from "../individuals.js";
import { fits } from "../latents.js";
import { inTurn } from "../painter.js";
import { read, write } from "../state.js";

/** @typedef {import("../individuals.js").Individual} Individual */

const CHILDREN = 8;
const SHARE = 50;
const MUTATION = 15;

export const id = "breed";
export const title = () => "Breed";
export { fits };

/** @param {HTMLElement} place @param {import("../main.js").Context} context */
export function open(place, { model, painter, say, fail }) {
  const large = frame(model, { hint: "Choose a child, a parent or an ancestor" });
  const set = [
    slider("share", "Share of the second parent in %", 0, 100, SHARE, change),
    slider("mutation", "Mutation in %", 0, 100, MUTATION, change),
    choice("class", "Class", model.classes, "as the parents", change),
  ].slice(0, model.classes.length ? 3 : 2);
  const [parents, children, line] = ["Parents", "Children", "Ancestors"].map(kin);
  const use = ["first", "second"].map((which) =>
    element(
      "button",
      { type: "button", hidden: true, click: () => change({ [which]: read().chosen }) },
      `As the ${which} parent`,
    ),
  );
  const brood = element(
    "button",
    { type: "button", class: "main", click: () => change({ brood: fresh(CHILDREN) }) },
    "New children",
  );
  const others = element("button", { type: "button", click: () => change(strangers()) }, "New parents");
  const controls = element(
    "div",
    { class: "controls" },
    parents.place,
    ...set.map((one) => one.place),
    element("div", { class: "row" }, brood, others),
  );
  place.append(
    element("div", {}, large.place, element("div", { class: "row middle" }, ...use)),
    controls,
    element("div", { class: "beside" }, children.place, line.place),
  );
  const { first, second, brood: born } = read();
  if (!parsed(first ?? "") || !parsed(second ?? "")) write({ ...strangers(), ...(born ? { brood: born } : {}) });

  /** The place of individuals, each of which can be chosen. @param {string} name */
  function kin(name) {
    /** @type {Individual[]} */
    const shown = []; // of which some may be older than the others
    const wall = new Wall((_, at) => change({ chosen: shown[at].text }));
    const place = element("section", { "aria-label": name }, element("h2", {}, name), wall.place);
    return { place, wall, shown, next: 0 };
  }

  function strangers() {
    const one = fresh(2);
    return { first: one, second: one + 1, brood: fresh(CHILDREN), chosen: null };
  }

  /** @param {Record<string, any>} changes */
  function change(changes) {
    write(changes, !("share" in changes || "mutation" in changes));
    show(read());
  }

  /** @param {Individual[]} all @param {Record<string, string>} state */
  async function rowsOf(all, state) {
    const points = await Promise.all(all.map((one) => placed(model, one)));
    return points.map(({ latent, row }) => ({ latent, ...classOf(row, state) }));
  }

  /** @param {Record<string, any>} row @param {Record<string, string>} state */
  function classOf(row, state) {
    if (!model.classes.length) return {};
    return { class: model.classes.includes(state.class) ? state.class : row.class };
  }

  /**
   * Hangs individuals, and leaves the rest to a next call where one waits, which goes on with those that waited longest.
   * @param {ReturnType<typeof kin>} where @param {Individual[]} all @param {Record<string, string>} state
   * @param {() => boolean} overtaken
   */
  async function hang(where, all, state, overtaken) {
    for await (const [painted, at] of inTurn(painter, await rowsOf(all, state), where.next % all.length)) {
      where.wall.hang(painted, at);
      where.shown[at] = all[at];
      where.next = at + 1;
      if (overtaken()) return;
    }
    where.next = 0;
    where.wall.leave(all.length);
    where.place.hidden = !all.length;
  }

  const paint = latest(work, { say, fail });

  /** @param {Record<string, string>} state @param {() => boolean} overtaken */
  async function work(state, overtaken) {
    const [one, other] = [parsed(state.first ?? ""), parsed(state.second ?? "")];
    if (!one || !other) throw new Error("this address names no parents; take new ones");
    if (!breedable(one, other)) throw new Error("the ancestry is too long for an address; take a parent from further back");
    const [share, mutation, seed] = [Number(state.share ?? SHARE), Number(state.mutation ?? MUTATION), Number(state.brood ?? 0)];
    const litter = Array.from({ length: Math.min(CHILDREN, model.limits.images) }, (_, at) =>
      child(one, other, Math.round(share), Math.round(mutation), seed + at),
    );
    const chosen = parsed(state.chosen ?? "");
    if (chosen) large.show((await painter.paint(await rowsOf([chosen], state)))[0]);
    for (const button of use) button.hidden = !chosen;
    await hang(parents, [one, other], state, overtaken);
    await hang(children, litter, state, overtaken);
    if (overtaken()) return;
    await hang(line, chosen ? ancestors(chosen).slice(0, model.limits.images) : [], state, overtaken);
    return chosen ? "The chosen one is shown, with its ancestors" : `${litter.length} children`;
  }

  /** @param {Record<string, string>} state */
  function show(state) {
    for (const one of set) one.show(state);
    paint(state);
  }
  return show;
}
