// What a reader that shares no code with c2pa says of PNG files: one JSON a line, {"file", "said"}; null without a manifest.
//   node read.mjs FILE...
import { readFile } from 'node:fs/promises';
import { PNG } from '@trustnxt/c2pa-ts/asset';
import { SuperBox } from '@trustnxt/c2pa-ts/jumbf';
import { ManifestStore, ValidationResult } from '@trustnxt/c2pa-ts/manifest';

async function read(bytes) {
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

for (const file of process.argv.slice(2)) {
  console.log(JSON.stringify({ file, said: await read(new Uint8Array(await readFile(file))) }));
}
