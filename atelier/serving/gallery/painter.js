// @ts-check
/**
 * Whoever makes images. A panel asks for rows and knows no more.
 * @typedef {Record<string, any>} Row what POST /generate takes
 * @typedef {{url: string, row: Row, file: () => Promise<Blob>}} Painted the address here of a PNG with its labels, the row as it
 *   was understood, and what brings the file to keep, which the server made
 * @typedef {{paint: (rows: Row[]) => Promise<Painted[]>, atOnce: number, of: (version: number) => Painter}} Painter `atOnce` are
 *   as many rows as cost little more than one; `of` is another version's
 * @typedef {{used: (model: string) => void, busy: (busy: boolean) => void}} Hearing hears which version made what came, and when
 *   images are made
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

/**
 * Images one after the other, as many at a time as the painter makes at once: each with its place among the rows.
 * @param {Painter} painter @param {Row[]} rows @param {number} first the place at which it begins, and to which it comes round
 * @returns {AsyncGenerator<[Painted, number]>}
 */
export async function* inTurn(painter, rows, first = 0) {
  const places = rows.map((_, turn) => (first + turn) % rows.length);
  while (places.length) {
    const now = places.splice(0, painter.atOnce);
    const painted = await painter.paint(now.map((place) => rows[place]));
    for (const [turn, place] of now.entries()) yield [painted[turn], place];
  }
}

/** Images that are made once, and kept. */
export class KeepingPainter {
  /** @param {Hearing} hearing */
  constructor(hearing) {
    this.hearing = hearing;
    this.asked = 0;
    /** @type {Map<string, Painted>} */
    this.kept = new Map();
  }

  /** @param {Row[]} rows */
  async paint(rows) {
    const keys = rows.map((row) => JSON.stringify(row));
    const known = new Map(keys.map((key) => [key, this.kept.get(key)]));
    const missing = [...known.keys()].filter((key) => !known.get(key));
    const fresh = missing.length ? await this.waitedFor(this.made(missing.map((key) => JSON.parse(key)))) : [];
    missing.forEach((key, place) => known.set(key, this.keep(key, fresh[place])));
    return keys.map((key) => /** @type {Painted} */ (known.get(key)));
  }

  /**
   * @abstract @param {Row[]} rows
   * @returns {Promise<Painted[]>}
   */
  made(rows) {
    throw new Error(`nobody makes ${rows.length} images`);
  }

  /** @template Answer @param {Promise<Answer>} work @returns {Promise<Answer>} */
  waitedFor(work) {
    this.hearing.busy((this.asked += 1) > 0);
    return work.finally(() => this.hearing.busy((this.asked -= 1) > 0));
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

/** The server's images: what is shown is the file itself. @implements {Painter} */
export class ServerPainter extends KeepingPainter {
  /** @param {Hearing} hearing @param {number} most images of a request @param {string} address of what makes them */
  constructor(hearing, most, address = "generate") {
    super(hearing);
    this.atOnce = most;
    this.address = address;
    this.model = "";
  }

  /** @param {number} version @returns {Painter} */
  of(version) {
    return new ServerPainter({ ...this.hearing, used: () => {} }, this.atOnce, `generate?version=${version}`);
  }

  /** @override @param {Row[]} rows @returns {Promise<Painted[]>} */
  async made(rows) {
    const headers = { "Content-Type": "application/json", Accept: "application/json" };
    const answer = await ask(this.address, { method: "POST", headers, body: JSON.stringify({ rows }) });
    const { model, images } = await answer.json();
    if (model !== this.model) this.kept.clear();
    this.model = model;
    this.hearing.used(model);
    return images.map((/** @type {{png: string, row: Row}} */ image) => {
      const file = new Blob([Uint8Array.from(atob(image.png), (sign) => sign.charCodeAt(0))], { type: "image/png" });
      return { url: URL.createObjectURL(file), row: image.row, file: async () => file };
    });
  }
}
