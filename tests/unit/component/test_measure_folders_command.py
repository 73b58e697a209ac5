"""`components.evaluate` on two folders or zips: what it prints, and what it refuses in a line."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atelier.io import progress
from tests.support import commands
from tests.support.measured_folders import COUNT, REAL, draw, measure, zipped


def run(*arguments: object) -> int:
    """Runs `python -m components.evaluate` in this process and returns its exit code."""
    return commands.run("evaluate", *map(str, arguments))


def test_a_distance_of_few_images_is_said_to_be_bias(
    generated: Path, reference: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--generated", generated, "--reference", reference, "--cache", cache) == 0
    shown = " ".join(capsys.readouterr().out.split())
    said = (
        r"note: most of frechet_efficientnet_lite0 [\d.]+ is bias, for two samples of real images in the same numbers "
        r"\(50 and 60\) are about [\d.]+ apart; measure more images, or go by the kernel distance, which has no bias"
    )
    assert re.search(said, shown)
    chosen = ("--reference", draw(tmp_path / "five", 5, 3), "--cache", cache, "--metrics", "frechet")
    assert run("--generated", generated, *chosen) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "may be mostly bias: 50 and 5 images are few for 1,280 features, too few to say by how much; measure more" in shown


@pytest.mark.parametrize(
    ("counts", "metrics", "said"),
    [
        (
            (2, REAL),
            "frechet,kernel,prdc",
            "prdc needs at least 6 images in each set, and there are 2 generated and 60 reference",
        ),
        ((COUNT, 5), "prdc", "prdc needs at least 6 images in each set, and there are 50 generated and 5 reference images"),
        ((3, REAL), "frechet_infinity", "frechet_infinity needs at least 4 images generated, and there are 3 generated and 60"),
        ((19, REAL), "inception_score", "inception_score needs at least 20 images generated, and there are 19 generated and 60"),
    ],
)
def test_sets_too_small_for_a_metric_are_refused_before_anything_is_looked_at(
    counts: tuple[int, int], metrics: str, said: str, tmp_path: Path, passes: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (draw(tmp_path / str(number), count, number) for number, count in enumerate(counts))
    assert run("--generated", first, "--reference", second, "--metrics", metrics) == 1
    shown = capsys.readouterr().err
    assert f"--metrics: {said}" in shown and "add images, or take" in shown and "evaluate." not in shown
    assert passes == []


def test_json_is_all_that_stdout_holds(
    generated: Path,
    reference: Path,
    cache: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)  # without a params.yaml
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    assert run("--generated", generated, "--reference", zipped(reference), "--cache", cache, "--device", "cpu", "--json") == 0
    captured = capsys.readouterr()
    printed: dict[str, Any] = json.loads(captured.out)
    assert printed["values"] == measure(generated, reference, cache).flat
    assert list(printed["values"]) == [
        "frechet_efficientnet_lite0", "real_frechet_efficientnet_lite0", "kernel_efficientnet_lite0", "precision", "recall",
        "density", "coverage", "kernel_efficientnet_lite0_std",
    ]  # fmt: skip
    first = printed["measurements"][0]
    assert first["identity"]["metric"] == "frechet_efficientnet_lite0" and first["standard_error"] > 0
    low, high = first["interval"]
    assert low < first["value"] < high
    assert printed["notes"][0].startswith("most of frechet_efficientnet_lite0 ") and printed["notes"][1:] == [
        "generated: modes: 24 L, 26 RGB; all are read as RGB", "reference: modes: 30 L, 30 RGB; all are read as RGB",
    ]  # fmt: skip
    assert "features of generated images: " in captured.err and "\r" not in captured.err
    assert list(tmp_path.iterdir()) == []


def test_the_table_says_what_was_measured(
    generated: Path, reference: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = "frechet,per_class,prdc"
    code = run("--generated", generated, "--reference", reference, "--metrics", metrics, "--cache", cache, "--device", "cpu")
    assert code == 0
    printed = capsys.readouterr().out
    measured = measure(generated, reference, cache, *metrics.split(","))
    for one in measured.measurements:
        assert one.name in printed
    distance = measured["frechet_efficientnet_lite0"]
    assert f"{distance.value:.4g}" in printed and f"{measured['coverage'].value:.1%}" in printed
    for said in (
        "samples: 50\n", "seed: 0\n", f"weights: {distance.identity.weights}\n", f"reference: {distance.identity.reference}\n",
        "reference_count: 50; 60 (frechet_efficientnet_lite0, real_frechet_efficientnet_lite0, worst_class_frechet_eff",
        "parameters: 5 neighbours (precision, recall, density, coverage); ddof 1 (frechet_efficientnet_lite0); ",
        f"distance of class light: {measured.class_distances['light']:.6g}\n", "note: generated: modes: 24 L, 26 RGB",
    ):  # fmt: skip
        assert said in printed


def test_the_published_inception_up_to_a_layer(
    generated: Path, reference: Path, asset: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = asset("weights/inception-2015-12-05-upto-Mixed_7a.pth")
    code = run(
        "--generated", generated / "dark", "--reference", reference / "dark", "--metrics", "frechet,kernel", "--extractor",
        "inception", "--weights", weights, "--layer", 768, "--cache", tmp_path, "--device", "cpu", "--json",
    )  # fmt: skip
    assert code == 0
    assert {"frechet_inception", "kernel_inception"} <= set(json.loads(capsys.readouterr().out)["values"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--generated", "a"], "give --reference, too"),
        (["--json"], "give --generated and --reference, too"),
        (["--generated", "a", "--reference", "b", "--data", "c"], "--generated, --reference and --data do not go together"),
        (["--checkpoint", "a", "--data", "b", "--output", "c", "--extractor", "inception"], "--extractor and --checkpoint, "),
        (["--generated", "a", "--reference", "b", "--set", "train.seed=1"], "--generated, --reference and --set do not"),
        (["--checkpoint", "a"], "give --data, --output (or --generated and --reference)"),
        ([], "give --checkpoint, --data, --output (or --generated and --reference)"),
        (["--generated", "a", "--reference", "b", "--extractor", "dinov2"], "give --weights FILE: dinov2 comes with none"),
        (["--generated", "a", "--reference", "b", "--seed", "-1"], "'-1' is not a whole number from 0 to"),
        (
            ["--metrics", "frechet,fid"],
            "there is no metric 'fid'; choose from frechet, frechet_infinity, inception_score, kernel, membership, memorised",
        ),
        (["--metrics", ","], "metrics are none; name one or more"),
        (["--metrics", "prdc,prdc"], "metrics are prdc, prdc; name one or more, each once"),
        (["--metrics", "frechet,classifier"], "classifier cannot be measured from sets of images: it needs a packed set"),
        (["--metrics", "path_length"], "path_length cannot be measured from sets of images: it needs the generator"),
    ],
)
def test_a_wrong_command_line_says_what_to_give(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert said in " ".join(captured.err.split()) and captured.out == ""


def test_pillow_says_nothing_between_the_progress_bars(generated: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    folder = draw(tmp_path / "clear", 12, seed=0)
    for file in folder.rglob("*.png"):
        Image.open(file).convert("RGB").quantize(16).save(file, transparency=bytes(range(16)))
    assert run("--generated", folder, "--reference", generated, "--cache", tmp_path / "cache", "--device", "cpu") == 0
    assert not [warning for warning in recwarn if "PIL" in warning.filename]


def test_bad_images_are_one_line(generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut, file = tmp_path / "cut", io.BytesIO()
    draw(cut, 7, seed=0)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file, "PNG")
    (cut / "dark" / "000.png").write_bytes(file.getvalue()[:1000])
    for broken, said in ((tmp_path / "nowhere", "no such folder or zip"), (cut, "1 image of 7 cannot be read: dark/000.png (")):
        code = run("--generated", generated, "--reference", broken, "--cache", tmp_path / "cache", "--device", "cpu")
        captured = capsys.readouterr()
        assert code == 1 and captured.out == ""
        (line,) = [line for line in captured.err.splitlines() if line.startswith("error: ")]
        assert line.startswith(f"error: {broken}: ") and said in line
