// Writes avatars to stdout, a line of JSON each: its picture and its label map, both as SVG.
//
//     node draw.mjs FOLDER COUNT COLORS
//
// FOLDER holds node_modules, COLORS (JSON) are those of the label map by component.

import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, count, colors] = process.argv.slice(2);
const from = (path) => import(pathToFileURL(resolve(folder, 'node_modules/@dicebear', path)).href);
const { createAvatar } = await from('core/lib/index.js');
const style = await from('toon-head/lib/index.js');
const components = await from('toon-head/lib/components/index.js');
let flat = false;

for (const [component, color] of Object.entries(JSON.parse(colors))) {
  for (const [name, draw] of Object.entries(components[component])) {
    components[component][name] = (...given) => (flat ? flattened(draw(...given), color) : draw(...given));
  }
}

// Shadows are left out, all else of a component has one color. What is painted through a mask has the mask's form.
function flattened(svg, color) {
  return svg
    .replaceAll(/<mask[^>]*>(.*?)<\/mask><g mask="[^"]*">.*?<\/g>/gs, '$1')
    .replaceAll(/fill="black" fill-opacity="[^"]*"/g, 'fill="none"')
    .replaceAll(/ (fill|stroke)-opacity="[^"]*"/g, '')
    .replaceAll(/(fill|stroke)="(?!none)[^"]*"/g, `$1="${color}"`);
}

function drawn(seed, asMap) {
  flat = asMap;
  const svg = createAvatar(style, { seed }).toString();
  return asMap ? svg.replace('shape-rendering="auto"', 'shape-rendering="crispEdges"') : svg;
}

for (let number = 0; number < Number(count); number++) {
  const seed = createHash('sha256').update(String(number)).digest('hex'); // those of neighbors would look alike
  process.stdout.write(`${JSON.stringify({ picture: drawn(seed, false), map: drawn(seed, true) })}\n`);
}
