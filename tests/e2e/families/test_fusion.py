"""The recipes of text and sound: by DVC, and as a pipeline on this machine.

`make test-families`. The sentence model is brought once into the user's cache (84 MB), and read there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from atelier.extractors import sentences
from atelier.models.model import load_generator
from tests.support.clone import Clone
from tests.support.projects import clone_with_recipes, in_project, make_small_teller, new_project

PRODUCTS = {"fusion": "emoji", "fusion-digits": "digits"}
NAMES = {"fusion": "faces", "fusion-digits": "spoken"}  # of the projects, and of their models
MEASURED = {
    "fusion": {"r_precision_text", "r_precision_sound", "r_precision_both", "r_precision_mismatch_sound", "r_precision_real"},
    "fusion-digits": {"class_read_text_relative", "class_read_sound_relative", "mismatch_sound"},
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    clone = clone_with_recipes(tmp_path_factory.mktemp("tellers"))
    for recipe, name in NAMES.items():
        make_small_teller(new_project(clone, recipe, name))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(sentences.bring().parents[1]))
        yield clone


@pytest.mark.parametrize("recipe", NAMES)
def test_dvc(recipe: str, clone: Clone) -> None:
    name, product = NAMES[recipe], PRODUCTS[recipe]
    output = in_project(clone, name, "python", "-m", "dvc", "repro")
    assert f"{name} version 1" in output, output
    project = clone.folder / "projects" / name
    metrics = json.loads((project / f"evaluations/{product}/metrics.json").read_text())
    assert MEASURED[recipe] | {"sound_frechet_efficientnet_lite0"} <= metrics.keys(), metrics.keys()
    takes = load_generator(project / "models" / product).takes
    assert list(takes) == ["noise", "text", "audio", "guidance"]
    assert takes["text"].weights == sentences.WEIGHTS_SHA256  # type: ignore[union-attr]
    assert "didn't change, skipping" in in_project(clone, name, "python", "-m", "dvc", "repro")
    said = ("--text", "a green house", "--seed", "1", "--count", "2")
    in_project(clone, name, "python", "-m", "components.generate", "--model", f"models/{product}", "--output", "made", *said)
    (first, _) = json.loads((project / "made/manifest.json").read_text())["images"]
    assert first["text"] == "a green house"


@pytest.mark.parametrize("recipe", NAMES)
def test_kubeflow_pipeline(recipe: str, clone: Clone) -> None:
    name = NAMES[recipe]
    output = clone.run("python", "-m", "pipelines", "run-local", f"projects/{name}", "--output", f"out-{name}")
    assert f"{name} version 1" in output, output
    (report,) = clone.folder.glob(f"out-{name}/local-*/atelier-*/evaluate/evaluation/report.html")
    assert "distance of images of sound alone" in report.read_text(encoding="utf-8")
