"""Parquet with columns of encoded images: bytes, or the struct {bytes, path} that Hugging Face's datasets write.

Recordings are stored as images are, one a row or a list; captions are strings or lists of strings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from atelier.data.errors import DataError, Rejected
from atelier.data.process import Content, Contents, RecordField
from atelier.data.sources.base import CHUNK_BYTES, Item, ListSource, spread
from atelier.data.sources.folders import part_of_file, split_of_files
from atelier.io.files import parse_json
from atelier.io.storage import LocalStorage


class ParquetSource(ListSource):
    """One file, or every `*.parquet` below a folder but hidden ones. Rows are streamed in small batches, never a whole file."""

    kind = "parquet"
    description = "Parquet with an image column"

    def __init__(
        self,
        path: str,
        images: str | Sequence[RecordField],
        label_column: str | None,
        section: str,
        split: str = "draw",
    ) -> None:
        """`images` is the column of the only image, or the fields of a record; `split` is as in the settings."""
        root = Path(path)
        if root.is_dir():
            found = {entry.name: root / entry.handle for entry in LocalStorage(root).entries() if entry.name.endswith(".parquet")}
        else:
            found = {root.name: root} if root.is_file() else {}
        self._files = dict(sorted(found.items()))
        if not self._files:
            raise DataError(f"{section}.path {path!r}: no Parquet file there; correct the path, or bring it with `dvc pull`")
        self._single, self._key = isinstance(images, str), "image_column" if isinstance(images, str) else "fields.NAME.from"
        self._fields = [] if isinstance(images, str) else list(images)
        self._images = [images] if isinstance(images, str) else [field.place for field in self._fields]
        self._label, self._section = label_column, section
        self._kinds = {field.place: field.kind for field in self._fields if field.annotated}
        self._classes = {name: self._checked(file) for name, file in self._files.items()}
        self._counts = {name: _open(file).metadata.num_rows for name, file in self._files.items()}
        self.count = sum(self._counts.values())
        self.facts = split_of_files(self._files)
        if split != "draw" and not self.facts:
            raise DataError(
                f"{section}.path {path!r}: its files have no split in their names, one of training images (train-00000.parquet) "
                f"and one beside it (test-00000.parquet), as {section}.split: {split} asks for; set {section}.split: draw"
            )
        held_out = self.facts["held_out"].split(", ") if self.facts else []
        self._held_out = {name for name in self._files if part_of_file(name) in held_out}

    def listing(self) -> Iterator[tuple[str, int]]:
        return iter(self._counts.items())

    def chunks(self, images: int, share: range) -> Iterator[list[Item]]:
        columns = self._images + ([self._label] if self._label else [])
        for (name, file), rows in zip(self._files.items(), spread(share, self._counts.values()), strict=True):
            row = rows.start
            for values in _batches(file, rows, images, columns, len(self._images)):
                cells = list(zip(*values[: len(self._images)], strict=True))
                labels = values[-1] if self._label else [None] * len(cells)
                yield [
                    Item(
                        f"{name}#{row + offset}",
                        self._contents(cell),
                        _class_name(label, self._classes[name]),
                        name in self._held_out,
                    )
                    for offset, (cell, label) in enumerate(zip(cells, labels, strict=True))
                ]
                row += len(cells)

    def _contents(self, cells: Sequence[Any]) -> Content | Contents:
        if self._single:
            return _content(cells[0])
        return {field.name: self._of_kind(field, cell) for field, cell in zip(self._fields, cells, strict=True)}

    @staticmethod
    def _of_kind(field: RecordField, cell: Any) -> Content | list[str] | dict[str, bytes]:
        if not field.annotated:
            return _content(cell)
        several = [one for one in (cell if isinstance(cell, list) else [cell]) if one is not None]
        if field.kind == "text":
            return several or Rejected("the row holds no caption")
        contents = [_content(one, "recording") for one in several] or [Rejected("the row holds no recording")]
        whole = {f"recording {place}": one for place, one in enumerate(contents, 1) if not isinstance(one, Rejected)}
        return whole if len(whole) == len(contents) else next(one for one in contents if isinstance(one, Rejected))

    def _checked(self, file: Path) -> list[str] | None:
        """Checks all columns; the class names that Hugging Face keeps in the schema, if any."""
        import pyarrow.types as kinds

        schema = _open(file).schema_arrow
        allowed = f"its columns are {', '.join(schema.names)}"
        for column in self._images:
            if column not in schema.names:
                raise DataError(f"{file}: no column {column!r}; {allowed}: set {self._section}.{self._key}")
            kind: Any = schema.field(column).type
            if column in self._kinds and (kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_list_view(kind)):
                kind = kind.value_type
            if self._kinds.get(column) == "text":
                if not _is_text(kind):
                    raise DataError(
                        f"{file}: column {column!r} is {kind}, not captions (strings); set {self._section}.{self._key}"
                    )
                continue
            if kinds.is_struct(kind) and kind.get_field_index("bytes") >= 0:
                kind = kind.field("bytes").type
            if not (kinds.is_binary(kind) or kinds.is_large_binary(kind) or kinds.is_binary_view(kind)):
                what = "recordings" if column in self._kinds else "encoded images"
                raise DataError(f"{file}: column {column!r} is {kind}, not {what} (bytes); set {self._section}.{self._key}")
        if self._label is None:
            return None
        if self._label not in schema.names:
            raise DataError(f"{file}: no column {self._label!r}; {allowed}: set {self._section}.label_column, or labels: false")
        kind = schema.field(self._label).type
        if not (kinds.is_integer(kind) or _is_text(kind) or (kinds.is_dictionary(kind) and kinds.is_integer(kind.value_type))):
            raise DataError(
                f"{file}: column {self._label!r} is {kind}, not integers or strings; set {self._section}.label_column"
            )
        return _class_names(schema, self._label, file)


def _is_text(kind: Any) -> bool:
    """Whether a column's type is that of strings, also of a dictionary of them."""
    import pyarrow.types as kinds

    if kinds.is_dictionary(kind):
        kind = kind.value_type
    return kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind)


def _class_names(schema: Any, column: str, file: Path) -> list[str] | None:
    try:
        known = parse_json((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = known.get("info", {}).get("features", {}).get(column, {}).get("names")
        if names is None or (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            return names
    except (ValueError, AttributeError):
        pass
    raise DataError(f"{file}: its `huggingface` metadata, which names the classes, is damaged; fetch it again")


def _open(file: Path) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(file, buffer_size=2**20, pre_buffer=False)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{file}: not a Parquet file that can be read ({' '.join(str(error).split())}); fetch it again"
        ) from error


def _batches(file: Path, rows: range, images: int, columns: list[str], pictures: int) -> Iterator[list[list[Any]]]:
    """The values of each column in `rows`, of at most `images` rows and about CHUNK_BYTES at a time.

    The first `pictures` columns are those of images. Row groups without such a row are not read; the others are, up to their last
    one.
    """
    import pyarrow

    try:
        parquet = _open(file)
        groups = [parquet.metadata.row_group(number) for number in range(parquet.num_row_groups)]
        for number, wanted in enumerate(spread(rows, [group.num_rows for group in groups])):
            if not wanted:
                continue
            step = max(1, min(images, CHUNK_BYTES // _row_bytes(groups[number], columns[:pictures])))
            first = 0
            for batch in parquet.iter_batches(batch_size=step, row_groups=[number], columns=columns):
                before, behind = max(0, wanted.start - first), min(len(batch), wanted.stop - first)
                if before < behind:
                    yield [column.to_pylist() for column in batch.slice(before, behind - before).select(columns).columns]
                first += len(batch)
                if first >= wanted.stop:
                    break
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: damaged ({' '.join(str(error).split())}); fetch it again") from error


def _row_bytes(group: Any, images: Sequence[str]) -> int:
    """Mean bytes of a record's images, at least 1, as the row group states them."""
    parts = [group.column(index) for index in range(group.num_columns)]
    starts = tuple(f"{column}." for column in images)
    size = sum(part.total_uncompressed_size for part in parts if f"{part.path_in_schema}.".startswith(starts))
    return max(1, size // max(1, group.num_rows))


def _content(cell: Any, what: str = "image") -> bytes | Rejected:
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if content is None and isinstance(cell, dict) and cell.get("path"):
        return Rejected(f"the row has no bytes, only the path {cell['path']!r}; write the set again with its {what}s embedded")
    return Rejected(f"the row holds no {what} bytes") if content is None else content


def _class_name(label: int | str | None, names: list[str] | None) -> str | None:
    if isinstance(label, int) and names and label < len(names):
        return names[label] if label >= 0 else None  # -1 is how Hugging Face's datasets say "not known"
    return None if label is None else str(label)
