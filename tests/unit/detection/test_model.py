"""A detector as a file: what is written is read again, and nothing that is damaged passes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atelier.data.process import process
from atelier.detection import model
from atelier.detection.detectors import Detector, Linear, Network, Residuals, Spectrum
from atelier.detection.model import INFO, WEIGHTS, DetectorError
from tests.support.detectors import GENERATED, REAL, write_detector
from tests.support.upsampled import SIDE


@pytest.mark.parametrize("detector", [Network(1, 640), Spectrum(), Residuals()], ids=lambda one: one.kind)
def test_what_is_written_is_read_again(detector: Detector, tmp_path: Path) -> None:
    done = write_detector(tmp_path, detector)
    loaded, images = model.load(tmp_path), REAL[0, :9]
    assert np.array_equal(loaded.scores(images), done.scores(done.rows(images)))
    first = {file: (tmp_path / file).read_bytes() for file in (WEIGHTS, INFO)}
    write_detector(tmp_path, detector)
    assert first == {file: (tmp_path / file).read_bytes() for file in (WEIGHTS, INFO)}


def test_the_one_line_of_earlier_files_gives_its_scores() -> None:
    random = np.random.default_rng(0)
    rows, slope, mean, scale = random.normal(size=(5, 3)), random.normal(size=3), random.normal(size=3), np.array([1.0, 2.0, 3.0])
    lines = Linear.lines_of({"mean": mean, "scale": scale, "slope": slope, "offset": np.array([0.5])})
    assert np.allclose(lines.scores(rows), (rows - mean) / scale @ slope + 0.5)


def test_lines_that_do_not_fit_are_refused() -> None:
    tensors = {"mean": np.zeros(3), "scale": np.ones(3), "slopes": np.zeros((3, 3)), "offsets": np.zeros(3)}
    with pytest.raises(ValueError, match="3 outcomes"):
        Linear.lines_of(tensors)


def test_a_file_is_seen_as_its_pixels(tmp_path: Path) -> None:
    write_detector(tmp_path, Spectrum())
    loaded = model.load(tmp_path)
    expected = loaded.scores(GENERATED[0, :1])[0]
    found = loaded.look(_square(loaded, Image.fromarray(GENERATED[0, 0, 0])))
    assert found.score == expected and found.generated == (expected > 0.25)
    assert found.probability == pytest.approx(1 / (1 + np.exp(-expected)))


def test_what_is_transparent_is_white_and_what_is_large_is_cropped_and_shrunk(tmp_path: Path) -> None:
    write_detector(tmp_path, Spectrum())
    loaded = model.load(tmp_path)
    white = loaded.scores(np.full((1, 1, SIDE, SIDE), 255, np.uint8))[0]
    assert loaded.look(_square(loaded, Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0)))).score == white
    assert loaded.look(_square(loaded, Image.new("RGB", (5 * SIDE, 3 * SIDE), "white"))).score == white


def _square(loaded: model.LoadedDetector, picture: Image.Image) -> np.ndarray:
    """The picture as a file, by the detector's recipe."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    recipe = loaded.recipe
    pixels = process(file.getvalue(), recipe).pixels
    return np.frombuffer(pixels, np.uint8).reshape(recipe.resolution, recipe.resolution, recipe.channels)


def test_damage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match=r"no detector here \(detector.json is missing\)"):
        model.load(tmp_path)
    write_detector(tmp_path, Spectrum())
    whole = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DetectorError, match="damaged or replaced, its sha256 is"):
        model.load(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(DetectorError, match="missing or damaged"):
        model.load(tmp_path)
    (tmp_path / INFO).write_text("{")
    with pytest.raises(DetectorError, match="cannot be read"):
        model.load(tmp_path)


def test_weights_of_another_kind_are_refused(tmp_path: Path) -> None:
    write_detector(tmp_path, Spectrum(), kind="network")
    with pytest.raises(DetectorError, match="not the tensors of a detector of kind network"):
        model.load(tmp_path)
    info = json.loads((tmp_path / INFO).read_text())
    (tmp_path / INFO).write_text(json.dumps(info | {"kind": "oracle"}))
    with pytest.raises(DetectorError, match="no detector of this version of Atelier: kind"):
        model.load(tmp_path)
