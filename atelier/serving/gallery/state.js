// @ts-check
/**
 * The state of the page: all of it is in the fragment of its address, which no server sees, so that a link shows the same.
 * Browsers refuse an address that changes too often (Chromium: 200 times in 30 s), as it would while a slider is moved. So a
 * change can be read at once, and is in the address a little later.
 */

const REST = 200; // ms from one change of the address to the next

let state = fragment();
let timer = 0;

for (const name of ["popstate", "hashchange"])
  addEventListener(name, () => {
    state = fragment();
  });

function fragment() {
  return new URLSearchParams(location.hash.slice(1));
}

/** @returns {Record<string, string>} */
export const read = () => Object.fromEntries(state);

/**
 * Changes values of the state and leaves the others; "" and null take one away.
 * @param {Record<string, string | number | null>} changes
 * @param {boolean} back whether the Back button leads to the state of before
 */
export function write(changes, back = false) {
  if (back) address(); // to which it leads
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") state.delete(name);
    else state.set(name, String(value));
  }
  if (back) history.pushState(null, "", `#${state}`);
  else if (!timer) {
    address();
    timer = setTimeout(() => {
      timer = 0;
      address();
    }, REST);
  }
}

function address() {
  if (location.hash !== `#${state}`) history.replaceState(null, "", `#${state}`);
}
