// @ts-check
/** PNG files that say where they come from (PNG specification, 3rd edition). */

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const BLOCK = 65535; // bytes that are stored at once
const ADLER = 65521; // the largest prime number below 65536
const COLORS = { 1: 0, 3: 2 }; // color types: gray, red with green and blue
const BEYOND_ASCII = /[\u007f-\uffff]/g;
const encoder = new TextEncoder();
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit += 1) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte;
});

/**
 * An image as a file.
 * @param {Uint8Array} pixels [side, side, channels] @param {number} side @param {1 | 3} channels
 * @param {{about: object, xmp: string}} label as atelier.provenance.labels writes them: text chunk and XMP
 * @returns {Blob}
 */
export function png(pixels, side, channels, { about, xmp }) {
  const header = new DataView(new ArrayBuffer(13)); // compression, filter and interlace are 0
  [side, side].forEach((length, place) => header.setUint32(4 * place, length));
  header.setUint8(8, 8); // bits
  header.setUint8(9, COLORS[channels]);
  const width = side * channels;
  const rows = new Uint8Array(side * (1 + width)); // each behind its filter, 0
  for (let row = 0; row < side; row += 1) rows.set(pixels.subarray(row * width, (row + 1) * width), row * (1 + width) + 1);
  const chunks = [
    chunk("IHDR", new Uint8Array(header.buffer)),
    chunk("tEXt", encoder.encode(`atelier\0${ascii(about)}`)),
    chunk("iTXt", encoder.encode(`XML:com.adobe.xmp\0\0\0\0\0${xmp}`)),
    chunk("IDAT", stored(rows)),
    chunk("IEND", new Uint8Array()),
  ];
  return new Blob([Uint8Array.from(SIGNATURE), ...chunks], { type: "image/png" });
}

/** JSON in ASCII. @param {object} about */
const ascii = (about) =>
  JSON.stringify(about).replace(BEYOND_ASCII, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);

/**
 * Bytes in the form of zlib, not compressed (RFC 1950, and 3.2.4 of RFC 1951): the browser's compressor is a stream, whose turns
 * a slider would wait for.
 * @param {Uint8Array} bytes
 */
function stored(bytes) {
  const blocks = Math.ceil(bytes.length / BLOCK);
  const whole = new Uint8Array(2 + 5 * blocks + bytes.length + 4);
  const view = new DataView(whole.buffer);
  whole.set([0x78, 0x01]);
  for (let block = 0; block < blocks; block += 1) {
    const part = bytes.subarray(block * BLOCK, (block + 1) * BLOCK);
    const place = 2 + block * (BLOCK + 5);
    view.setUint8(place, block === blocks - 1 ? 1 : 0);
    view.setUint16(place + 1, part.length, true);
    view.setUint16(place + 3, ~part.length, true);
    whole.set(part, place + 5);
  }
  let [low, high] = [1, 0];
  for (const byte of bytes) {
    low = (low + byte) % ADLER;
    high = (high + low) % ADLER;
  }
  view.setUint32(whole.length - 4, high * 65536 + low);
  return whole;
}

/** @param {string} kind @param {Uint8Array} content */
function chunk(kind, content) {
  const whole = new Uint8Array(12 + content.length);
  const view = new DataView(whole.buffer);
  view.setUint32(0, content.length);
  whole.set(encoder.encode(kind), 4);
  whole.set(content, 8);
  view.setUint32(8 + content.length, crc(whole.subarray(4, 8 + content.length)));
  return whole;
}

/** CRC-32 (annex D). @param {Uint8Array} bytes */
function crc(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = table[(sum ^ byte) & 0xff] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}
