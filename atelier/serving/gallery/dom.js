// @ts-check
/** Elements, made without markup in strings: nothing that a model, a file or a server says is read as HTML. */

/**
 * An element with attributes, listeners and children.
 * @param {string} tag
 * @param {Record<string, any>} attributes a function listens to the event of its name; true stands without a value, false is
 *   left out
 * @param {...(Node | string)} children
 * @returns {any}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== false && value !== undefined) made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children);
  return made;
}

/** Where an arrow key leads, right and down. @type {Record<string, [number, number]>} */
export const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/**
 * Runs `work` for one call after the other; of calls that come meanwhile the last alone, so that a slider never falls behind.
 * @template Given
 * @param {(given: Given, overtaken: () => boolean) => Promise<string | void>} work returns what a person is told of it; where
 *   another call waits it may leave the rest undone
 * @param {{say: (text: string, since: number) => void, fail: (error: any, since: number) => void}} hearing hears that, or what
 *   a call could not do, and when the call came
 * @returns {(given: Given) => Promise<void>}
 */
export function latest(work, { say, fail }) {
  let running = false;
  /** @type {{given: Given, since: number} | null} */
  let waiting = null;
  const overtaken = () => waiting !== null;
  return async (given) => {
    waiting = { given, since: performance.now() };
    if (running) return;
    running = true;
    while (waiting) {
      const next = waiting;
      waiting = null;
      try {
        const said = await work(next.given, overtaken);
        if (said) say(said, next.since);
      } catch (error) {
        fail(error, next.since);
      }
    }
    running = false;
  };
}
