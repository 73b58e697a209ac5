from __future__ import annotations

import csv
import json
import os
import random
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atelier.data.packed import PackedDataset
from atelier.models.model import GeneratorError, load_generator, sample
from atelier.tasks.generation.probe import pairwise_distance
from atelier.training import trainer
from atelier.training.alarms import TrainingStopped
from atelier.training.checkpoint import PretrainedModel, read_history
from atelier.training.history import Observer
from atelier.training.preemption import Preempted
from tests.support.checkpoint_weights import weights
from tests.support.driver import pixel_distance, tiny
from tests.support.runs import train

CPU = torch.device("cpu")


def test_same_settings_same_bytes_and_another_seed_other_bytes(digits: PackedDataset, tmp_path: Path) -> None:
    runs = {name: f"train.seed={seed}" for name, seed in (("a", 0), ("b", 0), ("c", 1))}
    for name, seed in runs.items():
        train(tiny("train.images=640", seed), digits, tmp_path / name)
    a, b, c = ((tmp_path / name / "model" / "generator.safetensors").read_bytes() for name in runs)
    assert a == b != c


@pytest.mark.parametrize("augment", ["none", "diffaugment", "ada"])
@pytest.mark.parametrize("objective", ["nonsaturating", "relativistic"])
def test_micro_batches_change_rounding_only(augment: str, objective: str, digits: PackedDataset, tmp_path: Path) -> None:
    common = ["train.images=160", f"train.augment={augment}", f"train.objective={objective}", "train.evaluate_from=1.0"]
    train(tiny(*common), digits, tmp_path / "whole")
    train(tiny(*common, "train.accumulate=4"), digits, tmp_path / "parts")
    for name, tensor in weights(tmp_path / "whole", "networks.safetensors").items():
        torch.testing.assert_close(weights(tmp_path / "parts", "networks.safetensors")[name], tensor, rtol=2e-3, atol=2e-4)


def test_a_measurement_that_draws_moves_nothing(digits: PackedDataset, tmp_path: Path) -> None:
    def measure(averages: Mapping[str, torch.nn.Module]) -> tuple[float, dict[str, Any]]:
        return float(next(averages["generator"].parameters()).abs().sum()), {"identity": {"metric": "weights"}, "metrics": {}}

    def draws(averages: Mapping[str, torch.nn.Module]) -> tuple[float, dict[str, Any]]:
        torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002 - what a library inside a metric may do
        return measure(averages)

    for name, one in (("still", measure), ("draws", draws)):
        train(tiny("train.images=1280"), digits, tmp_path / name, one)
    networks = [(tmp_path / name / "model" / "networks.safetensors").read_bytes() for name in ("still", "draws")]
    assert networks[0] == networks[1]


@pytest.mark.usefixtures("sigterm_as_before")
def test_a_signal_leaves_a_measurement_and_it_is_made_later(digits: PackedDataset, tmp_path: Path) -> None:
    measure, chosen, calls = pixel_distance(digits), tiny("train.images=1280", "train.evaluate_every=640"), [0]

    def stopped(averages: Mapping[str, torch.nn.Module]) -> tuple[float, dict[str, Any]]:
        calls[0] += 1
        if calls[0] == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return measure(averages)

    train(chosen, digits, tmp_path / "whole", measure)
    with pytest.raises(Preempted, match="stopped by SIGTERM at 1280 of 1280 images"):
        train(chosen, digits, tmp_path / "left", stopped)
    train(chosen, digits, tmp_path / "left", stopped)
    assert calls == [3]
    for name in ("generator.safetensors", "networks.safetensors", "evaluations.csv"):
        assert len({(tmp_path / one / "model" / name).read_bytes() for one in ("whole", "left")}) == 1, name


def test_ada_moves_its_probability(digits: PackedDataset, tmp_path: Path) -> None:
    train(tiny("train.images=2560", "train.ada_images=1000"), digits, tmp_path)
    history = json.loads((tmp_path / "model" / "history.json").read_text())
    p = [point["augment_p"] for point in history["points"]]
    assert min(p) < max(p) <= 0.5 and len(set(p)) > 3


def test_divergence_between_two_points_keeps_the_best_that_was_saved(digits: PackedDataset, tmp_path: Path) -> None:
    """What is measured after a step that was not finite must not become the best, since it is never saved."""
    values = iter([2.0, 1.0])
    calls: list[int] = []

    def measure(averages: Mapping[str, torch.nn.Module]) -> tuple[float, dict[str, Any]]:
        calls.append(len(calls))
        return next(values), {"identity": {"metric": "none"}, "metrics": {}}

    class Poison(Observer):
        def evaluated(self, evaluation: dict[str, Any]) -> None:
            poison.append(True)

    poison: list[bool] = []
    norm = trainer.gradient_norm

    def spoiled(parameters: Any) -> torch.Tensor:
        return norm(parameters) * (float("nan") if poison else 1.0)

    settings = tiny("train.images=3200", "train.log_every=3200", "train.save_every=3200", "train.evaluate_every=960")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(TrainingStopped, match=r"divergence at .*distance 2\) is kept in"):
        patch.setattr(trainer, "gradient_norm", spoiled)
        train(settings, digits, tmp_path, measure, observers=[Poison()])
    assert calls == [0] and list(tmp_path.glob("states/*/best/generator.safetensors"))


def test_the_best_checkpoint_is_kept_not_the_last(digits: PackedDataset, tmp_path: Path) -> None:
    values = iter([3.0, 1.0, 2.0, 2.5, 2.0, 4.0, 5.0, 6.0])
    seen: list[dict[str, torch.Tensor]] = []

    def measure(averages: Mapping[str, torch.nn.Module]) -> tuple[float, dict[str, Any]]:
        seen.append({name: tensor.clone() for name, tensor in averages["generator"].state_dict().items()})
        return next(values), {"identity": {"metric": "scripted"}, "metrics": {}}

    info = train(tiny("train.images=3200", "train.evaluate_every=640", "train.save_every=320"), digits, tmp_path, measure)
    assert info.metric["value"] == 1.0 and info.images_seen < 3200
    for name, tensor in weights(tmp_path).items():
        assert torch.equal(tensor, seen[1][name]) and not torch.equal(tensor, seen[-1][name])


def test_checkpoint_holds_curves_pictures_and_a_loadable_generator(digits: PackedDataset, tmp_path: Path) -> None:
    info = train(tiny("train.images=1280"), digits, tmp_path)
    folder = tmp_path / "model"
    history = json.loads((folder / "history.json").read_text())
    names = {
        "loss_discriminator",
        "loss_generator",
        "real_accuracy",
        "fake_accuracy",
        "realism",
        "ada_signal",
        "augment_p",
        "auc_real_fake",
        "auc_heldout_fake",
        "auc_train_heldout",
    }
    names |= {"grad_norm_discriminator", "grad_norm_generator", "diversity", "images_per_second"}
    assert all(names <= point.keys() for point in history["points"]) and len(history["points"]) == 8
    assert (folder / "history.csv").read_text().count("\n") == 9
    table = list(csv.DictReader((folder / "evaluations.csv").open()))
    assert [(int(row["images"]), float(row["distance"])) for row in table] == [
        (evaluation["images"], evaluation["value"]) for evaluation in history["evaluations"]
    ]
    (compute,) = history["compute"]
    assert 0 < sum(evaluation["seconds"] for evaluation in history["evaluations"]) < compute["seconds"]
    assert len(list((folder / "grids").glob("*.png"))) >= 3
    generator = load_generator(folder)
    images = np.concatenate(list(sample(generator, 10, seed=1, batch=4)))
    assert images.shape == (10, 1, 28, 28) and images.dtype == np.uint8
    again = np.concatenate(list(sample(generator, 10, seed=1, batch=7)))
    assert np.abs(images.astype(int) - again).max() <= 1
    assert set(generator.info.weights) == {"generator.safetensors", "networks.safetensors"}
    assert generator.info.model_copy(update={"weights": {}}) == info and info.data["content_hash"] == digits.content_hash


def test_divergence_stops_the_run_and_keeps_the_best(digits: PackedDataset, tmp_path: Path) -> None:
    chosen = tiny("train.images=64000", "train.lr_discriminator=0.9", "train.lr_generator=0.9", "train.max_grad_norm=50.0",
                  "train.evaluate_from=0.0", "train.evaluate_every=32", "train.augment=none", "train.on_alarm=stop")  # fmt: skip
    with pytest.raises(TrainingStopped, match=r"divergence at .* is kept in") as stopped:
        train(chosen, digits, tmp_path)
    kept = Path(str(stopped.value).rpartition(" is kept in ")[2])
    assert read_history(kept)["compute"][0]["seconds"] > 0
    assert load_generator(kept).info.images_seen > 0
    assert not (tmp_path / "model").exists()


def test_collapse_stops_the_run(digits: PackedDataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingStopped, match=r"collapse at .* min_diversity"):
        train(tiny("train.images=1600", "train.min_diversity=1.0", "train.on_alarm=stop"), digits, tmp_path)


def test_pairwise_distance_against_a_loop() -> None:
    images, labels = torch.randn(6, 1, 4, 4), torch.tensor([0, 0, 0, 1, 1, 2])
    pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
    alone = np.mean([(images[i] - images[j]).norm().item() for i, j in pairs])
    within = np.mean([(images[i] - images[j]).norm().item() for i, j in pairs if labels[i] == labels[j]])
    assert pairwise_distance(images, None) == pytest.approx(alone, rel=1e-5)
    assert pairwise_distance(images, labels) == pytest.approx(within, rel=1e-5)


def test_images_that_share_no_label_are_compared_all() -> None:
    images = torch.randn(5, 1, 4, 4)
    assert pairwise_distance(images, torch.arange(5)) == pairwise_distance(images, None) > 0


def test_finetuning_starts_from_the_parent_and_maps_classes_by_name(digits: PackedDataset, tmp_path: Path) -> None:
    train(tiny("train.images=1280"), digits, tmp_path / "base")
    start = PretrainedModel(tmp_path / "base" / "model")
    renamed = PackedDataset(digits.folder)
    renamed.classes = ["new", *reversed(digits.classes[1:])]
    chosen = tiny("finetune.images=32", "finetune.batch=32", "finetune.lr_generator=1.0e-9", "finetune.lr_discriminator=1.0e-9",
                  "finetune.ema_half_life=1000000")  # fmt: skip
    info = train(chosen, renamed, tmp_path / "child", start=start)
    assert info.parent is not None and info.parent["sha256"] == start.sha256
    before, after = weights(tmp_path / "base"), weights(tmp_path / "child")
    rows = [name for name, tensor in before.items() if "embedding" in name]
    assert rows
    for name, tensor in before.items():
        if name in rows:
            torch.testing.assert_close(after[name][1:], tensor[1:].flip(0), rtol=0, atol=1e-5)
            assert not torch.allclose(after[name][0], tensor[0], atol=1e-2)
        else:
            torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-5)


def test_freeze_discriminator_holds_the_lower_stages(digits: PackedDataset, tmp_path: Path) -> None:
    train(tiny("train.images=640"), digits, tmp_path / "base")
    chosen = tiny("finetune.images=320", "finetune.batch=32", "finetune.freeze_discriminator=1")
    train(chosen, digits, tmp_path / "child", start=PretrainedModel(tmp_path / "base" / "model"))
    before, after = (
        weights(tmp_path / "base", "networks.safetensors"),
        weights(tmp_path / "child", "networks.safetensors"),
    )
    held = {name for name in before if name.startswith("discriminator.layers.0.")}
    moved = {name for name in before if name.startswith(("discriminator.head", "generator."))}
    moved.discard("discriminator.head.linear.bias")  # a relativistic discriminator is blind to a constant
    assert held and all(torch.equal(before[name], after[name]) for name in held)
    assert all(not torch.equal(before[name], after[name]) for name in moved)


def test_checkpoint_of_another_architecture_is_refused(digits: PackedDataset, tmp_path: Path) -> None:
    train(tiny("train.images=320"), digits, tmp_path / "base")
    start = PretrainedModel(tmp_path / "base" / "model")
    with pytest.raises(GeneratorError, match=r"trained with mlp = .*hidden.*32.*params.yaml's model says .*64"):
        train(tiny("model.mlp.hidden=[64]"), digits, tmp_path / "child", start=start)


def test_missing_and_damaged_generators_name_the_file(digits: PackedDataset, tmp_path: Path) -> None:
    with pytest.raises(GeneratorError, match=r"no generator here"):
        load_generator(tmp_path)
    train(tiny("train.images=320"), digits, tmp_path)
    path = tmp_path / "model" / "generator.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(GeneratorError, match=r"generator.safetensors: damaged"):
        load_generator(tmp_path / "model")
