"""The model card: everything a reader needs, and names that stay names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from atelier.data.packed import PackedDataset
from atelier.metrics.evaluate import Evaluation
from atelier.report.card import model_card, plain


@pytest.fixture
def card(
    make_checkpoint: Callable[..., Path], make_evaluation: Callable[..., Evaluation], dataset: PackedDataset
) -> Callable[..., str]:
    """The card of a checkpoint with the given changes."""

    def write(**changes: object) -> str:
        return model_card(make_checkpoint("base", **changes), make_evaluation(), dataset.manifest, "digits")

    return write


def test_it_says_what_a_reader_needs(card: Callable[..., str], dataset: PackedDataset) -> None:
    text = card()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == ["Intended use", "Images it was trained on", "Numbers", "Limits", "How it was made", "Use"]
    for part in (dataset.content_hash, "c" * 64, "training.objective: `relativistic`", "abc123", "seed 7", "640 images", "12.35"):
        assert part in text
    assert "No FID was measured" in text and "changes that are not in the git commit" in text
    assert "is rare among its images (10.0%)" in text
    assert "1 rejected" in text and "models:/digits@champion" in text


def test_a_finetuned_generator_names_its_ancestors(card: Callable[..., str]) -> None:
    grandparent = {"sha256": "2" * 64, "data": {"content_hash": "d2"}, "parent": None}
    text = card(
        parent={"sha256": "1" * 64, "data": {"content_hash": "d1"}, "parent": grandparent},
        data={"content_hash": "other", "source": {}},
    )
    assert f"Fine-tuned from: `{'1' * 64}`, trained on `d1`" in text and f"which came from: `{'2' * 64}`" in text
    assert "It was measured against other images" in text and "Licence: not stated" in text


def test_markup_in_names_is_only_text(card: Callable[..., str]) -> None:
    text = card()
    assert "&lt;img src=x onerror=alert\\(1\\)&gt;" in text
    prose = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    assert "<" not in prose and "javascript:" not in prose
    assert not re.search(r"(?<!\\)\]\(", prose)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {4}


def test_the_example_runs_as_it_stands(card: Callable[..., str]) -> None:
    """Its arguments are Python, even with a class name full of quotes."""
    (code,) = re.findall(r"```python\n(.*?)```", card(), re.DOTALL)
    compile(code, "card", "exec")


def test_plain_text() -> None:
    assert plain("a\nb  c") == "a b c"
    assert plain("[x](https://e.org) **b** `c` <i>") == r"\[x\]\(https&#58;//e.org\) \*\*b\*\* \`c\` &lt;i&gt;"
