"""Damage as disks, networks and people do it: of bytes, of JSON, of YAML, of safetensors. A function of its generator alone."""

from __future__ import annotations

import copy
import io
import json
import random
import struct
from collections.abc import Callable
from typing import Any

from ruamel.yaml import YAML

Files = dict[str, bytes]
FIELDS = ("<H", ">H", "<I", ">I", "<Q", ">Q")
NUMBERS = (0, 1, -1, 2**7, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**53 + 1, 2**63, 2**64, 10**30)
VALUES: tuple[Any, ...] = (
    *NUMBERS, None, True, False, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "x" * 10_000, "\0", "\ud800",
    "../../etc/passwd", "9" * 5000, "\u202e\n\x1b[31m", [], {}, [[]], [None] * 1000, {"": {}}, {"a": 1},
)  # fmt: skip
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
ODD = ("*x", "&x", "!!binary =", "|", "1e999", "[1,")  # as values of YAML
YAML_LINES = (
    BOMB, "train: !!python/object/apply:os.system [true]\n", "x: &x [*x]\n", "? [1, 2]\n: 3\n", "%YAML 3.0\n---\n", "---\n---\n",
    "\t- a\n", "train: 2026-13-45\n", "- " * 3000 + "\n", "a: " + "{a: " * 3000 + "\n", "data: *missing\n",
    "<<: 3\n", "train: {}\n",
)  # fmt: skip


def damaged(files: Files, rng: random.Random) -> Files:
    """The files of an input, of which one is damaged, in a way that fits its kind or in any other; seldom two, or one is gone."""
    files, touched = dict(files), set()
    for _ in range(rng.choice((1, 1, 1, 2))):
        name = rng.choice(sorted(files))
        if rng.random() < 0.03:
            files[name] = b""
            touched.add(name)
            continue
        own = [ways for end, ways in OF_KIND.items() if name.endswith(end) and name not in touched]
        files[name] = rng.choice(own[0] if own and rng.random() < 0.75 else OF_BYTES)(files[name], rng)
        touched.add(name)
    return files


def _flip(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if changed:
            changed[_place(content, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _take_out(content: bytes, rng: random.Random) -> bytes:
    start, length = _place(content, rng), rng.choice((1, 2, 7, 64, 1000))
    return content[:start] + content[start + length :]


def _insert(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) + 1)
    return content[:start] + rng.randbytes(rng.choice((1, 3, 8, 100, 5000))) + content[start:]


def _splice(content: bytes, rng: random.Random) -> bytes:
    """A piece of the file, put somewhere else in it."""
    start, length, target = _place(content, rng), rng.randrange(1, 200), _place(content, rng)
    return content[:target] + content[start : start + length] + content[target + rng.choice((0, length)) :]


def _field(content: bytes, rng: random.Random) -> bytes:
    """A length, a count or an offset that is not true."""
    form = rng.choice(FIELDS)
    size = struct.calcsize(form)
    start = _place(content, rng)
    value = rng.choice(NUMBERS) & (256**size - 1)
    return content[:start] + struct.pack(form, value) + content[start + size :]


def _zero(content: bytes, rng: random.Random) -> bytes:
    start, length = _place(content, rng), rng.choice((4, 64, 512, 4096))
    return content[:start] + bytes(len(content[start : start + length])) + content[start + length :]


def _place(content: bytes, rng: random.Random) -> int:
    """A position, half of the time in the head or at the end, where formats keep what they say of themselves."""
    size = max(1, len(content))
    near = rng.randrange(64)
    return rng.choice((min(near, size - 1), max(0, size - 1 - near), rng.randrange(size), rng.randrange(size)))


def changed(value: Any, rng: random.Random) -> Any:
    """A copy of plain values of which one is of another type or size, is gone, doubled, renamed, or nested deeply."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places:
        return rng.choice(VALUES)
    for _ in range(rng.choice((1, 1, 2))):
        holder, key = rng.choice(places)
        way = rng.randrange(6)
        try:
            if way == 0:
                del holder[key]
            elif way == 1 and isinstance(holder, dict):
                holder[rng.choice(("", "extra", str(key).upper(), f"{key} "))] = holder.get(key)
            elif way == 1:
                holder.append(holder[key])
            elif way == 2:
                holder[key] = [holder[key]] if rng.random() < 0.5 else {"value": holder[key]}
            elif way == 3:
                _, other = rng.choice(places)
                holder[key] = other
            elif way == 4 and isinstance(holder[key], str | int | float) and not isinstance(holder[key], bool):
                holder[key] = str(holder[key]) if not isinstance(holder[key], str) else len(holder[key])
            else:
                holder[key] = copy.deepcopy(rng.choice(VALUES))
        except (KeyError, IndexError):  # a change before has removed it
            continue
    return value


def _places(value: Any) -> Any:
    keys: Any = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _json(content: bytes, rng: random.Random) -> bytes:
    return json.dumps(changed(json.loads(content), rng)).encode()


def _deep(content: bytes, rng: random.Random) -> bytes:
    depth = rng.choice((100, 2000, 200_000))
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return opening * depth + b"1" + closing * depth * rng.randrange(2)


def _twice(content: bytes, rng: random.Random) -> bytes:
    """A key that is there twice, or the value twice."""
    return rng.choice((content + content, content.replace(b"{", b'{"format": 1, "format": 2,', 1), b"\xef\xbb\xbf" + content))


def _yaml(content: bytes, rng: random.Random) -> bytes:
    stream = io.StringIO()
    YAML(typ="safe", pure=True).dump(changed(YAML(typ="safe", pure=True).load(content.decode()), rng), stream)
    return stream.getvalue().encode("utf-8", "surrogatepass")


def _yaml_lines(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(YAML_LINES).encode())
    return b"".join(lines)


def _yaml_value(content: bytes, rng: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    number = rng.randrange(len(lines))
    key = lines[number].partition(b":")[0]
    written = json.dumps(rng.choice(VALUES)) if rng.random() < 0.7 else rng.choice(ODD)
    lines[number] = key + b": " + written.encode() + b"\n"
    return b"".join(lines)


def _tensors(content: bytes, rng: random.Random) -> bytes:
    """The header of a safetensors file: its length in 8 bytes, then JSON."""
    (size,) = struct.unpack("<Q", content[:8])
    header = _json(content[8 : 8 + size], rng)
    stated = rng.choice((len(header), len(header), len(header), *NUMBERS)) & (2**64 - 1)
    return struct.pack("<Q", stated) + header + content[8 + size :]


Way = Callable[[bytes, random.Random], bytes]
OF_BYTES: tuple[Way, ...] = (_flip, _flip, _cut, _take_out, _insert, _splice, _field, _field, _zero)
OF_JSON: tuple[Way, ...] = (_json, _json, _json, _json, _json, _json, _deep, _twice)
OF_YAML: tuple[Way, ...] = (_yaml, _yaml, _yaml, _yaml_lines, _yaml_value, _yaml_value)
OF_KIND: dict[str, tuple[Way, ...]] = {
    ".json": OF_JSON,
    ".yaml": OF_YAML,
    ".lock": OF_YAML,
    ".dvc": OF_YAML,
    ".safetensors": (_tensors,),
}
