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
 * @template {any[]} Given
 * @param {(...given: Given) => Promise<void>} work
 * @param {(error: any) => void} fail hears what a call could not do
 * @returns {(...given: Given) => Promise<void>}
 */
export function latest(work, fail) {
  let running = false;
  /** @type {Given | null} */
  let waiting = null;
  return async (...given) => {
    waiting = given;
    if (running) return;
    running = true;
    while (waiting) {
      const next = waiting;
      waiting = null;
      await work(...next).catch(fail);
    }
    running = false;
  };
}
