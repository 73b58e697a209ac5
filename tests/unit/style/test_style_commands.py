"""`python -m atelier.style` as its users call it: what is written, and what is refused with a remedy."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from atelier.errors import AtelierError
from atelier.extractors.looking import load_look
from atelier.models.model import load_generator, to_uint8
from atelier.networks.adain import AdaINGenerator
from atelier.style.__main__ import parser
from atelier.style.commands import mixture, read
from atelier.style.optimization import Choices, optimize
from tests.support.style_tasks import picture_file, style_checkpoint


def run(*arguments: str | Path) -> None:
    args = parser().parse_args(list(map(str, arguments)))
    args.command(args)


@pytest.fixture(name="files", scope="module")
def files_fixture(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pictures")
    return {name: picture_file(folder / f"{name}.png", seed) for seed, name in enumerate(("boats", "waves", "tiles"))}


@pytest.fixture(name="checkpoint", scope="module")
def checkpoint_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return style_checkpoint(tmp_path_factory.mktemp("models") / "any")


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_optimised_pictures_come_nearer_to_the_style(optimizer: str, files: dict[str, Path], tmp_path: Path) -> None:
    output = tmp_path / "painted.png"
    run(
        "optimize", "--content", files["boats"], "--style", files["waves"], "--output", output, "--network", "efficientnet_lite0",
        "--side", "48", "--steps", "16", "--optimizer", optimizer,
    )  # fmt: skip
    with Image.open(output) as picture:
        assert picture.size == (48, 40), "it keeps its proportions"
    rows = list(csv.DictReader(output.with_suffix(".csv").open()))
    assert [row["evaluation"] for row in rows] == [str(number) for number in range(1, len(rows) + 1)] and len(rows) >= 16
    layers = ["stem", "stage1", "stage2", "stage3", "stage4"]
    assert list(rows[0]) == ["evaluation", "total", "content", "style", "variation", *layers]
    for row in rows:
        assert math.isclose(float(row["style"]), sum(float(row[name]) for name in layers) / 5, rel_tol=1e-4)
    assert float(rows[0]["content"]) == 0 and float(rows[-1]["total"]) < 0.9 * float(rows[0]["total"])
    chart = output.with_suffix(".svg").read_text()
    assert (
        chart.startswith("<svg xmlns=") and chart.count("<polyline") == 6 and "12 evaluations" in chart and "images" not in chart
    )


def test_losses_that_are_no_numbers_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    look = load_look("efficientnet_lite0", "known", "", "--")
    picture = torch.full((1, 3, 32, 32), 0.5)
    picture[0, 0, 0, 0] = math.nan
    with pytest.raises(AtelierError, match="no numbers any more; lower --style-weight"):
        optimize(look, picture, torch.zeros(1, 3, 32, 32), Choices(steps=2))


def test_kept_colors_are_those_of_the_content(files: dict[str, Path], checkpoint: Path) -> None:
    generator = load_generator(checkpoint)
    assert isinstance(generator, AdaINGenerator)
    content, style = read(files["boats"], 48, 4), read(files["waves"], 48, 4)
    seen: list[torch.Tensor] = []
    generator.encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    with torch.inference_mode():
        mixture(generator, content, [style], [1.0], keep_colors=True)
    recolored = seen[1].flatten(2)
    torch.testing.assert_close(recolored.mean(dim=2), content.flatten(2).mean(dim=2), atol=0.03, rtol=0)
    assert (style.flatten(2).mean(dim=2) - content.flatten(2).mean(dim=2)).abs().max() > 0.05


def test_shares_and_masks_say_where_each_style_goes(files: dict[str, Path], checkpoint: Path, tmp_path: Path) -> None:
    def made(*options: str | Path) -> np.ndarray:
        output = tmp_path / "made.png"
        run("mix", checkpoint, "--content", files["boats"], "--output", output, "--side", "48", *options)
        with Image.open(output) as picture:
            return np.asarray(picture).astype(int)

    both: list[str | Path] = ["--style", files["waves"], files["tiles"]]
    waves, tiles = (made("--style", files[name]) for name in ("waves", "tiles"))
    assert waves.shape == (40, 48, 3) and np.abs(waves - tiles).max() > 8
    np.testing.assert_allclose(made(*both, "--shares", "3", "0"), waves, atol=1)
    halves = made(*both)
    assert np.abs(halves - waves).max() > 3 < np.abs(halves - tiles).max()
    left, nowhere = np.zeros((40, 48), np.uint8), np.zeros((40, 48), np.uint8)
    left[:, :24] = 255
    masks = {"left": left, "right": 255 - left, "nowhere": nowhere}
    for name, values in masks.items():
        Image.fromarray(values).save(tmp_path / f"{name}.png")
    parts = made(*both, "--mask", tmp_path / "left.png", tmp_path / "right.png")
    unstyled = made("--style", files["waves"], "--alpha", "0")
    np.testing.assert_allclose(made("--style", files["waves"], "--mask", tmp_path / "nowhere.png"), unstyled, atol=1)
    near = slice(0, 8), slice(40, 48)  # beyond what the decoder sees across the border
    for place, whole in zip(near, (waves, tiles), strict=True):
        assert np.abs(parts[:, place] - whole[:, place]).mean() < 0.5 * np.abs(waves - tiles)[:, place].mean()


def test_a_sheet_shows_what_mix_makes(files: dict[str, Path], checkpoint: Path, tmp_path: Path) -> None:
    both: list[str | Path] = ["--style", files["waves"], files["tiles"]]
    run("sheet", checkpoint, "--content", files["boats"], *both, "--output", tmp_path / "sheet.png", "--side", "48")
    with Image.open(tmp_path / "sheet.png") as picture:
        sheet = np.asarray(picture).astype(int)
    assert sheet.shape == (2 * 40 + 1, 4 * 48 + 3, 3)
    cells = [sheet[41 * row : 41 * row + 40, 49 * column : 49 * column + 48] for row in range(2) for column in range(4)]
    first = both[:2]
    for cell, options in {3: first, 4: [*first, "--alpha", "0.5"], 5: both, 7: [*first, "--keep-colors"]}.items():
        output = tmp_path / f"{cell}.png"
        run("mix", checkpoint, "--content", files["boats"], *options, "--output", output, "--side", "48")
        with Image.open(output) as picture:
            np.testing.assert_allclose(cells[cell], np.asarray(picture).astype(int), atol=1)
    right = slice(0, 40), slice(42, 48)  # beyond what the decoder sees across the border
    assert np.abs(cells[6][right] - cells[3][right]).mean() < 2 < np.abs(cells[6][:, :6] - cells[3][:, :6]).mean()
    for cell, name in enumerate(("boats", "waves", "tiles")):
        np.testing.assert_allclose(cells[cell], to_uint8(read(files[name], 48, 4))[0].transpose(1, 2, 0).astype(int), atol=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--style", "WAVES", "--shares", "0.5", "0.5"], "--shares: 2 for 1 styles; give one for each"),
        (["--style", "WAVES", "--mask", "WAVES", "WAVES"], "--mask: 2 masks for 1 styles"),
        (["--style", "WAVES", "--side", "16"], "16 x 12 px are left of it; give a larger --side"),
        (["--style", "nowhere.png"], "nowhere.png: cannot be read as a picture"),
    ],
)
def test_refusals(options: list[str], message: str, files: dict[str, Path], checkpoint: Path, tmp_path: Path) -> None:
    given = [str(files["waves"]) if one == "WAVES" else one for one in options]
    with pytest.raises(AtelierError, match=message):
        run("mix", checkpoint, "--content", files["boats"], "--output", tmp_path / "made.png", *given)


def test_a_generator_of_one_style_has_none_to_mix(files: dict[str, Path], tmp_path: Path) -> None:
    johnson = style_checkpoint(tmp_path / "johnson", "johnson")
    with pytest.raises(AtelierError, match="a generator of johnson, which has no styles to mix; give one of adain"):
        run("mix", johnson, "--content", files["boats"], "--style", files["waves"], "--output", tmp_path / "made.png")
