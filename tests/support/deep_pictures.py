"""Pictures of 16 bits a value, which Pillow does not write in color: PNG without filters and TIFF, by their specifications."""

from __future__ import annotations

import struct
import zlib

import numpy as np

COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def png(values: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """uint16 [H, W, 1 to 4] as a PNG, with further chunks behind its header."""
    height, width, channels = values.shape
    rows = values.astype(">u2").view(np.uint8).reshape(height, -1)
    data = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes())
    header = struct.pack(">IIBBBBB", width, height, 16, COLOR_TYPES[channels], 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def profile_chunk(profile: bytes) -> tuple[bytes, bytes]:
    return b"iCCP", b"profile\0\0" + zlib.compress(profile)


def orientation_chunk(orientation: int) -> tuple[bytes, bytes]:
    return b"eXIf", b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def tiff(values: np.ndarray, order: str = "<", compressed: bool = False, planes_apart: bool = False) -> bytes:
    """uint16 [H, W, 3 or 4] as a TIFF of one strip, or one for each plane; `order` is < or >. A fourth channel is alpha."""
    height, width, channels = values.shape
    strips = [part.astype(f"{order}u2").tobytes() for part in (values.transpose(2, 0, 1) if planes_apart else [values])]
    strips = [zlib.compress(strip) if compressed else strip for strip in strips]
    count, body, lists = len(strips), bytearray(8), {}
    for name, form, numbers in (
        (258, "H", [16] * channels),
        (279, "I", [len(strip) for strip in strips]),
        (273, "I", [8 + 2 * channels + 8 * count + sum(map(len, strips[:place])) for place in range(count)]),
    ):
        lists[name] = len(body) if len(numbers) > 1 else numbers[0]
        body += struct.pack(f"{order}{len(numbers)}{form}", *numbers)
    body += b"".join(strips)
    body += bytes(len(body) % 2)
    entries = [  # tag, type (3 short, 4 long), count, value or where the values are
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, lists[258]), (259, 3, 1, 8 if compressed else 1),
        (262, 3, 1, 2),
        (273, 4, count, lists[273]), (277, 3, 1, channels), (278, 3, 1, height),
        (279, 4, count, lists[279]),
        (284, 3, 1, 2 if planes_apart else 1), *([(338, 3, 1, 2)] if channels == 4 else []),
    ]  # fmt: skip
    directory = struct.pack(f"{order}H", len(entries))
    for tag, kind, number, value in entries:
        directory += struct.pack(f"{order}HHI", tag, kind, number)
        directory += struct.pack(f"{order}HH", value, 0) if kind == 3 and number == 1 else struct.pack(f"{order}I", value)
    body[:8] = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, len(body))
    return bytes(body) + directory + bytes(4)


def read_png(content: bytes) -> tuple[np.ndarray, dict[bytes, bytes]]:
    """Pixels [H, W, C] of a PNG that is not interlaced, byte by byte as the specification has it, and its other chunks."""
    place, chunks, data = 8, dict[bytes, bytes](), b""
    while place < len(content):
        (length,), kind = struct.unpack_from(">I", content, place), content[place + 4 : place + 8]
        body = content[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", content, place + 8 + length)[0] == zlib.crc32(kind + body)
        data += body if kind == b"IDAT" else b""
        chunks[kind] = body
        place += 12 + length
    width, height, bits, color, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    channels = next(count for count, code in COLOR_TYPES.items() if code == color)
    pixel, raw = channels * bits // 8, zlib.decompress(data)
    stride = 1 + width * pixel
    above, rows = bytearray(width * pixel), []
    for first in range(0, height * stride, stride):
        filter, row = raw[first], bytearray(raw[first + 1 : first + stride])
        for i in range(len(row)):
            left, corner = (row[i - pixel], above[i - pixel]) if i >= pixel else (0, 0)
            row[i] = (row[i] + _predicted(filter, left, above[i], corner)) % 256
        rows.append(bytes(row))
        above = row
    values = np.frombuffer(b"".join(rows), ">u2" if bits == 16 else np.uint8)
    return values.reshape(height, width, channels).astype(values.dtype.newbyteorder("=")), chunks


def _predicted(filter: int, left: int, up: int, corner: int) -> int:
    if filter < 4:
        return [0, left, up, (left + up) // 2][filter]
    estimate = left + up - corner
    return min((left, up, corner), key=lambda value: abs(value - estimate))  # the first of equals


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
