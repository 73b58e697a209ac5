// @ts-check
/** The state of the page: all of it is in the fragment of its address, which no server sees, so that a link shows the same. */

/** @returns {Record<string, string>} */
export const read = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

/**
 * Changes values of the state and leaves the others; "" and null take one away.
 * @param {Record<string, string | number | null>} changes
 * @param {boolean} back whether the Back button leads to the state of before
 */
export function write(changes, back = false) {
  const all = new URLSearchParams(location.hash.slice(1));
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") all.delete(name);
    else all.set(name, String(value));
  }
  history[back ? "pushState" : "replaceState"](null, "", `#${all}`);
}
