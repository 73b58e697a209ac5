"""What is kept of a stream of images: moments always, features where they are asked for, in memory or in a file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from atelier.extractors.passes import return_freed
from atelier.metrics import feature_stream
from atelier.metrics.feature_stream import FeatureStream
from atelier.metrics.identity import MetricError

FEATURES = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)


@pytest.mark.parametrize("limit", [0, 2**20], ids=["file", "memory"])
def test_features_come_back_in_order(limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_stream, "IN_MEMORY", limit)
    stream = FeatureStream(8, 50, keep=True, scratch=tmp_path / "cache")
    for start in range(0, 50, 7):
        stream.update(FEATURES[start : start + 7])
        assert np.array_equal(stream.features, FEATURES[: start + 7])
    assert stream.count == 50
    np.testing.assert_allclose(stream.moments.mean, FEATURES.mean(axis=0), rtol=1e-5, atol=1e-6)
    assert isinstance(stream.features, np.memmap) == (limit == 0)
    assert not list(tmp_path.rglob("*.*")), "the file has no name, so that nothing is left of it after a kill"


def test_many_features_take_no_memory(tmp_path: Path) -> None:
    """400 MB of them, as 50,000 images at 2048 are, move the process's own memory by a tenth of that."""

    def own_memory() -> int:
        return_freed()  # or what earlier tests have left decides
        pages = int(Path("/proc/self/statm").read_text().split()[1]) - int(Path("/proc/self/statm").read_text().split()[2])
        return pages * os.sysconf("SC_PAGE_SIZE")

    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    before, stream = own_memory(), FeatureStream(256, 400_000, keep=True, scratch=tmp_path)
    block = np.ones((4000, 256), dtype=np.float32)
    for _ in range(100):
        stream.update(block)
    assert stream.features.nbytes > 400e6
    assert own_memory() - before < 40e6


def test_without_keep_there_are_moments_alone(tmp_path: Path) -> None:
    stream = FeatureStream(8, 50, keep=False, scratch=tmp_path)
    stream.update(FEATURES)
    assert stream.count == 50
    with pytest.raises(MetricError, match="were not kept, only their moments"):
        _ = stream.features
