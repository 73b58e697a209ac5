// @ts-check
/**
 * The square of a picture that a model gets, of its size. It is drawn anew, so that nothing that the file says beside its pixels
 * is sent: no place, no camera, no name. A file with content credentials can be sent as it is, so that what is made of it
 * names it.
 */

import { ARROWS, element } from "./dom.js";
import { base64, dropzone } from "./upload.js";

export const PICTURES = ["image/png", "image/jpeg", "image/webp"];
const MOST_PIXELS = 100e6;
const STEP = 0.04; // of the square, by an arrow key
const KEEP = "Keep its content credentials: the file is sent as it is, and what is made of it names it";
const QUALITY = 0.95; // of a JPEG, where a PNG is too long

/**
 * The place to which a picture of an input is given, with the square of it that is used.
 * @param {import("./main.js").Input} input @param {Crop} crop
 * @param {{wanted: () => boolean, fail: (error: any) => void, signal: AbortSignal}} about as `dropzone` has them
 */
export function picturezone(input, crop, { wanted, fail, signal }) {
  const about = {
    label: `${crop.name}: choose a picture`,
    note: `or drop or paste it here. PNG, JPEG or WebP; a square of ${input.resolution} × ${input.resolution} pixels is used`,
    accept: PICTURES.join(","),
    take: (/** @type {File} */ file) => void crop.load(file).catch(fail),
    wanted,
    signal,
  };
  return element("section", { "aria-label": crop.name }, dropzone(about), crop.place);
}

/** Whether a file holds content credentials (C2PA, in a box of JUMBF), and what is personal. @param {string} content */
function said(content) {
  return {
    credentials: content.includes("jumb") && content.includes("c2pa"),
    personal: /Exif\0\0|eXIf|EXIF|GPSLatitude/.test(content),
  };
}

/** @param {string} column */
export const named = (column) => (column === "image" ? "Picture" : column[0].toUpperCase() + column.slice(1));

export class Crop {
  /** @param {string} name @param {number} side in pixels @param {() => void} changed */
  constructor(name, side, changed) {
    this.name = name;
    this.side = side;
    this.changed = changed;
    /** @type {ImageBitmap | null} */
    this.picture = null;
    this.x = this.y = this.zoom = 0; // the middle in pixels of the picture; 0 shows as much as fits, 1 a pixel for a pixel
    const label = `${name}: the square that is used. Arrow keys move it`;
    const pointer = { pointerdown: this.grab.bind(this), pointermove: this.drag.bind(this), keydown: this.key.bind(this) };
    this.canvas = element("canvas", { width: side, height: side, tabindex: 0, role: "img", "aria-label": label, ...pointer });
    const zoom = { type: "range", min: 0, max: 1, step: 0.05, "aria-label": `${name}: zoom`, input: this.zoomed.bind(this) };
    this.slider = element("input", zoom);
    this.zooming = element("label", { class: "control" }, element("span", {}, "Zoom"), this.slider);
    this.whole = element("input", { type: "checkbox", change: () => this.changed() });
    this.consequence = element("span");
    this.keeping = element("label", { class: "control check", hidden: true }, this.whole, this.consequence);
    this.place = element("div", { class: "crop", hidden: true }, this.canvas, this.zooming, this.keeping);
    this.square = [0, 0, 0]; // left, top and side in pixels of the picture
    this.file = new Blob();
  }

  /** Shows a file. Rejects what is no picture. @param {Blob} file */
  async load(file) {
    if (!PICTURES.includes(file.type)) throw new Error("this is no PNG, JPEG or WebP picture; choose one");
    const picture = await createImageBitmap(file).catch(() => null);
    if (!picture) throw new Error("this picture is damaged; choose another");
    if (picture.width * picture.height > MOST_PIXELS)
      throw new Error("this picture has more than 100 million pixels; make it smaller");
    const { credentials, personal } = said(new TextDecoder("latin1").decode(await file.arrayBuffer()));
    this.file = file;
    this.keeping.hidden = !credentials;
    this.whole.checked = credentials && !personal;
    this.consequence.textContent = personal ? `${KEEP}, with what it says of place and camera` : KEEP;
    this.picture?.close();
    this.picture = picture;
    [this.x, this.y, this.zoom] = [picture.width / 2, picture.height / 2, 0];
    this.slider.value = "0";
    this.zooming.hidden = Math.min(picture.width, picture.height) <= this.side;
    this.place.hidden = false;
    this.draw();
  }

  /** Pixels of the picture along a side of the square. */
  get seen() {
    const { width, height } = /** @type {ImageBitmap} */ (this.picture);
    const most = Math.min(width, height);
    return most > this.side ? most * (this.side / most) ** this.zoom : most;
  }

  draw() {
    const picture = /** @type {ImageBitmap} */ (this.picture);
    const seen = Math.round(this.seen);
    this.x = Math.min(Math.max(this.x, seen / 2), picture.width - seen / 2);
    this.y = Math.min(Math.max(this.y, seen / 2), picture.height - seen / 2);
    this.square = [Math.round(this.x - seen / 2), Math.round(this.y - seen / 2), seen];
    const brush = this.canvas.getContext("2d");
    brush.imageSmoothingEnabled = seen !== this.side;
    brush.imageSmoothingQuality = "high";
    brush.clearRect(0, 0, this.side, this.side);
    brush.drawImage(picture, this.square[0], this.square[1], seen, seen, 0, 0, this.side, this.side);
    this.changed();
  }

  /**
   * What a row says: the square as a PNG in base64, or as a JPEG where that is longer than `most` characters; or the file
   * with its square.
   * @param {number} most @returns {Promise<string | {file: string, square: number[]}>}
   */
  async encoded(most) {
    if (this.whole.checked) {
      const text = await base64(this.file);
      if (text.length > most)
        throw new Error("this file is larger than this server takes; leave its credentials out, and the square alone is sent");
      return { file: text, square: this.square };
    }
    for (const form of ["image/png", "image/jpeg"]) {
      /** @type {Blob} */
      const file = await new Promise((resolve) => this.canvas.toBlob(resolve, form, QUALITY));
      const text = await base64(file);
      if (text.length <= most) return text;
    }
    throw new Error("the square is larger than this server takes (its option --body)");
  }

  zoomed() {
    this.zoom = Number(this.slider.value);
    this.draw();
  }

  /** @param {PointerEvent} event */
  grab(event) {
    this.canvas.setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  drag(event) {
    if (this.canvas.hasPointerCapture(event.pointerId))
      this.move(-event.movementX / this.canvas.clientWidth, -event.movementY / this.canvas.clientWidth);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    this.move(STEP * arrow[0], STEP * arrow[1]);
  }

  /** Moves the square by parts of its side. @param {number} right @param {number} down */
  move(right, down) {
    this.x += right * this.seen;
    this.y += down * this.seen;
    this.draw();
  }
}
