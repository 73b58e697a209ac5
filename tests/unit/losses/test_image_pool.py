"""The pool of earlier images against a list that is changed image by image."""

from __future__ import annotations

import torch
from torch import Tensor

from atelier.losses.image_pool import SIZE, pool_step

SHAPE = (1, 2, 2)


def images(first: int, count: int) -> Tensor:
    """Image i is filled with i + 1."""
    return torch.arange(first + 1, first + count + 1).float()[:, None, None, None].expand(count, *SHAPE)


def one_by_one(held: list[Tensor], size: int, fakes: Tensor, draws: Tensor) -> list[Tensor]:
    """What is shown; changes `held`."""
    shown = []
    for fake, (coin, place) in zip(fakes, draws.tolist(), strict=True):
        if len(held) < size:
            held.append(fake)
            shown.append(fake)
        elif coin < 0.5:
            index = int(place * size)
            shown.append(held[index])
            held[index] = fake
        else:
            shown.append(fake)
    return shown


def test_steps_of_any_batch_are_those_of_a_list() -> None:
    for batch in (1, 3, 8):
        torch.manual_seed(batch)
        size, count, seen = 7, 0, 0
        pool, held = torch.zeros(size, *SHAPE), list[Tensor]()
        for _ in range(30):
            fakes, draws = images(seen, batch), torch.rand(batch, 2)
            pool, shown = pool_step(pool, count, fakes, draws)
            assert torch.equal(shown, torch.stack(one_by_one(held, size, fakes, draws)))
            count, seen = min(count + batch, size), seen + batch
            assert torch.equal(pool[:count], torch.stack(held)) and not pool[count:].any()


def test_while_it_fills_each_is_shown_itself() -> None:
    pool, shown = pool_step(torch.zeros(SIZE, *SHAPE), 3, images(9, 4), torch.zeros(4, 2))
    assert torch.equal(shown, images(9, 4)) and torch.equal(pool[3:7], images(9, 4))


def test_a_place_that_is_drawn_twice_gives_the_newer_image() -> None:
    pool, shown = pool_step(images(0, 2), 2, images(10, 2), torch.tensor([[0.1, 0.6], [0.1, 0.9]]))
    assert shown[:, 0, 0, 0].tolist() == [2, 11] and pool[:, 0, 0, 0].tolist() == [1, 12]


def test_half_of_a_long_run_comes_from_the_pool_at_every_place_alike() -> None:
    torch.manual_seed(0)
    fakes = images(1000, 2000)
    pool, shown = pool_step(images(0, 50), 50, fakes, torch.rand(2000, 2))
    itself = (shown == fakes).flatten(1).all(dim=1).float().mean().item()
    assert abs(itself - 0.5) < 5 * 0.5 / 2000**0.5
    assert (pool > 1000).flatten(1).all(dim=1).sum() == 50


def test_nothing_that_is_given_changes_and_no_gradient_passes() -> None:
    pool, fakes, draws = images(0, 3).clone(), images(7, 2).clone().requires_grad_(), torch.tensor([[0.0, 0.5], [0.9, 0.0]])
    before = pool.clone(), fakes.detach().clone(), draws.clone()
    after, shown = pool_step(pool, 3, fakes, draws)
    assert not shown.requires_grad and not after.requires_grad
    assert all(torch.equal(a, b) for a, b in zip((pool, fakes, draws), before, strict=True))
    assert after.data_ptr() != pool.data_ptr()
