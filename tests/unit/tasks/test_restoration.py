"""What restoration is measured by, what its probe shows, and which settings and sets it refuses."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from atelier.config.section import SettingsError
from atelier.data.packed import PackedDataset
from atelier.errors import AtelierError
from atelier.io.pictures import GAP
from atelier.networks.base import Generator
from atelier.networks.inputs import Picture, Takes
from atelier.networks.layers import ImageShape
from atelier.report.gallery import PART, PART_GAP, picture, rows_of_records
from atelier.tasks.base import Batch
from atelier.tasks.records import RecordSampler
from atelier.tasks.restoration.probe import RestorationProbe
from atelier.tasks.restoration.sampler import DegradedSampler
from atelier.tasks.restoration.task import Restoration, check_set
from tests.support.restoration_fixtures import stripes
from tests.support.restoration_tasks import SIDE, bicubic, built, chosen, records
from tests.support.translation_fixtures import drawings

__all__ = ["drawings", "stripes"]
NOISY = {"degradations": {"order": ["bicubic", "noise"], "noise": {"gaussian": [5.0, 5.0]}}, "scale": 2}
SMALL = {"degradations": ["bicubic"], "scale": 2}


class Repeating(Generator):
    """Repeats each pixel; its scale follows from its shapes, whatever settings say."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale, self.shape = scale, ImageShape(SIDE, 3, 0)
        self.weight = nn.Parameter(torch.ones(()))

    @property
    def takes(self) -> Takes:
        return {"image": Picture(channels=3, resolution=SIDE // self.scale)}

    def forward(self, image: Tensor) -> Tensor:
        return image.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3) * self.weight


def sampler(own: dict[str, object], held_out: PackedDataset, scale: int = 2, count: int = 5, seed: int = 3) -> DegradedSampler:
    made = Restoration.sampling_of(own)(Repeating(scale), [], held_out, held_out, count, seed)
    assert isinstance(made, DegradedSampler)
    return made


def joined(one: DegradedSampler, batch: int, turn: tuple[int, int] = (0, 1)) -> list[np.ndarray]:
    """Images, targets and inputs."""
    return [np.concatenate(part) for part in zip(*(each[:3] for each in one(batch, turn)), strict=True)]  # type: ignore[arg-type]


@pytest.fixture(name="held_out")
def held_out_fixture(stripes: Path) -> PackedDataset:
    return PackedDataset(stripes, "test")


@pytest.mark.parametrize("scale", [2, 4])
def test_inputs_are_held_out_crops_that_were_made_small(scale: int, held_out: PackedDataset) -> None:
    images, targets, inputs = joined(sampler(SMALL, held_out, scale), 8)
    known = {record.tobytes() for record in held_out.images(np.arange(len(held_out)))}
    assert {target.tobytes() for target in targets} <= known and len(targets) == 5
    expected = bicubic(torch.from_numpy(targets).double() / 127.5 - 1, scale)
    np.testing.assert_array_equal(inputs, ((expected + 1) * 127.5).round().numpy().astype(np.uint8))
    np.testing.assert_array_equal(images, inputs.repeat(scale, 2).repeat(scale, 3))


def test_batches_and_ranks_change_nothing_and_the_seed_all(held_out: PackedDataset) -> None:
    whole = joined(sampler(NOISY, held_out), 8)
    for one, other in zip(whole, joined(sampler(NOISY, held_out), 2), strict=True):
        np.testing.assert_array_equal(one, other)
    turns = [joined(sampler(NOISY, held_out), 2, (rank, 2)) for rank in range(2)]
    np.testing.assert_array_equal(whole[2], np.concatenate([turns[0][2][:2], turns[1][2], turns[0][2][2:]]))
    again = joined(sampler(NOISY, held_out, seed=4), 8)
    assert {image.tobytes() for image in again[2]}.isdisjoint(image.tobytes() for image in whole[2])
    noise = whole[2].astype(int) - joined(sampler(SMALL, held_out), 8)[2]
    assert 4 < noise.std() < 6 and not (noise[0] == noise[1]).all()


def test_an_identity_names_scale_and_degradations(held_out: PackedDataset) -> None:
    identities = [
        sampler(NOISY, held_out).identity,
        sampler(SMALL, held_out).identity,
        sampler(SMALL, held_out, 4).identity,
        sampler({**NOISY, "degradations": {"order": ["bicubic", "noise"], "noise": {"gaussian": [5.0, 6.0]}}}, held_out).identity,
    ]
    assert len(set(identities)) == 4
    assert re.search(r"drawn by the seed; at 1/2 of their side by bicubic, noise \([0-9a-f]{16}\)", identities[0])
    assert sampler({**NOISY, "pixel": 0.3}, held_out).identity == identities[0], "what is learnt is no part of it"


def test_records_that_hold_pairs_are_measured_by_them() -> None:
    assert Restoration.sampling_of({"degradations": ["pairs"]}) is RecordSampler
    assert issubclass(Restoration.sampling_of(None), DegradedSampler), "published models have no settings"


def test_a_record_and_inputs_of_it_stand_side_by_side(held_out: PackedDataset) -> None:
    one = sampler(NOISY, held_out)
    shown = one.variants(4)
    assert shown is not None and shown.shape == (3, 4, 3, SIDE, SIDE)
    targets = joined(one, 8)[1]
    np.testing.assert_array_equal(shown[:, 0], targets[:3])
    assert not (shown[0, 1] == shown[0, 2]).all(), "noise is drawn anew"
    np.testing.assert_array_equal(shown[:, 1, :, ::2, ::2], shown[:, 1, :, 1::2, 1::2])


def test_a_report_shows_small_inputs_enlarged(held_out: PackedDataset) -> None:
    rows = rows_of_records(sampler(SMALL, held_out), held_out)
    row, last, columns = rows[0], rows[-1], PART // SIDE
    assert row.given is not None and row.enlarged is not None and last.given is not None and last.enlarged is not None
    assert row.given.shape == (columns, 3, 16, 16) and row.enlarged.shape == row.generated.shape == (columns, 3, SIDE, SIDE)
    assert np.abs(row.enlarged.astype(int) - row.real).mean() < np.abs(row.generated.astype(int) - row.real).mean()

    other = [replace(row, generated=255 - row.generated) for row in rows]
    wide = columns * (SIDE + GAP) - GAP + PART_GAP
    shown = np.asarray(picture(rows, other, scale=1)).transpose(2, 0, 1)
    assert len(rows) == 2 and shown.shape[1:] == (2 * (SIDE + GAP) - GAP, 5 * wide - PART_GAP)
    given, enlarged, beside, generated, real = (
        shown[:, SIDE + GAP :, left : left + SIDE] for left in range(0, shown.shape[2], wide)
    )
    np.testing.assert_array_equal(given[:, ::2, ::2], last.given[0])
    for found, expected in ((enlarged, last.enlarged), (generated, last.generated), (real, last.real)):
        np.testing.assert_array_equal(found, expected[0])
    np.testing.assert_array_equal(beside, 255 - generated)


class Crops:
    """Records of noise without end."""

    def __init__(self, held_out: bool) -> None:
        self.holds_out = held_out

    def training(self, count: int) -> Iterator[Batch]:
        while True:
            yield records(1, count, torch.float32)

    def held_out(self, count: int) -> Batch | None:
        return records(2, count, torch.float32) if self.holds_out else None


class Off(nn.Module):
    """Gives the clean pictures that it knows, darker."""

    def __init__(self, clean: Tensor, by: float) -> None:
        super().__init__()
        self.clean, self.by = clean, by

    def forward(self, image: Tensor) -> Tensor:
        return (self.clean - self.by)[: len(image)]


def test_the_probe_measures_in_decibels() -> None:
    task = built("psnr")
    probe = task.probe(Crops(held_out=True))
    assert probe.curves == ("psnr_training", "psnr_held_out", "psnr_input")
    clean = probe.pairs["held_out"].clean * 0.5
    probe.pairs = {"held_out": probe.pairs["held_out"]._replace(clean=clean)}
    found = probe.measure({"generator": Off(clean, 0.02)})
    assert found["psnr_held_out"] == pytest.approx(20 * np.log10(2 / 0.02), abs=1e-3)
    assert probe.measure({"generator": Off(clean, 0.0)})["psnr_held_out"] == pytest.approx(20 * np.log10(255), abs=1e-3)


def test_the_probe_is_the_same_at_every_moment() -> None:
    task = built("psnr")
    generator = task.networks["generator"].eval()
    before = torch.random.get_rng_state()
    one, other = (task.probe(Crops(held_out=False)) for _ in range(2))
    assert one.curves == ("psnr_training", "psnr_input")
    assert one.measure({"generator": generator}) == other.measure({"generator": generator})
    assert torch.equal(torch.random.get_rng_state(), before)
    given, clean = one.pairs["training"]
    assert given.shape == (32, 3, 16, 16) and one.baseline < 40
    with Image.open(io.BytesIO(one.preview({"generator": generator}))) as shown:
        assert shown.size == (2 * (8 * (SIDE + 1) - 1), 2 * (6 * (SIDE + 1) - 1))
    assert clean.shape == (32, 3, SIDE, SIDE)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (
            "train.restoration={pixel: 0}",
            "nothing ties a restored picture to the clean one; set pixel, squared or perceptual above 0",
        ),
        ("train.restoration={scale: 3, crop: 32}", "crop 32 is no multiple of scale 3"),
        ("train.restoration={degradations: [noise]}", "order names noise, but not which"),
        ("train.restoration={degradations: [pairs, blur]}", "order has pairs, whose images are degraded already, beside others"),
        ("train.restoration={scale: 1}", "scale is 1, and bicubic among the degradations shrinks"),
        ("train.restoration.sharp=1", "train.restoration.sharp: unknown key; allowed here: adversarial, crop, degradations"),
        ("train.augment=ada", "restoration.adversarial is 0.*set augment: none, or adversarial above 0"),
        ("train.critic_steps=2", "set critic_steps: 1, or adversarial above 0"),
        ("train.regularizers={r1: 1.0}", "set regularizers without r1, or adversarial above 0"),
        ("model.architecture=pix2pix", "pix2pix does not make 32 px of 16 px; choose an architecture that enlarges"),
        ("model.architecture=cyclegan", "cyclegan does not make 32 px of 16 px; .* or scale: 1"),
        ("model.architecture=dcgan", "dcgan starts from noise, and task restoration from pictures"),
    ],
)
def test_settings_that_do_not_fit(override: str, told: str) -> None:
    with pytest.raises(AtelierError) as refused:
        built("psnr", override)
    assert re.search(told, str(refused.value)), refused.value


def test_a_network_that_keeps_the_side_denoises() -> None:
    noise = "{scale: 1, degradations: {order: [noise], noise: {gaussian: [25, 25]}}}"
    task = built("psnr", "model.architecture=denoising_unet", f"train.restoration={noise}", f"finetune.restoration={noise}")
    assert task.generator(image=torch.zeros(1, 3, SIDE, SIDE)).shape == (1, 3, SIDE, SIDE)


def test_a_discriminator_that_cannot_see_the_crops() -> None:
    with pytest.raises(SettingsError, match=r"of crops of 4 px: .*layers_discriminator is 2, which leaves no patches of 4 px"):
        built("gan", "train.restoration.crop=4")


@pytest.mark.parametrize(
    ("name", "section", "told"),
    [
        ("a", "{degradations: [pairs]}", "its records have image, and restoration.degradations needs input and target"),
        ("pairs", "{}", "its records have input, target, and restoration.degradations needs image"),
        ("pairs", "{degradations: [pairs], scale: 2}", "holds inputs of 1/1 of the target's side; set scale: 1"),
        ("a", "{flips: true}", "cut whole pictures, and .* holds squares; pack it with data.NAME.fit: whole"),
        ("a", "{scale: 3}", "resolution is 32, which is no multiple of restoration.scale 3"),
    ],
)
def test_sets_that_do_not_fit(name: str, section: str, told: str, drawings: dict[str, Path]) -> None:
    settings = chosen("psnr", f"train.restoration={section}").train.of_task("restoration")
    with pytest.raises(SettingsError, match=told):
        check_set(PackedDataset(drawings[name]), settings)


def test_whole_pictures_and_squares_fit(stripes: Path, drawings: dict[str, Path]) -> None:
    cut = chosen("psnr", "train.restoration={flips: true, crop: 24, scale: 2}")
    check_set(PackedDataset(stripes), cut.train.of_task("restoration"))
    sharp = chosen("psnr", "train.restoration={crop: 24, scale: 2, sharpen_targets: true}")
    with pytest.raises(SettingsError, match=r"restoration\.crop is 24, and restoration\.sharpen_targets looks 25 px around"):
        check_set(PackedDataset(stripes), sharp.train.of_task("restoration"))
    check_set(PackedDataset(drawings["a"]), chosen("psnr").train.of_task("restoration"))


def test_inputs_of_the_same_side_are_not_enlarged() -> None:
    probe = RestorationProbe(lambda batch: (batch["image"], batch["image"]), Crops(held_out=True))
    assert probe.baseline == pytest.approx(20 * np.log10(255), abs=1e-3)
