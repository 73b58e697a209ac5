// @ts-check
/** Say it: what is written or said, or both, becomes pictures. */

import { controls, rowOf } from "../controls.js";
import { element, latest } from "../dom.js";
import { Wall, frame } from "../frame.js";
import { LONGEST, canRecord, record, wav } from "../sound.js";
import { read, write } from "../state.js";
import { base64, dropzone, size } from "../upload.js";

const MORE = 4; // pictures beside the large one, of the seeds that follow
const LONGEST_TEXT = 1000;

/** @param {import("../main.js").Model} model @param {string} kind */
const input = (model, kind) => model.takes.find((one) => one.kind === kind);

export const id = "say";
export const title = () => "Say it";
/** @param {import("../main.js").Model} model */
export const fits = (model) => Boolean(input(model, "text")?.encoder || input(model, "sound"));

/** @param {HTMLElement} place @param {import("../main.js").Context} context */
export function open(place, { model, painter, say, fail, signal }) {
  const text = input(model, "text")?.encoder ? /** @type {import("../main.js").Input} */ (input(model, "text")) : null;
  const sound = input(model, "sound");
  const large = frame(model, { hint: "Write or say what the picture should show" });
  const wall = new Wall((one) => changed({ seed: one.seed }));
  const more = element("div", { class: "beside" }, wall.place);
  const set = controls(model, changed);
  const field = element("input", {
    id: "text",
    type: "text",
    maxlength: LONGEST_TEXT,
    autocomplete: "off",
    placeholder: "a smiling cat",
  });
  const form = element(
    "form",
    { class: "control", submit: written },
    element("label", { for: "text" }, "In words"),
    element("div", { class: "row" }, field, element("button", { class: "main" }, "Show")),
  );
  const heard = element("audio", { controls: true, hidden: true, "aria-label": "Your recording" });
  const button = element("button", { type: "button", click: recordOrStop }, "Record");
  const forget = element("button", { type: "button", hidden: true, click: () => take(null) }, "Without the recording");
  let spoken = ""; // a WAV file in base64
  let url = "";
  /** @type {(() => void) | null} */
  let stop = null;
  signal.addEventListener("abort", () => stop?.());
  place.append(
    large.place,
    element("div", { class: "controls" }, ...(text ? [form] : []), ...(sound ? [recording()] : []), set.place),
    more,
  );

  function recording() {
    const most = size(Math.floor((model.limits.body - LONGEST_TEXT * 6) * 0.75));
    const note = `or drop it here. At most ${LONGEST} s; a WAV file of at most ${most}, or what this browser plays`;
    const zone = dropzone({
      label: "Choose a recording",
      note,
      accept: "audio/*",
      take: (file) => void take(file).catch(fail),
      signal,
    });
    const why = canRecord()
      ? [button]
      : [element("p", { class: "note" }, "Recording needs https, or the page of this machine itself.")];
    return element("section", { "aria-label": "In a recording" }, ...why, zone, heard, forget);
  }

  async function recordOrStop() {
    if (stop) return stop();
    try {
      const running = await record();
      stop = running.stop;
      button.textContent = "Stop";
      say(`Recording, for ${LONGEST} s at most`);
      await take(await running.sound);
    } catch (error) {
      fail(error);
    } finally {
      stop = null;
      button.textContent = "Record";
    }
  }

  /** @param {Blob | null} file */
  async function take(file) {
    const content = file && (await wav(file));
    spoken = content ? await base64(content) : "";
    URL.revokeObjectURL(url);
    url = content ? URL.createObjectURL(content) : "";
    heard.hidden = forget.hidden = !content;
    heard.src = url;
    show(read());
  }

  /** @param {Event} event */
  function written(event) {
    event.preventDefault();
    changed({ text: field.value.trim() });
  }

  /** @param {Record<string, string | number | null>} changes */
  function changed(changes) {
    write(changes);
    show(read());
  }

  const paint = latest(work, { say, fail });

  /** @param {Record<string, string>} state */
  async function work(state) {
    const row = rowOf(model, state);
    if (text && state.text) row[text.column] = state.text;
    if (sound && spoken) row[sound.column] = spoken;
    if (!state.text && !spoken) return;
    const seeds = Array.from({ length: model.random ? MORE + 1 : 1 }, (_, place) =>
      model.random ? { seed: row.seed + place } : {},
    );
    const made = await Promise.all(seeds.map((seed) => painter.paint([{ ...row, ...seed }])));
    const [first, ...others] = made.flat();
    large.show(first);
    for (const [at, painted] of others.entries()) wall.hang(painted, at);
    return state.text ? `“${state.text}”` : "Your recording";
  }

  /** @param {Record<string, string>} state */
  function show(state) {
    set.show(state);
    field.value = state.text ?? "";
    paint(state);
  }
  return show;
}
