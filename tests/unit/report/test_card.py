"""The model card: everything a reader needs, and names that stay names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atelier.data.packed import PackedDataset
from atelier.metrics.evaluate import Evaluation
from atelier.report.card import PARAMETERS, model_card, plain


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
    for part in (dataset.content_hash, "c" * 64, "objective relativistic", "abc123", "seed 7", "640 images", "12.35"):
        assert part in text
    assert "No FID was measured" in text and "changes that are not in the git commit" in text
    assert re.search(r"is rare among its images \(10.0%; [23]\d.\d% of the real ones\)", text)
    assert "1 rejected" in text


def test_the_example_loads_this_version_whatever_is_champion(card: Callable[..., str]) -> None:
    text = card()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert "models:/digits/<version>" in code and "@" not in code
    assert "`models:/digits@champion` is the one in use" in text


def test_the_classifier_is_apart_from_the_generator(card: Callable[..., str]) -> None:
    text = card()
    assert "| Read with confidence, relative to held-out real images ↑ | 97.1% ±" in text
    assert not re.search(r"^\| (Held-out|Accuracy)", text, re.MULTILINE)
    assert "Accuracy of the classifier on held-out real images: 97.0%" in text


@pytest.mark.parametrize("count", [20, 100])
def test_many_classes_of_long_names_fit_into_a_description(
    make_checkpoint: Callable[..., Path], make_evaluation: Callable[..., Evaluation], dataset: PackedDataset, count: int
) -> None:
    """MLflow's PostgreSQL keeps 5,000 characters."""
    classes = [f"a_long_name_of_a_class_that_goes_on_{'and_on_' * 4}{n}" for n in range(count)]
    parent: dict[str, Any] | None = None
    for n in range(6):
        parent = {"sha256": str(n) * 64, "data": {"content_hash": str(n) * 64}, "parent": parent}
    source = {"description": "images of " + "many things " * 40, "licence": "a licence " * 40}
    settings = dict.fromkeys(PARAMETERS, "relativistic") | {f"setting_{n}": "more" for n in range(40)}
    folder = make_checkpoint(classes=classes, parent=parent, settings=settings, data={"content_hash": "d" * 64, "source": source})

    def measured(seed: int) -> Evaluation:
        found = make_evaluation(seed=seed)
        long = [
            replace(
                one,
                identity=replace(
                    one.identity,
                    extractor=f"efficientnet_lite0, {2 if one.higher_is_better else 1}280 features",
                    resize="28 to 112 px, bicubic with antialiasing, (x - 127) / 128",
                    sampling="classes, where there are any, as often as among the reference images; truncation 1",
                    parameters="confident above 0.9; over 162 images",
                ),
            )
            for one in found.measurements
        ]
        return replace(found, measurements=long, class_shares=dict.fromkeys(classes, 0.0))

    text = model_card(folder, measured(0), dataset.manifest, "a-name-for-digits", measured(1), "models:/another@champion")
    assert len(text) < 4800
    assert "r1 relativistic" in text and len(re.findall(r"and \d+ more", text)) == 2
    assert "the rarest first" in text and "and 4 before" in text
    assert text.count("| another identity |") == 5


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
    """Its arguments are Python, and name a class as it is, even one full of quotes."""
    (code,) = re.findall(r"```python\n(.*?)```", card(), re.DOTALL)
    compile(code, "card", "exec")
    assert "\"class\": ['a|b`c']" in code


def test_plain_text() -> None:
    assert plain("a\nb  c") == "a b c"
    assert plain("[x](https://e.org) **b** `c` <i>") == r"\[x\]\(https&#58;//e.org\) \*\*b\*\* \`c\` &lt;i&gt;"
