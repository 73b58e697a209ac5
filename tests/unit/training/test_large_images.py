"""Images of 512 and 1024 px: every family moves, a run goes from files to a generator, and what is watched stays small."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from atelier.config import settings
from atelier.config.data import DataSettings
from atelier.config.section import SettingsError
from atelier.data.pack import pack
from atelier.data.packed import PackedDataset
from atelier.io.pictures import LONGEST, grid
from atelier.models.model import at_once, from_uint8, load_generator, sample, to_uint8
from atelier.networks.layers import ImageShape
from atelier.tasks.generation.probe import COMPARED, GenerationProbe, reduced
from atelier.tasks.generation.task import Generation
from tests.support.driver import tiny
from tests.support.examples import Given
from tests.support.large_images import SMALL
from tests.support.runs import train as run_generation
from tests.support.small import PARAMS
from tests.support.small_models import model


def test_from_files_to_a_generator(
    tmp_path: Path, data_settings: Callable[..., DataSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that are larger, smaller and of other shapes become 512 px, and a real run trains, measures and generates."""
    monkeypatch.setattr("atelier.tasks.generation.probe.COMPARED", 12)  # fewer are watched, to be quick
    random = np.random.default_rng(0)
    (tmp_path / "raw").mkdir()
    for number, size in enumerate(((1200, 900), (512, 512), (300, 700), (640, 640))):
        image = Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
        image.save(tmp_path / "raw" / f"{number}.png")
    chosen = data_settings(source="folder", path=str(tmp_path / "raw"), labels=False, resolution=512, holdout=0.0)
    assert pack(chosen, tmp_path / "packed", 1, progress=False).count == 4
    data = PackedDataset(tmp_path / "packed")
    assert data.images(np.arange(4)).shape == (4, 1, 512, 512)
    small = ["data.base.resolution=512", "data.target.resolution=512", "model.architecture=dcgan", "model.dcgan.width=1"]
    train = tiny(
        *small, "train.images=4", "train.batch=2", "train.augment=none", "train.evaluate_every=4", "model.conditional=false"
    )
    info = run_generation(train, data, tmp_path)
    assert info.resolution == 512
    (images,) = sample(load_generator(tmp_path / "model"), 3, 0)
    assert images.shape == (3, 1, 512, 512)
    with Image.open(tmp_path / "model" / "grids" / "000000004.png") as sheet:
        assert max(sheet.size) <= LONGEST, "ten images in a row"


class Counted(torch.nn.Module):
    """Paints a tiny generator's images, and notes how many at once."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner, self.counts = inner, list[int]()

    def forward(self, z: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        self.counts.append(len(z))
        return self.inner(z, label)


@pytest.mark.parametrize(("family", "group"), [("dcgan", 1), ("stylegan2", 2), ("progan", 5)])
def test_what_is_watched_is_painted_and_judged_in_parts(family: str, group: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of a discriminator are filled by neighbors; without groups the parts give what the whole gives."""
    chosen = model(family, False, 32, **SMALL[family] | ({"group": group} if group > 1 else {}))
    torch.manual_seed(0)
    task = Generation(chosen, tiny("model.conditional=false").train, ImageShape(32, 1, 0))
    drawn = from_uint8(torch.randint(0, 256, (2 * COMPARED, 1, 32, 32), dtype=torch.uint8))
    probe = GenerationProbe(task.generator, task.discriminator, 0, Given(*drawn.split(COMPARED)))
    generator = Counted(task.generator.eval())
    averages = {"generator": generator}
    whole, sheet = probe.measure(averages), probe.preview(averages)
    assert generator.counts == [COMPARED, 80], "up to 256 px all at once"
    generator.counts.clear()
    monkeypatch.setattr("atelier.tasks.generation.probe.at_once", lambda side, most: 8)
    parts = probe.measure(averages)
    step = 8 // group * group
    assert generator.counts == [step] * (COMPARED // step) + [COMPARED % step] * (COMPARED % step > 0)
    drawn_whole, drawn_parts = (np.asarray(Image.open(io.BytesIO(png))).astype(int) for png in (sheet, probe.preview(averages)))
    assert drawn_whole.shape == drawn_parts.shape and np.abs(drawn_whole - drawn_parts).max() <= 1, "but for rounding"
    assert {"diversity", "mode_coverage", "auc_train_heldout"} < whole.keys() == parts.keys()
    if group == 1:
        assert parts == pytest.approx(whole, rel=1e-4)


def test_as_many_at_once_as_fill_the_same_memory() -> None:
    assert [at_once(side) for side in (28, 256, 512, 1024)] == [64, 64, 16, 4]
    assert [at_once(side, 128) for side in (256, 1024)] == [128, 8] and at_once(1024, 2) == 1


def test_distances_are_taken_between_images_of_256_px() -> None:
    images = torch.rand(2, 3, 512, 512)
    blocks = images.reshape(2, 3, 256, 2, 256, 2).mean(dim=(3, 5))
    torch.testing.assert_close(reduced(images), blocks)
    assert reduced(blocks) is blocks


def test_bytes_come_back() -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert np.array_equal(to_uint8(from_uint8(images)), images.numpy())


@pytest.mark.parametrize(
    ("count", "side", "columns", "scale", "size"),
    [
        (80, 28, 10, 2, (578, 462)),
        (80, 256, 10, 2, (2569, 2055)),  # twice as large it would be 5138 wide
        (80, 1024, 10, 2, (3429, 2743)),  # a third: 342 and a gap
        (1, 1024, 1, 2, (2048, 2048)),
        (4, 1024, 2, 2, (2049, 2049)),
        (400, 1024, 10, 1, (949, 3799)),  # 94 pixels each, the last of them means of a single column
    ],
)
def test_contact_sheets_stay_of_a_size_to_look_at(count: int, side: int, columns: int, scale: int, size: tuple[int, int]) -> None:
    one = np.full((1, 1, side, side), 77, np.uint8)
    sheet = grid(np.broadcast_to(one, (count, 1, side, side)), columns, scale)
    assert sheet.size == size and sheet.getpixel((0, 0)) == 77
    file = io.BytesIO()
    sheet.save(file, "PNG")


def test_a_reduced_sheet_shows_means() -> None:
    block = np.array([[0, 100, 200], [50, 60, 70], [110, 120, 100]], np.uint8)
    colors = np.tile(np.stack([block, 255 - block, block.T]), (342, 342))[None]
    sheet = np.asarray(grid(np.concatenate([colors] * 8), 8))
    assert sheet.shape == (342, 8 * 343 - 1, 3) and set(map(tuple, sheet[:, :342].reshape(-1, 3).tolist())) == {(90, 165, 90)}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.base.resolution=2048", "28, 32, 48, 64, 96, 128, 192, 256, 384, 512 or 1024"),
        ("model.architecture=r3gan", "has 3 widths, but 1024 px need 9"),
        ("model.architecture=sagan model.sagan.attention=1", "a feature map of 512 px, whose attention takes 69 GB an image"),
        ("model.architecture=biggan model.biggan.attention=2", "a feature map of 256 px.*: choose 3 to 7"),
    ],
)
def test_refusals_say_what_is_possible(override: str, message: str) -> None:
    large = ["data.base.resolution=1024", "data.target.resolution=1024"]
    with pytest.raises(SettingsError, match=message):
        settings.load(PARAMS, [*large, *override.split()])
    for family in ("sagan", "biggan"):
        for attention in (3, 7):
            settings.load(PARAMS, [*large, f"model.architecture={family}", f"model.{family}.attention={attention}"])
