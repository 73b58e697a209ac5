// @ts-check
/** A label map that a person draws: one class for each pixel, hard edges, and steps that can be taken back. */

import { base64, dropzone } from "./upload.js";

const STEPS = 50; // that can be taken back

/**
 * The place to which a file of a label map is given.
 * @param {import("./main.js").Input} map @param {(file: File) => void} take @param {AbortSignal} signal
 */
export function mapzone(map, take, signal) {
  const note = `${map.resolution} × ${map.resolution} pixels in the classes' colors`;
  return dropzone({ label: "Open a label map", note, accept: "image/png", take, signal });
}

export class Drawing {
  /** @param {HTMLCanvasElement} canvas @param {string[]} colors of the classes, #rrggbb */
  constructor(canvas, colors) {
    this.side = canvas.width;
    this.canvas = canvas;
    const bytes = colors.flatMap((color) => [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16)).concat(255));
    this.values = new Uint32Array(Uint8Array.from(bytes).buffer); // a class's color as one number, in this machine's order
    this.classes = new Uint8Array(this.side * this.side);
    /** @type {Uint8Array<ArrayBuffer>[]} */
    this.before = [];
    /** @type {Uint8Array<ArrayBuffer>[]} */
    this.after = [];
    this.show();
  }

  /** Notes what is there, before it changes. */
  begin() {
    this.before.push(this.classes.slice());
    if (this.before.length > STEPS) this.before.shift();
    this.after = [];
  }

  undo() {
    this.step(this.before, this.after);
  }

  redo() {
    this.step(this.after, this.before);
  }

  /** @param {Uint8Array<ArrayBuffer>[]} from @param {Uint8Array<ArrayBuffer>[]} to */
  step(from, to) {
    const classes = from.pop();
    if (!classes) return;
    to.push(this.classes);
    this.classes = classes;
    this.show();
  }

  /**
   * A line of round dots from one place to another.
   * @param {[number, number]} from x and y in pixels @param {[number, number]} to @param {number} width @param {number} index
   */
  line(from, to, width, index) {
    const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1])));
    for (let step = 0; step <= steps; step += 1) {
      const share = step / steps;
      this.dot(from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1]), width / 2, index);
    }
    this.show();
  }

  /** @param {number} x @param {number} y @param {number} radius @param {number} index */
  dot(x, y, radius, index) {
    const [left, top] = [Math.max(0, Math.floor(x - radius)), Math.max(0, Math.floor(y - radius))];
    for (let row = top; row < Math.min(this.side, y + radius + 1); row += 1)
      for (let column = left; column < Math.min(this.side, x + radius + 1); column += 1)
        if (Math.hypot(column + 0.5 - x, row + 0.5 - y) <= Math.max(radius, 0.71)) this.classes[row * this.side + column] = index;
  }

  /** All that hangs together with a place and is of its class. @param {number} x @param {number} y @param {number} index */
  fill(x, y, index) {
    const [column, row] = [x, y].map((value) => Math.min(this.side - 1, Math.max(0, Math.floor(value))));
    const was = this.classes[row * this.side + column];
    if (was === index) return;
    const open = [row * this.side + column];
    for (let place = open.pop(); place !== undefined; place = open.pop()) {
      if (this.classes[place] !== was) continue;
      this.classes[place] = index;
      const across = place % this.side;
      if (across > 0) open.push(place - 1);
      if (across < this.side - 1) open.push(place + 1);
      if (place >= this.side) open.push(place - this.side);
      if (place < this.side * (this.side - 1)) open.push(place + this.side);
    }
    this.show();
  }

  show() {
    const brush = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    const pixels = brush.createImageData(this.side, this.side);
    const shown = new Uint32Array(pixels.data.buffer);
    for (let at = 0; at < shown.length; at += 1) shown[at] = this.values[this.classes[at]];
    brush.putImageData(pixels, 0, 0);
  }

  /** The map as a PNG in base64. @returns {Promise<string>} */
  async encoded() {
    return base64(await new Promise((resolve) => this.canvas.toBlob((file) => resolve(/** @type {Blob} */ (file)), "image/png")));
  }

  /** The classes of a picture in their colors. Rejects one of another size or with other colors. @param {Blob} file */
  async load(file) {
    const picture = await createImageBitmap(file).catch(() => null);
    if (picture?.width !== this.side || picture.height !== this.side)
      throw new Error(`give a label map of ${this.side} × ${this.side} pixels`);
    const scratch = new OffscreenCanvas(this.side, this.side).getContext("2d");
    scratch?.drawImage(picture, 0, 0);
    const { data } = /** @type {OffscreenCanvasRenderingContext2D} */ (scratch).getImageData(0, 0, this.side, this.side);
    const given = new Uint32Array(data.buffer);
    const classes = this.classes.map((_, at) => this.values.indexOf(given[at])); // 255 for a color of none
    if (classes.includes(255)) throw new Error("this picture has colors that are of no class");
    this.begin();
    this.classes = classes;
    this.show();
  }
}
