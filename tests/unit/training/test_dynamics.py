"""Remarks on training dynamics: who is ahead, what the discriminator has memorized, how much the images vary."""

from __future__ import annotations

import logging
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from atelier.data.packed import PackedDataset
from atelier.models.model import from_uint8
from atelier.networks.base import Discriminator, DiscriminatorOutput
from atelier.networks.layers import ImageShape
from atelier.tasks.generation.probe import COMPARED, GenerationProbe, ordered
from atelier.tasks.generation.task import Generation
from atelier.tasks.mode_coverage import COUNTED, LEARNT, ModeCoverage
from atelier.training.batches import Batches
from atelier.training.diagnosis import latest, remarks
from tests.support.driver import FAMILIES, tiny
from tests.support.dynamics import CPU, few_digits, points, trained
from tests.support.examples import Given


def test_ordered_pairs_against_a_loop() -> None:
    """Few distinct values, so that many pairs tie; with labels, within each, whatever constant each has."""
    higher, lower = torch.randint(0, 5, (40,)).float(), torch.randint(0, 4, (30,)).float()
    ours, theirs = torch.randint(0, 3, (40,)), torch.randint(0, 3, (30,))
    pairs = [
        ((a > b).item() + 0.5 * (a == b).item(), i == j)
        for a, i in zip(higher, ours, strict=True)
        for b, j in zip(lower, theirs, strict=True)
    ]
    assert ordered(higher, None, lower, None) == pytest.approx(np.mean([pair for pair, _ in pairs]), abs=1e-12)
    within = np.mean([pair for pair, alike in pairs if alike])
    assert ordered(higher, ours, lower, theirs) == pytest.approx(within, abs=1e-12)
    assert ordered(higher + 100 * ours, ours, lower + 100 * theirs, theirs) == pytest.approx(within, abs=1e-12)
    assert ordered(higher, ours, lower, theirs + 3) == ordered(higher, None, lower, None)
    assert ordered(lower, None, lower, None) == 0.5 and ordered(lower + 10, None, lower, None) == 1


def test_images_of_one_digit_are_of_few_modes(digits: PackedDataset) -> None:
    """As diverse as others, pixel by pixel, but in few cells of a partition of the real images."""
    everything = torch.from_numpy(digits.images(np.arange(len(digits)))).float() / 127.5 - 1
    coverage = ModeCoverage(everything[: (LEARNT + COUNTED) * COMPARED].split(COMPARED))
    assert 0.8 < coverage.share(everything[-COMPARED:]) < 1.2
    for digit in range(10):
        assert coverage.share(everything[torch.from_numpy(digits.labels == digit)][:COMPARED]) < 0.3
    assert coverage.share(everything[:1].expand(COMPARED, -1, -1, -1)) == pytest.approx(1 / coverage.typical)


def test_modes_are_the_effective_number_of_cells() -> None:
    """Four colors are four cells; in shares of 1/2, 1/4 and 1/4 the entropy is 1.5 bits."""
    four = torch.linspace(-1, 1, 4).repeat(COMPARED // 4).reshape(-1, 1, 1, 1).expand(-1, 3, 40, 40)
    coverage = ModeCoverage(four.repeat(LEARNT + COUNTED, 1, 1, 1).split(COMPARED))
    assert coverage.typical == pytest.approx(4)
    unequal = four[torch.tensor([0, 0, 1, 2])].repeat(8, 1, 1, 1)
    assert coverage.share(unequal) == pytest.approx(2**1.5 / 4)


class Knows(Discriminator):
    """A discriminator that finds the images that it knows by heart real, and all others equally unreal."""

    group = 3

    def __init__(self, shape: ImageShape, known: torch.Tensor) -> None:
        super().__init__(shape, "projection")
        self.known = {image.numpy().tobytes() for image in known}
        self.judged: list[int] = []

    def freezable_stages(self) -> list[torch.nn.Module]:
        return []

    def forward(self, images: torch.Tensor, label: torch.Tensor | None = None) -> DiscriminatorOutput:
        assert not self.training and label is None
        self.judged.append(len(images))
        return DiscriminatorOutput(torch.tensor([float(image.numpy().tobytes() in self.known) for image in images]))


def test_a_discriminator_that_knows_its_images_by_heart_is_seen_through(digits: PackedDataset) -> None:
    chosen = tiny("model.conditional=false")
    task = Generation(chosen.model, chosen.train, ImageShape(28, 1, 0))
    real, fresh = from_uint8(torch.randint(0, 256, (2 * COMPARED, 1, 28, 28), dtype=torch.uint8)).split(COMPARED)
    discriminator, averages = Knows(task.shape, real), {"generator": task.generator}
    measured = GenerationProbe(task.generator, discriminator, 0, Given(real, fresh)).measure(averages)
    assert (measured["auc_train_heldout"], measured["auc_heldout_fake"]) == (1.0, 0.5)
    assert discriminator.training and set(discriminator.judged) == {COMPARED // 3 * 3}
    alone = GenerationProbe(task.generator, discriminator, 0, Given(real, None))
    assert list(alone.measure(averages)) == list(alone.curves) == ["diversity", "mode_coverage"]


def test_held_out_images_are_those_of_the_other_split(digits: PackedDataset, tmp_path: Path) -> None:
    found = Batches({"data": digits}, 0, CPU).held_out(COMPARED)
    kept = PackedDataset(digits.folder, "test")
    pixels = {(image.tobytes(), label) for image, label in zip(kept.images(np.arange(len(kept))), kept.labels, strict=True)}
    assert found is not None and len(found["image"]) == COMPARED
    back = ((found["image"] + 1) * 127.5).round().to(torch.uint8).contiguous().numpy()
    assert all((image.tobytes(), label) in pixels for image, label in zip(back, found["label"].tolist(), strict=True))
    for without in (PackedDataset(digits.folder, "all"), few_digits(tmp_path, 0.0)):
        assert Batches({"data": without}, 0, CPU).held_out(COMPARED) is None


@pytest.mark.parametrize("family", ["resnet", "dcgan", "stylegan2"])
def test_measuring_changes_nothing(family: str, digits: PackedDataset, tmp_path: Path) -> None:
    """Running means, the vectors of spectral norms, random numbers: a run's bytes do not depend on how often it is measured."""
    for every in (32, 128):
        trained(digits, tmp_path / str(every), *FAMILIES[family], "train.images=128", f"train.log_every={every}")
    networks = [(tmp_path / name / "model" / "networks.safetensors").read_bytes() for name in ("32", "128")]
    assert networks[0] == networks[1]


def test_a_warning_has_a_line_of_its_own_beside_the_progress_bar(
    digits: PackedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    shown = logging.StreamHandler(sys.stderr)
    logging.root.addHandler(shown)
    try:
        trained(digits, tmp_path, "train.lr_generator=1e-9", "train.images=1600", "train.log_every=160")
    finally:
        logging.root.removeHandler(shown)
    lines = re.split("[\r\n]", capsys.readouterr().err)
    assert any(re.match("train: .*1600/1600", line) for line in lines)
    assert [line.startswith("The discriminator has won") for line in lines if "The discriminator has won" in line] == [True]


@pytest.mark.parametrize(
    ("curve", "value", "said", "warns"),
    [
        ("auc_real_fake", 0.995, "has won: it tells a real image from a generated one in 100% of pairs", True),
        ("auc_real_fake", 0.83, "ahead, as it should be while there is something to learn: it tells .* in 83% of", False),
        ("auc_real_fake", 0.61, "ahead, as it should be", False),
        ("auc_real_fake", 0.59, "The two are level: .* 59% of", False),
        ("auc_real_fake", 0.52, "The two are level: .* 52% of", False),
        ("auc_real_fake", 0.41, "The two are level: .* 41% of", False),
        ("auc_real_fake", 0.39, "is behind and mostly wrong: .* 39% of pairs .*raise lr_discriminator", True),
        ("auc_real_fake", 0.12, "is behind and mostly wrong: .* 12% of pairs", True),
        ("auc_train_heldout", 0.9, "has memorized the training images: .* 90% of pairs .*augment: ada", True),
        ("auc_train_heldout", 0.7, "begins to memorize", False),
        ("auc_train_heldout", 0.64, "no better than others", False),
        ("auc_train_heldout", 0.5, "no better than others", False),
        ("auc_train_heldout", 0.36, "no better than others", False),
        ("auc_train_heldout", 0.34, "finds held-out images more real: .* 34% of pairs .* of another kind", True),
        ("diversity", 0.2, "too much alike: .* 20% as much", True),
        ("diversity", 0.97, "images vary: .* 97%", False),
        ("diversity", 1.34, "images vary: .* 134%", False),
        ("diversity", 1.6, "differ too much: .* 160% as much as real ones, as noise .* lower the learning rates", True),
        ("mode_coverage", 0.2, "drops modes: .* 20% as many", True),
        ("mode_coverage", 0.9, "covers many modes: .* 90% as many", False),
        ("mode_coverage", 1.5, "covers many modes: .* 150% as many", False),
    ],
)
def test_each_side_is_said_in_a_sentence(curve: str, value: float, said: str, warns: bool) -> None:
    (remark,) = remarks(points(**{curve: value}))
    assert re.search(said, remark.text) and remark.warns is warns


def test_what_is_not_known_is_not_said() -> None:
    assert remarks([]) == [] and remarks([{"images": 1.0, "auc_real_fake": math.nan}]) == []
    assert latest(
        [{"images": 1.0, "auc_real_fake": 0.5}, {"images": 1.0, "auc_real_fake": 0.7}], "auc_real_fake"
    ) == pytest.approx(0.6)
