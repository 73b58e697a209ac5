// @ts-check
/**
 * Whoever makes images. A panel asks for rows and knows no more.
 * @typedef {Record<string, any>} Row what POST /generate takes
 * @typedef {{file: Blob, url: string, row: Row}} Painted a PNG with its labels, its address here, the row as it was understood
 * @typedef {{paint: (rows: Row[]) => Promise<Painted[]>, of: (version: number) => Painter}} Painter `of` is another version's
 */

const TRIES = 6;
const KEPT = 512; // images that stay, so that Back shows them at once
const LONGEST_KEY = 2000; // a row with an upload is not kept

/** @param {number} seconds */
export const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

/**
 * An answer of the server, after its queue. Rejects with what the server says.
 * @param {string} address
 * @param {RequestInit} options
 * @returns {Promise<Response>}
 */
export async function ask(address, options = {}) {
  for (let left = TRIES; ; left -= 1) {
    let answer;
    try {
      answer = await fetch(address, options);
    } catch {
      throw new Error("the server cannot be reached");
    }
    if (answer.ok) return answer;
    const after = Number(answer.headers.get("Retry-After"));
    if (!after || left <= 1) throw new Error(await reason(answer));
    await pause(after);
  }
}

/** @param {Response} answer */
async function reason(answer) {
  try {
    return (await answer.json()).error;
  } catch {
    return `the server answers ${answer.status}`; // of a proxy
  }
}

/** The server's images. @implements {Painter} */
export class ServerPainter {
  /**
   * @param {(model: string) => void} used hears which version made what came
   * @param {(busy: boolean) => void} busy hears when images are made
   * @param {string} address of what makes them
   */
  constructor(used, busy, address = "generate") {
    this.address = address;
    this.used = used;
    this.busy = busy;
    this.asked = 0;
    this.model = "";
    /** @type {Map<string, Painted>} */
    this.kept = new Map();
  }

  /** @param {number} version @returns {Painter} */
  of(version) {
    return new ServerPainter(() => {}, this.busy, `generate?version=${version}`);
  }

  /** @param {Row[]} rows */
  async paint(rows) {
    const keys = rows.map((row) => JSON.stringify(row));
    const known = new Map(keys.map((key) => [key, this.kept.get(key)]));
    const missing = [...known.keys()].filter((key) => !known.get(key));
    const fresh = missing.length ? await this.fetched(missing.map((key) => JSON.parse(key))) : [];
    missing.forEach((key, place) => known.set(key, this.keep(key, fresh[place])));
    return keys.map((key) => /** @type {Painted} */ (known.get(key)));
  }

  /** @param {Row[]} rows @returns {Promise<Painted[]>} */
  async fetched(rows) {
    const headers = { "Content-Type": "application/json", Accept: "application/json" };
    this.busy((this.asked += 1) > 0);
    const answer = await ask(this.address, { method: "POST", headers, body: JSON.stringify({ rows }) }).finally(() =>
      this.busy((this.asked -= 1) > 0),
    );
    const { model, images } = await answer.json();
    if (model !== this.model) this.kept.clear();
    this.model = model;
    this.used(model);
    return images.map((/** @type {{png: string, row: Row}} */ image) => {
      const file = new Blob([Uint8Array.from(atob(image.png), (sign) => sign.charCodeAt(0))], { type: "image/png" });
      return { file, url: URL.createObjectURL(file), row: image.row };
    });
  }

  /** @param {string} key @param {Painted} painted */
  keep(key, painted) {
    this.kept.set(key.length > LONGEST_KEY ? painted.url : key, painted);
    if (this.kept.size > KEPT) {
      const [oldest, gone] = /** @type {[string, Painted]} */ (this.kept.entries().next().value);
      URL.revokeObjectURL(gone.url);
      this.kept.delete(oldest);
    }
    return painted;
  }
}
