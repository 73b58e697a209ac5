"""Tasks that translate: stopped and started again, on two ranks, in parts, in bfloat16, and fine-tuned."""

from __future__ import annotations

import copy
import json
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from atelier.models.model import load_generator
from atelier.networks.inputs import Picture
from atelier.tasks.find import find
from atelier.training.checkpoint import PretrainedModel
from atelier.training.distributed import Ranks
from atelier.training.run import run
from tests.support.driver import pixel_distance
from tests.support.forked import Driver, Forked, two_ranks
from tests.support.rounding import apart
from tests.support.translation_fixtures import drawings, learnt_from, places
from tests.support.translation_tasks import MAPPED, OF_TASKS, chosen, state

__all__ = ["drawings"]
CPU = torch.device("cpu")
Weights = dict[str, bytes]
PRODUCTS = {"cyclegan": ["a_to_b", "b_to_a"], "csrnet": ["a_to_b", "b_to_a"]}
PATHS = [name for name in OF_TASKS if name not in ("fastcut", "csrnet")]  # the steps of cut, but for its flips, and of cyclegan
PAIRS = ["given", "made"]
BOTH = ["shown_a", "shown_b"]
SHOWN: dict[str, list[str]] = {"cyclegan": BOTH, "csrnet": BOTH, "pix2pix": PAIRS, "spade": PAIRS, "oasis": []}  # of pools


def files(folder: Path) -> Weights:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.safetensors")}


def trained(name: str, drawings: dict[str, Path], folder: Path, *overrides: str) -> Path:
    """The checkpoint of a run that nobody disturbs."""
    run = Driver(places(name, drawings), folder / "model", folder / "states", *OF_TASKS[name], *overrides)
    code, _, err = run.finish()
    assert code == 0, err
    return folder / "model"


@pytest.fixture(name="models", scope="module")
def models_fixture(drawings: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: trained(name, drawings, tmp_path_factory.mktemp(name)) for name in OF_TASKS}


def networks(model: Path) -> dict[str, torch.Tensor]:
    """Those of all products, which are the same."""
    return load_file(min(model.rglob("networks.safetensors")))


@pytest.mark.parametrize("name", OF_TASKS)
def test_every_product_is_a_checkpoint_and_has_learnt(
    name: str, models: dict[str, Path], drawings: dict[str, Path], tmp_path: Path
) -> None:
    found = sorted(path.name for path in models[name].iterdir() if path.is_dir() and path.name != "grids")
    assert found == PRODUCTS.get(name, [])
    begun = networks(trained(name, drawings, tmp_path, "train.images=4"))
    moved = {key.partition(".")[0] for key, value in networks(models[name]).items() if not torch.equal(value, begun[key])}
    assert moved == {key.partition(".")[0] for key in begun}, "all networks learn after the first step"


@pytest.mark.parametrize(("name", "how"), [*((name, signal.SIGKILL) for name in OF_TASKS), ("cyclegan", signal.SIGTERM)])
def test_stopped_and_started_again_it_ends_with_the_same_bytes(
    name: str, how: signal.Signals, models: dict[str, Path], drawings: dict[str, Path], tmp_path: Path
) -> None:
    def begin() -> Driver:
        return Driver(places(name, drawings), tmp_path / "model", tmp_path / "states", *OF_TASKS[name])

    first = begin()
    while not first.stdout.readline().startswith("point 16"):
        pass
    first.tell(how)
    assert first.finish()[0] == {signal.SIGKILL: -9, signal.SIGTERM: 75}[how]
    save = max(tmp_path.glob("states/*/step-*"))
    values, kept = json.loads((save / "state.json").read_text()), save / "pools.safetensors"
    pools = load_file(kept) if kept.exists() else {}
    if name in PRODUCTS:
        assert values["memory"] == {"pool_a": 6, "pool_b": 6} and len(pools["pool_a"]) == 6
        assert not torch.equal(pools["pool_a"], pools["pool_b"])
    assert all(len(pools[one]) == 4 for one in SHOWN.get(name, ["shown_b"]))
    code, out, err = begin().finish()
    assert code == 0 and int(out.split()[1]) >= 3, f"it begins anew: {err}"
    again, whole = files(tmp_path / "model"), files(models[name])
    assert again == whole and len(whole) == 2 * max(1, len(PRODUCTS.get(name, [])))


@pytest.mark.parametrize("name", PATHS)
def test_two_ranks_change_rounding_only(name: str, drawings: dict[str, Path], tmp_path: Path) -> None:
    short = "train.images=8"  # of OASIS rounding is a thousand times as much two steps later
    alone = networks(trained(name, drawings, tmp_path / "alone", short))
    here = (places(name, drawings), tmp_path / "model", tmp_path / "states")
    ended = two_ranks(lambda environment: Driver(*here, *OF_TASKS[name], short, environment=environment))
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert apart(alone, networks(tmp_path / "model")) < 0.01


@pytest.mark.parametrize("name", PATHS)
def test_two_ranks_end_alike(name: str, drawings: dict[str, Path], tmp_path: Path) -> None:
    """Networks, averages, moments, pools and what is remembered are the same to the bit on both."""
    arguments = (name, str(places(name, drawings)), str(tmp_path))
    first, second = two_ranks(lambda environment: Forked("rank_state", *arguments, environment=environment))
    assert first[0] == 0 and first[:2] == second[:2], (first, second)
    assert int(first[1].split()[0]) == {"cyclegan": 4, "pix2pix": 2, "spade": 2, "oasis": 0}.get(name, 1)


@pytest.mark.parametrize("name", [name for name in PATHS if name not in MAPPED])  # whose spectral norms move with each part
def test_micro_batches_change_rounding_only(name: str, drawings: dict[str, Path], tmp_path: Path) -> None:
    short = "train.images=16"
    whole = networks(trained(name, drawings, tmp_path / "whole", short))
    parts = networks(trained(name, drawings, tmp_path / "parts", short, "train.accumulate=2"))
    assert apart(whole, parts) < 0.01


@pytest.mark.parametrize("name", PATHS)
def test_bfloat16_trains(name: str, drawings: dict[str, Path], tmp_path: Path) -> None:
    model = trained(name, drawings, tmp_path, "train.images=16", "train.precision=bfloat16")
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in networks(model).values())


@pytest.mark.parametrize("name", PATHS)
def test_fine_tuned_from_a_trained_translator(name: str, drawings: dict[str, Path], tmp_path: Path) -> None:
    """All networks go on from the parent's, those that make patches comparable among them; stages that are frozen stay."""
    settings = chosen(name, "finetune.freeze_discriminator=1", "train.images=16", "finetune.images=8")
    assert settings.finetune
    task, sets = find(settings.model.task), learnt_from(name, drawings)
    measure = pixel_distance(list(sets.values())[-1])
    run(task, settings.model, settings.train, sets, tmp_path / "base", tmp_path / "1", measure, {}, CPU, Ranks(), git={})
    start = PretrainedModel(tmp_path / "base")
    infos = run(
        task, settings.model, settings.finetune, sets, tmp_path / "child", tmp_path / "2", measure, {}, CPU, Ranks(), git={},
        start=start,
    )  # fmt: skip
    folders = {product: tmp_path / "base" / (product if len(infos) > 1 else "") for product in infos}
    for product, info in infos.items():
        assert info.parent is not None and info.parent["sha256"] == load_generator(folders[product]).sha256
        assert (info.task, info.product) == (settings.model.task, product)
        backgrounds = [kind.background for kind in load_generator(folders[product]).takes.values() if isinstance(kind, Picture)]
        assert backgrounds == ([] if name in MAPPED else ["#000000"]), "of the set, and not that of models that do not say"

    before, after = (networks(tmp_path / which) for which in ("base", "child"))
    fresh = task.build(settings.model, settings.finetune, sets)
    averages = {product.name: copy.deepcopy(fresh.networks[product.network]) for product in fresh.products}
    start.load(fresh, averages, sets)
    assert all(torch.equal(value, before[key]) for key, value in state(fresh).items())
    for product, folder in folders.items():
        parent = load_generator(folder).state_dict()
        assert all(torch.equal(value, parent[key]) for key, value in averages[product].state_dict().items())
    learnt = {f"{net}.{key}" for net, network in fresh.networks.items() for key, _ in network.named_parameters()}
    if name == "spade":  # hinge pulls the last bias up and down alike while no patch is beyond a margin
        learnt -= {key for key in learnt if key.endswith(".head.bias")}
    kept = {key for key in learnt if torch.equal(after[key], before[key])}
    first = "discriminator.down.0." if name == "oasis" else ".stages.0."
    assert kept == {key for key in learnt if key.startswith("discriminator") and first in key}
