// @ts-check
/** Before and after: two pictures on each other, with an edge that moves. */

import { element } from "./dom.js";

/** @param {HTMLImageElement} after @returns {{place: HTMLElement, before: (canvas: HTMLCanvasElement) => void}} */
export function compare(after) {
  const copy = element("canvas", { class: "before", "aria-hidden": "true" });
  const edge = element("span", { class: "edge", "aria-hidden": "true" });
  const input = element("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "Before and after", input: moved });
  const place = element("div", { class: "compare" }, after, copy, edge, input);
  moved();

  function moved() {
    place.style.setProperty("--share", `${input.value}%`);
    input.setAttribute("aria-valuetext", `${input.value} % before`);
  }

  /** @param {HTMLCanvasElement} canvas */
  function before(canvas) {
    copy.width = canvas.width;
    copy.height = canvas.height;
    copy.getContext("2d").drawImage(canvas, 0, 0);
  }
  return { place, before };
}
