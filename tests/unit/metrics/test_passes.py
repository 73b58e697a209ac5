"""Forward passes: the same bits for every cut, order and number of threads; PyTorch's setting is left as it was."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from atelier.extractors import load_extractor
from atelier.extractors.passes import in_chunks, one_thread


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_the_number_of_threads_changes_no_bit(three_threads: None) -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 1, 28, 28), dtype=np.uint8)
    extractor = load_extractor("efficientnet_lite0", "packaged", (28, 28))
    many = extractor.features(images)
    assert torch.get_num_threads() == 3
    with one_thread():
        assert np.array_equal(extractor.features(images), many)
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("count", [0, 1, 4, 11])
def test_every_pass_has_one_shape_and_one_thread(three_threads: None, count: int, parallel: bool) -> None:
    images = np.random.default_rng(0).integers(0, 256, (count, 1, 2, 3), dtype=np.uint8)
    passes = []

    def forward(batch: torch.Tensor) -> torch.Tensor:
        passes.append((tuple(batch.shape), torch.get_num_threads(), torch.is_inference_mode_enabled()))
        return batch.flatten(1).float()

    found = in_chunks(forward, images, 4, 6, parallel)
    assert np.array_equal(found, images.reshape(count, 6))
    assert found.dtype == np.float32
    assert passes == [((4, 1, 2, 3), 1 if parallel else 3, True)] * -(-count // 4)
    assert torch.get_num_threads() == 3


def test_an_error_comes_out_and_leaves_the_threads(three_threads: None) -> None:
    def forward(batch: torch.Tensor) -> torch.Tensor:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        in_chunks(forward, np.zeros((9, 1, 2, 2), np.uint8), 4, 4)
    assert torch.get_num_threads() == 3
