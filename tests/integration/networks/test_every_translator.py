"""What holds for every architecture that translates: compiled code translates and judges alike."""

from __future__ import annotations

import pytest
import torch

from atelier.networks import semantic
from tests.support.small_translators import TRANSLATORS, condition, translators, varied


@pytest.mark.parametrize(("family", "many"), [*((family, semantic.MANY) for family in TRANSLATORS), ("spade", 1), ("oasis", 1)])
def test_compiled_networks_translate_and_judge_alike(family: str, many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced as a whole, gradients included; label maps as planes and looked up."""
    monkeypatch.setattr(semantic, "MANY", many)
    torch._dynamo.reset()
    both = translators(family)
    inputs = varied(both[0])
    results = []
    for translate, judge in (both, [torch.compile(network, backend="aot_eager", fullgraph=True) for network in both]):
        images = translate(**inputs)
        output = judge(images, condition(*both, inputs))
        gradients = torch.autograd.grad(output.overall.sum(), list(both[0].parameters()))
        results.append([images, *output.logits, *(one for scale in output.features for one in scale), *gradients])
    for plain, traced in zip(*results, strict=True):
        torch.testing.assert_close(traced, plain, rtol=1e-4, atol=1e-4)
