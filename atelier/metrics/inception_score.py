"""The Inception Score: how sure a classifier is of an image, and how many classes it finds (Salimans et al. 2016, section 4)."""

from __future__ import annotations

import numpy as np

from atelier.metrics.identity import MetricError

SPLITS = 10
FEWEST = 5  # images a split, whose number no score exceeds; with fewer the standard error is too small
BLOCK = 2000  # images whose logits exist in float64 at a time


def logits(features: np.ndarray, head: tuple[np.ndarray, np.ndarray | None]) -> np.ndarray:
    """Features [N, d] through a classifier's last layer (weight [K, d], bias [K] or None): float32 [N, K], summed in float64.

    torch-fidelity's Inception Score leaves the bias out, as the original does. Raises MetricError on other widths.
    """
    weight, bias = head
    if features.ndim != 2 or features.shape[1] != weight.shape[1]:
        raise MetricError(f"features have shape {features.shape}; the classifier's head takes [N, {weight.shape[1]}]")
    columns = weight.T.astype(np.float64)
    result = np.empty((len(features), len(weight)), np.float32)
    for start in range(0, len(features), BLOCK):
        block = features[start : start + BLOCK].astype(np.float64) @ columns
        result[start : start + BLOCK] = block if bias is None else block + bias
    return result


def class_score(logits: np.ndarray, splits: int = SPLITS, seed: int = 2020) -> tuple[float, float, float]:
    """Mean over `splits` of exp(mean KL(p(y|x) || p(y))), its standard deviation over them, and the mean's standard error.

    `logits` [N, K] are shuffled by RandomState(seed) and cut into splits; p(y) is the mean of p(y|x) within a split:
    torch-fidelity's convention, whose default seed is 2020. The value lies between 1 and K and rises with the number of images
    in a split: compare equal N only. The deviation is no standard error: it is that of splits of N / splits images.

    The standard error is the jackknife's over the images (Efron and Stein 1981): each split's score without each of its images.
    Against repeated draws it is right within a fifth from 6 images a split on; the error of an infinitesimal jackknife is a
    third too small there, as it leaves out how an image moves p(y).

    Raises MetricError on fewer than 5 images a split, or logits that are not finite.
    """
    if logits.ndim != 2:
        raise MetricError(f"logits have shape {logits.shape}; expected [N, K]")
    count = len(logits)
    if count < FEWEST * splits:
        raise MetricError(
            f"the class score needs {FEWEST} images in each of {splits} splits, so {FEWEST * splits}, not {count}; "
            "raise the number of images"
        )
    if not np.isfinite(logits).all():
        raise MetricError("logits are not finite; look for NaN in the generator")
    order = np.random.RandomState(seed).permutation(count)
    parts = [order[number * count // splits : (number + 1) * count // splits] for number in range(splits)]
    scores, variances = np.transpose([_score(logits[part].astype(np.float64)) for part in parts])
    return float(scores.mean()), float(scores.std()), float(np.sqrt(variances.sum()) / splits)


def _score(logits: np.ndarray) -> tuple[float, float]:
    """Score of one split [n, K], and its jackknife variance.

    The mean divergence is the entropy of the mean less the mean entropy, so that leaving an image out costs no second pass.
    """
    count = len(logits)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    mean, entropies = shares.mean(axis=0), _entropy(shares)
    without = np.maximum(count * mean - shares, 0) / (count - 1)
    scores = np.exp(_entropy(without) - (entropies.sum() - entropies) / (count - 1))
    return float(np.exp(_entropy(mean) - entropies.mean())), float((count - 1) * scores.var())


def _entropy(shares: np.ndarray) -> np.ndarray:
    """-sum p log p over the last axis; what underflowed to 0 adds 0."""
    return -(shares * np.log(shares, out=np.zeros_like(shares), where=shares > 0)).sum(axis=-1)
