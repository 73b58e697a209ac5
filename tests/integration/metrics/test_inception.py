"""Inception's features equal those of torch-fidelity and of pytorch-fid, and only the published ones are called FID's."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

from atelier.extractors import load_extractor
from atelier.metrics.frechet import Moments, frechet_distance


def test_the_distance_equals_that_of_torch_fidelity(peer: Any, partial_inception: Path, photographs: list[Image.Image]) -> None:
    """The published file as far as it is at hand, on two times 20 gray photographs."""
    ours = load_extractor("inception", str(partial_inception), (64, 64), layer="768")
    features = ours.features(np.stack([np.asarray(image.convert("L"))[None] for image in photographs]))
    expected = peer("768", torch.load(partial_inception, weights_only=True)).of(photographs).numpy()
    statistics = [
        fid_features_to_statistics(torch.from_numpy(part.astype(np.float64))) for part in (expected[:20], expected[20:])
    ]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]
    moments = [Moments(768), Moments(768)]
    for each, part in zip(moments, (features[:20], features[20:]), strict=True):
        each.update(part)
    assert theirs > 0.01
    assert frechet_distance(*moments) == pytest.approx(theirs, rel=1e-3)
    assert (ours.name, ours.dim, ours.layer, ours.is_fid, ours.head) == ("inception", 768, "768", False, None)
    assert ours.weights_hash == hashlib.sha256(partial_inception.read_bytes()).hexdigest()
