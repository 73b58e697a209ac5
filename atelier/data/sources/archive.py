"""Zip files as storage: read in place, member by member, by any number of processes; nothing is extracted to disk."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from atelier.data.errors import DataError
from atelier.io.storage import Damaged, Entry, Storage

LOCAL_HEADER = struct.Struct("<4s5H3I2H")
UTF8_FLAG = 0x800
BOMB_RATIO = 200  # images are compressed already: a zip of them shrinks little
BOMB_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Member:
    """Where a member lies and how it is checked."""

    offset: int
    compressed: int
    method: int
    crc: int


class ZipStorage(Storage):
    """The files of a zip. `read` gives Damaged for a member whose checksum is wrong.

    Refuses, naming the member: absolute names, `..`, backslashes, links, encryption, methods other than stored and deflate,
    members that share bytes, and archives that unpack to more than 200 times their size.
    """

    def __init__(self, path: str, section: str = "data") -> None:
        self.path = path
        self.key = f"{section}.path {path!r}"
        self._file: int | None = None
        if not Path(path).is_file():
            is_folder = "a folder; name the zip, or set source: folder"
            missing = "no such file; correct the path, or bring it with `dvc pull`"
            raise DataError(f"{self.key}: {is_folder if Path(path).is_dir() else missing}")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            os.close(self._file)  # type: ignore[arg-type]

    def entries(self) -> Iterator[Entry]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                infos = archive.infolist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise DataError(f"{self.key}: not a zip that can be read ({error}); fetch or pack it again") from error
        for info in infos:
            self._check_member(info)
        self._check_whole(infos)
        for info in infos:
            if not info.is_dir():
                member = Member(info.header_offset, info.compress_size, info.compress_type, info.CRC)
                yield Entry(_utf8(info), info.file_size, member)

    def _check_member(self, info: zipfile.ZipInfo) -> None:
        # orig_filename: zipfile itself cuts names at a NUL and turns the system's separators
        name = info.orig_filename
        parts = PurePosixPath(name).parts
        if name.startswith("/") or "\\" in name or "\0" in name or ".." in parts or (len(name) > 1 and name[1] == ":"):
            problem = "a name that leads out of the archive"
        elif stat.S_ISLNK(info.external_attr >> 16):
            problem = "a symbolic link"
        elif info.flag_bits & 0x1:
            problem = "encrypted"
        elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            problem = f"compressed by method {info.compress_type}"
        else:
            return
        raise DataError(
            f"{self.key}: refused, its member {name!r} is {problem}; pack the images again as a plain zip (stored or deflate)"
        )

    def _check_whole(self, infos: Sequence[zipfile.ZipInfo]) -> None:
        size = Path(self.path).stat().st_size
        unpacked = sum(info.file_size for info in infos)
        if unpacked > max(BOMB_BYTES, BOMB_RATIO * size):
            raise DataError(
                f"{self.key}: refused as a zip bomb, {unpacked} bytes unpacked from {size}; check where it comes from"
            )
        end = 0
        for info in sorted(infos, key=lambda info: info.header_offset):
            if info.header_offset < end:
                raise DataError(
                    f"{self.key}: refused as a zip bomb, {info.filename!r} shares bytes with another; check where it comes from"
                )
            end = info.header_offset + LOCAL_HEADER.size + info.compress_size

    def read(self, entries: Sequence[Entry]) -> Iterator[bytes | Damaged]:
        if self._file is None:
            try:
                self._file = os.open(self.path, os.O_RDONLY)
            except OSError as error:
                raise DataError(f"{self.key}: cannot be read ({error.strerror}); check its permissions") from error
        for entry in entries:
            yield self._read(self._file, entry)

    def _read(self, file: int, entry: Entry) -> bytes | Damaged:
        member: Member = entry.handle
        header = os.pread(file, LOCAL_HEADER.size, member.offset)
        if len(header) < LOCAL_HEADER.size or not header.startswith(b"PK\3\4"):
            return Damaged("damaged inside the zip (no header)")
        name_length, extra_length = LOCAL_HEADER.unpack(header)[-2:]
        start = member.offset + LOCAL_HEADER.size + name_length + extra_length
        content = os.pread(file, member.compressed, start)
        if member.method == zipfile.ZIP_DEFLATED:
            try:
                # Never more than the stated size, whatever the stream would unpack to.
                content = zlib.decompressobj(-15).decompress(content, entry.size + 1)
            except zlib.error:
                return Damaged("damaged inside the zip (broken stream)")
        if len(content) != entry.size or zlib.crc32(content) != member.crc:
            return Damaged("damaged inside the zip (wrong checksum)")
        return content


def _utf8(info: zipfile.ZipInfo) -> str:
    """The name. macOS writes UTF-8 without the flag that says so, and zipfile then takes it for code page 437."""
    if info.flag_bits & UTF8_FLAG:
        return info.filename
    try:
        return info.filename.encode("cp437").decode()
    except UnicodeError:
        return info.filename
