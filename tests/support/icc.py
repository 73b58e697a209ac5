"""Color profiles written by hand (ICC.1:2001-04), and what they mean as arithmetic in float64."""

from __future__ import annotations

import struct

import numpy as np

D50 = np.array([0.9642, 1.0, 0.8249])
D65 = np.array([0.3127, 0.3290])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
PRIMARIES = {  # xy of red, green and blue; all have the white of D65
    "sRGB": [(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)],
    "Display P3": [(0.680, 0.320), (0.265, 0.690), (0.150, 0.060)],
    "Adobe RGB (1998)": [(0.64, 0.33), (0.21, 0.71), (0.15, 0.06)],
}
ADOBE_GAMMA = 563 / 256


def to_d50(name: str) -> np.ndarray:
    """[3, 3]: linear values of these primaries -> XYZ relative to D50, adapted by Bradford."""

    def xyz(xy: np.ndarray | tuple[float, float]) -> np.ndarray:
        return np.array([xy[0] / xy[1], 1.0, (1 - xy[0] - xy[1]) / xy[1]])

    columns = np.stack([xyz(xy) for xy in PRIMARIES[name]], axis=1)
    native = columns * np.linalg.solve(columns, xyz(D65))
    gains = (BRADFORD @ D50) / (BRADFORD @ xyz(D65))
    return np.linalg.inv(BRADFORD) @ np.diag(gains) @ BRADFORD @ native


def linear(values: np.ndarray) -> np.ndarray:
    """sRGB's curve (IEC 61966-2-1), of 0 … 1."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def encoded(values: np.ndarray) -> np.ndarray:
    """Its inverse, of what is cut to 0 … 1."""
    values = values.clip(0, 1)
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)


def as_srgb(colors: np.ndarray, name: str, gamma: float | None = None) -> np.ndarray:
    """Levels 0 … 255 [..., 3] of a space as levels of sRGB, not rounded."""
    shares = colors / 255
    light = shares**gamma if gamma else linear(shares)
    return 255 * encoded(light @ (np.linalg.inv(to_d50("sRGB")) @ to_d50(name)).T)


def profile(name: str, gamma: float | None = None, space: bytes = b"RGB ", described: str | None = None) -> bytes:
    """A monitor's profile, with sRGB's curve as a table unless there is a gamma; in the space GRAY it has the curve alone."""
    points = np.linspace(0, 1, 1024)
    curve = struct.pack(">4sII", b"curv", 0, 1) + struct.pack(">H", round(gamma * 256)) if gamma else (
        struct.pack(">4sII", b"curv", 0, 1024) + (linear(points) * 65535).round().astype(">u2").tobytes()
    )  # fmt: skip
    text = (described or name).encode() + b"\0"
    tags = {
        b"desc": struct.pack(">4sII", b"desc", 0, len(text)) + text + bytes(78),
        b"cprt": struct.pack(">4sI", b"text", 0) + b"CC0\0",
        b"wtpt": _xyz(D50),
    }
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        tags |= {b"%cXYZ" % letter: _xyz(column) for letter, column in zip(b"rgb", to_d50(name).T, strict=True)}
        tags |= {b"%cTRC" % letter: curve for letter in b"rgb"}
    return _file(b"mntr", space, b"XYZ ", tags)


def ink(lab: np.ndarray) -> bytes:
    """A press's profile: uint8 Lab [2, 2, 2, 2, 3] (L of 100 is 255, a and b have 128 added) of no and full C, M, Y and K."""
    straight = bytes(range(256))
    table = struct.pack(">4sI4B9i", b"mft1", 0, 4, 3, 2, 0, *(65536, 0, 0, 0, 65536, 0, 0, 0, 65536))
    tags = {
        b"desc": struct.pack(">4sII", b"desc", 0, 6) + b"Press\0" + bytes(78),
        b"wtpt": _xyz(D50),
        b"A2B0": table + 4 * straight + lab.tobytes() + 3 * straight,
    }
    return _file(b"prtr", b"CMYK", b"Lab ", tags)


def lab_as_srgb(lab: np.ndarray) -> np.ndarray:
    """Levels of sRGB [..., 3] of uint8 Lab (CIE 15, relative to D50), not rounded."""
    light, a, b = lab[..., 0] / 2.55, lab[..., 1] - 128.0, lab[..., 2] - 128.0
    y = (light + 16) / 116
    shares = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    xyz = D50 * np.where(shares > 6 / 29, shares**3, 3 * (6 / 29) ** 2 * (shares - 4 / 29))
    return 255 * encoded(xyz @ np.linalg.inv(to_d50("sRGB")).T)


def _file(device: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    place, table, data = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        table += struct.pack(">4sII", tag, place + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    size = place + len(data)
    head = struct.pack(">I4sI4s4s4s12x4s", size, bytes(4), 0x02400000, device, space, connection, b"acsp").ljust(68, b"\0")
    return head + struct.pack(">3i", *(round(value * 65536) for value in D50)) + bytes(48) + table + data


def _xyz(values: np.ndarray) -> bytes:
    return struct.pack(">4sI3i", b"XYZ ", 0, *(round(value * 65536) for value in values))
