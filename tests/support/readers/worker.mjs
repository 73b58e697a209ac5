// What c2pa's own code says of PNG files in a browser. Gets {anchors, files}: PEM, and base64 of each file; answers {said} or {error}.
import initialize, { WasmReader } from './node_modules/@contentauth/c2pa-wasm/pkg/c2pa.js';

const WASM = './node_modules/@contentauth/c2pa-wasm/pkg/c2pa_bg.wasm';

async function read(blob, context) {
  let reader;
  try {
    reader = await WasmReader.fromBlob('image/png', blob, context);
  } catch (error) {
    return { state: 'unreadable', failures: [String(error)] };
  }
  const found = JSON.parse(reader.json());
  const failures = found.validation_results.activeManifest.failure.map((one) => one.code);
  return { state: found.validation_state, failures };
}

async function answer({ anchors, files }) {
  await initialize({ module_or_path: fetch(WASM) });
  const context = JSON.stringify({
    trust: { user_anchors: anchors },
    verify: { verify_trust: true, remote_manifest_fetch: false },
  });
  const said = [];
  for (const text of files) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    said.push(await read(new Blob([bytes]), context));
  }
  return said;
}

self.onmessage = ({ data }) => answer(data).then(
  (said) => self.postMessage({ said }),
  (error) => self.postMessage({ error: String(error) }),
);
