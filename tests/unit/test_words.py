"""Word vectors of a file of one's own: texts as means of them, held to a plain computation; packed, asked for and refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from atelier.config.data import DataSettings
from atelier.data.packed import PackedDataset
from atelier.extractors import ExtractorError, words
from atelier.extractors.words import WordVectors
from atelier.networks.given import Refusal
from atelier.networks.text_and_sound import Text
from tests.support.packing import Make, quietly
from tests.support.reading import Encode, Pictures

VECTORS = {
    "a": [0.5, -1.0, 2.0],
    "cat": [1.0, 0.25, -0.5],
    "Cat": [-3.0, 0.5, 0.5],
    "mother-in-law": [0.0, 2.0, 1.0],
    "ä": [4.0, 0.0, 1.0],
}
LINES = "".join(f"{word} {' '.join(map(str, values))}\n" for word, values in VECTORS.items()).encode()
FORMATS = {"glove": LINES, "word2vec": f"{len(VECTORS)} 3\n".encode() + LINES, "no last break": LINES.rstrip()}


def mean(*said: str) -> np.ndarray:
    """The mean of vectors, of length 1."""
    total = [sum(VECTORS[word][place] for word in said) / len(said) for place in range(3)]
    length = sum(value**2 for value in total) ** 0.5
    return np.array([value / length for value in total]).astype(np.float16)


@pytest.fixture(name="file")
def file_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A file of vectors and its hash; the user's cache is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words._vectors.cache_clear()
    (tmp_path / "own.vec").write_bytes(FORMATS["word2vec"])
    return str(tmp_path / "own.vec"), hashlib.sha256(FORMATS["word2vec"]).hexdigest()


@pytest.mark.parametrize("form", FORMATS)
def test_a_text_is_the_mean_of_its_words(form: str) -> None:
    found, unknown = WordVectors(FORMATS[form], "own.vec").embed(
        ["a cat", "A Cat, a CAT!", "my mother-in-law", "Ä? dog. dog", "a\u0308"]
    )
    expected = [mean("a", "cat"), mean("a", "Cat", "a", "cat"), mean("mother-in-law"), mean("ä"), mean("ä")]
    np.testing.assert_array_equal(found, np.stack(expected).astype(np.float32))
    assert found.dtype == np.float32 and unknown == {"my": 1, "dog": 2}


@pytest.mark.parametrize(
    ("content", "text", "said"),
    [
        (LINES, "two dogs", "own.vec: has a vector for no word of 'two dogs'; say it in other words, or add them"),
        (LINES + b"not 1 0 0\nor -1 0 0\n", "not or", "has a vector for no word of 'not or'"),
        (LINES + b"dog 1.0 2.0\n", "dog", "own.vec: the line of 'dog' is not 3 finite numbers; mend it"),
        (LINES + b"dog 1.0 2.0 nan\n", "dog", "the line of 'dog' is not 3 finite numbers"),
        (LINES + b"dog 1.0 2.0 x\n", "dog", "the line of 'dog' is not 3 finite numbers"),
        (b"\x80\x04K\x01.", "dog", "own.vec: is no file of word vectors; give one with a word and its numbers a line"),
        (b"", "dog", "own.vec: is no file of word vectors"),
    ],
)
def test_what_gives_no_vector_is_named(content: bytes, text: str, said: str) -> None:
    with pytest.raises(ExtractorError, match=said):
        WordVectors(content, "own.vec").embed([text])


@pytest.fixture(name="make")
def make_fixture(
    file: tuple[str, str], tmp_path: Path, data_settings: Make, encode: Encode, pictures: Pictures
) -> Callable[..., DataSettings]:
    (tmp_path / "raw").mkdir()
    for name, picture, caption in zip("12", pictures(2), ("a cat", "a dog\nmother-in-law"), strict=True):
        (tmp_path / "raw" / f"{name}.png").write_bytes(encode(picture))
        (tmp_path / "raw" / f"{name}.txt").write_text(caption)

    def make(**text: Any) -> DataSettings:
        own = {"kind": "text", "from": ".", "words": file[0], "sha256": file[1]}
        fields = {"image": {"from": "."}, "text": own | text}
        return data_settings(source="folder", path=str(tmp_path / "raw"), fields=fields, resolution=32, holdout=0.0, labels=False)

    return make


def test_packed_by_name_and_hash(make: Make, file: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = quietly(make(), tmp_path / "packed")
    packed = PackedDataset(tmp_path / "packed", "all")
    expected = {"a cat": mean("a", "cat"), "a dog": mean("a")}
    firsts = [own[0] for own in packed.texts("text", np.arange(2))]
    np.testing.assert_array_equal(packed.read(np.arange(2))["text"], np.stack([expected[text] for text in firsts]))
    table = manifest.fields["text"].table
    assert table and (table.encoder, table.weights, table.shape) == ("word_vectors", file[1], [3])
    assert manifest.processing["fields"]["text"]["words"] == file[0]
    assert f"data.fields.text: 1 words of its captions have no vector in {file[0]} and are left out, first dog (1)" in (
        capsys.readouterr().err
    )
    given = Text(size=3, encoder=table.encoder, weights=table.weights).read("a cat", ())
    np.testing.assert_array_equal(given.tensor.numpy(), mean("a", "cat"))
    with pytest.raises(Refusal, match=r"or 3 finite numbers, its embedding: .*has a vector for no word of 'dogs'"):
        Text(size=3, encoder=table.encoder, weights=table.weights).read("dogs", ())


def test_another_hash_and_a_file_that_is_away_are_refused(
    make: Make, file: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ExtractorError, match=r"own.vec: its sha256 is \w{64}, and data.fields.text.words says 0{64}"):
        quietly(make(sha256="0" * 64), tmp_path / "packed")
    with pytest.raises(ValidationError, match="words and its sha256 go together"):
        make(sha256=None)
    asked = Text(size=3, encoder="word_vectors", weights=file[1])
    with pytest.raises(Refusal, match=r"does not exist; bring it with `python -m atelier.extractors.words FILE`"):
        asked.read("a cat", ())
    monkeypatch.setattr("sys.argv", ["words", file[0]])
    words.main()
    assert f"words: {file[0]}, sha256: {file[1]}" in capsys.readouterr().out
    assert asked.read("a cat", ()).said == "a cat"
