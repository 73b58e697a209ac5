"""Projects made from recipes, with a few made images and a few steps."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from ruamel.yaml import YAML

from tests.support.annotated import wav, write_rows
from tests.support.clone import Clone, make_clone
from tests.support.small import ROOT, TRAINING, write_images
from tests.support.small_fusion import SMALL as SMALL_FUSION

COLORS = ["red", "orange", "yellow", "green", "blue", "purple", "brown", "black", "white", "gray"]
THINGS = ["house", "tree", "horse", "river", "airplane", "shoe", "guitar", "cake", "moon", "hammer", "book", "window"]
SMALL = {"architecture": "mlp", "latent_dim": 4, "mlp": {"hidden": [8]}}


def clone_with_recipes(folder: Path) -> Clone:
    """A checkout that has the recipes and the pipeline, and no project."""
    clone = make_clone(folder)
    for name in ("pipelines", "recipes"):
        shutil.copytree(ROOT / name, clone.folder / name, ignore=shutil.ignore_patterns("__pycache__", "images", "data"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (clone.folder / "Makefile").write_text(makefile.replace("new: $(STAMP)", "new:"), encoding="utf-8")
    return clone


def new_project(clone: Clone, recipe: str, name: str) -> Path:
    """The folder of a project that `make new` made."""
    done = subprocess.run(
        ["make", "-s", "new", f"RECIPE={recipe}", f"NAME={name}"], cwd=clone.folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"projects/{name}: cd there")
    return clone.folder / "projects" / name


def in_project(clone: Clone, project: str, *command: str) -> str:
    """What a command says in a project's folder."""
    return Clone(clone.folder / "projects" / project, clone.folder).run(*command)


def make_small(project: Path) -> None:
    """Networks of a few neurons and a few steps, on made images."""
    yaml, file = YAML(), project / "params.yaml"
    values = yaml.load(file)
    del values["model"][values["model"]["architecture"]]
    values["model"] |= SMALL
    values["model"]["conditioning"] = "projection"
    for section in ("train", "finetune"):
        if section in values:
            values[section] |= TRAINING | {"regularizers": {"r1": 1.0}, "augment": "none"}
    values["evaluate"] |= {"metrics": ["frechet", "kernel"], "samples": 16, "max_distance": 1e6}
    values["gate"] |= {"min_coverage": 0.0, "min_recall": 0.0, "min_class_share": 0.0, "max_memorised": 1.0}
    for number, one in enumerate(values["data"].values()):
        one["source"] = "folder"
        folder = project / one["path"]
        if one["labels"]:
            write_images(folder, 48, seed=number)
            continue
        folder.mkdir(parents=True)
        for index in range(40):
            pixels = np.random.default_rng([number, index]).integers(0, 255, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    yaml.dump(values, file)


def make_small_translator(
    project: Path, widths: Mapping[str, Mapping[str, Any]], model: Mapping[str, Any] | None = None, task: str | None = None
) -> None:
    """A project whose generator is given pictures or label maps, for a few steps on made ones.

    `widths` changes the sections of architectures, `model` the choice of one, `task` that of what is learnt.
    """
    yaml, file = YAML(), project / "params.yaml"
    values = yaml.load(file)
    values["model"] |= model or {}
    if task is not None:
        was, cluster = values["model"]["task"], project / "cluster.yaml"
        del values["train"][was]
        values["model"]["task"] = task
        kept = [line for line in cluster.read_text(encoding="utf-8").splitlines() if f"- train.{was}." not in line]
        cluster.write_text("\n".join(kept) + "\n", encoding="utf-8")
    architecture = values["model"]["architecture"]
    values["model"][architecture] = values["model"].get(architecture, {}) | widths.get(architecture, {})
    values["train"] |= TRAINING
    values["evaluate"]["samples"] = 16
    for number, one in enumerate(values["data"].values()):
        one |= {"resolution": 32, "holdout": 0.5}
        for field in one.get("fields", {"image": {"from": ""}}).values():
            folder = project / one["path"] / field["from"]
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(64):
                random = np.random.default_rng([number, index, len(field["from"])])
                Image.fromarray(_drawn(random, field.get("classes", {}))).save(folder / f"{index:x}.png")
    yaml.dump(values, file)


def make_small_restorer(project: Path, widths: Mapping[str, Mapping[str, Any]]) -> None:
    """A project whose two generators restore whole pictures, for a few steps on made ones of 48 x 40 pixels."""
    yaml, file = YAML(), project / "params.yaml"
    values = yaml.load(file)
    architecture = values["model"]["architecture"]
    values["model"][architecture] |= widths[architecture]
    for section in ("train", "finetune"):
        values[section] |= TRAINING
        values[section]["restoration"]["crop"] = 32
        values[section]["restoration"].pop("perceptual_network", None)  # the default's weights are in its package
    values["evaluate"]["samples"] = 16
    for number, one in enumerate(values["data"].values()):
        one |= {"resolution": 32, "holdout": 0.0 if one["split"] == "given" else 0.5}
        for part in ("train", "test") if one["split"] == "given" else ("",):
            folder = project / one["path"] / part
            folder.mkdir(parents=True)
            for index in range(40):
                random = np.random.default_rng([number, index, len(part)])
                Image.fromarray(random.integers(0, 255, (40, 48, 3), dtype=np.uint8)).save(folder / f"{part}{index:x}.png")
    yaml.dump(values, file)


def make_small_teller(project: Path) -> None:
    """A project whose generator is told captions and recordings, for a few steps on made records, of which 120 are held out."""
    yaml, file = YAML(), project / "params.yaml"
    values = yaml.load(file)
    values["model"]["fusion"] |= SMALL_FUSION | {"width_sound": 4}
    values["train"] |= TRAINING
    values["evaluate"]["samples"] = 120
    (one,) = values["data"].values()
    folder = project / one["path"]
    folder.mkdir()
    for part, count in {"train": 48, "test": 120}.items():
        rows = []
        for number in range(count):
            caption = f"{COLORS[number % 10]} {THINGS[number // 10]}"
            picture = io.BytesIO()
            pixels = np.random.default_rng([number, count]).integers(0, 255, (32, 32, one["channels"]), dtype=np.uint8)
            Image.fromarray(pixels.squeeze()).save(picture, "PNG")
            tones = [wav(200 + 20 * number + take) for take in range(2)]
            rows.append({"image": picture.getvalue(), "label": COLORS[number % 10], "caption": [caption], "sound": tones})
        write_rows(folder / f"{part}-00000.parquet", rows)
    yaml.dump(values, file)


def _drawn(random: np.random.Generator, classes: dict[str, str]) -> np.ndarray:
    """Noise, or 4 x 4 cells in the colors of classes."""
    if not classes:
        return random.integers(0, 255, (40, 40, 3), dtype=np.uint8)
    colors = np.array([[*bytes.fromhex(color[1:])] for color in classes.values()], np.uint8)
    return colors[random.integers(0, len(colors), (4, 4))].repeat(10, axis=0).repeat(10, axis=1)
