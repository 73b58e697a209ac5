"""Task fusion: what its losses are of, what counts as a mismatch, what is left out, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from atelier.config.section import SettingsError
from atelier.data.packed import PackedDataset
from atelier.losses.fusion import alike, contrast, divergence, matching_aware, moved
from atelier.networks.fusion import directions
from atelier.tasks.base import StepWeights
from atelier.tasks.fusion.task import Fusion
from tests.support.annotated import vectors
from tests.support.fusion_tasks import NAMES, SECTION, built, chosen, records, tones_fixture

__all__ = ["tones_fixture"]

PLAIN = StepWeights(0.0, 0.0)
ALL = "missing: 0.0"  # nothing is left out


def test_the_discriminator_sees_real_images_with_texts_of_other_classes() -> None:
    """hinge(real) + (hinge(fake) + hinge(wrong)) / 2, where half of the neighbors are of another class (DF-GAN, eq. 4)."""
    task, batch = built(section=ALL), records([0, 0, 1, 1])
    update = task.updates[0]
    draws = task.draw(update, 4)
    found = task.loss(update, batch, draws, PLAIN)
    texts = directions(batch["text"])
    told = {"text": batch["text"], "audio": moved(batch["sound"], draws.parts["moved"])}
    with torch.no_grad():
        fake = task.generator(draws.parts["latents"], **told, variation=draws.parts["variation"])
        real, made = (task.discriminator(images, texts).logits for images in (batch["image"], fake))
        wrong = task.discriminator(batch["image"], texts.roll(1, 0)).logits[[0, 2]]
    plain = F.relu(1 - real).mean() + F.relu(1 + made).mean()
    apart = F.relu(1 - real[[0, 2]]).mean() + F.relu(1 + wrong).mean()
    torch.testing.assert_close(found.total.detach(), (plain + apart) / 2)
    same = task.loss(update, records([2, 2, 2, 2]), draws, PLAIN)
    torch.testing.assert_close(same.total.detach(), plain)
    assert "matching_penalty" not in found.logged


def test_equal_texts_are_no_mismatch_without_classes() -> None:
    task, batch = built(section=ALL), records(None)
    batch["text"][1] = 3 * batch["text"][0]
    wrong, mismatched = task._mismatched(batch, directions(batch["text"]))
    assert mismatched.tolist() == [True, False, True, True]
    torch.testing.assert_close(wrong, directions(batch["text"]).roll(1, 0))


def test_the_penalty_is_of_real_images_with_their_texts() -> None:
    task, batch = built(section=f"{ALL}, matching_penalty: 3.0"), records([0, 1, 2, 3])
    update = task.updates[0]
    draws = task.draw(update, 4)
    plain, due = (task.loss(update, batch, draws, StepWeights(weight, 0.0)) for weight in (0.0, 2.0))
    images, texts = batch["image"].clone().requires_grad_(), directions(batch["text"]).requires_grad_()
    steepness = matching_aware(task.discriminator(images, texts).logits, images, texts)
    torch.testing.assert_close(due.total - plain.total, 2 * 3 * steepness.mean())
    torch.testing.assert_close(due.logged["matching_penalty"], steepness.detach())


def test_the_generator_learns_from_the_discriminator_its_code_and_what_it_hears() -> None:
    task, batch = built(section=f"{ALL}, augmentation: 0.5, contrast: 2.0, temperature: 0.2"), records([0, 0, 1, 2])
    update = task.updates[1]
    draws = task.draw(update, 4)
    found = task.loss(update, batch, draws, PLAIN)
    generator, texts = task.generator, batch["text"]
    sounds = moved(batch["sound"], draws.parts["moved"])
    fake = generator(draws.parts["latents"], texts, sounds, variation=draws.parts["variation"])
    heard = generator.sound_encoder(sounds)  # type: ignore[misc]
    expected = (
        -task.discriminator(fake, directions(texts)).logits.mean() + 0.5 * divergence(*generator.text_moments(texts)).mean()
    )
    gap = (1 - F.cosine_similarity(heard, texts)).mean()
    expected = expected + 2 * (contrast(heard, texts, alike(texts, batch["label"]), 0.2) + gap)
    torch.testing.assert_close(found.total, expected)
    assert {"loss_generator", "code_divergence", "sound_contrast", "sound_gap"} <= found.logged.keys()


def test_without_conditioning_augmentation_texts_are_as_they_are() -> None:
    task, batch = built(section=f"{ALL}, augmentation: 0.0, contrast: 0.0"), records(None)
    update = task.updates[1]
    draws = task.draw(update, 4)
    found = task.loss(update, batch, draws, PLAIN)
    fake = task.generator(draws.parts["latents"], batch["text"], moved(batch["sound"], draws.parts["moved"]))
    torch.testing.assert_close(found.total, -task.discriminator(fake, directions(batch["text"])).logits.mean())
    assert "code_divergence" not in found.logged


def test_what_is_told_is_held_to_its_image_and_noise_alone_to_none() -> None:
    tasks, batch = [built(section=f"missing: 0.5, reconstruction: {weight}") for weight in (0.0, 3.0)], records(None, 12)
    task = tasks[1]
    draws = task.draw(task.updates[1], 12)
    without, found = (one.loss(one.updates[1], batch, draws, PLAIN) for one in tasks)
    kept = draws.parts["missing"] >= 0.5
    text = batch["text"] * kept[:, :1]
    sounds = moved(batch["sound"], draws.parts["moved"]) * kept[:, 1:, None]
    fake = task.generator(draws.parts["latents"], text, sounds, variation=draws.parts["variation"])
    far = (fake - batch["image"]).abs().mean(dim=(1, 2, 3)) * kept.any(dim=1)
    assert 0 < int(kept.any(dim=1).sum()) < 12
    torch.testing.assert_close(found.total - without.total, 3 * far.mean())
    torch.testing.assert_close(found.logged["reconstruction"], far.mean())
    assert "reconstruction" not in without.logged


def test_without_a_discriminator_the_generator_learns_from_its_image_alone() -> None:
    task, batch = built(section=f"{ALL}, adversarial: 0.0, reconstruction: 3.0, augmentation: 0.0, contrast: 0.0"), records(None)
    assert [update.name for update in task.updates] == ["generator"] and list(task.networks) == ["generator"]
    draws = task.draw(task.updates[0], 4)
    found = task.loss(task.updates[0], batch, draws, PLAIN)
    fake = task.generator(draws.parts["latents"], batch["text"], moved(batch["sound"], draws.parts["moved"]))
    torch.testing.assert_close(found.total, 3 * (fake - batch["image"]).abs().mean())
    assert found.logged.keys() == {"reconstruction", "sound_contrast", "sound_gap"}


def test_what_the_discriminator_says_has_a_weight() -> None:
    found = []
    for weight in (1.0, 0.25):
        task, batch = built(section=f"{ALL}, adversarial: {weight}, reconstruction: 2.0"), records(None)
        torch.manual_seed(4)
        found.append(task.loss(task.updates[1], batch, task.draw(task.updates[1], 4), PLAIN))
    torch.testing.assert_close(found[0].logged["loss_generator"], found[1].logged["loss_generator"])
    torch.testing.assert_close(found[0].total - found[1].total, 0.75 * found[0].logged["loss_generator"])


def test_noise_alone_is_held_to_its_image_by_the_nearest_of_several() -> None:
    """The latents of records of which something is told stay; of the others each has the nearest of its own three."""
    task, batch = built(section="missing: 0.6, reconstruction: 1.0, nearest_of: 3"), records(None, 12)
    draws = task.draw(task.updates[1], 12)
    told = (draws.parts["missing"] >= 0.6).any(dim=1, keepdim=True)
    assert 2 < int(told.sum()) < 10
    found = task._latents(batch["image"], told, draws)
    further = draws.parts["further"]
    assert further.shape == (12, 3, task.generator.latent.in_features)
    for row in range(12):
        if told[row]:
            assert torch.equal(found[row], draws.parts["latents"][row])
            continue
        with torch.no_grad():
            far = [(task.generator(one[None])[0] - batch["image"][row]).abs().sum().item() for one in further[row]]
        assert torch.equal(found[row], further[row, int(np.argmin(far))])
    loss = task.loss(task.updates[1], batch, draws, PLAIN)
    sounds = moved(batch["sound"], draws.parts["moved"])
    kept = (draws.parts["missing"] >= 0.6).float()
    said = {"text": batch["text"] * kept[:, :1], "audio": sounds * kept[:, 1:, None]}
    fake = task.generator(found, **said, variation=draws.parts["variation"])
    torch.testing.assert_close(loss.logged["reconstruction"], (fake - batch["image"]).abs().mean().detach())


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("adversarial: 0.0", "adversarial is 0, and nothing holds an image to its record; set reconstruction above 0"),
        ("nearest_of: 4", "nearest_of is 4, and nothing holds an image to its record"),
    ],
)
def test_what_would_learn_nothing_is_refused(section: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        built(section=section)


def test_augmentation_without_a_discriminator_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"fusion.adversarial is 0, so that .*; set augment: none, or adversarial above 0"):
        built("train.augment=diffaugment", section="adversarial: 0.0, reconstruction: 1.0")


def test_texts_are_whitened_by_the_captions_of_training(tones: Path) -> None:
    settings, images = chosen(f"model.fusion={{{SECTION}, width_sound: 4, whiten: true}}"), PackedDataset(tones)
    whitening = Fusion.build(settings.model, settings.train, {"data": images}).generator.whitening
    assert whitening is not None
    captions = sorted({caption for record in images.texts("text", np.arange(len(images))) for caption in record})
    assert captions == sorted([*NAMES, *(f"the {name}" for name in NAMES)])
    unit = F.normalize(torch.from_numpy(vectors(captions)), dim=1)
    torch.testing.assert_close(whitening.center, unit.mean(dim=0))


def test_what_is_left_out_is_left_out_for_both() -> None:
    task, batch = built(section="missing: 0.5"), records(None, 64)
    draws = task.draw(task.updates[0], 64)
    batch["sound"][0] = 0
    there = task._there(batch, draws)
    expected = draws.parts["missing"] >= 0.5
    expected[0, 1] = False  # silence
    assert torch.equal(torch.cat([there["text"], there["audio"]], dim=1), expected) and 16 < int(there["text"].sum()) < 48
    told = (task._told(batch, there) != 0).any(1)
    assert torch.equal(told, expected.any(1)), "what is made of a sound is judged by the text"


@pytest.mark.parametrize("sound", [True, False])
def test_parts_of_a_batch_have_their_own_randomness(sound: bool) -> None:
    """The draws of a step follow the seed, and each part takes its own."""
    task = built(sound=sound)
    torch.manual_seed(3)
    whole = task.draw(task.updates[1], 8)
    torch.manual_seed(3)
    again = task.draw(task.updates[1], 8)[4:]
    for name in ("latents", "variation", "missing", "moved"):
        assert torch.equal(whole.parts[name][4:], again.parts[name])
    assert whole.parts["missing"].shape == (8, 1 + sound)


def test_other_regularizers_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"r1 knows of no text; take it out .task fusion has train.fusion.matching_penalty"):
        built("train.regularizers={r1: 1.0}")
