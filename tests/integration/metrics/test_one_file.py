"""A metric of one's own, added as a file and named in params.yaml, goes with `dvc repro` from the images to the gate."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.clone import make_clone

BRIGHTNESS = '''"""The share of an image that is bright."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atelier.config.metrics import Value
from atelier.metrics.metric import Metric, RealImages, Results, View

if TYPE_CHECKING:
    from atelier.tasks.sampling import Sample

BRIGHT = Value(
    "bright_share", "Bright pixels", higher_is_better=False, form="share", decides=True, limit="max_bright_share",
    limit_text="share of pixels above middle gray, above which it is too bright",
)


class Bright:
    width = 1

    def read(self, sample: Sample) -> np.ndarray:
        return (sample.images > 127).mean(axis=(1, 2, 3), dtype=np.float32)[:, None]


class Brightness(Metric):
    title = "share of bright pixels"
    values = (BRIGHT,)

    def reader(self, real: RealImages) -> Bright:
        return Bright()

    def __call__(self, view: View) -> Results:
        error = float(view.columns.std(ddof=1)) / view.count**0.5
        return Results([view.measurement(BRIGHT, float(view.columns.mean()), error, "above 127")])
'''


def test_it_is_measured_reported_and_judged(tmp_path: Path) -> None:
    clone = make_clone(tmp_path)
    (clone.folder / "atelier" / "metrics" / "kinds" / "brightness.py").write_text(BRIGHTNESS)
    params = clone.folder / "params.yaml"
    text = params.read_text().replace("- kernel\n", "- brightness\n")
    text = text.replace("primary: frechet", "primary: bright_share\n  max_bright_share: 0.99")
    params.write_text(text)
    said = clone.run("python", "-m", "atelier.config", "explain", "gate.max_bright_share")
    assert "above which it is too bright; 1.0 for no such ceiling" in said and "here: 0.99" in said
    load = "import sys; from atelier.config.settings import load; load(); print(sorted({'torch', 'timm'} & {*sys.modules}))"
    assert clone.run("python", "-c", load).strip() == "[]", "settings are read without PyTorch"
    output = clone.dvc("repro", "register_base")
    folder = clone.folder / "evaluations" / "base"
    assert 0 < json.loads((folder / "metrics.json").read_text())["bright_share"] < 1
    (identity,) = [
        one["identity"] for one in json.loads((folder / "evaluation.json").read_text())["measurements"]
        if one["identity"]["kind"] == "bright_share"
    ]  # fmt: skip
    assert (identity["metric"], identity["extractor"], identity["parameters"]) == ("bright_share", "none", "above 127")
    assert "<th>Bright pixels<div" in (folder / "report.html").read_text()
    assert "digits version 1: promoted, since it passes every floor" in output
