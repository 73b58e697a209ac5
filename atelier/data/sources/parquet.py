"""Parquet with a column of encoded images: bytes, or the struct {bytes, path} that Hugging Face's datasets write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from atelier.data.errors import DataError, Rejected
from atelier.data.sources.base import Item, ListSource


class ParquetSource(ListSource):
    """One file, or every `*.parquet` below a folder. Row groups are streamed in small batches, never a whole file."""

    kind = "parquet"
    description = "Parquet with an image column"

    def __init__(self, path: str, image_column: str, label_column: str | None, section: str) -> None:
        root = Path(path)
        self._root = root if root.is_dir() else root.parent
        found = root.rglob("*.parquet") if root.is_dir() else [root] if root.is_file() else []
        self._files = sorted(file for file in found if not _hidden(file.relative_to(self._root)))
        if not self._files:
            raise DataError(f"{section}.path {path!r}: no Parquet file there; correct the path, or bring it with `dvc pull`")
        self._image, self._label, self._section = image_column, label_column, section
        self._names = [self._checked(file) for file in self._files]
        self.count = sum(_open(file).metadata.num_rows for file in self._files)

    def chunks(self, images: int) -> Iterator[list[Item]]:
        columns = [self._image] + ([self._label] if self._label else [])
        for file, names in zip(self._files, self._names, strict=True):
            row = 0
            origin = file.relative_to(self._root).as_posix()
            for batch in _batches(file, images, columns):
                contents = batch.column(0).to_pylist()
                labels = batch.column(1).to_pylist() if self._label else [None] * len(contents)
                yield [
                    Item(f"{origin}#{row + offset}", _content(content), _class_name(label, names))
                    for offset, (content, label) in enumerate(zip(contents, labels, strict=True))
                ]
                row += len(contents)

    def _checked(self, file: Path) -> list[str] | None:
        """Checks both columns; the class names that Hugging Face keeps in the schema, if any."""
        import pyarrow.types as kinds

        schema = _open(file).schema_arrow
        allowed = f"its columns are {', '.join(schema.names)}"
        if self._image not in schema.names:
            raise DataError(f"{file}: no column {self._image!r}; {allowed}: set {self._section}.image_column")
        kind: Any = schema.field(self._image).type
        if kinds.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            kind = kind.field("bytes").type
        if not (kinds.is_binary(kind) or kinds.is_large_binary(kind) or kinds.is_binary_view(kind)):
            raise DataError(
                f"{file}: column {self._image!r} is {kind}, not encoded images (bytes); set {self._section}.image_column"
            )
        if self._label is None:
            return None
        if self._label not in schema.names:
            raise DataError(f"{file}: no column {self._label!r}; {allowed}: set {self._section}.label_column, or labels: false")
        kind = schema.field(self._label).type
        if kinds.is_dictionary(kind):
            kind = kind.value_type
        if not (kinds.is_integer(kind) or kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind)):
            raise DataError(
                f"{file}: column {self._label!r} is {kind}, not integers or strings; set {self._section}.label_column"
            )
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        return features.get(self._label, {}).get("names")


def _hidden(name: Path) -> bool:
    return any(part.startswith(".") for part in name.parts)


def _open(file: Path) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(file, buffer_size=2**20, pre_buffer=False)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{file}: not a Parquet file that can be read ({' '.join(str(error).split())}); fetch it again"
        ) from error


def _batches(file: Path, images: int, columns: list[str]) -> Iterator[Any]:
    import pyarrow

    try:
        for batch in _open(file).iter_batches(batch_size=images, columns=columns):
            yield batch.select(columns)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{file}: damaged ({' '.join(str(error).split())}); fetch it again") from error


def _content(cell: Any) -> bytes | Rejected:
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    return content if content is not None else Rejected("the row holds no image bytes")


def _class_name(label: int | str | None, names: list[str] | None) -> str | None:
    if isinstance(label, int) and names and 0 <= label < len(names):
        return names[label]
    return None if label is None else str(label)
