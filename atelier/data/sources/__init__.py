"""Sources of images. `open_source` finds the one that the settings name; each kind has its own file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atelier.data.sources.base import Source

if TYPE_CHECKING:
    from atelier.config.data import DataSettings
    from atelier.data.process import Recipe


def open_source(settings: DataSettings, recipe: Recipe) -> Source:
    """The source that `settings.source` names.

    Raises DataError or StorageError where it is missing, of another kind, or cannot be used.
    """
    # Imported here: a worker that unpickles one source needs none of the others.
    kind, _, name = settings.source.partition(":")
    section = recipe.section
    placed = [field for field in recipe.fields if field.place]
    if kind in ("folder", "zip", "s3") and placed:
        from atelier.data.sources.records import RecordSource

        return RecordSource(kind, settings.path, recipe.max_bytes, section, settings.split, placed)
    if kind in ("folder", "zip", "s3"):
        from atelier.data.sources.tree import TreeSource

        return TreeSource(kind, settings.path, recipe.max_bytes, section, settings.split)
    if kind == "idx":
        from atelier.data.sources.idx import IdxSource

        return IdxSource(settings.path, settings.labels, recipe.max_pixels, section)
    if kind == "parquet":
        from atelier.data.sources.parquet import ParquetSource

        label_column = settings.label_column if settings.labels else None
        return ParquetSource(settings.path, placed or settings.image_column, label_column, section, settings.split)
    if kind == "webdataset":
        from atelier.data.sources.webdataset import WebDatasetSource

        return WebDatasetSource(settings.path, settings.label_column if settings.labels else None, recipe.max_bytes, section)
    if kind == "lmdb":
        from atelier.data.sources.lmdb import LmdbSource

        return LmdbSource(settings.path, recipe.resolution, recipe.max_bytes, section)
    if kind == "torchvision":
        from atelier.data.sources.torchvision_sets import TorchvisionSource

        return TorchvisionSource(name, settings.path, recipe)
    from atelier.data.sources.embedded import digits_1797, mnist_5k

    return {"mnist-5k": mnist_5k, "digits-1797": digits_1797}[kind]()
