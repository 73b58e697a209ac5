// @ts-check
/** Where from: what the marks of origin in an image file say, and a detector where the server has one. */

import { element } from "../dom.js";
import { ask } from "../painter.js";
import { dropzone, size } from "../upload.js";

const SHOWN = ["image/png", "image/jpeg", "image/webp", "image/gif", "image/avif"];
/** @type {Record<string, string>} */
const CREDENTIALS = {
  Trusted: "signed, by a signer that is trusted here",
  Valid: "signed, by a signer that nobody here knows",
  Invalid: "not as it was signed",
};

export const id = "where";
export const title = () => "Where from";
export const fits = () => true;

/** @param {HTMLElement} place @param {import("../main.js").Context} context */
export function open(place, { model, say, fail, signal }) {
  const shown = element("img", { alt: "The image that was given", hidden: true });
  const answer = element("section", { class: "answer", "aria-label": "What its marks say", hidden: true });
  const note = `or drop or paste it here. PNG, JPEG, WebP, GIF, TIFF or AVIF, at most ${size(model.limits.body)}`;
  const accept = [...SHOWN, "image/tiff"].join(",");
  const zone = dropzone({ label: "Choose an image", note, accept, take: (file) => void look(file).catch(failed), signal });
  const about =
    `Labels, signature, watermark and log are looked for${model.detector ? ", and a detector is asked" : ""}. ` +
    "The file goes to this server alone and is not kept.";
  place.append(
    element("div", { class: "controls" }, zone, element("p", { class: "note" }, about)),
    element("div", {}, shown, answer),
  );
  let url = "";
  signal.addEventListener("abort", () => URL.revokeObjectURL(url));

  /** @param {File} file */
  async function look(file) {
    if (file.size > model.limits.body)
      throw new Error(`this file has ${size(file.size)}, this server takes ${size(model.limits.body)}; save it smaller`);
    const found = await (await ask(model.detector ? "detect" : "who", { method: "POST", body: file })).json();
    URL.revokeObjectURL(url);
    url = URL.createObjectURL(file);
    shown.src = url;
    shown.hidden = !SHOWN.includes(file.type);
    const list = element("ul", {}, ...found.words.map((/** @type {string} */ line) => element("li", {}, line)));
    answer.replaceChildren(element("h2", {}, verdict(found)), list);
    answer.hidden = false;
    say(verdict(found));
  }

  /** @param {any} error */
  function failed(error) {
    answer.hidden = shown.hidden = true;
    fail(error);
  }
  return () => {};
}

/**
 * @typedef {{credentials: string | null, watermark: {name: string} | null, about: object | null, xmp: object | null,
 *   log: object | null}} Marks
 * @param {Marks & {generated?: boolean, marks?: Marks}} answer of the server's detector, or of its marks alone
 */
function verdict(answer) {
  const found = answer.marks ?? answer;
  const parts = [];
  if (found.credentials) parts.push(CREDENTIALS[found.credentials]);
  if (found.watermark) parts.push(`marked as ${found.watermark.name.replace("/", " version ")}`);
  if (found.about || found.xmp) parts.push("labelled as generated");
  if (found.log) parts.push("like one in the log");
  if (!parts.length) parts.push(answer.marks ? "no marks" : "nothing known");
  if (answer.marks) parts.push(answer.generated ? "looks generated" : "does not look generated");
  const text = parts.join("; ");
  return text[0].toUpperCase() + text.slice(1);
}
