// @ts-check
/** A picture on the wall: an image with its caption and the file that the server labelled and signed. */

import { words } from "./controls.js";
import { element } from "./dom.js";

/** @typedef {import("./painter.js").Painted} Painted */

const KEPT = 60_000; // ms in which a browser has begun to save

/**
 * A large picture, in whose place `hint` stands at first. With `button` it is one, of that name.
 * @param {import("./main.js").Model} model
 * @param {{hint?: string, button?: {name: string, act: () => void}}} options
 * @returns {{place: HTMLElement, image: HTMLImageElement, show: (painted: Painted) => void,
 *   plain: (url: string, alt: string) => void}}
 */
export function frame(model, { hint = "", button } = {}) {
  const { resolution } = model.gives;
  const image = element("img", { alt: "", width: resolution, height: resolution });
  const about = element("span");
  const file = element("a", { click: save }, "Download");
  const caption = element("figcaption", { hidden: true }, "AI-generated ", about, file);
  const first = element("p", { class: "hint" }, hint);
  const around = button ? element("button", { type: "button", class: "around", click: button.act }, image) : image;
  const place = element("figure", { class: "frame" }, around, first, caption);
  /** @type {Painted} */
  let shown;
  /** @param {Painted} painted */
  function show(painted) {
    const { url, row } = (shown = painted);
    image.src = url;
    image.alt = described(row);
    if (button) around.setAttribute("aria-label", `${button.name}. ${image.alt}`);
    about.textContent = words(row);
    file.href = url;
    file.download = fileName(model, row);
    caption.hidden = false;
    first.hidden = true;
  }
  /** Without a caption: what has no file of ours, or is not to be told yet. @param {string} url @param {string} alt */
  function plain(url, alt) {
    image.src = url;
    image.alt = alt;
    caption.hidden = first.hidden = true;
  }
  /** What is saved is the server's file, whoever painted. @param {Event} event */
  async function save(event) {
    event.preventDefault();
    try {
      const url = URL.createObjectURL(await shown.file());
      element("a", { href: url, download: file.download }).click();
      setTimeout(() => URL.revokeObjectURL(url), KEPT);
    } catch (error) {
      place.dispatchEvent(new CustomEvent("failed", { bubbles: true, detail: error }));
    }
  }
  return { place, image, show, plain };
}

/** What stands for a picture where it is not seen. @param {Record<string, any>} row */
export const described = (row) => `Generated image${words(row) ? `: ${words(row)}` : ""}`;

/** @param {import("./main.js").Model} model @param {Record<string, any>} row */
function fileName(model, row) {
  const parts = [
    model.model.replace("models:/", ""),
    ...(row.class ? [row.class] : []),
    ...("seed" in row ? [`seed-${row.seed}`] : []),
  ];
  return `${parts.join("-").replace(/[^\p{L}\p{N}.-]+/gu, "-")}.png`;
}

/**
 * Small pictures, each a button. A place on the wall stays and gets other pictures, so that a person who is there stays there.
 */
export class Wall {
  /**
   * @param {(row: Record<string, any>, at: number) => void} choose
   * @param {(row: Record<string, any>, at: number) => string} caption
   */
  constructor(choose, caption = () => "") {
    this.choose = choose;
    this.caption = caption;
    this.place = element("ul", { class: "wall" });
    /** @type {{item: HTMLElement, button: any, image: any, text: HTMLElement, row: Record<string, any>}[]} */
    this.hooks = [];
  }

  /** @param {Painted} painted @param {number} at */
  hang({ url, row }, at) {
    while (this.hooks.length <= at) this.hook();
    const { button, image, text } = Object.assign(this.hooks[at], { row });
    image.src = url;
    image.alt = described(row);
    text.textContent = this.caption(row, at);
    button.hidden = false;
  }

  /** One more place, on which nothing hangs yet. */
  hook() {
    const at = this.hooks.length;
    const image = element("img", { alt: "" });
    const text = element("span", { "aria-hidden": "true" });
    const chosen = () => this.choose(this.hooks[at].row, at);
    const button = element("button", { type: "button", hidden: true, click: chosen }, image, text);
    const item = element("li", {}, button);
    this.place.append(item);
    this.hooks.push({ item, button, image, text, row: {} });
  }

  /** Leaves so many, and takes the others away. @param {number} count */
  leave(count) {
    for (const { item } of this.hooks.splice(count)) item.remove();
  }
}
