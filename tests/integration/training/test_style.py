"""Task style as a process: killed and started again, on two ranks, in parts, in bfloat16; then measured, exported and served."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from atelier.data.packed import PackedDataset
from atelier.metrics.evaluator import read_evaluation
from atelier.metrics.while_training import measure_while_training
from atelier.models.model import load_generator
from atelier.models.onnx import export_onnx
from atelier.models.pyfunc import ServedGenerator, input_example
from atelier.tasks.find import measured_sets
from atelier.tasks.style.task import Style
from atelier.tracking.step_run import StepRun
from atelier.training.checkpoint import read_history
from atelier.training.distributed import Ranks
from atelier.training.run import run as train
from components.evaluate import evaluate
from tests.support.forked import Driver
from tests.support.registrations import run_fixture
from tests.support.registry_fixtures import store, tracking
from tests.support.restoration_fixtures import stripes
from tests.support.rounding import apart
from tests.support.small import free_port
from tests.support.style_tasks import checks, chosen, overrides, weights_fixture

__all__ = ["checks", "run_fixture", "store", "stripes", "tracking", "weights_fixture"]
CPU = torch.device("cpu")
SHORT = ("train.images=32", "train.save_every=8", "train.log_every=8", "train.evaluate_every=16")


@pytest.fixture(name="sets", scope="module")
def sets_fixture(stripes: Path, checks: Path) -> Path:
    return Path(f"{stripes},{checks}")


def trained(sets: Path, folder: Path, *settings: str, environment: dict[str, str] | None = None) -> Path:
    """The checkpoint of a run that nobody disturbs."""
    code, _, err = Driver(sets, folder / "model", folder / "states", *settings, *SHORT, environment=environment or {}).finish()
    assert code == 0, err
    return folder / "model"


def networks(model: Path) -> dict[str, torch.Tensor]:
    return load_file(model / "networks.safetensors")


def test_killed_and_started_again_it_ends_with_the_same_bytes(sets: Path, weights: Path, tmp_path: Path) -> None:
    settings = overrides("adain", weights)
    whole = trained(sets, tmp_path / "whole", *settings)
    first = Driver(sets, tmp_path / "model", tmp_path / "states", *settings, *SHORT)
    while not first.stdout.readline().startswith("point 4"):
        pass
    first.tell(signal.SIGKILL)
    assert first.finish()[0] == -9
    code, out, err = Driver(sets, tmp_path / "model", tmp_path / "states", *settings, *SHORT).finish()
    assert code == 0 and int(out.split()[1]) >= 1, f"it begins anew: {err}"
    for name in ("generator.safetensors", "networks.safetensors"):
        assert (tmp_path / "model" / name).read_bytes() == (whole / name).read_bytes()
    own, folders = chosen("adain", weights, *SHORT), str(sets).split(",")
    data = {name: PackedDataset(Path(folder)) for name, folder in zip(Style.sets, folders, strict=True)}
    begun = Style.build(own.model, own.train, data).any_style
    assert begun is not None
    ended = load_file(whole / "generator.safetensors")
    for key, value in begun.encoder.state_dict(prefix="encoder.").items():
        assert torch.equal(ended[key], value), "the encoder is as the run began with it: published, but for a factor a channel"
    assert {"content_probe", "style_probe", "unchanged_probe", "style_relu2_1"} <= read_history(whole)["points"][-1].keys()


def test_ranks_and_micro_batches_change_rounding_only(sets: Path, weights: Path, tmp_path: Path) -> None:
    """At a small rate: what Adam makes of gradients near nothing differs among processors, and grows from step to step."""
    settings = (*overrides("johnson", weights), "train.lr_generator=0.0001")
    alone = networks(trained(sets, tmp_path / "alone", *settings))
    parts = networks(trained(sets, tmp_path / "parts", *settings, "train.accumulate=2"))
    assert apart(alone, parts) < 0.01
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = [
        Driver(
            sets, tmp_path / "model", tmp_path / "states", *settings, *SHORT,
            environment=together | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    ended = [rank.finish() for rank in ranks]
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert apart(alone, networks(tmp_path / "model")) < 0.01


def test_measured_exported_and_served(stripes: Path, checks: Path, weights: Path, run: StepRun, tmp_path: Path) -> None:
    """In bfloat16, by the metric that chooses the best save: held-out contents in the styles that there are."""
    settings = chosen("adain", weights, *SHORT, "train.precision=bfloat16", "train.evaluate_samples=16", "evaluate.samples=16")
    sets = {"content": PackedDataset(stripes), "style": PackedDataset(checks)}
    measure, by = measure_while_training(Style, settings.train, settings.evaluate, sets, tmp_path / "cache", Ranks(), CPU)
    model = tmp_path / "model"
    infos = train(Style, settings.model, settings.train, sets, model, tmp_path / "states", measure, by, CPU, Ranks(), git={})
    assert infos["generator"].metric["identity"]["metric"] == "style_balance_efficientnet_lite0"
    evaluate(settings.evaluate, "styles", model, checks, tmp_path / "out", tmp_path / "cache", inputs=stripes, device="cpu")
    found = read_evaluation(tmp_path / "out" / "evaluation.json")
    content, style = (found[f"{kind}_distance_efficientnet_lite0"] for kind in ("content", "gram"))
    assert found["style_balance_efficientnet_lite0"].value == pytest.approx((content.value + style.value) / 2)
    assert content.identity.sampling.startswith("contents of ") and ":test in styles of " in content.identity.sampling

    generator = load_generator(model)
    images, given = measured_sets(generator, checks, stripes, 16)
    assert (images.split, given.split) == ("train", "test")
    assert 0 <= export_onnx(model, tmp_path / "one.onnx") <= 1e-4
    served = ServedGenerator(model, "cpu")
    rows = input_example(served.info).to_dict("records")
    assert served.predict(input_example(served.info)).shape == (2, 32, 32, 3)
    without = [{name: value for name, value in row.items() if name != "alpha"} for row in rows[:1]]
    np.testing.assert_array_equal(served.generate(served.read(without)), served.generate(served.read([rows[0] | {"alpha": 1.0}])))
