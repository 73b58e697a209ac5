// @ts-check
/** A place to which a person gives a file: chosen, dropped or pasted. Files stay in this page until a panel sends them. */

import { element } from "./dom.js";

/**
 * @param {{label: string, note: string, accept: string, take: (file: File) => void, wanted?: () => boolean,
 *   signal: AbortSignal}} about `accept` lists media types; `wanted` says whether this place takes what is pasted
 * @returns {HTMLElement}
 */
export function dropzone({ label, note, accept, take, wanted = () => true, signal }) {
  const input = element("input", { type: "file", accept, change: chosen });
  const place = element("label", { class: "drop" }, element("b", {}, label), element("span", {}, note), input);
  for (const name of ["dragenter", "dragover"]) place.addEventListener(name, over);
  for (const name of ["dragleave", "drop"]) place.addEventListener(name, () => place.classList.remove("over"));
  place.addEventListener("drop", dropped);
  document.addEventListener("paste", pasted, { signal });

  function chosen() {
    if (input.files.length) take(input.files[0]);
    input.value = ""; // so that the same file can be chosen again
  }

  /** @param {DragEvent} event */
  function over(event) {
    event.preventDefault();
    place.classList.add("over");
  }

  /** @param {DragEvent} event */
  function dropped(event) {
    event.preventDefault();
    const file = event.dataTransfer?.files[0];
    if (file) take(file);
  }

  /** @param {ClipboardEvent} event */
  function pasted(event) {
    const file = event.clipboardData?.files[0];
    if (!file || event.defaultPrevented || !wanted()) return;
    event.preventDefault();
    take(file);
  }
  return place;
}

/** Content as base64. @param {Blob} content @returns {Promise<string>} */
export function base64(content) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).split(",")[1]);
    reader.onerror = () => reject(new Error("the file cannot be read; choose it again"));
    reader.readAsDataURL(content);
  });
}

/** A length for people. @param {number} bytes */
export const size = (bytes) => (bytes < 2 ** 20 ? `${Math.floor(bytes / 2 ** 10)} KiB` : `${+(bytes / 2 ** 20).toFixed(1)} MiB`);
