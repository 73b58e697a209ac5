"""Task style: what its losses are of, what it refuses, and what is measured of its generators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atelier.config.section import SettingsError
from atelier.data.packed import PackedDataset
from atelier.errors import AtelierError
from atelier.extractors.errors import ExtractorError
from atelier.io.pictures import GAP, in_color
from atelier.losses.style import content_loss, gram, gram_loss, moment_loss
from atelier.models.model import from_uint8
from atelier.networks.moments import adain
from atelier.report.gallery import PART, PART_GAP, picture, rows_of_records
from atelier.tasks.base import Batch, StepWeights
from atelier.tasks.style.sampler import StyleSampler
from atelier.tasks.style.task import Style
from tests.support.restoration_fixtures import stripes
from tests.support.style_tasks import SIDE, STYLES, checks, chosen, weights_fixture

__all__ = ["checks", "stripes", "weights_fixture"]
WEIGHTS = StepWeights(0.0, 0.0)


def built(family: str, weights: Path, sets: dict[str, PackedDataset], *more: str, section: str = "") -> Style:
    settings = chosen(family, weights, *more, section=section)
    torch.manual_seed(0)
    return Style.build(settings.model, settings.train, sets)


@pytest.fixture(name="sets", scope="module")
def sets_fixture(stripes: Path, checks: Path) -> dict[str, PackedDataset]:
    return {"content": PackedDataset(stripes), "style": PackedDataset(checks)}


def records(sets: dict[str, PackedDataset], count: int = 4) -> Batch:
    rows = np.arange(count)
    return {f"{name}.image": from_uint8(torch.from_numpy(one.images(rows))) for name, one in sets.items()}


def test_one_style_is_the_mean_of_the_styles_gram_matrices(weights: Path, sets: dict[str, PackedDataset]) -> None:
    task = built("johnson", weights, sets, section="content: 2.0, style: 3.0, variation: 0.5")
    batch = records(sets)
    total, logged = task.loss(task.updates[0], batch, task.draw(task.updates[0], 4), WEIGHTS)
    look, layers = task.look, ["relu1_1", "relu2_1"]
    styles = look(from_uint8(torch.from_numpy(sets["style"].images(np.arange(STYLES)))), layers)
    with torch.no_grad():
        made = task.generator(image=batch["content.image"])
        seen, wanted = look(made, layers), look(batch["content.image"], ["relu2_1"])["relu2_1"]
    style = torch.stack([gram_loss(gram(seen[name]), gram(styles[name]).mean(0, keepdim=True)) for name in layers]).mean(0)
    neighbors = [(made[:, :, 1:] - made[:, :, :-1]).square(), (made[..., 1:] - made[..., :-1]).square()]
    variation = sum(one.mean() for one in neighbors)
    expected = 2 * content_loss(seen["relu2_1"], wanted).mean() + 3 * style.mean() + 0.5 * variation
    assert total.item() == pytest.approx(float(expected), rel=1e-4)
    assert logged["style_loss"].shape == (4,) and {"style_relu1_1", "style_relu2_1"} <= logged.keys()


@pytest.mark.parametrize("more", [[], ["model.adain.skips=true"]])
def test_any_style_is_that_of_the_picture_beside_the_content(
    more: list[str], weights: Path, sets: dict[str, PackedDataset]
) -> None:
    task = built("adain", weights, sets, *more)
    batch, generator = records(sets), task.any_style
    assert generator is not None
    content, style = batch["content.image"], batch["style.image"]
    total, _ = task.loss(task.updates[0], batch, task.draw(task.updates[0], 4), WEIGHTS)
    with torch.no_grad():
        targets = {name: adain(one, generator.features(style)[name]) for name, one in generator.features(content).items()}
        made, same = (generator(content, one) for one in (style, content))
        seen = generator.encoder(made, ["relu1_1", "relu2_1"])
        styles = generator.encoder(style, ["relu1_1", "relu2_1"])
    last = generator.settings.layer
    own = content_loss(generator.features(made)[last], targets[last]).mean()
    moved = torch.stack([moment_loss(seen[name], styles[name]) for name in styles]).mean()
    assert total.item() == pytest.approx(float(own + 10 * moved + 0.5 * (same - content).abs().mean()), rel=1e-4)


@pytest.mark.parametrize("family", ["johnson", "adain"])
def test_steps_move_the_generator_and_never_the_encoder(family: str, weights: Path, sets: dict[str, PackedDataset]) -> None:
    task = built(family, weights, sets)
    before = {name: value.clone() for name, value in task.generator.state_dict().items()}
    (update,) = task.updates
    optimizer, losses = torch.optim.Adam(task.generator.parameters(), 2e-4), []
    for _ in range(6):
        task.activate(update)
        optimizer.zero_grad()
        loss, logged = task.loss(update, records(sets), task.draw(update, 4), WEIGHTS)
        loss.backward()
        assert all(parameter.grad is not None for parameter in task.generator.parameters())
        optimizer.step()
        losses.append(loss.item())
        assert all(torch.isfinite(value) for value in task.signals(update, logged).values())
    assert losses[-1] < losses[0]
    same = {name for name, value in task.generator.state_dict().items() if torch.equal(value, before[name])}
    assert same == {name for name in before if name.startswith("encoder.") or name in ("mean", "deviation")}


def test_a_decoder_may_learn_to_give_contents_back_and_nothing_else(weights: Path, sets: dict[str, PackedDataset]) -> None:
    task = built("adain", weights, sets, section="content: 0.0, style: 0.0")
    batch, generator = records(sets), task.any_style
    assert generator is not None
    content = batch["content.image"]
    total, logged = task.loss(task.updates[0], batch, task.draw(task.updates[0], 4), WEIGHTS)
    with torch.no_grad():
        same = generator(content, content)
    assert total.item() == pytest.approx(float(0.5 * (same - content).abs().mean()), rel=1e-3)
    assert set(logged) == {"identity"}
    with pytest.raises(SettingsError, match="content, style and identity are all 0"):
        built("johnson", weights, sets, section="content: 0.0, style: 0.0")


def test_a_set_of_one_color_gives_finite_losses(weights: Path, sets: dict[str, PackedDataset]) -> None:
    for family in ("johnson", "adain"):
        task = built(family, weights, sets)
        white = {name: torch.ones(2, 3, SIDE, SIDE) for name in ("content.image", "style.image")}
        loss, _ = task.loss(task.updates[0], white, task.draw(task.updates[0], 2), WEIGHTS)
        loss.backward()
        gradients = [parameter.grad for parameter in task.generator.parameters()]
        assert torch.isfinite(loss) and all(one is not None and one.isfinite().all() for one in gradients)


@pytest.mark.parametrize(
    ("family", "more", "section", "message"),
    [
        ("johnson", ["train.augment=diffaugment"], "", "task style has no discriminator; set augment: none"),
        ("johnson", [], "identity: 1.0", "set statistics: gram and identity: 0.0, or choose model.architecture: adain"),
        ("johnson", [], "statistics: moments", "set statistics: gram and identity: 0.0"),
        ("adain", ["model.adain.encoder=vgg16"], "", "set network: vgg16"),
        ("adain", [], "crop: 18", r"train\.style\.crop: model\.adain shrinks the side by 4"),
        ("adain", [], "content_layer: relu1_1", "leave content_layer out"),
        ("adain", ["train.style.style_layers=[relu1_1, relu3_2]"], "", "style_layers: relu3_2 lies beyond relu3_1, where"),
    ],
)
def test_what_makes_no_sense_is_refused(
    family: str, more: list[str], section: str, message: str, weights: Path, sets: dict[str, PackedDataset]
) -> None:
    with pytest.raises(AtelierError, match=message):
        built(family, weights, sets, *more, section=section)


def test_crops_need_whole_pictures_on_one_side(weights: Path, sets: dict[str, PackedDataset]) -> None:
    squares = {"content": sets["style"], "style": sets["style"]}
    with pytest.raises(SettingsError, match=r"flips cut whole pictures, and .* hold squares"):
        built("johnson", weights, squares, section="flips: true")
    assert built("johnson", weights, sets, section="crop: 16").crops.side == 16


def test_layers_and_hashes_that_are_not_there_are_refused(weights: Path, sets: dict[str, PackedDataset]) -> None:
    with pytest.raises(ExtractorError, match=r"train.style.style_layers: hed_vgg16 has no layer relu5_1; choose among relu1_1"):
        built("johnson", weights, sets, "train.style.style_layers=[relu5_1]")
    with pytest.raises(ExtractorError, match=r"its sha256 is \w{64}, and train.style.sha256 says 0{64}"):
        built("johnson", weights, sets, f"train.style.sha256={'0' * 64}")
    with pytest.raises(SettingsError, match="sha256 goes with a file of weights"):
        built("johnson", weights, sets, "train.style.sha256=''")


def test_what_is_measured_follows_from_the_seed_alone(weights: Path, sets: dict[str, PackedDataset], stripes: Path) -> None:
    held_out = PackedDataset(stripes, "test")
    generator = built("adain", weights, sets).generator.eval()
    whole, parts = (
        list(StyleSampler(generator, [], sets["style"], held_out, 6, 3)(batch, turn))
        for batch, turn in ((6, (0, 1)), (3, (1, 2)))
    )
    assert StyleSampler.split_of_imitated(sets["style"].manifest) == "train", "where no style is held out"
    assert StyleSampler.split_of_imitated(held_out.manifest) == "test"
    (sample,), (rest,) = whole, parts
    assert sample.style is not None and sample.input is not None and rest.style is not None
    np.testing.assert_array_equal(rest.style, sample.style[3:])
    np.testing.assert_allclose(rest.images.astype(int), sample.images[3:].astype(int), atol=1)
    contents, styles = ({image.tobytes() for image in one} for one in (sample.input, sample.style))
    assert len(contents) == 6 and len(styles) > 1
    with pytest.raises(SettingsError, match=r"lower evaluate\.samples or raise"):
        StyleSampler(generator, [], sets["style"], held_out, 1000, 3)
    with pytest.raises(SettingsError, match="contents and styles are the same set"):
        StyleSampler(generator, [], held_out, held_out, 6, 3)
    one_style = built("johnson", weights, sets).generator
    with pytest.raises(SettingsError, match="did not learn the held-out styles"):
        StyleSampler(one_style, [], held_out, sets["style"], 6, 3)


def test_a_report_shows_each_photo_its_style_and_what_became_of_it(
    weights: Path, sets: dict[str, PackedDataset], stripes: Path
) -> None:
    generator, held_out = built("adain", weights, sets).generator.eval(), PackedDataset(stripes, "test")
    sampler = StyleSampler(generator, [], sets["style"], held_out, 6, 3)
    (sample,), rows = list(sampler(6)), rows_of_records(sampler, sets["style"])
    assert sample.input is not None and sample.style is not None
    columns = PART // SIDE
    shown = np.asarray(picture(rows, scale=1)).transpose(2, 0, 1)
    width = columns * (SIDE + GAP) - GAP
    assert shown.shape[2] == 3 * width + 2 * PART_GAP
    for place, expected in enumerate((sample.input, sample.style, sample.images)):
        part = shown[:, :SIDE, place * (width + PART_GAP) :][:, :, :SIDE]
        np.testing.assert_allclose(part.astype(int), in_color(expected[:1])[0].astype(int), atol=1)


def test_the_probe_shows_contents_styles_and_what_becomes_of_them(weights: Path, sets: dict[str, PackedDataset]) -> None:
    task = built("adain", weights, sets)

    class Given:
        def training(self, count: int) -> Any:
            yield {name: value.repeat(2, 1, 1, 1)[:count] for name, value in records(sets).items()}

        def held_out(self, count: int) -> Batch | None:
            return None

    probe = task.probe(Given())
    first = probe.measure({"generator": task.generator})
    assert set(first) == set(probe.curves) and first["unchanged_probe"] > 0
    assert first == probe.measure({"generator": task.generator})
    assert probe.preview({"generator": task.generator})[:4] == b"\x89PNG"
