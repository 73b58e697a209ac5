"""What the benchmark of fine-tuned translators learns from and by: equal settings, few pictures, none of them measured by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from atelier.data.packed import PackedDataset
from benchmarks import finetune_translation as benchmark
from tests.support.translation_fixtures import drawings

__all__ = ["drawings"]
NOTO, DRAWN = "cartoons/images/google", "sketch/images/color"


def test_the_ways_differ_in_nothing_but_their_start_and_what_they_name() -> None:
    settings = benchmark.settings_of(Path("here"), ["finetune.images=640"])
    assert settings.finetune
    first, then = settings.train.plain(), settings.finetune.plain()
    differing = {key for key in then if then[key] != first.get(key)}
    assert differing == {*benchmark.BUDGET, "data", "evaluate_samples", "init_from", "freeze_discriminator"}
    assert settings.finetune.images == 640 and settings.finetune.sets == {"a": "noto", "b": "openmoji"}
    for name, way in (benchmark.WAYS | benchmark.MORE).items():
        changed = benchmark.settings_of(Path("here"), ["finetune.images=640", *way.changed]).trainings["finetune"].plain()
        others = {key for key in then if then[key] != changed[key]}
        assert len(others) == (name not in ("from scratch", "fine-tuned")), f"{name}: {others}"


def test_few_different_pictures_are_taken_of_the_training_ones(drawings: dict[str, Path], tmp_path: Path) -> None:
    benchmark.write_few(PackedDataset(drawings["pairs"]), tmp_path / "few")
    taken = [np.asarray(Image.open(path)).transpose(2, 0, 1).tobytes() for path in sorted((tmp_path / "few").iterdir())]
    split = {name: PackedDataset(drawings["pairs"], name) for name in ("train", "test")}
    known = {name: {one.tobytes() for one in pairs.images(np.arange(len(pairs)))} for name, pairs in split.items()}
    assert len(taken) == len({*taken}) == benchmark.FEW
    assert known["train"].issuperset(taken) and not known["test"].intersection(taken)


def test_pictures_of_both_styles_meet_by_their_code_points(tmp_path: Path) -> None:
    names = {NOTO: ["26f1-fe0f", "1f46e-200d-2640-fe0f", "1f3b3"], DRAWN: ["26F1", "1F46E-200D-2640-FE0F", "1F4D0"]}
    for vendor, drawn in names.items():
        (tmp_path / vendor).mkdir(parents=True)
        for name in drawn:
            (tmp_path / vendor / f"{name}.png").write_text(name)
    (tmp_path / "met").mkdir()
    benchmark.meet(tmp_path / NOTO, tmp_path / DRAWN, tmp_path / "met")
    met = {str(path.relative_to(tmp_path / "met")): path.read_text() for path in (tmp_path / "met").rglob("*.png")}
    assert met == {
        "noto/26f1-fe0f.png": "26f1-fe0f",
        "openmoji/26f1-fe0f.png": "26F1",
        "noto/1f46e-200d-2640-fe0f.png": "1f46e-200d-2640-fe0f",
        "openmoji/1f46e-200d-2640-fe0f.png": "1F46E-200D-2640-FE0F",
    }
