"""What holds for every family: compiled code and bfloat16 generate and judge alike, and whatever makes sense together moves."""

from __future__ import annotations

import pytest
import torch

from tests.support.small_models import FROM_NOISE, LATENT, networks

N = 8


@pytest.mark.parametrize("family", FROM_NOISE)
def test_compiled_networks_generate_and_judge_alike(family: str) -> None:
    """Traced as a whole, gradients included; what the compiler makes of the graph is PyTorch's affair."""
    torch._dynamo.reset()
    generator, discriminator = networks(family, True, 28, 1)
    z, label = torch.randn(N, LATENT), torch.arange(N) % 5
    noise = torch.randn(N, generator.noise_dim) if generator.noise_dim else None
    generator.eval(), discriminator.eval()
    compiled = [torch.compile(network, backend="aot_eager", fullgraph=True) for network in (generator, discriminator)]
    results = []
    for generate, judge in ((generator, discriminator), compiled):
        images = generate(z, label, noise)
        logits = judge(images, label).overall
        gradients = torch.autograd.grad(logits.sum(), [p for p in generator.parameters() if p.requires_grad], allow_unused=True)
        results.append([images, logits, *(g for g in gradients if g is not None)])
    for plain, traced in zip(*results, strict=True):
        torch.testing.assert_close(traced, plain, rtol=1e-4, atol=1e-4)
