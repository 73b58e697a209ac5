"""Children have each gene of one parent; mutations change no law; codes come back from files, for their generator alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from atelier.latent import breeding, edits
from atelier.models.model import GeneratorError, load_latent_generator
from atelier.networks.base import LatentGenerator
from tests.support.small_models import make_checkpoint


@pytest.fixture(name="generator", params=["mlp", "biggan", "stylegan2"])
def generator_fixture(request: pytest.FixtureRequest, tmp_path: Path) -> LatentGenerator:
    """A code that is the latent, one that is cut from it, and one of a mapping."""
    return load_latent_generator(make_checkpoint(tmp_path / "checkpoint", request.param))


@pytest.fixture(name="parents")
def parents_fixture(generator: LatentGenerator) -> breeding.Individuals:
    return breeding.of_points(generator, edits.points(generator, [1, 2, 3]), ["a", "b", "c"])


def test_each_gene_comes_whole_from_one_parent(generator: LatentGenerator, parents: breeding.Individuals) -> None:
    genes = breeding.genes(*parents.codes.shape[1:])
    covered = torch.zeros(parents.codes.shape[1:])
    for parts, columns in genes:
        covered[parts, columns] += 1
    assert (covered == 1).all() and len(genes) == (parents.codes.shape[1] if parents.codes.shape[1] > 1 else 6)
    children = breeding.bred(generator, parents, 20, mutation=0.0, seed=4)
    assert children.labels is not None and parents.labels is not None
    for code, label, inherited in zip(children.codes, children.labels, children.inherited, strict=True):
        assert len(set(inherited.tolist())) > 1 and label == parents.labels[inherited[0]]
        for (parts, columns), parent in zip(genes, inherited.tolist(), strict=True):
            assert torch.equal(code[parts, columns], parents.codes[parent][parts, columns])
    again = breeding.bred(generator, parents, 20, mutation=0.3, seed=4)
    assert torch.equal(again.inherited, children.inherited) and not torch.allclose(again.codes, children.codes)


def test_mutations_keep_mean_and_variance(generator: LatentGenerator) -> None:
    of = edits.points(generator, range(400), label=1)
    codes = generator.code(of.latents, of.labels)
    random = torch.Generator().manual_seed(0)
    small, large = (breeding.mutated(generator, codes, of.labels, size, random) for size in (0.2, 1.0))
    assert (small - codes).abs().mean() < 0.5 * (large - codes).abs().mean()
    for changed in (small, large):
        assert (changed.mean(dim=0) - codes.mean(dim=0)).abs().max() < 0.25 * codes.std()
        assert changed.std() == pytest.approx(codes.std().item(), rel=0.1)


def test_codes_come_back_for_their_generator_alone(
    generator: LatentGenerator, parents: breeding.Individuals, tmp_path: Path
) -> None:
    (tmp_path / breeding.CODES).write_bytes(breeding.kept(generator, parents))
    one = breeding.read(generator, tmp_path, 2)
    both = breeding.together([parents, one])
    assert torch.equal(both.codes[3], parents.codes[2]) and both.names == ["a", "b", "c", f"{tmp_path}/2"]
    assert both.labels is not None and both.labels[3] == both.labels[2]
    with pytest.raises(GeneratorError, match="choose a number from 0 to 2"):
        breeding.read(generator, tmp_path, 3)
    generator.sha256 = "another"
    with pytest.raises(GeneratorError, match="codes of another generator"):
        breeding.read(generator, tmp_path, 0)
    with pytest.raises(GeneratorError, match="what breed or explore has written"):
        breeding.read(generator, tmp_path / "nowhere", 0)
