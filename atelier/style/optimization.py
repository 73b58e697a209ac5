"""Style transfer by optimisation: Gatys, Ecker and Bethge 2016, with losses relative to their targets (atelier.losses.style)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from atelier.errors import AtelierError
from atelier.extractors.looking import CHOSEN, Look
from atelier.losses.style import content_loss, gram, gram_loss, total_variation

RATE = 0.02  # of Adam, for pixels in [-1, 1]
BEYOND = 10.0  # weight of what lies beyond black and white
MEMORY = 20  # steps that L-BFGS remembers

Losses = dict[str, float]


class StyleError(AtelierError):
    """What was asked for cannot be made of these pictures or by this generator; the message names the remedy."""


@dataclass(frozen=True)
class Choices:
    """How a picture is optimised; `style` weighs the mean over the style's layers, beside 1 for the content."""

    optimizer: Literal["lbfgs", "adam"] = "lbfgs"
    steps: int = 150
    style: float = 10.0
    variation: float = 0.3


def optimize(
    look: Look, content: Tensor, style: Tensor, choices: Choices, told: Callable[[Losses], object] = lambda losses: None
) -> tuple[Tensor, list[Losses]]:
    """The picture [1, C, H, W] in [-1, 1] with the content's features and the style's Gram matrices, and the losses on the way.

    It begins as `content` [1, C, H, W]; `style` [1, C, h, w] has any sides. The losses are those of each evaluation: total,
    content, style, variation, and one for each layer of the style. `told` is given them as they come. Raises StyleError where
    they are no numbers any more.
    """
    layers = CHOSEN[look.name]
    with torch.no_grad():
        wanted = look(content, [layers.content])[layers.content]
        grams = {name: gram(seen) for name, seen in look(style, layers.style).items()}
    picture = content.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
    history: list[Losses] = []

    def evaluate() -> Tensor:
        optimizer.zero_grad()
        seen = look(picture, {layers.content, *layers.style})
        each = {name: gram_loss(gram(seen[name]), grams[name]).sum() for name in layers.style}
        parts = {
            "content": content_loss(seen[layers.content], wanted).sum(),
            "style": torch.stack(list(each.values())).mean(),
            "variation": total_variation(picture).sum(),
        }
        total = parts["content"] + choices.style * parts["style"] + choices.variation * parts["variation"]
        total = total + BEYOND * (picture.abs() - 1).relu().square().mean()
        total.backward()
        losses = {name: value.item() for name, value in {"total": total, **parts, **each}.items()}
        if not math.isfinite(losses["total"]):
            raise StyleError("the losses are no numbers any more; lower --style-weight, or take --optimizer adam")
        history.append(losses)
        told(losses)
        return total

    optimizer = _optimizer(choices, picture)
    while len(history) < choices.steps:
        before = len(history)
        optimizer.step(evaluate)  # type: ignore[arg-type] # which torch documents as a tensor, too
        if choices.optimizer == "lbfgs" and len(history) - before <= 1:
            break  # it finds no way down any more
    return picture.detach().clamp(-1, 1), history


def _optimizer(choices: Choices, picture: Tensor) -> torch.optim.Optimizer:
    if choices.optimizer == "adam":
        return torch.optim.Adam([picture], RATE)
    return torch.optim.LBFGS(
        [picture], max_iter=choices.steps, max_eval=choices.steps, history_size=MEMORY, tolerance_grad=0.0, tolerance_change=0.0
    )


def columns(history: Sequence[Losses]) -> dict[str, list[float]]:
    """The losses by name, a value for each evaluation."""
    return {name: [losses[name] for losses in history] for name in history[0]}
