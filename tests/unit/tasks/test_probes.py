"""What the probes of translators say of networks whose failing is known."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from atelier.networks.inputs import Picture, Takes
from atelier.tasks.base import Batch
from atelier.tasks.pairs_probe import PairsProbe
from atelier.tasks.translation.probe import TranslationProbe
from tests.support.translation_fixtures import drawing

BOTH = {"a_to_b": ("a", "b"), "b_to_a": ("b", "a")}
TAKES: Takes = {"image": Picture(channels=1, resolution=32)}
CELL = 2 * (32 + 1)


class Known(nn.Module):
    """A network that does as a function says."""

    def __init__(self, does: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.does = does

    def forward(self, image: Tensor) -> Tensor:
        return self.does(image)


def pictures(square: bool, first: int, count: int, outline: bool = False) -> Tensor:
    drawn = [torch.from_numpy(drawing(number, square)[outline]).reshape(32, 32, -1) for number in range(first, first + count)]
    return torch.stack(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1


class Drawings:
    """Discs and squares, or outlines of discs and the discs."""

    def __init__(self, paired: bool, held_out: bool = True) -> None:
        self.paired, self.holds_out = paired, held_out

    def batch(self, first: int, count: int) -> Batch:
        if self.paired:
            return {"input": pictures(False, first, count, outline=True), "target": pictures(False, first, count)}
        return {"a.image": pictures(False, first, count), "b.image": pictures(True, first, count)}

    def training(self, count: int) -> Iterator[Batch]:
        for number in range(13):
            yield self.batch(number * count, count)

    def held_out(self, count: int) -> Batch | None:
        return self.batch(10_000, count) if self.holds_out else None


@pytest.fixture(name="probe", scope="module")
def probe_fixture() -> TranslationProbe:
    return TranslationProbe(BOTH, Drawings(paired=False))


def measured(probe: TranslationProbe, there: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor]) -> dict[str, float]:
    found = probe.measure({"a_to_b": Known(there), "b_to_a": Known(back)})
    assert list(found) == list(probe.curves) == ["diversity", "mode_coverage", "brightness_kept", "cycle_error", "noise_gain"]
    return found


def test_translators_that_change_nothing(probe: TranslationProbe) -> None:
    found = measured(probe, lambda x: x, lambda x: x)
    assert 0.8 < found["diversity"] < 1.2 and found["mode_coverage"] > 0.6
    assert found["brightness_kept"] == pytest.approx(1, abs=1e-5) and found["cycle_error"] < 1e-6
    assert 0.4 < found["noise_gain"] <= 1, "white takes half of the noise"


def test_inverted_colors(probe: TranslationProbe) -> None:
    found = measured(probe, lambda x: -x, lambda x: -x)
    assert found["brightness_kept"] == pytest.approx(-1, abs=1e-5) and found["cycle_error"] < 1e-6, "which no cycle tells"


def test_a_translation_that_ignores_its_input(probe: TranslationProbe) -> None:
    found = measured(probe, lambda x: torch.full_like(x, 0.5), lambda x: torch.full_like(x, 0.5))
    assert found["diversity"] < 1e-3 and found["brightness_kept"] == 0 and found["cycle_error"] > 0.3
    assert found["mode_coverage"] < 0.2


def test_pictures_that_are_hidden_in_translations(probe: TranslationProbe) -> None:
    found = measured(probe, lambda x: 0.9 + x / 50, lambda x: (x - 0.9) * 50)
    assert found["noise_gain"] > 10


def test_one_way_alone_has_no_cycle() -> None:
    probe = TranslationProbe({"a_to_b": ("a", "b")}, Drawings(paired=False, held_out=False))
    assert list(probe.measure({"a_to_b": Known(lambda x: x)})) == ["diversity", "mode_coverage", "brightness_kept"]


def test_the_preview_shows_ways_there_and_back(probe: TranslationProbe) -> None:
    """Products one below the other, each in two groups of three rows."""
    averages = {"a_to_b": Known(torch.zeros_like), "b_to_a": Known(torch.ones_like)}
    with Image.open(io.BytesIO(probe.preview(averages))) as shown:
        assert shown.size == (10 * CELL - 2, 12 * CELL - 2)
        rows = [shown.getpixel((30, row * CELL + 2)) for row in range(12)]  # near the rim, where drawings are white
    white, gray = (255,) * 3, (128,) * 3
    assert rows == [white, gray, white] * 2 + [white, white, gray] * 2


def test_pairs() -> None:
    probe = PairsProbe(TAKES, Drawings(paired=True))
    partner = dict[bytes, Tensor]()
    for batch in (*Drawings(paired=True).training(64), Drawings(paired=True).held_out(64)):
        assert batch is not None
        partner |= {given.numpy().tobytes(): target for given, target in zip(batch["input"], batch["target"], strict=True)}

    def learnt_by_heart(images: Tensor) -> Tensor:
        return torch.stack([partner[image.numpy().tobytes()] for image in images])

    found = probe.measure({"generator": Known(learnt_by_heart)})
    assert list(found) == list(probe.curves) == ["diversity", "mode_coverage", "l1_training", "l1_held_out"]
    assert found["l1_training"] < 0.1 > found["l1_held_out"], "one outline has discs of several colors"
    assert 0.8 < found["diversity"] < 1.2
    white = probe.measure({"generator": Known(lambda x: torch.ones_like(x).expand(-1, 3, -1, -1))})
    assert white["diversity"] < 1e-3 and white["l1_held_out"] > found["l1_held_out"]
    with Image.open(io.BytesIO(probe.preview({"generator": Known(learnt_by_heart)}))) as shown:
        assert shown.size == (10 * CELL - 2, 9 * CELL - 2)
    assert list(PairsProbe(TAKES, Drawings(paired=True, held_out=False)).curves)[-1] == "l1_training"
