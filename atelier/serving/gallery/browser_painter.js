// @ts-check
/** This browser's images, bit by bit those of the server, as soon as it has what paints them; until then the server paints. */

import { points } from "./latents.js";
import { KeepingPainter } from "./painter.js";

/**
 * @typedef {import("./main.js").Model} Model
 * @typedef {import("./painter.js").Painter} Painter
 * @typedef {import("./painter.js").Row} Row
 * @typedef {import("./painter.js").Painted} Painted
 */

const LOOK = 5000; // ms after which the server is asked again which version is in use

/** @implements {Painter} */
export class BrowserPainter extends KeepingPainter {
  /**
   * @param {Model & {paint: import("./painting_worker.js").Paint}} model
   * @param {import("./painter.js").ServerPainter} server
   * @param {import("./painter.js").Hearing} hearing
   * @param {(trouble: string) => void} started hears that this browser paints, or why it cannot
   */
  constructor(model, server, hearing, started) {
    super(hearing);
    this.model = model;
    this.server = server;
    this.started = started;
    this.ready = false;
    this.starting = true;
    this.truncates = false;
    this.looked = Date.now();
    this.number = 0;
    /** @type {Map<number, {resolve: (answer: any) => void, reject: (error: Error) => void}>} */
    this.waiting = new Map();
    this.worker = new Worker(new URL("./painting_worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data: { id, error, ...answer } }) => {
      const asked = this.waiting.get(id);
      this.waiting.delete(id);
      if (error) asked?.reject(new Error(error));
      else asked?.resolve(answer);
    };
    this.worker.onerror = (event) => {
      event.preventDefault();
      for (const asked of this.waiting.values()) asked.reject(new Error(event.message || "its worker does not start"));
    };
    const { xmp, ...addresses } = model.paint;
    const whole = Object.entries(addresses).map(([name, address]) => [name, new URL(address, document.baseURI).href]);
    this.size = model.takes.find((one) => one.column === "latent")?.size;
    this.post({ paint: { ...Object.fromEntries(whole), xmp }, size: this.size }).then(
      ({ truncates }) => {
        this.truncates = truncates;
        this.ready = true;
        this.starting = false;
        started("");
      },
      (error) => {
        this.starting = false;
        started(error.message);
      },
    );
  }

  /** @override @param {Row[]} rows */
  async paint(rows) {
    if (!rows.every((row) => this.can(row))) return this.server.paint(rows);
    if (!this.ready) {
      if (this.starting) this.latents(rows).catch(() => {}); // which it then has; what fails is asked again
      return this.server.paint(rows);
    }
    this.look();
    return super.paint(rows);
  }

  /** One here, so that whoever needs another one first waits for no more than that. */
  get atOnce() {
    return this.ready ? 1 : this.server.atOnce;
  }

  /** Other versions are the server's. @param {number} version */
  of(version) {
    return this.server.of(version);
  }

  /** @override @param {Row[]} rows @returns {Promise<Painted[]>} */
  async made(rows) {
    const drawn = await this.latents(rows);
    for (const { model } of drawn.values()) this.uses(model);
    if (!this.ready) return this.server.paint(rows);
    const { model: version, weights, classes, truncates } = this.model;
    const wanted = rows.map((row) => {
      /** @type {import("./latents.js").Point} */
      const point = drawn.get(row) ?? { latent: row.latent, row: {} };
      const name = row.class ?? point.row.class;
      const truncation = row.truncation ?? 1;
      const understood = {
        ...(row.latent ? { latent: row.latent } : { seed: row.seed }),
        ...(classes.length ? { class: name } : {}),
        ...(truncates ? { truncation } : {}),
      };
      const about = { model: version, weights, ...understood };
      return { latent: point.latent, label: classes.indexOf(name), truncation, about, row: understood };
    });
    let files;
    try {
      ({ files } = await this.post({ rows: wanted.map(({ row, ...one }) => one) }));
    } catch (/** @type {any} */ error) {
      this.ready = false;
      this.started(error.message);
      return this.server.paint(rows);
    }
    return files.map((/** @type {Blob} */ file, /** @type {number} */ at) => {
      const { row } = wanted[at];
      return { url: URL.createObjectURL(file), row, file: () => this.file(row) };
    });
  }

  /** The points of the rows with a seed. @param {Row[]} rows */
  async latents(rows) {
    const seeded = rows.filter((row) => !row.latent);
    const seeds = seeded.map((row) => row.seed);
    const found = await points(this.model, seeds);
    return new Map(found.map((one, at) => [seeded[at], one]));
  }

  /** The server's file of a row. Rejects where another version would make it. @param {Row} row */
  async file(row) {
    const [{ file }] = await this.server.paint([row]);
    if (this.server.model !== this.model.model)
      throw new Error(`${this.model.model}, which painted this, is no longer in use; ${this.server.model} would make another`);
    return file();
  }

  /** Whether it paints a row here, as the server would; what is wrong with others is for the server to say. @param {Row} row */
  can({ seed, latent, class: name, truncation = 1, ...others }) {
    const { classes } = this.model;
    return (
      !Object.keys(others).length &&
      (latent ? latent.length === this.size && latent.every(Number.isFinite) : Number.isSafeInteger(seed) && seed >= 0) &&
      (classes.length ? classes.includes(name) || (name === undefined && !latent) : name === undefined) &&
      (truncation === 1 || ((this.truncates || this.starting) && truncation > 0 && truncation < 1))
    );
  }

  /** Asks now and then which version is in use: who paints here would not hear of another. */
  look() {
    if (Date.now() - this.looked < LOOK) return;
    this.looked = Date.now();
    fetch("ready").then(
      (answer) => this.uses(answer.headers.get("X-Atelier-Model") ?? this.model.model),
      () => {}, // it is away, and not needed
    );
  }

  /** @param {string} model */
  uses(model) {
    this.hearing.used(model);
    if (model !== this.model.model) this.ready = false; // from now on the server paints, as it does everywhere
  }

  /** @param {object} message @returns {Promise<any>} */
  post(message) {
    const id = (this.number += 1);
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, ...message });
    });
  }
}
