"""Restoration from whole pictures: stopped and started again, on two ranks, in parts, in bfloat16, and its second stage."""

from __future__ import annotations

import json
import logging
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from atelier.data.packed import PackedDataset
from atelier.metrics.while_training import measure_while_training
from atelier.models.model import GeneratorError, load_generator, read_info
from atelier.models.sharpness import interpolate
from atelier.tasks.find import find, sampling_of
from atelier.tasks.restoration.task import Restoration
from atelier.training.checkpoint import PretrainedModel, read_history
from atelier.training.distributed import Ranks
from atelier.training.run import run
from tests.support.driver import pixel_distance
from tests.support.forked import Driver, Forked, two_ranks
from tests.support.restoration_fixtures import stripes
from tests.support.restoration_tasks import NOISY, STAGES, chosen
from tests.support.rounding import apart

__all__ = ["stripes"]
CPU = torch.device("cpu")
CUT = f"train.restoration={{scale: 2, {NOISY}, pixel: 0.5, adversarial: 0.1, crop: 24, flips: true, turns: true}}"
GAN = [*STAGES["gan"], CUT]


def trained(stripes: Path, folder: Path, *overrides: str) -> Path:
    """The checkpoint of a run against a discriminator that nobody disturbs."""
    code, _, err = Driver(stripes, folder / "model", folder / "states", *GAN, *overrides).finish()
    assert code == 0, err
    return folder / "model"


def networks(model: Path) -> dict[str, torch.Tensor]:
    return load_file(model / "networks.safetensors")


def test_killed_and_started_again_it_ends_with_the_same_bytes(stripes: Path, tmp_path: Path) -> None:
    whole = trained(stripes, tmp_path / "whole")

    def begin() -> Driver:
        return Driver(stripes, tmp_path / "model", tmp_path / "states", *GAN)

    first = begin()
    while not first.stdout.readline().startswith("point 16"):
        pass
    first.tell(signal.SIGKILL)
    assert first.finish()[0] == -9
    save = max(tmp_path.glob("states/*/step-*"))
    assert json.loads((save / "state.json").read_text())["step"] >= 4
    assert load_file(save / "pools.safetensors")["made"].shape == (4, 3, 24, 24), "what the discriminator is shown next"
    code, out, err = begin().finish()
    assert code == 0 and int(out.split()[1]) >= 3, f"it begins anew: {err}"
    for name in ("generator.safetensors", "networks.safetensors"):
        assert (tmp_path / "model" / name).read_bytes() == (whole / name).read_bytes()
    begun = networks(trained(stripes, tmp_path / "short", "train.images=4"))
    moved = {key.partition(".")[0] for key, value in networks(whole).items() if not torch.equal(value, begun[key])}
    assert moved == {"generator", "discriminator"}
    curves = read_history(whole)["points"][-1]
    assert {"psnr_training", "psnr_held_out", "psnr_input", "l1", "auc_real_fake"} <= curves.keys()


def test_two_ranks_change_rounding_only(stripes: Path, tmp_path: Path) -> None:
    """The means of relativistic_average are those of both ranks."""
    alone = networks(trained(stripes, tmp_path / "alone", "train.images=8"))
    here = (stripes, tmp_path / "model", tmp_path / "states")
    ended = two_ranks(lambda environment: Driver(*here, *GAN, "train.images=8", environment=environment))
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert apart(alone, networks(tmp_path / "model")) < 0.01


def test_two_ranks_end_alike(stripes: Path, tmp_path: Path) -> None:
    arguments = ("gan", str(stripes), str(tmp_path))
    first, second = two_ranks(lambda environment: Forked("rank_state", *arguments, environment=environment))
    assert first[0] == 0 and first[:2] == second[:2], (first, second)
    assert int(first[1].split()[0]) == 1


def test_micro_batches_change_rounding_only(stripes: Path, tmp_path: Path) -> None:
    short = ("train.images=16", "train.objective=nonsaturating")  # which reads no mean over a micro-batch
    whole = networks(trained(stripes, tmp_path / "whole", *short))
    parts = networks(trained(stripes, tmp_path / "parts", *short, "train.accumulate=2"))
    assert apart(whole, parts) < 0.01


def test_bfloat16_trains(stripes: Path, tmp_path: Path) -> None:
    model = trained(stripes, tmp_path, "train.images=16", "train.precision=bfloat16")
    assert all(value.dtype == torch.float32 and value.isfinite().all() for value in networks(model).values())


def test_the_stage_against_a_discriminator_goes_on_from_the_one_of_pixels(
    stripes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The second stage's discriminator begins anew, which is said; both are measured alike, and there is a third between them."""
    caplog.set_level(logging.INFO, "atelier.training")
    settings = chosen(
        "psnr", "train.images=16", "finetune.images=8", "train.evaluate_samples=16", "finetune.evaluate_samples=16",
        "train.evaluate_by=psnr",
        f"finetune.restoration={{scale: 2, {NOISY}, pixel: 0.5, adversarial: 0.1}}", "finetune.objective=relativistic_average",
    )  # fmt: skip
    assert settings.finetune
    sets = {"data": PackedDataset(stripes)}
    base, child = tmp_path / "psnr", tmp_path / "gan"
    measure, measured_by = measure_while_training(
        Restoration, settings.train, settings.evaluate, sets, tmp_path / "cache", Ranks(), CPU
    )
    run(Restoration, settings.model, settings.train, sets, base, tmp_path / "1", measure, measured_by, CPU, Ranks(), git={})
    assert {key.partition(".")[0] for key in networks(base)} == {"generator"}
    (evaluation,) = read_history(base)["evaluations"]
    assert evaluation["value"] == evaluation["metrics"]["psnr"] == read_info(base).metric["value"] > 5
    assert (base / "evaluations.csv").read_text().startswith("images,step,distance,psnr\n")
    start = PretrainedModel(base)
    measure = pixel_distance(sets["data"])
    infos = run(
        Restoration, settings.model, settings.finetune, sets, child, tmp_path / "2", measure, {}, CPU, Ranks(), git={},
        start=start,
    )  # fmt: skip
    assert f"{base} was trained without a network discriminator, which begins anew" in caplog.text
    parent = load_generator(base)
    assert infos["generator"].parent is not None and infos["generator"].parent["sha256"] == parent.sha256
    fresh = find("restoration").build(settings.model, settings.finetune, sets)
    begun = {key: value.clone() for key, value in fresh.networks["discriminator"].state_dict().items()}
    start.load(fresh, {"generator": fresh.networks["generator"]}, sets)
    assert all(torch.equal(value, begun[key]) for key, value in fresh.networks["discriminator"].state_dict().items())
    assert all(torch.equal(value, parent.state_dict()[key]) for key, value in fresh.networks["generator"].state_dict().items())

    other = chosen("psnr", "finetune.restoration={scale: 4}")
    larger = find("restoration").build(other.model, other.trainings["finetune"], sets)
    with pytest.raises(GeneratorError, match=r"makes 32 px of an image of 16 px, and that of section finetune is given 8 px"):
        start.load(larger, {"generator": larger.networks["generator"]}, sets)

    interpolate(base, child, 0.5, tmp_path / "between")
    averages = {"generator": fresh.networks["generator"]}
    (remark,) = PretrainedModel(tmp_path / "between").load(fresh, averages, sets)
    assert remark.endswith("was trained without a network discriminator, which begins anew")
    interpolate(base, child, None, tmp_path / "both")
    with pytest.raises(GeneratorError, match="both: holds two generators; fine-tune one of those that it was made of"):
        PretrainedModel(tmp_path / "both").load(fresh, averages, sets)
    held_out = PackedDataset(stripes, "test")
    identities = set()
    for folder in (base, child, tmp_path / "between"):
        generator = load_generator(folder)
        sampler = sampling_of(generator)(generator, [], held_out, held_out, 5, 3)
        (sample,) = sampler(8)
        identities.add(sampler.identity)
        assert sample.input is not None and sample.target is not None
        assert sample.images.shape == sample.target.shape == (5, 3, 32, 32) and sample.input.shape == (5, 3, 16, 16)
    assert len(identities) == 1
