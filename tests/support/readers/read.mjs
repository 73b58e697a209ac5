// What two readers by others say of PNG files: one JSON a line, {"file", "c2pa-ts", "c2pa-wasm"}.
//   node read.mjs ANCHORS FILE...
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { PNG } from '@trustnxt/c2pa-ts/asset';
import { SuperBox } from '@trustnxt/c2pa-ts/jumbf';
import { ManifestStore, ValidationResult } from '@trustnxt/c2pa-ts/manifest';
import initialize, { WasmReader } from '@contentauth/c2pa-wasm';

// The second is made for a browser's worker, which reads blobs at once; Node's blobs are read later.
class ReadableBlob {
  constructor(bytes) { this.bytes = bytes; }
  get size() { return this.bytes.length; }
  slice(from = 0, to = this.bytes.length) { return new ReadableBlob(this.bytes.slice(from, to)); }
  async arrayBuffer() { return this.slice().bytes.buffer; }
}
globalThis.FileReaderSync = class {
  readAsArrayBuffer(blob) { return blob.slice().bytes.buffer; }
};

async function byTypeScript(bytes) {
  const asset = new PNG(bytes);
  const found = asset.getManifestJUMBF();
  if (!found) return null;
  let result;
  try {
    result = await ManifestStore.read(SuperBox.fromBuffer(found)).validate(asset);
  } catch (error) {
    result = ValidationResult.fromError(error);
  }
  const failures = result.statusEntries.filter((entry) => !entry.success).map((entry) => entry.code);
  return { valid: result.isValid, failures };
}

async function byWasm(bytes, context) {
  let reader;
  try {
    reader = await WasmReader.fromBlob('image/png', new ReadableBlob(bytes), context);
  } catch (error) {
    return { state: 'unreadable', failures: [String(error)] };
  }
  const found = JSON.parse(reader.json());
  const failures = found.validation_results.activeManifest.failure.map((one) => one.code);
  return { state: found.validation_state, failures };
}

const [anchors, ...files] = process.argv.slice(2);
const context = JSON.stringify({
  trust: { user_anchors: await readFile(anchors, 'utf8') },
  verify: { verify_trust: true, remote_manifest_fetch: false },
});
const wasm = createRequire(import.meta.url).resolve('@contentauth/c2pa-wasm/c2pa.wasm');
await initialize({ module_or_path: await readFile(wasm) });
for (const file of files) {
  const bytes = new Uint8Array(await readFile(file));
  const said = { file, 'c2pa-ts': await byTypeScript(bytes), 'c2pa-wasm': await byWasm(bytes, context) };
  console.log(JSON.stringify(said));
}
