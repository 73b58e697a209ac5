// @ts-check
/** Real or not: a game of guessing which image is generated. The score stays in this browser. */

import { fresh } from "../controls.js";
import { element, latest } from "../dom.js";
import { frame } from "../frame.js";
import { ask } from "../painter.js";
import { read, write } from "../state.js";

/**
 * @typedef {{who: string, real: boolean, about: string}} Verdict who says what of an image
 * @typedef {Record<string, {right: number, of: number}>} Score
 */

const YOU = "You";

export const id = "real";
export const title = () => "Real or not";
/** @param {import("../main.js").Model} model */
export const fits = (model) => Boolean(model.real);

/** @param {HTMLElement} place @param {import("../main.js").Context} context */
export function open(place, { model, painter, say, fail, signal }) {
  const { count, source, licence } = /** @type {NonNullable<import("../main.js").Model["real"]>} */ (model.real);
  const key = `atelier ${model.model.replace(/\/[^/]*$/, "")} real or not`;
  const large = frame(model);
  const answers = ["real", "generated"].map((guess) =>
    element("button", { type: "button", class: "main", click: () => guessed(guess) }, guess === "real" ? "Real" : "Generated"),
  );
  const next = element("button", { type: "button", click: () => change({ round: fresh(), guess: null }) }, "Next image");
  const forget = element("button", { type: "button", click: () => keep({}) }, "Forget the score");
  const told = element("section", { "aria-label": "What it is", class: "answer" });
  const score = element("section", { "aria-label": "Score", class: "answer" });
  const from = `Real images: ${source}${licence ? `, ${licence}` : ""}, ${count} that no training has seen.`;
  const note = `${from} The score stays in this browser.`;
  place.append(
    large.place,
    element(
      "div",
      { class: "controls" },
      element("div", { class: "row" }, ...answers),
      told,
      next,
      score,
      forget,
      element("p", { class: "note" }, note),
    ),
  );
  let url = "";
  /** @type {number | null} */
  let open_round = null; // the round whose guess still counts
  signal.addEventListener("abort", () => URL.revokeObjectURL(url));
  if (!/^\d{1,15}$/.test(read().round ?? "")) write({ round: fresh(), guess: null });
  counted();

  /** @param {Record<string, string | number | null>} changes */
  function change(changes) {
    write(changes, true);
    show(read());
  }

  /** @param {string} guess */
  function guessed(guess) {
    open_round = Number(read().round);
    change({ guess });
  }

  const paint = latest(work, { say, fail });

  /** @param {Record<string, string>} state */
  async function work(state) {
    const { real, number, seed } = dealt(Number(state.round), count);
    const guess = ["real", "generated"].includes(state.guess) ? state.guess : "";
    for (const one of answers) one.disabled = Boolean(guess);
    const [painted] = real ? [null] : await painter.paint([{ seed }]);
    const file = painted ? await painted.file() : await (await ask(`real.png?number=${number}`)).blob();
    URL.revokeObjectURL(url);
    url = URL.createObjectURL(file);
    if (guess && painted) large.show(painted);
    else large.plain(url, guess ? `Real image ${number}` : "Real or generated?");
    told.replaceChildren();
    if (!guess) return "Is this image real or generated?";
    const mine = { who: YOU, real: guess === "real", about: "" };
    const others = await verdicts(real ? `number=${number}` : `seed=${seed}`, file);
    const heading = `${mine.real === real ? "Right" : "Wrong"}: it is ${real ? "real" : "generated"}`;
    const lines = others.map((one) => element("li", {}, `${one.who}: ${one.real ? "real" : "generated"}${one.about}`));
    told.replaceChildren(element("h2", {}, heading), element("ul", {}, ...lines));
    if (open_round === Number(state.round)) {
      open_round = null;
      keep(added(stored(), [mine, ...others], real));
    }
    return heading;
  }

  /**
   * What the discriminator and the detector make of it.
   * @param {string} query @param {Blob} file @returns {Promise<Verdict[]>}
   */
  async function verdicts(query, file) {
    const found = [];
    if (model.judges) {
      const { real, logit, threshold } = await (await ask(`judge?${query}`)).json();
      found.push({ who: "The discriminator", real, about: ` (logit ${logit.toFixed(2)}, real from ${threshold.toFixed(2)} on)` });
    }
    if (model.detector) {
      const { generated, score, threshold } = await (await ask("detect", { method: "POST", body: file })).json();
      const about = ` (score ${score.toFixed(2)}, generated from ${threshold.toFixed(2)} on)`;
      found.push({ who: "The detector", real: !generated, about });
    }
    return found;
  }

  /** @returns {Score} */
  function stored() {
    try {
      return JSON.parse(localStorage.getItem(key) ?? "{}");
    } catch {
      return {}; // a browser that keeps nothing
    }
  }

  /** @param {Score} all */
  function keep(all) {
    try {
      localStorage.setItem(key, JSON.stringify(all));
    } catch {
      fail(new Error("this browser keeps no score"));
    }
    counted();
  }

  function counted() {
    const all = Object.entries(stored());
    const lines = all.map(([who, { right, of }]) => element("li", {}, `${who}: ${right} of ${of}`));
    score.replaceChildren(...(lines.length ? [element("h2", {}, "Score"), element("ul", {}, ...lines)] : []));
    forget.hidden = !lines.length;
  }

  /** @param {Record<string, string>} state */
  function show(state) {
    paint(state);
  }
  return show;
}

/** @param {Score} before @param {Verdict[]} all @param {boolean} real @returns {Score} */
function added(before, all, real) {
  const after = { ...before };
  for (const { who, real: said } of all) {
    const { right = 0, of = 0 } = before[who] ?? {};
    after[who] = { right: right + Number(said === real), of: of + 1 };
  }
  return after;
}

/**
 * What a round shows, which follows from its number so that a link shows the same: every other image is real in the long run.
 * @param {number} round @param {number} count of real images
 */
function dealt(round, count) {
  const draws = [1, 2, 3].map((draw) => mixed(round, draw));
  return { real: draws[0] % 2 === 1, number: draws[1] % count, seed: draws[2] };
}

/** 32 bits of two numbers: the finalizer of MurmurHash3 (Appleby 2011). @param {number} round @param {number} draw */
function mixed(round, draw) {
  let bits = ((round % 2 ** 32) ^ (Math.floor(round / 2 ** 32) * 0x9e3779b1) ^ Math.imul(draw, 0x85ebca6b)) >>> 0;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
