"""Directions in the latent space along which images change: found without labels, or fitted to them.

sefa      closed form on the first weights (Shen and Zhou 2021, equations 6 to 8)
pca       principal components of codes, or of images and from there to latents by regression (GANSpace: Härkönen et al. 2020,
          section 3)
fitted    linear for numbers, logistic for two kinds: the normal of a hyperplane (InterFaceGAN: Shen et al. 2020, section 3.1,
          with logistic regression for its SVM)

A direction is a vector of the space that is moved in (atelier.latent.space), as long as one standard deviation of the points
along it. Its sign is that of its largest component, since eigenvectors have none.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from atelier.latent.edits import Points, points, synthesized
from atelier.latent.space import Space
from atelier.models.model import GeneratorError

SAMPLES = 1024  # of what is fitted
AT = 16  # points at which the first layers are differentiated
FOLDS = 5  # of cross-validation


@dataclass(frozen=True)
class Direction:
    """A vector [dim], how it was found, and how much it explains: a share of variance, R^2, or of labels."""

    vector: Tensor
    method: str
    explained: float
    attribute: str = ""


def sefa(space: Space, of: Points, count: int) -> list[Direction]:
    """The directions in which what the first layers give changes most: eigenvectors of A' A, each row of A of unit length.

    A is the matrix of all layers with weights that the code reaches before any other, such as the first linear layer, or the
    affine map of every style. Where something lies before them that is not linear, as progan's norm, it is the derivative at 16
    points. Raises GeneratorError where the code reaches no layer.
    """
    total: Tensor | float = 0.0
    rows = space.points(of)[:AT]
    for index, point in enumerate(rows):
        label = None if of.labels is None else of.labels[index : index + 1]
        maps = [one / one.norm(dim=1, keepdim=True).clamp(min=1e-12) for one in first_layers(space, point, label)]
        if not maps:
            raise GeneratorError("no layer of this generator sees the code; sefa is not for it, take --method pca")
        total = total + torch.cat(maps).double().T @ torch.cat(maps).double()
    values, vectors = torch.linalg.eigh(torch.as_tensor(total).cpu())
    shares = values / values.sum()
    return [_scaled(space, vectors[:, -k], "sefa", float(shares[-k]), of) for k in range(1, min(count, len(values)) + 1)]


def first_layers(space: Space, point: Tensor, label: Tensor | None) -> list[Tensor]:
    """The derivative [outputs, dim] at a point [dim] of each layer with weights that the code reaches before any other one."""
    generator, reached = space.generator, list[tuple[nn.Module, Tensor]]()

    def record(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if given[0].requires_grad:
            reached.append((layer, given[0]))
        return output.detach()  # whatever comes after it is no first layer

    with torch.enable_grad():
        at = point.detach().clone().requires_grad_()
        hooks = [one.register_forward_hook(record) for one in generator.modules() if isinstance(one, nn.Linear | _ConvNd)]
        try:
            generator.synthesize(space.codes(at[None], label), label)
        finally:
            for hook in hooks:
                hook.remove()
        slopes = [(layer, given.shape, _jacobian(given, at)) for layer, given in reached]
    with torch.no_grad():
        return [_through(layer, slope.T.reshape(-1, *shape[1:])).T for layer, shape, slope in slopes]


def pca(space: Space, of: Points, count: int) -> list[Direction]:
    """Principal components: of codes where there is a mapping; else of images, and the latents' share in each by regression.

    The means of classes are taken out first: a class is no direction. `explained` is the share of variance, times R^2 where there
    is a regression.
    """
    where = space.points(of).double().cpu()
    if space.mapped:
        return [_scaled(space, vector, "pca", share, of) for vector, _, share in _components(_centered(where, of.labels), count)]
    images = synthesized(space.generator, space.codes(space.points(of), of.labels), of.labels)
    pixels = _centered(torch.from_numpy(images.reshape(len(images), -1)).double(), of.labels)
    found = []
    for _, scores, share in _components(pixels, count):
        slope = torch.linalg.lstsq(where, scores[:, None]).solution[:, 0]
        fit = 1 - float((scores - where @ slope).square().sum() / scores.square().sum())
        found.append(_scaled(space, slope, "pca", share * max(fit, 0.0), of))
    return found


def fitted(space: Space, of: Points, values: np.ndarray, attribute: str) -> Direction:
    """The direction in which an attribute grows, from its values [N] at the points: numbers, or two kinds.

    `explained` is R^2, or the balanced accuracy of telling the kinds apart, of points that were left out in turn. Raises
    GeneratorError where the values are all equal, or of one kind there are too few.
    """
    from sklearn.linear_model import LogisticRegressionCV, RidgeCV
    from sklearn.model_selection import cross_val_score

    where, kinds = space.points(of).double().cpu().numpy(), np.unique(values)
    if len(kinds) < 2 or len(values) < 2 * FOLDS:
        raise GeneratorError(f"{attribute}: {len(values)} labels of {len(kinds)} values; give {2 * FOLDS} of two values at least")
    scaled = (where - where.mean(axis=0)) / where.std(axis=0).clip(1e-9)
    if len(kinds) == 2:
        if (fewest := min((values == kind).sum() for kind in kinds)) < FOLDS:
            raise GeneratorError(f"{attribute}: of one kind there are {fewest} labels; give {FOLDS} at least")
        model, score, method = LogisticRegressionCV(Cs=5, cv=FOLDS, max_iter=1000), "balanced_accuracy", "logistic"
    else:
        model, score, method = RidgeCV(np.logspace(-2, 4, 13)), "r2", "linear"
        values = _centered(torch.from_numpy(values.astype(np.float64))[:, None], of.labels)[:, 0].numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on arguments that its next version will have otherwise
        slope = np.ravel(model.fit(scaled, values).coef_) / where.std(axis=0).clip(1e-9)
        explained = float(cross_val_score(model, scaled, values, cv=FOLDS, scoring=score).mean())
    found = _scaled(space, torch.from_numpy(slope), method, explained, of, signed=True)
    return Direction(found.vector, method, explained, attribute)


def drawn(space: Space, seed: int, label: int | None, count: int = SAMPLES) -> Points:
    """Points of consecutive seeds from `seed` on, so that people can look at each of them and label it."""
    return points(space.generator, range(seed, seed + count), label)


def _components(rows: Tensor, count: int) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Yields components [dim], the scores of rows [N, dim] on each [N], and its share of the variance."""
    left, values, right = torch.linalg.svd(rows, full_matrices=False)
    for k in range(min(count, len(values))):
        yield right[k], left[:, k] * values[k], float(values[k].square() / values.square().sum())


def _centered(rows: Tensor, labels: Tensor | None) -> Tensor:
    if labels is None:
        return rows - rows.mean(dim=0)
    centered = rows.clone()
    for label in labels.unique():
        centered[labels.cpu() == label.cpu()] -= rows[labels.cpu() == label.cpu()].mean(dim=0)
    return centered


def _scaled(space: Space, vector: Tensor, method: str, explained: float, of: Points, signed: bool = False) -> Direction:
    """A unit vector times the standard deviation of the points along it, which in z is 1."""
    unit = vector.double().cpu() / vector.double().norm()
    if not signed:
        unit = unit * unit[unit.abs().argmax()].sign()
    spread = float((space.points(of).double().cpu() @ unit).std()) if space.mapped else 1.0
    return Direction((spread * unit).float(), method, explained)


def _jacobian(given: Tensor, at: Tensor) -> Tensor:
    """[values of given, dim]."""
    flat = given.flatten()
    (slope,) = torch.autograd.grad(flat, at, torch.eye(len(flat), device=flat.device), retain_graph=True, is_grads_batched=True)
    return slope


def _through(layer: nn.Module, inputs: Tensor) -> Tensor:
    """A layer's linear part of inputs [dim, ...], flat: [dim, outputs]."""
    outputs: Tensor = layer(inputs) - layer(torch.zeros_like(inputs[:1]))
    return outputs.flatten(1)
