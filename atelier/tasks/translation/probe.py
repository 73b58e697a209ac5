"""A probe of fixed pictures: what becomes of them and of their way back over time, and how varied and how true it is."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from atelier.io.pictures import grid, in_color, png
from atelier.models.model import at_once, from_uint8, to_uint8
from atelier.tasks.base import Examples
from atelier.tasks.mode_coverage import COUNTED, LEARNT, ModeCoverage, pairwise_distance

COMPARED = 64  # pictures whose translations are compared
COLUMNS, GROUPS = 10, 2  # of the preview: so many pictures beside each other, in so many groups of rows
SIDE = 8  # pixels a side of the thumbnails whose brightness is compared
NOISE = 0.03  # standard deviation of what is added to a translation before it goes back: four levels of 255


class TranslationProbe:
    """The same pictures at every moment of a run, held-out ones where there are any.

    `routes` are, by product, the sets that it is given and that it imitates. Curves are means over the products.
    """

    def __init__(self, routes: Mapping[str, tuple[str, str]], examples: Examples) -> None:
        self.routes = routes
        training = list(itertools.islice(examples.training(COMPARED), LEARNT + COUNTED + 1))
        shown = examples.held_out(COMPARED) or training[-1]
        self.shown = {
            name: torch.from_numpy(to_uint8(shown[f"{name}.image"])) for name in dict.fromkeys(sum(routes.values(), ()))
        }
        self.device = training[0][f"{next(iter(self.shown))}.image"].device
        self.coverage, self.real_distance = {}, {}
        for _, to in routes.values():
            real = [batch[f"{to}.image"] for batch in training]
            self.coverage[to] = ModeCoverage(real[: LEARNT + COUNTED])
            self.real_distance[to] = pairwise_distance(real[-1], None)
        both_ways = len(routes) > 1
        self.curves = ("diversity", "mode_coverage", "brightness_kept", *(("cycle_error", "noise_gain") if both_ways else ()))

    @torch.no_grad()
    def measure(self, averages: Mapping[str, nn.Module]) -> dict[str, float]:
        """The curves at this moment; changes nothing.

        diversity: mean distance between translations, over that between real images; near 0 where the input is ignored.
        mode_coverage: their effective number of modes, over that of real images. brightness_kept: correlation of the brightness
        of translations and inputs, place by place; below 0 where colors are inverted. cycle_error: mean difference of a picture
        from its way there and back, in [0, 2]. noise_gain: how much a little noise in a translation changes the way back, over
        that noise; far above 1 where the picture is hidden in the translation (Chu et al. 2017).
        """
        found: dict[str, list[float]] = {name: [] for name in self.curves}
        for product, (given, to) in self.routes.items():
            inputs, made, back = self._translated(averages, product, given)
            found["diversity"].append(pairwise_distance(made, None) / self.real_distance[to])
            found["mode_coverage"].append(self.coverage[to].share(made))
            found["brightness_kept"].append(_correlation(_brightness(inputs), _brightness(made)))
            if back is not None:
                found["cycle_error"].append((back - inputs).abs().mean().item())
                noise = NOISE * torch.randn(made.shape, generator=torch.Generator().manual_seed(0))
                changed = self._back(averages, given, made + noise)
                found["noise_gain"].append(((changed - back).abs().mean() / noise.abs().mean()).item())
        return {name: float(np.mean(values)) for name, values in found.items()}

    @torch.no_grad()
    def preview(self, averages: Mapping[str, nn.Module]) -> bytes:
        """A PNG: for each product rows of inputs, of their translations and, where there is one, of the way back."""
        lines = []
        for product, (given, _) in self.routes.items():
            parts = [part for part in self._translated(averages, product, given) if part is not None]
            for group in range(GROUPS):
                rows = slice(group * COLUMNS, (group + 1) * COLUMNS)
                lines += [in_color(to_uint8(part[rows])) for part in parts]
        return png(grid(np.concatenate(lines), COLUMNS))

    def _translated(self, averages: Mapping[str, nn.Module], product: str, given: str) -> tuple[Tensor, Tensor, Tensor | None]:
        """The pictures of a set, what a product makes of them, and what the product of the other direction makes of that."""
        pictures = from_uint8(self.shown[given])
        made = self._through(averages[product], pictures)
        return pictures, made, self._back(averages, given, made) if len(self.routes) > 1 else None

    def _back(self, averages: Mapping[str, nn.Module], given: str, made: Tensor) -> Tensor:
        """The way back of translations into the set that they come from."""
        (product,) = (name for name, route in self.routes.items() if route[1] == given)
        return self._through(averages[product], made)

    def _through(self, generator: nn.Module, images: Tensor) -> Tensor:
        parts = images.split(at_once(images.shape[3], COMPARED))
        return torch.cat([generator(image=part.to(self.device)).float().clamp(-1, 1).cpu() for part in parts])


def _brightness(images: Tensor) -> Tensor:
    """Thumbnails of the brightness of images [N, C, H, W], flat."""
    return adaptive_avg_pool2d(images.mean(dim=1, keepdim=True), SIDE).flatten()


def _correlation(one: Tensor, other: Tensor) -> float:
    """Pearson's correlation, 0 where one of both does not vary."""
    one, other = one - one.mean(), other - other.mean()
    scale = one.norm() * other.norm()
    return (one @ other / scale).item() if scale > 0 else 0.0
