// @ts-check
/** The page: asks what the model takes, offers the panels that fit it, and opens the one that the address names. */

import { BrowserPainter } from "./browser_painter.js";
import { element } from "./dom.js";
import { ServerPainter, ask, pause } from "./painter.js";
import { read, write } from "./state.js";
import * as another from "./panels/another.js";
import * as breed from "./panels/breed.js";
import * as directions from "./panels/directions.js";
import * as draw from "./panels/draw.js";
import * as picture from "./panels/picture.js";
import * as real from "./panels/real.js";
import * as say from "./panels/say.js";
import * as seeds from "./panels/seeds.js";
import * as versions from "./panels/versions.js";
import * as walk from "./panels/walk.js";
import * as where from "./panels/where.js";

/**
 * @typedef {{kind: string, column: string, optional: boolean, [more: string]: any}} Input
 * @typedef {{model: string, weights: string, takes: Input[], gives: {resolution: number, channels: number}, classes: string[],
 *   seeded: boolean, random: boolean, truncates: boolean, limits: {body: number, images: number}, detector: string | null,
 *   compares: boolean, real: {count: number, source: string, licence: string} | null, judges: boolean,
 *   paint: import("./painting_worker.js").Paint | null}} Model
 * @typedef {{model: Model, painter: import("./painter.js").Painter, say: (text: string, since?: number) => void,
 *   fail: (error: any, since?: number) => void, signal: AbortSignal}} Context `since` is when that was asked for which is
 *   done, or failed
 * @typedef {{id: string, title: (model: Model) => string, fits: (model: Model) => boolean,
 *   open: (place: HTMLElement, context: Context) => (state: Record<string, string>) => void}} Panel
 */

/** @type {Panel[]} */
const PANELS = [say, draw, picture, another, seeds, breed, walk, directions, versions, real, where];
const PIXELS = 128; // a side up to which each pixel is shown as a square
const [SMALLEST, TIMES, LARGEST] = [320, 10, 640]; // pixels of the screen along a side of the large picture
const AGAIN = 2; // seconds until a server without a model is asked again

const place = /** @type {HTMLElement} */ (document.getElementById("panel"));
const links = /** @type {HTMLElement} */ (document.getElementById("panels"));
const news = /** @type {HTMLElement} */ (document.getElementById("news"));

async function start() {
  if (document.querySelector("footer")) return offer(await (await ask("model")).json());
  while (
    !(await fetch("ready").then(
      (answer) => answer.ok,
      () => false,
    ))
  )
    await pause(AGAIN);
  location.reload();
}

/** @param {Model} model */
function offer(model) {
  const panels = PANELS.filter((panel) => panel.fits(model));
  const status = element("p", { role: "status", class: "status" });
  const alert = element("p", { role: "alert", class: "alert" });
  const inside = element("div");
  const painter = painterOf(model, {
    used: (used) => used !== model.model && changed(used),
    busy: (busy) => inside.setAttribute("aria-busy", String(busy)),
  });
  let open = "";
  let alarmed = 0; // when that was asked for which the alert is about
  let closing = new AbortController();
  /** @type {(state: Record<string, string>) => void} */
  let show = () => {};
  document.body.style.setProperty("--side", `${Math.min(LARGEST, Math.max(SMALLEST, TIMES * model.gives.resolution))}px`);
  document.body.classList.toggle("pixels", model.gives.resolution <= PIXELS);
  links.replaceChildren(...panels.map((panel) => link(panel, model, route)));
  place.replaceChildren(inside, status, alert);
  inside.addEventListener("failed", (/** @type {any} */ event) => failed(event.detail));
  window.addEventListener("hashchange", route);
  route();

  function route() {
    const panel = panels.find((one) => one.id === read().panel) ?? panels[0];
    if (panel.id !== open) {
      open = panel.id;
      closing.abort();
      closing = new AbortController();
      status.textContent = alert.textContent = "";
      for (const one of links.querySelectorAll("a")) {
        if (one.hash === `#panel=${open}`) one.setAttribute("aria-current", "page");
        else one.removeAttribute("aria-current");
      }
      inside.replaceChildren();
      inside.className = `panel ${open}`;
      show = panel.open(inside, { model, painter, say: told, fail: failed, signal: closing.signal });
    }
    show(read());
  }

  /** @param {string} text @param {number} since without which it is a person who did it */
  function told(text, since = Infinity) {
    status.textContent = text;
    if (since > alarmed) alert.textContent = "";
  }

  /** @param {any} error @param {number} since */
  function failed(error, since = performance.now()) {
    status.textContent = "";
    alert.textContent = error.message;
    alarmed = since;
  }
}

/**
 * The server, or this browser where it is given what paints.
 * @param {Model} model @param {import("./painter.js").Hearing} hearing
 */
function painterOf(model, hearing) {
  const server = new ServerPainter(hearing, model.limits.images);
  const { paint } = model;
  if (!paint) return server;
  const line = element("p", { id: "painter", class: "origin", hidden: true });
  document.querySelector("footer")?.prepend(line);
  return new BrowserPainter({ ...model, paint }, server, hearing, (trouble) => {
    line.textContent = trouble
      ? `This browser cannot paint by itself (${trouble}); the server does.`
      : "This browser paints the pictures by itself. What is downloaded is the server's file.";
    line.hidden = false;
  });
}

/** @param {Panel} panel @param {Model} model @param {() => void} route */
function link(panel, model, route) {
  const made = element("a", { href: `#panel=${panel.id}` }, panel.title(model));
  made.addEventListener("click", (/** @type {MouseEvent} */ event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault(); // keeps seed and class
    write({ panel: panel.id }, true);
    route();
  });
  return made;
}

/** @param {string} used */
function changed(used) {
  news.replaceChildren(`${used} has come into use. `, element("a", { href: "", click: reload }, "Show it"));
  news.hidden = false;
}

/** @param {Event} event */
function reload(event) {
  event.preventDefault();
  location.reload();
}

start().catch((error) => {
  news.textContent = `${error.message}; load the page again`;
  news.hidden = false;
});
