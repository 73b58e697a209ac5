// @ts-check
/** Recordings: from a microphone or a file, as the WAV that a model hears. */

const RATE = 16000; // Hz, of what is sent
export const LONGEST = 10; // seconds that a model hears

/** Whether this page may ask for a microphone: browsers let only https and this machine's own pages. */
export const canRecord = () => Boolean(navigator.mediaDevices && window.MediaRecorder);

/**
 * Records until `stop` or for the longest time. Rejects where a person or the machine says no.
 * @returns {Promise<{stop: () => void, sound: Promise<Blob>}>}
 */
export async function record() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true }).catch(() => null);
  if (!stream) throw new Error("no microphone can be used; allow it in the browser, or choose a file");
  const recorder = new MediaRecorder(stream);
  /** @type {Blob[]} */
  const parts = [];
  const sound = new Promise((resolve) => {
    recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    recorder.addEventListener("stop", () => {
      for (const track of stream.getTracks()) track.stop();
      resolve(new Blob(parts, { type: recorder.mimeType }));
    });
  });
  recorder.start();
  const stop = () => recorder.state === "recording" && recorder.stop();
  setTimeout(stop, 1000 * LONGEST);
  return { stop, sound };
}

/**
 * A sound of any format that this browser reads, as a WAV file: one channel, 16 bits, 16 kHz. A WAV file stays as it is.
 * @param {Blob} file @returns {Promise<Blob>}
 */
export async function wav(file) {
  const content = await file.arrayBuffer();
  if (String.fromCharCode(...new Uint8Array(content.slice(0, 4))) === "RIFF") return file;
  const context = new OfflineAudioContext(1, 1, RATE); // which resamples to its own rate
  const sound = await context.decodeAudioData(content).catch(() => null);
  if (!sound) throw new Error("this sound cannot be read; choose a WAV file");
  const mixed = new Float32Array(Math.min(sound.length, LONGEST * RATE));
  for (let channel = 0; channel < sound.numberOfChannels; channel += 1) {
    const samples = sound.getChannelData(channel);
    for (let place = 0; place < mixed.length; place += 1) mixed[place] += samples[place] / sound.numberOfChannels;
  }
  return encoded(mixed);
}

/** @param {Float32Array} samples in -1 ... 1 */
function encoded(samples) {
  const bytes = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (/** @type {number} */ at, /** @type {string} */ word) =>
    [...word].forEach((sign, place) => bytes.setUint8(at + place, sign.charCodeAt(0)));
  text(0, "RIFF");
  bytes.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true); // length of what follows
  bytes.setUint16(20, 1, true); // PCM
  bytes.setUint16(22, 1, true); // channels
  bytes.setUint32(24, RATE, true);
  bytes.setUint32(28, 2 * RATE, true); // bytes a second
  bytes.setUint16(32, 2, true); // bytes of a sample
  bytes.setUint16(34, 16, true); // bits of a sample
  text(36, "data");
  bytes.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, place) => bytes.setInt16(44 + 2 * place, Math.round(32767 * Math.max(-1, Math.min(1, sample))), true));
  return new Blob([bytes.buffer], { type: "audio/wav" });
}
