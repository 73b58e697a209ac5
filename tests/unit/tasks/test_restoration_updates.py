"""Whole steps of restoration in float64, against the papers' losses written anew over the same networks.

Plain gradient descent, so that weights say what gradients were.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.extractors.lite0 import lite0_network
from atelier.tasks.restoration.task import Restoration
from tests.support.restoration_tasks import bicubic, built, records
from tests.support.translation_tasks import state, stepped

RATE, EXACT = 0.05, 1e-9
CLEAN = "train.restoration={scale: 2, "  # by bicubic alone


def exactly(name: str, *overrides: str) -> tuple[Restoration, dict[str, Any]]:
    """The task in float64, and a copy of its networks."""
    task = built(name, *overrides)
    for network in task.networks.values():
        network.double()
    return task, copy.deepcopy(dict(task.networks))


def descend(loss: Tensor, network: nn.Module) -> None:
    learnt = list(network.requires_grad_(True).parameters())
    with torch.no_grad():
        for parameter, gradient in zip(learnt, torch.autograd.grad(loss, learnt), strict=True):
            parameter.sub_(RATE * gradient)


def alike(task: Restoration, reference: dict[str, Any], exact: float = EXACT) -> None:
    for key, found in state(task).items():
        name, _, parameter = key.partition(".")
        torch.testing.assert_close(found, reference[name].state_dict()[parameter], rtol=0, atol=exact, msg=key)


def logit(discriminator: Any, images: Tensor) -> Tensor:
    (only,) = discriminator(images).logits
    return only  # type: ignore[no-any-return]


def surely(t: Tensor) -> Tensor:
    """-log of the logistic function, the mean."""
    return -torch.sigmoid(t).log().mean()


def features(images: Tensor) -> Sequence[Tensor]:
    """What EfficientNet-Lite0's first five stages give of images of up to 64 px, taken at the network itself."""
    network, found = lite0_network(), list[Tensor]()
    for stage in list(network.get_submodule("blocks").children())[:5]:
        stage.register_forward_hook(lambda _, __, seen: found.append(seen.clone()))
    network(F.interpolate(images.float(), (112, 112), mode="bicubic", antialias=True))
    return found


def test_pixels_alone() -> None:
    """The mean of |restored - clean|, of pictures that MATLAB's imresize made small."""
    task, its = exactly("psnr", f"{CLEAN}flips: true}}")
    assert list(task.networks) == ["generator"] and [update.name for update in task.updates] == ["generator"]
    assert task.undecided == 0 and task.crops.flips
    for step in range(2):
        clean = records(step)["image"]
        loss, _ = stepped(task, task.updates[0], {"image": clean}, RATE)
        expected = (its["generator"](image=bicubic(clean)) - clean).abs().mean()
        assert loss.total.item() == pytest.approx(expected.item(), abs=EXACT)
        assert loss.logged.keys() == {"l1"} and loss.logged["l1"].item() == pytest.approx(expected.item(), abs=EXACT)
        descend(expected, its["generator"])
        alike(task, its)
    assert not task.pools


def test_squares_beside_pixels() -> None:
    """0.5 E|restored - clean| + 3 E(restored - clean)^2."""
    task, its = exactly("psnr", f"{CLEAN}pixel: 0.5, squared: 3}}")
    clean = records(0)["image"]
    loss, _ = stepped(task, task.updates[0], {"image": clean}, RATE)
    off = its["generator"](image=bicubic(clean)) - clean
    assert loss.total.item() == pytest.approx((0.5 * off.abs().mean() + 3 * off.square().mean()).item(), abs=EXACT)
    assert loss.logged["l2"].item() == pytest.approx(off.square().mean().item(), abs=EXACT)


@pytest.mark.parametrize("perceptual", [0, 2])
def test_against_a_discriminator(perceptual: int) -> None:
    """Wang et al. 2018 (ESRGAN), eq. 1 to 3: each logit against the mean of the other side's, in both halves of both losses."""
    task, its = exactly("gan", f"{CLEAN}pixel: 0.5, perceptual: {perceptual}, adversarial: 0.3}}")
    generator, judge = its["generator"], its["discriminator"]
    exact = 2e-3 if perceptual else EXACT  # its network is in float32: gradients of these records differ by 1.5e-3 from float64
    for step in range(2):
        clean, others = (records(10 * step + of)["image"] for of in range(2))
        before = state(task)
        loss, _ = stepped(task, task.updates[0], {"image": clean}, RATE)
        moved = {key.partition(".")[0] for key, value in state(task).items() if not torch.equal(value, before[key])}
        assert moved == {"generator"}
        made = generator(image=bicubic(clean))
        r, f = logit(judge, clean).detach(), logit(judge, made)
        expected = 0.5 * (made - clean).abs().mean() + 0.3 * (surely(f - r.mean()) + surely(f.mean() - r))
        if perceptual:
            apart = [(a - b.detach()).abs().mean() for a, b in zip(features(made), features(clean), strict=True)]
            expected = expected + perceptual * torch.stack(apart).mean()
        assert loss.total.item() == pytest.approx(expected.item(), abs=exact)
        descend(expected, generator)
        alike(task, its, exact)

        loss, _ = stepped(task, task.updates[1], {"image": others}, RATE)
        r, f = logit(judge, others), logit(judge, made.detach())
        expected = surely(r - f.mean()) + surely(r.mean() - f)
        assert loss.total.item() == pytest.approx(expected.item(), abs=exact)
        descend(expected, judge)
        alike(task, its, exact)


def test_a_discriminator_that_steps_before_the_generator_does() -> None:
    """As with critic_steps: it is shown what the generator makes of its own batch, degraded."""
    task, its = exactly("gan", f"{CLEAN}adversarial: 1}}", "train.objective=nonsaturating")
    clean = records(3)["image"]
    loss, _ = stepped(task, task.updates[1], {"image": clean}, RATE)
    judge = its["discriminator"]
    expected = surely(logit(judge, clean)) + surely(-logit(judge, its["generator"](image=bicubic(clean))))
    assert loss.total.item() == pytest.approx(expected.item(), abs=EXACT)


def test_pairs_are_taken_as_they_are() -> None:
    task, its = exactly("psnr", f"{CLEAN}degradations: [pairs]}}")
    target, given = records(1)["image"], records(2, side=16)["image"]
    loss, draws = stepped(task, task.updates[0], {"input": given, "target": target}, RATE)
    assert draws.parts == {}
    expected = (its["generator"](image=given) - target).abs().mean()
    assert loss.total.item() == pytest.approx(expected.item(), abs=EXACT)


def test_each_image_is_degraded_by_numbers_of_its_own() -> None:
    """Parts of a batch are degraded as in the whole; equal pictures differently."""
    task = built("psnr")
    clean = records(4, dtype=torch.float32)["image"][:1].expand(4, -1, -1, -1)
    torch.manual_seed(1)
    draws = task.draw(task.updates[0], 4)
    whole, _ = task._pair({"image": clean}, draws)
    assert whole.shape == (4, 3, 16, 16) and whole.dtype == torch.float32
    parts = [task._pair({"image": clean[rows]}, draws[rows])[0] for rows in (slice(0, 1), slice(1, 4))]
    assert torch.equal(torch.cat(parts), whole)
    assert all(not torch.equal(whole[0], other) for other in whole[1:])
    levels = (whole + 1) * 127.5
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-3)


def unsharp(clean: Tensor) -> Tensor:
    """Real-ESRGAN's targets of pictures in [-1, 1]: its Gaussian as a matrix whose columns are mirrored beyond the rims."""
    side, kernel = clean.shape[2], np.exp(-(np.arange(-25, 26) ** 2) / 128)
    blur = np.zeros((side, side))
    for row in range(side):
        for place, weight in zip(range(row - 25, row + 26), kernel / kernel.sum(), strict=True):
            blur[row, side - 1 - abs(side - 1 - abs(place))] += weight
    pixels = (clean.numpy() + 1) / 2
    lost = pixels - blur @ pixels @ blur.T
    mask = blur @ (np.abs(lost) * 255 > 10).astype(float) @ blur.T
    return torch.from_numpy(mask * np.clip(pixels + lost / 2, 0, 1) + (1 - mask) * pixels) * 2 - 1


def test_sharpened_targets() -> None:
    """Inputs are made of them, and the generator is held to them; the discriminator sees clean pictures as they are."""
    task, its = exactly("gan", f"{CLEAN}adversarial: 0.3, sharpen_targets: true}}", "train.objective=nonsaturating")
    generator, judge, clean = its["generator"], its["discriminator"], records(5)["image"] * 0.8
    target = unsharp(clean)
    assert (target - clean).abs().max() > 0.05
    loss, _ = stepped(task, task.updates[0], {"image": clean}, RATE)
    made = generator(image=bicubic(target))
    expected = (made - target).abs().mean() + 0.3 * surely(logit(judge, made))
    assert loss.total.item() == pytest.approx(expected.item(), abs=EXACT)
    loss, _ = stepped(task, task.updates[1], {"image": clean}, RATE)
    expected = surely(logit(judge, clean)) + surely(-logit(judge, made.detach()))
    assert loss.total.item() == pytest.approx(expected.item(), abs=EXACT)
