"""The model that MLflow serves: a table of seeds or latents in, images out.

MLflow imports this module by name (`loader_module`) from the code that was logged beside the weights, so nothing is
unpickled. It must therefore import only what `bundle.py` ships.
"""

from __future__ import annotations

import base64
import io
import json
import os
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from atelier.config.section import SEEDS, SEEDS_TEXT
from atelier.models.model import at_once, draw_latents, load_generator, to_uint8

if TYPE_CHECKING:
    from mlflow.models import ModelSignature
    from pandas import DataFrame

    from atelier.models.model import GeneratorInfo

BATCH = 64
COLUMNS = ("seed", "latent", "class", "truncation")
COUNT, MOST = "count", 1000  # column of a table besides, and how many images a row may ask for
FORMATS = ("array", "png")
ABOUT = "atelier"  # keyword of the text chunk that says how a PNG came to be


@dataclass(frozen=True)
class Row:
    """One image that was asked for: its latent [latent_dim], its label (0 without classes), its truncation, and `about`, the
    columns as they were understood: seed or latent, class (by name, where there are classes), truncation."""

    latent: torch.Tensor
    label: int
    truncation: float
    about: dict[str, Any]


class ServedGenerator:
    """`predict` paints one image for each row, or `count`. A row's images depend on that row alone (up to rounding)."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.generator = load_generator(folder, device)
        self.info: GeneratorInfo = self.generator.info
        self.device = device

    def predict(self, model_input: DataFrame, params: dict[str, Any] | None = None) -> Any:
        """uint8 images [N, H, W, C] for rows with these columns, of which a missing one or an empty cell means its default.

        seed: integer, from which latent and class are drawn. latent: latent_dim floats, instead of a seed. class: a name, or
        an index as a number (by default drawn from the seed). truncation: in (0, 1], by default 1; it brings the image nearer to
        the commonest one, for less variety and safer images (Brock et al. 2019, section 3.1; the family's `truncate`). count: how
        many images, of the seeds from the row's on; 1 to 1000, by default 1.

        With params {"format": "png"} N PNG files in base64 instead, each with its row and the weights' sha256 in a text chunk.
        MLflow drops other columns with a warning before they get here. Raises MlflowException (400 when served) naming the row.
        """
        if not set(COLUMNS) & set(model_input.columns):
            raise _invalid(
                f"the input has none of the columns {', '.join(COLUMNS)}; give a table with a seed or a latent in each row"
            )
        form = (params or {}).get("format", FORMATS[0])
        if form not in FORMATS:
            raise _invalid(f"params: format is {_shown(form)}; give {' or '.join(FORMATS)}")
        records = enumerate(model_input.to_dict("records"))
        rows = [self._row(number, one) for number, record in records for one in _several(number, record)]
        images = self.paint(rows)
        if form == "array":
            return images
        weights = {"weights": self.generator.sha256}
        files = (png(picture(image), weights | row.about) for image, row in zip(images, rows, strict=True))
        return [base64.b64encode(file).decode() for file in files]

    def read(self, records: Sequence[Mapping[Any, Any]]) -> list[Row]:
        """What rows with the columns of `predict` ask for. Raises MlflowException naming the first that asks wrongly."""
        return [self._row(number, record) for number, record in enumerate(records)]

    def paint(self, rows: Sequence[Row]) -> np.ndarray:
        """uint8 images [N, H, W, C] of N rows."""
        step = at_once(self.info.resolution, BATCH)
        images = [self._batch(rows[first : first + step]) for first in range(0, len(rows), step)]
        shape = (0, self.info.channels, self.info.resolution, self.info.resolution)
        return np.concatenate([np.zeros(shape, np.uint8), *images]).transpose(0, 2, 3, 1)

    @torch.inference_mode()
    def _batch(self, rows: Sequence[Row]) -> np.ndarray:
        latents = torch.stack([row.latent for row in rows]).to(self.device)
        labels = torch.tensor([row.label for row in rows], device=self.device) if self.info.conditional else None
        truncation = torch.tensor([row.truncation for row in rows], device=self.device)[:, None, None]
        code = self.generator.truncate(self.generator.code(latents, labels), labels, truncation)
        return to_uint8(self.generator.paint(code, labels))

    def _row(self, number: int, row: Mapping[Any, Any]) -> Row:
        about: dict[str, Any] = {}
        drawn = None
        seed: Any = row.get("seed")
        if not _empty(seed):
            if not _is_whole(seed) or int(seed) not in SEEDS:
                raise _invalid(f"row {number}: seed is {_shown(seed)}; give {SEEDS_TEXT}")
            about["seed"] = int(seed)
            drawn = draw_latents(self.info.latent_dim, self.info.shape.classes, 1, int(seed))
        if not _empty(row.get("latent")):
            latent = self._latent(number, row["latent"])
            about["latent"] = latent.tolist()
        elif drawn is not None:
            latent = drawn[0][0]
        else:
            raise _invalid(f"row {number}: give a seed, or a latent of {self.info.latent_dim} numbers")
        truncation: Any = 1.0 if _empty(row.get("truncation")) else row["truncation"]
        if not isinstance(truncation, Real) or not 0 < truncation <= 1:  # type: ignore[operator]
            raise _invalid(f"row {number}: truncation is {_shown(truncation)}; give a number above 0 and at most 1")
        label = self._label(number, row.get("class"), drawn)
        if self.info.conditional:
            about["class"] = self.info.classes[label]
        about["truncation"] = float(truncation)
        return Row(latent, label, float(truncation), about)

    def _latent(self, number: int, value: Any) -> torch.Tensor:
        try:
            latent = torch.as_tensor(np.asarray(value, dtype=np.float32))
        except (TypeError, ValueError, OverflowError):
            latent = torch.empty(0)
        if latent.shape != (self.info.latent_dim,) or not latent.isfinite().all():
            raise _invalid(f"row {number}: latent is {_shown(value)}; give {self.info.latent_dim} finite numbers")
        return latent

    def _label(self, number: int, value: Any, drawn: tuple[torch.Tensor, torch.Tensor | None] | None) -> int:
        classes = self.info.classes if self.info.conditional else []
        if _empty(value):
            if not classes:
                return 0
            if drawn is None or drawn[1] is None:
                raise _invalid(f"row {number}: a latent needs a class, one of {', '.join(classes)}")
            return int(drawn[1][0])
        if not classes:
            raise _invalid(f"row {number}: class is {_shown(value)}, but this generator has no classes")
        if isinstance(value, str) and value in classes:
            return classes.index(value)
        if _is_whole(value) and 0 <= value < len(classes):
            return int(value)
        allowed = f"a name ({', '.join(classes)}) or a number below {len(classes)}"
        raise _invalid(f"row {number}: class is {_shown(value)}; give {allowed}")


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> ServedGenerator:
    """MLflow's entry. The device is that of `model_config`, else MLFLOW_DEFAULT_PREDICTION_DEVICE, else the CPU."""
    device = (model_config or {}).get("device") or os.environ.get("MLFLOW_DEFAULT_PREDICTION_DEVICE") or "cpu"
    return ServedGenerator(Path(path), device)


def picture(image: np.ndarray) -> Image.Image:
    """A uint8 image [H, W, C] (C is 1 or 3) as a picture."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def png(picture: Image.Image, about: Mapping[str, Any]) -> bytes:
    """A PNG file that says how it came to be: `about` as ASCII JSON in its text chunk (tEXt) "atelier"."""
    text = PngInfo()
    text.add_text(ABOUT, json.dumps(about))
    file = io.BytesIO()
    picture.save(file, "PNG", pnginfo=text)
    return file.getvalue()


def signature(info: GeneratorInfo) -> ModelSignature:
    """The columns of `predict`, the shape of its images, and the parameter `format`, "array" or "png".

    The columns take anything, for of other types MLflow refuses an empty cell without saying where; `predict` checks each.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    columns: list[ColSpec | TensorSpec] = [ColSpec(AnyType(), name, required=False) for name in (*COLUMNS, COUNT)]
    images = TensorSpec(np.dtype(np.uint8), (-1, info.resolution, info.resolution, info.channels), name=None)
    params = ParamSchema([ParamSpec("format", DataType.string, FORMATS[0])])
    return ModelSignature(inputs=Schema(columns), outputs=Schema([images]), params=params)


def input_example(info: GeneratorInfo) -> DataFrame:
    """Two rows that show the columns that most callers use."""
    import pandas

    columns: dict[str, list[Any]] = {"seed": [0, 1], "truncation": [1.0, 0.7]}
    if info.conditional:
        columns["class"] = [info.classes[0], info.classes[-1]]
    return pandas.DataFrame(columns)


def _several(number: int, record: Mapping[Any, Any]) -> list[Mapping[Any, Any]]:
    """The row once for each image that it asks for, each with a seed of its own."""
    count: Any = record.get(COUNT)
    if _empty(count) or count == 1:
        return [record]
    if not _is_whole(count) or not 1 <= count <= MOST:
        raise _invalid(f"row {number}: count is {_shown(count)}; give a whole number from 1 to {MOST}")
    seed: Any = record.get("seed")
    if not _empty(record.get("latent")) or not _is_whole(seed):
        raise _invalid(f"row {number}: several images need a seed, which each of them counts up by one, and no latent")
    return [{**record, "seed": int(seed) + image} for image in range(int(count))]


def _empty(value: Any) -> bool:
    import pandas

    return value is None or (pandas.api.types.is_scalar(value) and pandas.isna(value))


def _is_whole(value: Any) -> bool:
    return isinstance(value, Real) and value % 1 == 0  # which no infinity does


def _shown(value: Any) -> str:
    return reprlib.repr(value)


def _invalid(message: str) -> Exception:
    from mlflow.exceptions import MlflowException

    return MlflowException.invalid_parameter_value(message)
