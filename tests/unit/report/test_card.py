"""The model card: everything a reader needs, and names that stay names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from atelier.config.training import regularizers
from atelier.data.packed import PackedDataset
from atelier.metrics.evaluator import Evaluation
from atelier.networks.inputs import Picture
from atelier.report import compute
from atelier.report.card import PARAMETERS, model_card, plain

CPU = {"kind": "cpu", "device": "AMD EPYC 7763", "ranks": 1, "threads": 2, "torch": "2.15.0", "watts": None, "seconds": 186.0}
GPU = {"kind": "cuda", "device": "NVIDIA H100", "ranks": 1, "threads": 8, "torch": "2.15.0", "watts": 700.0, "seconds": 4500.0}


def record(checkpoint: Path, *entries: dict[str, Any]) -> Path:
    """The checkpoint, as one whose training has recorded what it cost."""
    path = checkpoint / "history.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "compute": entries}))
    return checkpoint


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
    assert headings == [
        "Intended use",
        "Images it was trained on",
        "Numbers",
        "Limits",
        "How it was made",
        "Compute",
        "Use",
    ]
    for part in (dataset.content_hash, "c" * 64, "objective relativistic", "abc123", "seed 7", "640 images", "12.35"):
        assert part in text
    assert "No FID was measured" in text and "changes that are not in the git commit" in text
    assert re.search(r"is rare among its images \(10.0%; [23]\d.\d% of the real ones\)", text)
    assert "1 rejected" in text


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"r1": 0.0, "gradient_penalty": 10.0, "clip": 0.0}, "gradient_penalty 10.0"),  # as generators of before have them
        ({"regularizers": {"r1": 2.0, "zcr_generator": {"weight": 0.5, "sigma": 0.1}}, "clip": 0.0},
         "r1 2.0, zcr_generator.sigma 0.1, zcr_generator.weight 0.5"),
    ],
)  # fmt: skip
def test_regularizers_are_said_where_they_weigh_anything(settings: dict[str, Any], said: str, card: Callable[..., str]) -> None:
    assert f"`objective wasserstein, {said}`" in card(settings={"objective": "wasserstein", **settings})


def test_the_example_loads_this_version_whatever_is_champion(card: Callable[..., str]) -> None:
    text = card()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert "models:/digits/<version>" in code and "@" not in code
    assert "`models:/digits@champion` is the one in use" in text


def test_the_classifier_is_apart_from_the_generator(card: Callable[..., str]) -> None:
    text = card()
    assert "| Read with confidence, relative to held-out real images ↑ | 97.1% \\(" in text
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
    settings = (
        dict.fromkeys(PARAMETERS, "relativistic")
        | {"regularizers": dict.fromkeys(list(regularizers())[-5:], 0.0001)}
        | {f"setting_{n}": "more" for n in range(40)}
    )
    folder = make_checkpoint(classes=classes, parent=parent, settings=settings, data={"content_hash": "d" * 64, "source": source})
    record(
        folder,
        *({**one, "device": f"{n} of a name that is long, like those of processors"} for n in range(5) for one in (CPU, GPU)),
    )

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
        nothing = dict.fromkeys(classes, 0.0)
        return replace(found, measurements=long, class_shares=nothing, class_distances=nothing)

    text = model_card(folder, measured(0), dataset.manifest, "a-name-for-digits", measured(1), "models:/another@champion")
    assert len(text) < 4900
    assert "lr_generator relativistic" in text and "orthogonal 0.0001" in text and len(re.findall(r"and \d+ more", text)) == 2
    assert "Class of the largest distance: " in text
    assert "the rarest first" in text and "and 4 before" in text
    assert text.count("| another identity |") == 5
    assert text.count("as often as among the reference images") == 1, "what all identities have in common is said once"
    assert re.search(
        r"^- Identity 2: efficientnet\\_lite0, 2280 features \\\(weights e+, [^,]+, [^,]+, [^,]+\)$", text, re.MULTILINE
    )


def test_a_private_training_states_its_epsilon_and_what_it_does_not_cover(card: Callable[..., str]) -> None:
    stated = {"epsilon": 3.8326, "delta": 1e-5, "noise": 1.0, "largest_norm": 0.5, "rate": 64 / 4500, "steps": 2000}
    text = card(privacy={**stated, "records": 4500, "accountant": "PRV"}, parent={"sha256": "1" * 64, "data": {}})
    for part in (
        "ε = 3.83 at δ = 1e-05",
        "2,000 steps of 1.42% of 4,500 images",
        "are not covered",
        "what it was fine-tuned from",
    ):
        assert part in text
    assert "Differential privacy" not in card()


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


@pytest.mark.parametrize(
    ("entries", "phrase"),
    [
        ([CPU], "3.1 minutes on 2 threads of AMD EPYC 7763 (no GPU)"),
        ([{**CPU, "threads": 1, "seconds": 45.0}], "45 seconds on 1 thread of AMD EPYC 7763 (no GPU)"),
        ([{**CPU, "ranks": 4, "seconds": 4e6}], "1,111 hours on 4 × 2 threads of AMD EPYC 7763 (no GPU)"),
        ([GPU], "1.25 GPU hours on 1 × NVIDIA H100"),
        ([{**GPU, "ranks": 8}], "10 GPU hours on 8 × NVIDIA H100"),
        ([{**GPU, "seconds": 900.0}], "15 GPU minutes on 1 × NVIDIA H100"),
        ([CPU, GPU], "1.25 GPU hours on 1 × NVIDIA H100; 3.1 minutes on 2 threads of AMD EPYC 7763 (no GPU)"),
        ([GPU, {**GPU, "torch": "2.16.0", "threads": 4}], "2.5 GPU hours on 1 × NVIDIA H100"),
        ([{**GPU, "device": f"G{n}", "seconds": 3600.0} for n in range(5)], "1 GPU hour on 1 × G0; 1 GPU hour on 1 × G1; "
         "3 hours on 3 more kinds of hardware"),
    ],
)  # fmt: skip
def test_what_training_cost_reads_as_people_say_it(entries: list[dict[str, Any]], phrase: str) -> None:
    assert "; ".join(compute.spent(entries)) == phrase


def test_the_estimate_against_values_worked_out_by_hand() -> None:
    """1.25 h × 700 W = 875 Wh, × 1.54 = 1,347.5 Wh, × 0.458 g/Wh = 617.155 g; 186 s × 7 W = 1,302 J = 0.361667 Wh."""
    assert compute.estimate([GPU]) == pytest.approx((1.3475, 617.155))
    assert compute.estimate([CPU]) == pytest.approx((0.361667e-3 * 1.54, 0.361667e-3 * 1.54 * 458), rel=1e-5)
    assert compute.estimate([{**GPU, "ranks": 8}, {**CPU, "ranks": 2}]) == pytest.approx((10.781114, 4937.750), rel=1e-6)
    assert compute.estimate([CPU, {**GPU, "watts": None}]) is None


def test_the_card_says_what_training_cost_and_that_nothing_was_metered(
    make_checkpoint: Callable[..., Path], make_evaluation: Callable[..., Evaluation], dataset: PackedDataset
) -> None:
    def section(**changes: Any) -> str:
        text = model_card(record(make_checkpoint(**changes), *entries), make_evaluation(), dataset.manifest, "digits")
        return text.partition("## Compute\n\n")[2].partition("\n\n## ")[0]

    entries = [CPU]
    assert section() == (
        "- Training with measurements: 3.1 minutes on 2 threads of AMD EPYC 7763 \\(no GPU\\)\n"
        "- Energy (estimated, nothing was metered): 0.56 Wh, 0.26 g CO₂e. Assumed: 3.5 W a busy thread (Cloud Carbon Footprint), "
        "PUE 1.54 (Uptime Institute 2025), 458 g CO₂e/kWh (Ember, world 2025), no memory or network"
    )
    entries = [{**GPU, "ranks": 2}]
    parent = {"sha256": "1" * 64, "data": {"content_hash": "d1"}, "parent": None}
    text = section(parent=parent)
    assert "2.5 GPU hours on 2 × NVIDIA H100\n- Energy (estimated, nothing was metered): 2.7 kWh, 1.2 kg CO₂e." in text
    assert "Assumed: a GPU at its limit of 700 W, PUE" in text and "thread" not in text and "no host CPU, memory" in text
    assert text.endswith("- Its parent's cost is in the parent's card")
    entries = [{**GPU, "watts": None, "device": "<b>GPU</b>"}]
    assert section() == (
        "- Training with measurements: 1.25 GPU hours on 1 × &lt;b&gt;GPU&lt;/b&gt;\n"
        "- Energy: neither metered nor estimated, since the power limit of the GPU is not known"
    )


def test_a_checkpoint_that_does_not_know_its_cost_says_so(card: Callable[..., str]) -> None:
    assert "## Compute\n\n- Training with measurements: not recorded\n\n## Use" in card()


def test_the_example_gives_what_the_generator_takes(card: Callable[..., str]) -> None:
    assert '{"seed": [0], "class": [' in card() and '], "truncation": [1.0]}' in card()
    text = card(takes={"image": Picture(channels=1, resolution=28)})
    assert "Making images of what it is given (image)" in text
    assert 'image = base64.b64encode(open("image.png", "rb").read()).decode()\n' in text
    assert 'pandas.DataFrame({"image": [image]})' in text and '"seed"' not in text
    compile(text.partition("```python\n")[2].partition("```")[0], "card", "exec")


def test_start_and_floor_are_told_below_the_numbers(
    make_checkpoint: Callable[..., Path], make_evaluation: Callable[..., Evaluation], dataset: PackedDataset
) -> None:
    found = make_evaluation()
    distance = found.measurements[0]
    start = replace(distance, value=30.5, identity=replace(distance.identity, metric=f"input_{distance.name}", kind=""))
    text = model_card(make_checkpoint(), replace(found, measurements=[*found.measurements, start]), dataset.manifest, "digits")
    assert r"Fréchet distance in efficientnet\_lite0, beside it untranslated input: 30.5." in text
    assert "beside it" not in model_card(make_checkpoint(), found, dataset.manifest, "digits")


def test_limits_are_what_was_measured_where_it_was(
    make_checkpoint: Callable[..., Path], make_evaluation: Callable[..., Evaluation], dataset: PackedDataset
) -> None:
    def limits(**values: float) -> str:
        found = make_evaluation()
        like = found.measurements[0]
        more = [
            replace(like, value=value, identity=replace(like.identity, metric=name, kind="")) for name, value in values.items()
        ]
        measured = replace(found, measurements=[*found.measurements, *more])
        text = model_card(make_checkpoint(), measured, dataset.manifest, "digits")
        return text.partition("## Limits\n\n")[2].partition("\n\n## ")[0]

    assert "is bias" not in limits() + limits(real_frechet_efficientnet_lite0=6.1)
    biased = limits(real_frechet_efficientnet_lite0=6.2)
    assert r"- Most of the Fréchet distance in efficientnet\_lite0 is bias, of few images: go by the kernel distance" in biased
    assert "It may generate near copies" in limits() and "of the real images" not in limits()
    text = limits(coverage=0.812, recall=0.64, memorised=0.018)
    assert "- 81.2% of the real images have one of its images in their neighborhood (coverage)." in text
    assert "- 64.0% of the real images lie among its images (recall)" in text
    assert "1.8% of its images are nearer to a training image than 99% of held-out ones are" in text
    assert "It may generate near copies" not in text
    assert "(coverage)" not in limits(recall=0.5)


def test_plain_text() -> None:
    assert plain("a\nb  c") == "a b c"
    assert plain("[x](https://e.org) **b** `c` <i>") == r"\[x\]\(https&#58;//e.org\) \*\*b\*\* \`c\` &lt;i&gt;"
