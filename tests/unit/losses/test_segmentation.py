"""The losses of a segmenting discriminator against each pixel written out, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from atelier.losses import segmentation

N, K, H, W = 2, 4, 5, 6
IGNORED = 255


def logits(seed: int) -> Tensor:
    torch.manual_seed(seed)
    return torch.randn(N, 1 + K, H, W, dtype=torch.float64, requires_grad=True)


def maps(seed: int = 0, classes: int = K, ignored: float = 0.2) -> Tensor:
    """Label maps in which the last class does not occur."""
    random = np.random.default_rng(seed)
    drawn = random.integers(0, classes - 1, (N, H, W))
    return torch.from_numpy(np.where(random.random((N, H, W)) < ignored, IGNORED, drawn))


def log_softmax(values: np.ndarray) -> np.ndarray:
    top = values.max()
    return values - top - np.log(np.exp(values - top).sum())


def by_class(values: Tensor, labels: Tensor) -> float:
    """The mean over the classes that occur of the mean over their pixels: what the weights amount to."""
    found: dict[int, list[float]] = {}
    for n, y, x in np.ndindex(N, H, W):
        label = int(labels[n, y, x])
        if label != IGNORED:
            found.setdefault(label, []).append(-log_softmax(values.detach().numpy()[n, :, y, x])[1 + label])
    return float(np.mean([np.mean(losses) for losses in found.values()]))


@pytest.mark.parametrize("ignored", [0.0, 0.3])
def test_weights_are_inverse_to_shares_and_one_in_the_mean(ignored: float) -> None:
    labels = maps(ignored=ignored)
    weights = segmentation.class_weights(labels, K)
    counts = np.array([(labels == c).sum().item() for c in range(K)])
    assert weights.tolist()[-1] == 0 and (counts[:-1] > 0).all()
    np.testing.assert_allclose(weights[:-1], counts.sum() / (3 * counts[:-1]), rtol=1e-12)
    assert (weights.numpy() * counts).sum() / counts.sum() == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("ignored", [0.0, 0.3])
def test_both_losses_pixel_by_pixel(ignored: float) -> None:
    real, fake, labels = logits(0), logits(1), maps(ignored=ignored)
    weights = segmentation.class_weights(labels, K)
    generated = np.mean([-log_softmax(fake.detach().numpy()[n, :, y, x])[0] for n, y, x in np.ndindex(N, H, W)])
    discriminator = segmentation.discriminator_loss(real, fake, labels, weights)
    assert discriminator.item() == pytest.approx(by_class(real, labels) + generated, rel=1e-12)
    assert segmentation.generator_loss(fake, labels, weights).item() == pytest.approx(by_class(fake, labels), rel=1e-12)


def test_the_mean_over_ranks_is_the_loss_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rank has one image; the second one's has more pixels that are not counted, and a class that the first one's lacks."""
    fake = logits(9)
    labels = torch.stack([maps(1, ignored=0.1)[0], maps(2, ignored=0.5)[1]])
    labels[0] = labels[0].where(labels[0] != 1, 2)
    whole = segmentation.generator_loss(fake, labels, segmentation.class_weights(labels, K))
    counted = torch.stack([(labels == c).sum() for c in range(K)]).double()
    assert counted[1] > 0 and (labels[0] != IGNORED).sum() != (labels[1] != IGNORED).sum()
    monkeypatch.setattr(segmentation.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(segmentation.dist, "get_world_size", lambda: N)
    monkeypatch.setattr(segmentation, "sum_of_ranks", lambda own: counted)
    parts = [(fake[n : n + 1], labels[n : n + 1]) for n in range(N)]
    own = [segmentation.generator_loss(*part, segmentation.class_weights(part[1], K)) for part in parts]
    assert torch.stack(own).mean().item() == pytest.approx(whole.item(), rel=1e-12)


def test_pixels_that_are_not_counted_teach_nothing_of_their_class() -> None:
    fake, labels = logits(2), maps(ignored=0.5)
    segmentation.generator_loss(fake, labels, segmentation.class_weights(labels, K)).backward()
    assert fake.grad is not None
    moved = fake.grad.abs().sum(dim=1) > 0
    assert torch.equal(moved, labels != IGNORED)


def test_a_map_without_a_single_counted_pixel_is_no_loss() -> None:
    fake, labels = logits(3), torch.full((N, H, W), IGNORED)
    weights = segmentation.class_weights(labels, K)
    loss = segmentation.generator_loss(fake, labels, weights)
    loss.backward()
    assert weights.tolist() == [0] * K and loss.item() == 0 and fake.grad is not None and not fake.grad.any()


def test_bfloat16_is_summed_in_float32() -> None:
    real, fake, labels = logits(4).bfloat16(), logits(5).bfloat16(), maps()
    weights = segmentation.class_weights(labels, K)
    found = segmentation.discriminator_loss(real, fake, labels, weights)
    exact = segmentation.discriminator_loss(real.double(), fake.double(), labels, weights)
    assert found.dtype == torch.float32 and found.item() == pytest.approx(exact.item(), rel=1e-5)


def test_a_coin_a_class_makes_the_mask() -> None:
    labels = maps(ignored=0.3)
    coins = torch.tensor([[True, False, True, False], [False, True, True, True]])
    mask = segmentation.labelmix_mask(labels, coins)
    assert mask.shape == (N, 1, H, W) and mask.dtype == torch.float32
    for n, y, x in np.ndindex(N, H, W):
        label = int(labels[n, y, x])
        assert mask[n, 0, y, x] == (0 if label == IGNORED else coins[n, label])


def test_labelmix_is_the_square_of_what_mixing_changes() -> None:
    mixture, real, fake = logits(6), logits(7), logits(8)
    mask = segmentation.labelmix_mask(maps(), torch.tensor([[True, False, True, False]] * N)).double()
    loss = segmentation.labelmix_loss(mixture, mask, real, fake)
    loss.backward()
    m = mask.numpy()
    residual = mixture.detach().numpy() - np.where(m > 0, real.detach().numpy(), fake.detach().numpy())
    assert loss.item() == pytest.approx((residual**2).mean(), rel=1e-12)
    for logit, factor in ((mixture, 1), (real, -m), (fake, m - 1)):
        assert logit.grad is not None
        np.testing.assert_allclose(logit.grad, 2 * residual * factor / residual.size, rtol=1e-10, atol=1e-18)


def test_a_discriminator_of_single_pixels_is_consistent() -> None:
    real, fake = (torch.rand(N, 3, H, W, dtype=torch.float64) for _ in range(2))
    judge = torch.nn.Conv2d(3, 1 + K, 1).double()
    mask = segmentation.labelmix_mask(maps(), torch.tensor([[True, False, False, True]] * N)).double()
    mixture = judge(segmentation.mixed(mask, real, fake))
    assert segmentation.labelmix_loss(mixture, mask, judge(real), judge(fake)).item() < 1e-30
